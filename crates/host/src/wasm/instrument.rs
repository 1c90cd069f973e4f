//! The instrumented module, section by section.
//!
//! Owns what is added to a module and under which indices: two imports in front, three types, one function and one global
//! at the end. Code is rewritten by `body`; data, memories and tables are copied as they are.

use wasm_encoder::reencode::Reencode;
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, ElementSection, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, Module, NameSection,
    RawSection, SectionId, TypeSection, ValType,
};
use wasmparser::ExternalKind;

use super::body::{Injected, Metering};
use super::module::Sections;
use super::validate::Valid;
use super::{
    COUNTER_EXPORT, INJECTED_MODULE, InvalidModule, MEMORY_EXPORT, OUT_OF_INSTRUCTIONS, Prepared,
    START_EXPORT, TABLE_EXPORT, TRY_GROW_MEMORY, global_export, stable,
};

/// Functions imported in front of the module's own imports.
const INJECTED_IMPORTS: u32 = 2;

/// Moves the function indices of a module up by the injected imports.
struct Shift;

impl Reencode for Shift {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error> {
        Ok(index + INJECTED_IMPORTS)
    }
}

type Error = wasm_encoder::reencode::Error<std::convert::Infallible>;

/// Instruments a valid module.
pub(super) fn instrument(valid: Valid<'_>, wasm_bytes: u64) -> Result<Prepared, InvalidModule> {
    let Valid { sections, exports, custom_sections } = valid;
    let (binary, install_instructions) =
        encode(&sections).map_err(|e| InvalidModule::Decoding(e.to_string()))?;
    Ok(Prepared {
        binary,
        install_instructions,
        code_section_bytes: sections.code_bytes,
        functions: sections.defined_functions() as u32,
        exports,
        custom_sections,
        memory_pages: sections
            .memories
            .first()
            .map_or((0, Some(0)), |memory| (memory.initial, memory.maximum)),
        mutable_globals: mutable_globals(&sections).collect(),
        wasm_bytes,
    })
}

/// The instrumented module and the operators the replica counts in it.
fn encode(sections: &Sections<'_>) -> Result<(Vec<u8>, u64), Error> {
    let first_type = sections.func_types.len() as u32;
    let injected = Injected {
        shift: INJECTED_IMPORTS,
        out_of_instructions: 0,
        try_grow: 1,
        charge: INJECTED_IMPORTS + sections.function_types.len() as u32,
        counter: sections.globals.len() as u32,
    };
    let mut module = Module::new();
    module.section(&types(sections)?);
    module.section(&imports(sections, first_type)?);
    module.section(&functions(sections, first_type + 2));
    copy(&mut module, SectionId::Table, sections.table_bytes);
    copy(&mut module, SectionId::Memory, sections.memory_bytes);
    module.section(&globals(sections)?);
    module.section(&exports(sections, injected));
    if let Some(reader) = &sections.elements {
        let mut elements = ElementSection::new();
        Shift.parse_element_section(&mut elements, reader.clone())?;
        module.section(&elements);
    }
    if let Some(count) = sections.data_count {
        module.section(&DataCountSection { count });
    }
    let (code, operators) = code(sections, injected)?;
    module.section(&code);
    copy(&mut module, SectionId::Data, sections.data_bytes);
    if let Some(names) = names(sections) {
        module.section(&names);
    }
    // A global's initialiser is a constant and `end`; the counter is a global too.
    let initialisers = 2 * (sections.globals.len() as u64 + 1);
    Ok((module.finish(), operators + initialisers + stable::injected_operators(sections)))
}

fn types(sections: &Sections<'_>) -> Result<TypeSection, Error> {
    let mut types = TypeSection::new();
    if let Some(reader) = &sections.types {
        Shift.parse_type_section(&mut types, reader.clone())?;
    }
    types.ty().function([], []);
    types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I64], [ValType::I64]);
    Ok(types)
}

fn imports(sections: &Sections<'_>, first_type: u32) -> Result<ImportSection, Error> {
    let mut imports = ImportSection::new();
    imports.import(INJECTED_MODULE, OUT_OF_INSTRUCTIONS, EntityType::Function(first_type));
    imports.import(INJECTED_MODULE, TRY_GROW_MEMORY, EntityType::Function(first_type + 1));
    for import in &sections.imports {
        imports.import(import.module, import.name, Shift.entity_type(import.ty)?);
    }
    Ok(imports)
}

