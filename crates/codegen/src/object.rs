//! Functions as an object file that the linker takes, in an archive that rustc takes.
//!
//! Layout of the object: the WebAssembly object format (tool-conventions, Linking.md): an ordinary module whose memory is
//! imported as `env.__linear_memory` and whose functions are in the symbol table of a `linking` section. The functions call
//! nothing and name no global, so nothing has to be relocated.

use wasm_encoder::{
    CodeSection, EntityType, FunctionSection, ImportSection, LinkingSection, MemoryType, Module, SymbolTable,
    TypeSection,
};

use crate::Written;

/// The object file of these functions.
pub fn object(written: &[Written]) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut imports = ImportSection::new();
    let memory =
        MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("env", "__linear_memory", EntityType::Memory(memory));
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut symbols = SymbolTable::new();
    for (ix, one) in written.iter().enumerate() {
        types.ty().function(one.parameters.iter().copied(), []);
        functions.function(ix as u32);
        code.function(&one.function);
        symbols.function(SymbolTable::WASM_SYM_VISIBILITY_HIDDEN, ix as u32, Some(&one.name));
    }
    let mut linking = LinkingSection::new();
    linking.symbol_table(&symbols);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&code).section(&linking);
    module.finish()
}

/// An archive of one member, in the common `ar` format, without a symbol index: rustc writes one.
pub fn archive(name: &str, object: &[u8]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    let header =
        format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", format!("{name}/"), 0, 0, 0, "100644", object.len());
    archive.extend(header.as_bytes());
    archive.extend(object);
    if object.len() % 2 == 1 {
        archive.push(b'\n');
    }
    archive
}
