//! A validated module taken apart into its sections.
//!
//! Owns the parsing of section headers and items other than code. Keeps borrowed readers where a later step rewrites a
//! section, decoded items where it looks at them.

use wasmparser::{
    BinaryReaderError, ElementSectionReader, Export, FuncType, FunctionBody, GlobalSectionReader, GlobalType,
    Import, KnownCustom, MemoryType, NameSectionReader, Parser, Payload, TableType, TypeRef,
    TypeSectionReader, ValType,
};

use super::InvalidModule;

/// The sections of one module. Type, function and global indices in it are in range: the module was validated.
#[derive(Default)]
pub(super) struct Sections<'a> {
    pub types: Option<TypeSectionReader<'a>>,
    pub func_types: Vec<FuncType>,
    pub imports: Vec<Import<'a>>,
    /// Type indices of all functions, the imported ones first.
    pub function_types: Vec<u32>,
    pub imported_functions: u32,
    pub tables: Vec<TableType>,
    pub table_bytes: Option<&'a [u8]>,
    pub memories: Vec<MemoryType>,
    pub memory_bytes: Option<&'a [u8]>,
    pub globals: Vec<GlobalType>,
    pub global_section: Option<GlobalSectionReader<'a>>,
    pub exports: Vec<Export<'a>>,
    pub start: Option<u32>,
    pub elements: Option<ElementSectionReader<'a>>,
    pub data_count: Option<u32>,
    pub bodies: Vec<FunctionBody<'a>>,
    pub code_bytes: u64,
    pub active_data: Vec<DataRange>,
    pub data_bytes: Option<&'a [u8]>,
    pub custom: Vec<(&'a str, &'a [u8])>,
    pub names: Option<NameSectionReader<'a>>,
}

/// Where an active data segment goes.
#[derive(Clone, Copy)]
pub(super) struct DataRange {
    pub offset: u32,
    pub len: u64,
}

impl<'a> Sections<'a> {
    /// Takes a validated module apart.
    pub fn parse(wasm: &'a [u8]) -> Result<Self, InvalidModule> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            payload.and_then(|payload| sections.add(wasm, payload)).map_err(InvalidModule::decoding)?;
        }
        Ok(sections)
    }

    fn add(&mut self, wasm: &'a [u8], payload: Payload<'a>) -> Result<(), BinaryReaderError> {
        let bytes = |range: std::ops::Range<u64>| wasm.get(range.start as usize..range.end as usize);
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    let types = group?.into_types();
                    self.func_types.extend(types.map(|ty| ty.composite_type.unwrap_func().clone()));
                }
                self.types = Some(section);
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Func(ty) | TypeRef::FuncExact(ty) = import.ty {
                        self.function_types.push(ty);
                        self.imported_functions += 1;
                    }
                    self.imports.push(import);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.function_types.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                self.table_bytes = bytes(section.range());
                for table in section {
                    self.tables.push(table?.ty);
                }
            }
            Payload::MemorySection(section) => {
                self.memory_bytes = bytes(section.range());
                for memory in section {
                    self.memories.push(memory?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    self.globals.push(global?.ty);
                }
                self.global_section = Some(section);
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.exports.push(export?);
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => self.elements = Some(section),
            Payload::DataCountSection { count, .. } => self.data_count = Some(count),
            Payload::CodeSectionStart { size, .. } => self.code_bytes = size.into(),
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::DataSection(section) => {
                self.data_bytes = bytes(section.range());
                for data in section {
                    self.add_data(&data?)?;
                }
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.names = Some(names);
                }
                self.custom.push((section.name(), section.data()));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, data: &wasmparser::Data<'a>) -> Result<(), BinaryReaderError> {
        let wasmparser::DataKind::Active { offset_expr, .. } = &data.kind else { return Ok(()) };
        // Without imported globals and extended constants a valid offset is one constant.
        if let wasmparser::Operator::I32Const { value } = offset_expr.get_operators_reader().read()? {
            self.active_data.push(DataRange { offset: value as u32, len: data.data.len() as u64 });
        }
        Ok(())
    }

    /// Checks the type with index `ty` against what `name` has to have.
    pub fn check_signature(
        &self,
        name: &str,
        ty: u32,
        params: &[ValType],
        results: &[ValType],
    ) -> Result<(), InvalidModule> {
        let got = &self.func_types[ty as usize];
        if got.params() != params {
            return Err(InvalidModule::Signature(format!(
                "Expected input params {params:?} for '{name}', got {:?}.",
                got.params()
            )));
        }
        if got.results() != results {
            return Err(InvalidModule::Signature(format!(
                "Expected return type {results:?} for '{name}', got {:?}.",
                got.results()
            )));
        }
        Ok(())
    }

    /// Functions the module defines itself.
    pub fn defined_functions(&self) -> usize {
        self.function_types.len() - self.imported_functions as usize
    }
}
