//! The documents against what they document: every method described once, every link leading somewhere.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The documents of the repository: those in its root, and all of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = [root(), root().join("docs")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    found.sort();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// Names of the service's methods, as they begin the lines of `candid/ic_nn.did`.
fn methods() -> Vec<String> {
    let did = read(&root().join("candid/ic_nn.did"));
    let (_, service) = did.split_once("service :").expect("a service");
    let methods: Vec<String> = service
        .lines()
        .filter_map(|line| line.trim().split_once(" : ("))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        .collect();
    assert!(methods.len() >= 16, "{methods:?}");
    methods
}

/// Methods that INTERFACE.md describes: by a heading of their own, or by their signature, `name : (…) -> …`, in prose or a
/// table. What stands in fenced blocks is an example.
fn described() -> Vec<String> {
    let document = read(&root().join("INTERFACE.md"));
    let prose: String = document.split("```").step_by(2).collect();
    let signatures = prose.split('`').skip(1).step_by(2).filter_map(|span| Some(span.split_once(" : (")?.0));
    let headings = document
        .lines()
        .filter(|line| line.starts_with("### `"))
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut described: Vec<String> = signatures.chain(headings).map(str::to_owned).collect();
    described.sort();
    described
}

#[test]
fn the_interface_document_describes_every_method() {
    let mut methods = methods();
    methods.sort();
    assert_eq!(described(), methods, "each method once, by a heading or its signature");
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = read(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap_or(target);
            let linked = path.parent().expect("a folder").join(file);
            assert!(linked.exists(), "{}: {target}", path.display());
        }
    }
}
