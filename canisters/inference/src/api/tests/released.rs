//! Clients of every release go on working: the present interface is a subtype of each in `candid/released`.

use std::path::Path;

use candid::types::subtype;
use candid_parser::utils::{CandidSource, instantiate_candid, service_compatible};

use super::DID;

/// Whether clients of `old` can call a canister of `new`, and whether what `old` was installed with still installs.
fn compatible(new: &str, old: &str) -> Result<(), String> {
    service_compatible(CandidSource::Text(new), CandidSource::Text(old)).map_err(|e| e.to_string())?;
    let (new_args, (mut env, _)) = instantiate_candid(CandidSource::Text(new)).map_err(|e| e.to_string())?;
    let (old_args, (old_env, _)) = instantiate_candid(CandidSource::Text(old)).map_err(|e| e.to_string())?;
    if old_args.len() > new_args.len() {
        return Err(format!(
            "it was installed with {} arguments, {} are taken",
            old_args.len(),
            new_args.len()
        ));
    }
    // `merge_type` renames what it merges, so all arguments have to go through it at once.
    let old = env.merge_type(old_env, tuple(old_args));
    let taken = tuple(new_args);
    subtype::subtype(&mut Default::default(), &env, &old, &taken).map_err(|e| e.to_string())
}

/// Arguments as the record that they are on the wire.
fn tuple(arguments: Vec<candid::types::Type>) -> candid::types::Type {
    use candid::types::{Field, Label, TypeInner};
    let fields = arguments.into_iter().zip(0u32..).map(|(ty, ix)| Field { id: Label::Id(ix).into(), ty });
    TypeInner::Record(fields.collect()).into()
}

#[test]
fn the_interface_serves_clients_of_every_release() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../candid/released");
    let files = std::fs::read_dir(&folder).expect("candid/released is in the repository");
    for file in files {
        let path = file.expect("it lists").path();
        if path.extension().is_none_or(|e| e != "did") {
            continue;
        }
        let old = std::fs::read_to_string(&path).expect("it reads");
        compatible(DID, &old).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

#[test]
fn what_breaks_clients_is_caught() {
    compatible(DID, DID).expect("the interface serves its own clients");
    let broken = |from: &str, to: &str| {
        assert_eq!(DID.matches(from).count(), 1, "`{from}` stands once in the interface");
        let new = DID.replace(from, to);
        assert!(compatible(&new, DID).is_err(), "`{to}` in place of `{from}` is not caught");
    };
    // A method that is gone.
    broken("  unload : (graph) -> (variant { Ok; Err : error });\n", "");
    // An argument of another type, and one more that has to be there.
    broken("  describe : (text) ->", "  describe : (nat64) ->");
    broken("  retire : (text) ->", "  retire : (text, nat32) ->");
    // A record that is answered without a field it had, and a variant that is answered with one more label.
    broken(
        "type list_page = record { models : vec model_summary; next : opt text };",
        "type list_page = record { next : opt text };",
    );
    broken(
        "type access = variant { anyone; authenticated; listed };",
        "type access = variant { anyone; authenticated; listed; nobody };",
    );
    // A record that is taken and has to have more.
    broken(
        "type delete_request = record { model : text;",
        "type delete_request = record { model : text; why : text;",
    );
    // A query that becomes an update.
    broken("  server_live : () -> (bool) query;", "  server_live : () -> (bool);");
    // An install argument of another type.
    broken("service : (opt init_args) ->", "service : (init_args) ->");
}

#[test]
fn what_does_not_break_clients_passes() {
    let passes = |from: &str, to: &str| {
        assert_eq!(DID.matches(from).count(), 1, "`{from}` stands once in the interface");
        let new = DID.replace(from, to);
        compatible(&new, DID).unwrap_or_else(|e| panic!("`{to}` in place of `{from}`: {e}"));
    };
    passes(
        "  server_live : () -> (bool) query;",
        "  server_live : () -> (bool) query;\n  later : () -> (bool) query;",
    );
    passes("  retire : (text) ->", "  retire : (text, opt nat32) ->");
    passes(
        "type load_options = record { fallback : opt bool };",
        "type load_options = record { fallback : opt bool; more : opt text };",
    );
    passes("type verdict = record { valid : bool;", "type verdict = record { valid : bool; more : nat;");
    passes("  admins : opt vec principal;\n", "  admins : opt vec principal;\n  more : opt nat64;\n");
}