fn functions(sections: &Sections<'_>, charge_type: u32) -> FunctionSection {
    let mut functions = FunctionSection::new();
    for &ty in &sections.function_types[sections.imported_functions as usize..] {
        functions.function(ty);
    }
    functions.function(charge_type);
    functions
}

fn globals(sections: &Sections<'_>) -> Result<GlobalSection, Error> {
    let mut globals = GlobalSection::new();
    if let Some(reader) = &sections.global_section {
        Shift.parse_global_section(&mut globals, reader.clone())?;
    }
    let counter = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(counter, &ConstExpr::i64_const(0));
    Ok(globals)
}

fn exports(sections: &Sections<'_>, injected: Injected) -> ExportSection {
    let mut exports = ExportSection::new();
    for export in &sections.exports {
        if export.kind == ExternalKind::Func && export.name.starts_with("canister_") {
            exports.export(export.name, ExportKind::Func, export.index + injected.shift);
        }
    }
    exports.export(COUNTER_EXPORT, ExportKind::Global, injected.counter);
    for index in mutable_globals(sections) {
        exports.export(&global_export(index), ExportKind::Global, index);
    }
    if !sections.memories.is_empty() {
        exports.export(MEMORY_EXPORT, ExportKind::Memory, 0);
    }
    if !sections.tables.is_empty() {
        exports.export(TABLE_EXPORT, ExportKind::Table, 0);
    }
    if let Some(start) = sections.start {
        exports.export(START_EXPORT, ExportKind::Func, start + injected.shift);
    }
    exports
}

/// Globals are never imported, so their indices are those of the section.
fn mutable_globals(sections: &Sections<'_>) -> impl Iterator<Item = u32> {
    (0..).zip(&sections.globals).filter(|(_, global)| global.mutable).map(|(index, _)| index)
}

fn code(sections: &Sections<'_>, injected: Injected) -> Result<(CodeSection, u64), Error> {
    let mut code = CodeSection::new();
    let mut metering = Metering::new(injected);
    let mut operators = 0;
    let types = &sections.function_types[sections.imported_functions as usize..];
    for (body, &ty) in sections.bodies.iter().zip(types) {
        let params = sections.func_types[ty as usize].params().len();
        let (bytes, count) = metering.instrument(body, params)?;
        code.raw(bytes);
        operators += count;
    }
    let (charge, count) = charge(injected);
    code.function(&charge);
    Ok((code, operators + count))
}

/// `charge(amount) -> amount`: takes `amount` off the counter, which stays at its minimum rather than wrap around, and ends
/// the execution where nothing is left.
fn charge(injected: Injected) -> (Function, u64) {
    use Instruction::*;
    let (amount, left) = (0, 1);
    let instructions = [
        GlobalGet(injected.counter),
        LocalGet(amount),
        I64Sub,
        LocalTee(left),
        GlobalGet(injected.counter),
        I64GtS,
        If(wasm_encoder::BlockType::Result(ValType::I64)),
        I64Const(i64::MIN),
        Else,
        LocalGet(left),
        End,
        GlobalSet(injected.counter),
        GlobalGet(injected.counter),
        I64Const(0),
        I64LtS,
        If(wasm_encoder::BlockType::Empty),
        Call(injected.out_of_instructions),
        End,
        LocalGet(amount),
        End,
    ];
    let mut function = Function::new([(1, ValType::I64)]);
    for instruction in &instructions {
        function.instruction(instruction);
    }
    (function, instructions.len() as u64)
}

/// The names of functions, for backtraces. Names that cannot be read are left out.
fn names(sections: &Sections<'_>) -> Option<NameSection> {
    let mut names = NameSection::new();
    for subsection in sections.names.clone()? {
        let Ok(subsection @ wasmparser::Name::Function(_)) = subsection else { continue };
        Shift.parse_custom_name_subsection(&mut names, subsection).ok()?;
    }
    Some(names)
}

fn copy(module: &mut Module, id: SectionId, data: Option<&[u8]>) {
    if let Some(data) = data {
        module.section(&RawSection { id: id as u8, data });
    }
}
