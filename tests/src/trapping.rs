//! The service's module with a trap in it that a test sets off: what a panic outside of every guard would do.
//!
//! The module is written again: `method` counts its calls and traps at the end of the one that a test names by the new method
//! `trap_at`, whose argument is as many bytes long. A trap takes the counting back with everything else, so every later call traps
//! as well, until an empty argument ends that.

/// Bytes that are read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(count);
        self.0 = rest;
        head
    }

    fn number(&mut self) -> usize {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.number();
        self.take(length)
    }
}

fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn text(text: &[u8]) -> Vec<u8> {
    [number(text.len()), text.to_vec()].concat()
}

/// A section with entries behind those that it has.
fn with(section: &[u8], more: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = Bytes(section);
    let count = entries.number();
    [number(count + more.len()), entries.0.to_vec(), more.concat()].concat()
}

/// A function's body of that code.
fn body(code: &[u8]) -> Vec<u8> {
    text(&[&[0], code, &[0x0b]].concat())
}

/// `module` with a trap at the end of a call of its update method `method`.
///
/// # Panics
/// Where the module is none of the service.
pub fn trapping(module: &[u8], method: &str) -> Vec<u8> {
    let mut rest = Bytes(&module[8..]);
    let mut sections = vec![];
    while !rest.0.is_empty() {
        let id = rest.take(1)[0];
        sections.push((id, rest.text()));
    }
    let section = |id: u8| sections.iter().find(|(found, _)| *found == id).expect("a section").1;
    // The first type without parameters and results.
    let mut types = Bytes(section(1));
    let nothing = (0..types.number()).find(|_| {
        assert_eq!(types.take(1), [0x60], "a function's type");
        let parameters = types.text().len();
        parameters + types.text().len() == 0
    });
    let nothing = nothing.expect("a type of functions without parameters");
    // Functions that are imported come first.
    let mut imports = Bytes(section(2));
    let mut imported: Vec<&[u8]> = vec![];
    for _ in 0..imports.number() {
        let (_, name) = (imports.text(), imports.text());
        assert_eq!(imports.take(1), [0], "functions alone are imported");
        imports.number();
        imported.push(name);
    }
    let import =
        |wanted: &str| imported.iter().position(|name| *name == wanted.as_bytes()).expect("an import");
    let functions = imported.len() + Bytes(section(3)).number();
    let counter = number(Bytes(section(6)).number());
    // The export leads to a function of ours, which calls its own.
    let exported = format!("canister_update {method}");
    let mut exports = Bytes(section(7));
    let (mut own, mut kept) = (None, vec![]);
    for _ in 0..exports.number() {
        let (name, kind, index) = (exports.text(), exports.take(1)[0], exports.number());
        let index = if name == exported.as_bytes() {
            own.replace(index).map_or(functions, |_| functions)
        } else {
            index
        };
        kept.push([text(name), vec![kind], number(index)].concat());
    }
    let own = own.expect("the method is exported");
    kept.push([text(b"canister_update trap_at"), vec![0], number(functions + 1)].concat());
    let get = [&[0x23], &counter[..]].concat();
    let set = [&[0x24], &counter[..]].concat();
    let call = |function: usize| [vec![0x10], number(function)].concat();
    let counting = [
        call(own),
        get.clone(),
        vec![0x04, 0x40],
        get.clone(),
        vec![0x41, 1, 0x6b],
        set.clone(),
        get,
        vec![0x45, 0x04, 0x40, 0x00, 0x0b, 0x0b],
    ];
    let setting = [call(import("msg_arg_data_size")), set, call(import("msg_reply"))];
    let mut written = module[..8].to_vec();
    for (id, bytes) in &sections {
        let bytes = match id {
            3 => with(bytes, &[number(nothing), number(nothing)]),
            6 => with(bytes, &[vec![0x7f, 1, 0x41, 0, 0x0b]]),
            7 => [number(kept.len()), kept.concat()].concat(),
            10 => with(bytes, &[body(&counting.concat()), body(&setting.concat())]),
            _ => bytes.to_vec(),
        };
        written.push(*id);
        written.extend(text(&bytes));
    }
    written
}
