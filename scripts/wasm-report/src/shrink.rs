//! The same module in fewer bytes: numbers that the linker padded to five bytes take what they need, functions that are the same
//! instruction by instruction become one, and those that are called from the most places come first, whose numbers are the
//! shortest. Nothing else is touched, so every call takes the instructions that it took.

use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::{Context, Result, anyhow};
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, Encode, FunctionSection, Module, NameMap, NameSection};
use wasmparser::{FunctionBody, Name, Parser, Payload, TypeRef};

/// Where calls of each function go.
struct Merged<'a> {
    /// By function: the first that is the same.
    first: Vec<u32>,
    /// By function: its number in the new module.
    number: Vec<u32>,
    /// How many calls there are of each, those of the same ones together.
    calls: Vec<u64>,
    /// Types and bodies of the functions that stay, in their new order.
    written: Vec<(u32, FunctionBody<'a>)>,
}

impl Merged<'_> {
    fn stays(&self, function: u32) -> bool {
        self.first[function as usize] == function
    }
}

impl Reencode for Merged<'_> {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        let first = self.first[function as usize] as usize;
        self.calls[first] += 1;
        Ok(self.number[first])
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        _: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for at in 0..self.written.len() {
            let ty = self.type_index(self.written[at].0)?;
            functions.function(ty);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        _: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for at in 0..self.written.len() {
            let body = self.written[at].1.clone();
            utils::parse_function_body(self, code, body)?;
        }
        Ok(())
    }

    fn parse_custom_name_subsection(
        &mut self,
        names: &mut NameSection,
        section: Name<'_>,
    ) -> Result<(), Error<Infallible>> {
        let Name::Function(map) = section else {
            return utils::parse_custom_name_subsection(self, names, section);
        };
        let mut named = vec![];
        for naming in map {
            let naming = naming?;
            if self.stays(naming.index) {
                named.push((self.function_index(naming.index)?, naming.name));
            }
        }
        named.sort_unstable();
        let mut kept = NameMap::new();
        named.into_iter().for_each(|(number, name)| kept.append(number, name));
        names.functions(&kept);
        Ok(())
    }
}

/// `wasm` in fewer bytes, and how many functions became others.
pub fn shrink(wasm: &[u8]) -> Result<(Vec<u8>, usize)> {
    let (mut imported, mut types, mut bodies) = (0u32, vec![], vec![]);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => types = section.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => bodies.push(body),
            _ => {}
        }
    }
    let all = imported + u32::try_from(bodies.len()).context("more functions than there are numbers")?;
    let numbers: Vec<u32> = (0..all).collect();
    let calls = vec![0; all as usize];
    let mut merged = Merged { first: numbers.clone(), number: numbers, calls, written: vec![] };
    // What calls functions that have become one may be the same by that.
    loop {
        merged.calls.fill(0);
        let mut seen: HashMap<(u32, Vec<u8>), u32> = HashMap::new();
        let mut found = vec![];
        for (function, (ty, body)) in (imported..).zip(types.iter().zip(&bodies)) {
            if merged.stays(function) {
                let first = *seen.entry((*ty, encoded(&mut merged, body)?)).or_insert(function);
                if first != function {
                    found.push((function, first));
                }
            }
        }
        if found.is_empty() {
            break;
        }
        for (function, first) in found {
            merged.first[function as usize] = first;
        }
        for function in 0..all as usize {
            // The first of a function may have become another.
            merged.first[function] = merged.first[merged.first[function] as usize];
        }
    }
    // By the calls that the last round counted, each in a body that stays; of equals the first stays first.
    let mut order: Vec<u32> = (imported..all).filter(|function| merged.stays(*function)).collect();
    order.sort_by_key(|function| std::cmp::Reverse(merged.calls[*function as usize]));
    for (number, function) in (imported..).zip(&order) {
        merged.number[*function as usize] = number;
        let at = (*function - imported) as usize;
        merged.written.push((types[at], bodies[at].clone()));
    }
    let stays = imported + u32::try_from(order.len()).context("more functions than there are numbers")?;
    let mut module = Module::new();
    merged
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|e| anyhow!("the module cannot be written again: {e}"))?;
    Ok((module.finish(), (all - stays) as usize))
}

