//! What a module must be before it is installed.
//!
//! Owns the order of the checks and the words of the refusals: the first check that fails is the one reported. Changes
//! nothing.

use thiserror::Error;
use wasmparser::{
    BinaryReaderError, ElementItems, ElementKind, Operator, Parser, Payload, TypeRef, ValType, Validator,
    WasmFeatures,
};

use super::custom::{self, CustomSection};
use super::exports::Exports;
use super::module::Sections;
use super::{imports, limits, opcode};

/// Why a module is refused, in the replica's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum InvalidModule {
    #[error("Failed to decode wasm module: {0}")]
    Format(String),
    #[error("Failed to decode wasm module: {0}")]
    Decoding(String),
    #[error(
        "Wasm module code section size of {size} exceeds the maximum allowed size of {}.",
        limits::CODE_SECTION_BYTES
    )]
    CodeSectionTooLarge { size: u64 },
    #[error("Wasmtime failed to validate wasm module wasmtime::Module::validate() failed with {0}")]
    Wasm(String),
    #[error("Wasm module has an invalid import section. {0}")]
    Import(String),
    #[error("Wasm module has an invalid export section. {0}")]
    Export(String),
    #[error("Wasm module has an invalid function signature. {0}")]
    Signature(String),
    #[error(
        "Duplicate function '{name}' exported multiple times with different call types: update, query, or \
         composite_query."
    )]
    DuplicateExport { name: String },
    #[error(
        "The number of exported functions called `canister_update <name>`, `canister_query <name>`, or \
         `canister_composite_query <name>` is {defined} which exceeds {}.",
        limits::METHODS
    )]
    TooManyExports { defined: usize },
    #[error(
        "The sum of `<name>` lengths in exported functions called `canister_update <name>`, `canister_query <name>`, \
         or `canister_composite_query <name>` is {total} which exceeds the allowed limit of {}.",
        limits::METHOD_NAME_BYTES
    )]
    ExportedNamesTooLong { total: usize },
    #[error("Wasm module has an invalid data section. {0}")]
    DataSection(String),
    #[error("Wasm module has an invalid global section. {0}")]
    GlobalSection(String),
    #[error(
        "Wasm module defined {defined} globals which exceeds the maximum number allowed {}.",
        limits::GLOBALS
    )]
    TooManyGlobals { defined: usize },
    #[error(
        "Wasm module defined {defined} functions which exceeds the maximum number allowed {}.",
        limits::FUNCTIONS
    )]
    TooManyFunctions { defined: usize },
    #[error(
        "Wasm module contains a function at index {index} with complexity {complexity} which exceeds the maximum \
         complexity allowed {}.",
        limits::FUNCTION_COMPLEXITY
    )]
    FunctionTooComplex { index: usize, complexity: u64 },
    #[error(
        "Wasm module contains a function at index {index} of size {size} that exceeds the maximum allowed size of {}.",
        limits::FUNCTION_OPERATORS
    )]
    FunctionTooLarge { index: usize, size: u64 },
    #[error("Wasm module contains a function at index {index} with unsupported instruction {instruction}.")]
    UnsupportedInstruction { index: usize, instruction: &'static str },
    #[error("Wasm module has an invalid custom section. {0}")]
    CustomSection(String),
    #[error(
        "Wasm module defined {defined} custom sections which exceeds the maximum number allowed {}.",
        limits::CUSTOM_SECTIONS
    )]
    TooManyCustomSections { defined: usize },
    #[error("Wasm module has invalid data segment of {len} bytes at {offset}.")]
    DataOutOfBounds { offset: u32, len: u64 },
    /// Valid, and yet the engine cannot instantiate it.
    #[error("Failed to instantiate module: {0}")]
    Engine(String),
}

impl InvalidModule {
    pub(super) fn decoding(error: BinaryReaderError) -> Self {
        Self::Decoding(error.to_string())
    }
}

/// A module that may be instrumented.
pub(super) struct Valid<'a> {
    pub sections: Sections<'a>,
    pub exports: Exports,
    pub custom_sections: Vec<CustomSection>,
}

/// What of WebAssembly is allowed.
fn features() -> WasmFeatures {
    WasmFeatures::MVP
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::TAIL_CALL
}

