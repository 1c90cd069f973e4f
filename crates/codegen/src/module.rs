//! Functions as a module of their own, with a memory and a table that has them in order: to run, meter and look at.

use std::borrow::Cow;

use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection, FunctionSection,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection,
};

use crate::Written;

/// A module of these functions with a memory of `pages`.
pub fn module(written: &[Written], pages: u64) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: pages,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let count = written.len() as u64;
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: count,
        maximum: Some(count),
        shared: false,
    });
    let mut elements = ElementSection::new();
    let order: Vec<u32> = (0..count as u32).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(Cow::Owned(order)));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("table", ExportKind::Table, 0);
    for (ix, one) in written.iter().enumerate() {
        types.ty().function(one.parameters.iter().copied(), []);
        functions.function(ix as u32);
        code.function(&one.function);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&exports);
    module.section(&elements).section(&code);
    module.finish()
}