/// The bytes of a body, calls going where they go by now.
fn encoded(merged: &mut Merged<'_>, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
    let fail = |e: Error<Infallible>| anyhow!("a function cannot be written again: {e}");
    let mut function = merged.new_function_with_parsed_locals(body).map_err(fail)?;
    let mut reader = body.get_operators_reader()?;
    while !reader.eof() {
        function.instruction(&merged.parse_instruction(&mut reader).map_err(fail)?);
    }
    let mut bytes = vec![];
    function.encode(&mut bytes);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"(module
        (import "ic0" "trap" (func $trap (param i32 i32)))
        (table 4 funcref)
        (elem (i32.const 0) $one $same $calls_same $other)
        (func $one (result i32) i32.const 7)
        (func $same (result i32) i32.const 7)
        (func $other (result i32) i32.const 8)
        (func $calls_one (export "a") (result i32) call $one)
        (func $calls_same (export "b") (result i32) call $same)
        (func $calls_other (export "c") (result i32) i32.const 0 i32.const 0 call $trap call $other)
        (func $another_type (param i32) (result i32) i32.const 7))"#;

    #[test]
    fn what_is_the_same_becomes_one_and_all_that_leads_to_it_follows() {
        let wasm = wat::parse_str(TEXT).expect("it is WebAssembly");
        let (shrunk, merged) = shrink(&wasm).expect("it is written again");
        assert_eq!(merged, 2, "$same, and by it $calls_same");
        wasmparser::validate(&shrunk).expect("it is valid");
        let expected = wat::parse_str(
            r#"(module
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (table 4 funcref)
            (elem (i32.const 0) $one $one $calls_one $other)
            (func $one (result i32) i32.const 7)
            (func $other (result i32) i32.const 8)
            (func $calls_one (export "a") (export "b") (result i32) call $one)
            (func $calls_other (export "c") (result i32) i32.const 0 i32.const 0 call $trap call $other)
            (func $another_type (param i32) (result i32) i32.const 7))"#,
        )
        .expect("it is WebAssembly");
        let (again, merged) = shrink(&expected).expect("it is written again");
        assert_eq!(merged, 0, "there is nothing left to merge");
        let code = |wasm: &[u8]| {
            let bodies = Parser::new(0).parse_all(wasm).filter_map(|p| match p.expect("it parses") {
                Payload::CodeSectionEntry(body) => Some(body.as_bytes().to_vec()),
                _ => None,
            });
            bodies.collect::<Vec<_>>()
        };
        assert_eq!(code(&shrunk), code(&again));
    }

    #[test]
    fn what_is_called_most_comes_first() {
        let wasm = wat::parse_str(
            r#"(module
            (func (export "seldom") (result i32) i32.const 1)
            (func $often (result i32) i32.const 2)
            (func (export "calls") (result i32) call $often call $often i32.add))"#,
        )
        .expect("it is WebAssembly");
        let (shrunk, _) = shrink(&wasm).expect("it is written again");
        wasmparser::validate(&shrunk).expect("it is valid");
        let mut exports = vec![];
        let mut first = vec![];
        for payload in Parser::new(0).parse_all(&shrunk) {
            match payload.expect("it parses") {
                Payload::ExportSection(section) => exports.extend(section.into_iter().flatten()),
                Payload::CodeSectionEntry(body) => first.push(body.as_bytes().to_vec()),
                _ => {}
            }
        }
        assert_eq!(first[0], [0, 0x41, 2, 0x0b], "$often");
        let numbers: Vec<_> = exports.iter().map(|e| (e.name, e.index)).collect();
        assert_eq!(numbers, [("seldom", 1), ("calls", 2)]);
    }
}
