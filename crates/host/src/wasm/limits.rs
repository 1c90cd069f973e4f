//! What the Internet Computer allows a module to be. Owns the numbers; `validate` holds modules to them.

/// Largest module after decompression, in bytes: 100 MiB.
pub const MODULE_BYTES: u64 = 100 << 20;

/// Largest code section in bytes, its function count not counted: 11 MiB = 11 × 1,048,576 = 11,534,336.
pub const CODE_SECTION_BYTES: u64 = 11 << 20;

/// Most functions a module may define.
pub const FUNCTIONS: usize = 50_000;

/// Most operators in one function, its `end` included.
pub const FUNCTION_OPERATORS: u64 = 1_000_000;

/// Highest complexity of one function: a function of plain operators may be as long as
/// [`FUNCTION_OPERATORS`], one of nothing but calls (50 each) a fiftieth of it, 20,000 calls.
pub const FUNCTION_COMPLEXITY: u64 = 1_000_000;

/// Most globals a module may define.
pub const GLOBALS: usize = 1_000;

/// Most exported update, query and composite query methods together.
pub const METHODS: usize = 1_000;

/// Most bytes in the names of all exported methods together.
pub const METHOD_NAME_BYTES: usize = 20_000;

/// Most `icp:` custom sections.
pub const CUSTOM_SECTIONS: usize = 16;

/// Most bytes in all `icp:` custom sections, names (without `icp:public `) and contents: 1 MiB.
pub const CUSTOM_SECTION_BYTES: u64 = 1 << 20;

/// Most tables: what the engine's pool is configured for.
pub const TABLES: usize = 1;

/// Most initial elements of a table: the engine's limit.
pub const TABLE_ELEMENTS: u64 = 10_000_000;

/// Most 64 KiB pages of a wasm32 memory: 4 GiB.
pub const MEMORY_PAGES: u64 = 1 << 16;
