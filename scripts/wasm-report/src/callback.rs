//! Puts the canister's callback at its place in the module's table.
//!
//! The Internet Computer brings answers to a place in the table, and keeps them for the next module over an upgrade. Linkers give
//! out places anew with every build, so a module that answers by those has another function there. They can be told to begin later
//! (`--table-base`), which leaves places free; what is put there stays there from build to build.

use std::convert::Infallible;

use anyhow::{Result, anyhow, bail, ensure};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{ConstExpr, ElementSection, Elements, Module};
use wasmparser::{ElementKind, ExternalKind, Operator, Parser, Payload};

/// The export that is the callback.
const EXPORT: &str = "ic_nn_callback";
/// Its place (`runtime::CALLBACK` of the canister).
const PLACE: u32 = 1;

struct Placing(u32);

impl Reencode for Placing {
    type Error = Infallible;

    fn parse_element_section(
        &mut self,
        elements: &mut ElementSection,
        section: wasmparser::ElementSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_element_section(self, elements, section)?;
        let place = ConstExpr::i32_const(PLACE as i32);
        elements.active(None, &place, Elements::Functions(vec![self.0].into()));
        Ok(())
    }
}

/// `wasm` with its callback at [`PLACE`].
pub fn place(wasm: &[u8]) -> Result<Vec<u8>> {
    let (mut callback, mut first) = (None, None);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == EXPORT && export.kind == ExternalKind::Func {
                        callback = Some(export.index);
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let ElementKind::Active { offset_expr, .. } = element?.kind else {
                        bail!("a segment of the table is not put there from the start");
                    };
                    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                        bail!("a segment of the table is at no fixed place");
                    };
                    first = Some(first.unwrap_or(value).min(value));
                }
            }
            _ => {}
        }
    }
    let callback = callback.ok_or_else(|| anyhow!("the module exports no function `{EXPORT}`"))?;
    let first = first.ok_or_else(|| anyhow!("the module has no table of functions"))?;
    ensure!(
        i64::from(first) > i64::from(PLACE),
        "the linker gave out place {first} of the table; have it begin with --table-base={}",
        PLACE + 1
    );
    let mut module = Module::new();
    Placing(callback)
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|e| anyhow!("the module cannot be written again: {e}"))?;
    Ok(module.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(base: u32, export: &str) -> Vec<u8> {
        let text = format!(
            r#"(module
            (table {} funcref)
            (elem (i32.const {base}) $other $another)
            (func $other (param i32))
            (func $another (result i32) i32.const 8)
            (func $callback (export "{export}") (param i32) local.get 0 drop))"#,
            base + 2
        );
        wat::parse_str(text).expect("it is WebAssembly")
    }

    #[test]
    fn the_callback_is_where_it_is_expected_and_the_others_stay() {
        let placed = place(&module(2, EXPORT)).expect("it is placed");
        wasmparser::validate(&placed).expect("it is valid");
        let mut segments = vec![];
        for payload in Parser::new(0).parse_all(&placed) {
            let Payload::ElementSection(section) = payload.expect("it parses") else { continue };
            for element in section {
                let element = element.expect("it parses");
                let ElementKind::Active { offset_expr, .. } = element.kind else { panic!("it is active") };
                let wasmparser::ElementItems::Functions(functions) = element.items else {
                    panic!("it is of functions")
                };
                let Ok(Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else {
                    panic!("its place is a number")
                };
                segments
                    .push((value, functions.into_iter().map(|f| f.expect("it parses")).collect::<Vec<_>>()));
            }
        }
        assert_eq!(segments, [(2, vec![0, 1]), (1, vec![2])]);
    }

    #[test]
    fn a_module_without_room_or_without_callback_is_refused() {
        let refused = |wasm: &[u8]| place(wasm).expect_err("it is refused").to_string();
        assert!(refused(&module(1, EXPORT)).contains("--table-base=2"));
        assert!(refused(&module(0, EXPORT)).contains("gave out place 0"));
        assert!(refused(&module(2, "callback")).contains("ic_nn_callback"));
    }
}