/// Checks a module against WebAssembly and the Internet Computer's rules.
pub(super) fn validate(wasm: &[u8]) -> Result<Valid<'_>, InvalidModule> {
    check_code_section(wasm)?;
    Validator::new_with_features(features())
        .validate_all(wasm)
        .map_err(|e| InvalidModule::Wasm(e.to_string()))?;
    let sections = Sections::parse(wasm)?;
    imports::check(&sections)?;
    let exports = Exports::of(&sections)?;
    check_globals(&sections)?;
    if sections.defined_functions() > limits::FUNCTIONS {
        return Err(InvalidModule::TooManyFunctions { defined: sections.defined_functions() });
    }
    check_code(&sections)?;
    let custom_sections = custom::metadata(&sections.custom)?;
    check_data(&sections)?;
    check_engine(&sections)?;
    Ok(Valid { sections, exports, custom_sections })
}

/// The size of the code section, before anything else looks at the code.
fn check_code_section(wasm: &[u8]) -> Result<(), InvalidModule> {
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::CodeSectionStart { size, .. }) => {
                let size = u64::from(size);
                return if size > limits::CODE_SECTION_BYTES {
                    Err(InvalidModule::CodeSectionTooLarge { size })
                } else {
                    Ok(())
                };
            }
            Ok(_) => {}
            // What is wrong here the validator says better.
            Err(_) => break,
        }
    }
    Ok(())
}

fn check_globals(module: &Sections<'_>) -> Result<(), InvalidModule> {
    if module.globals.len() > limits::GLOBALS {
        return Err(InvalidModule::TooManyGlobals { defined: module.globals.len() });
    }
    for global in &module.globals {
        if let ValType::Ref(_) = global.content_type {
            let ty = global.content_type;
            return Err(InvalidModule::GlobalSection(format!("Unsupported global type: Ref({ty}).")));
        }
    }
    Ok(())
}

fn check_code(module: &Sections<'_>) -> Result<(), InvalidModule> {
    for (index, body) in module.bodies.iter().enumerate() {
        let (mut size, mut complexity) = (0, 0);
        for op in body.get_operators_reader().map_err(InvalidModule::decoding)? {
            let op = op.map_err(InvalidModule::decoding)?;
            if let Some(instruction) = opcode::unsupported(&op) {
                return Err(InvalidModule::UnsupportedInstruction { index, instruction });
            }
            size += 1;
            complexity += opcode::complexity(&op);
        }
        if complexity > limits::FUNCTION_COMPLEXITY {
            return Err(InvalidModule::FunctionTooComplex { index, complexity });
        }
        if size > limits::FUNCTION_OPERATORS {
            return Err(InvalidModule::FunctionTooLarge { index, size });
        }
    }
    Ok(())
}

fn check_data(module: &Sections<'_>) -> Result<(), InvalidModule> {
    let memory = module.memories.first().map_or(0, |memory| memory.initial) << 16;
    for data in &module.active_data {
        if u64::from(data.offset) + data.len > memory {
            return Err(InvalidModule::DataOutOfBounds { offset: data.offset, len: data.len });
        }
    }
    Ok(())
}

/// What the engine would refuse at instantiation whatever the canister does.
fn check_engine(module: &Sections<'_>) -> Result<(), InvalidModule> {
    for import in &module.imports {
        if let TypeRef::Table(_) | TypeRef::Memory(_) = import.ty {
            return Err(InvalidModule::Engine(format!(
                "unknown import: `{}::{}` has not been defined",
                import.module, import.name
            )));
        }
    }
    if module.tables.len() > limits::TABLES {
        return Err(InvalidModule::Engine(format!(
            "resource limit exceeded: table count too high at {}",
            module.tables.len()
        )));
    }
    for table in &module.tables {
        if table.initial > limits::TABLE_ELEMENTS {
            return Err(InvalidModule::Engine(format!(
                "table minimum size of {} elements exceeds table limits",
                table.initial
            )));
        }
    }
    check_elements(module).map_err(InvalidModule::decoding)?
}

/// Active elements, whose offsets are constants, fit in the table.
fn check_elements(module: &Sections<'_>) -> Result<Result<(), InvalidModule>, BinaryReaderError> {
    let Some(elements) = module.elements.clone() else { return Ok(Ok(())) };
    let table = module.tables.first().map_or(0, |table| table.initial);
    for element in elements {
        let element = element?;
        let ElementKind::Active { offset_expr, .. } = element.kind else { continue };
        let count = match element.items {
            ElementItems::Functions(items) => items.count(),
            ElementItems::Expressions(_, items) => items.count(),
        };
        if let Operator::I32Const { value } = offset_expr.get_operators_reader().read()?
            && u64::from(value as u32) + u64::from(count) > table
        {
            let trap = "wasm trap: undefined element: out of bounds table access";
            return Ok(Err(InvalidModule::Engine(trap.into())));
        }
    }
    Ok(Ok(()))
}
