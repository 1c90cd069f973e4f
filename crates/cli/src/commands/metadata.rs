//! `metadata`: what the target is.

use serde_json::json;

use crate::args::MetadataArgs;
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Prints the server's metadata.
pub fn metadata(args: &MetadataArgs, progress: Progress) -> Result<(), Failure> {
    let m = Target::open(&args.target, progress)?.client().server_metadata()?;
    let limits = &m.limits;
    if args.json {
        print_json(&json!({
            "name": m.name,
            "version": m.version,
            "extensions": m.extensions,
            "engine": m.engine,
            "specification": m.specification,
            "encodings": m.encodings,
            "tensor_types": m.tensor_types,
            "limits": {
                "max_chunk_bytes": limits.max_chunk_bytes,
                "max_model_bytes": limits.max_model_bytes,
                "max_total_bytes": limits.max_total_bytes,
                "max_heap_bytes": limits.max_heap_bytes,
                "max_open_uploads": limits.max_open_uploads,
                "update_instructions": limits.update_instructions,
                "query_instructions": limits.query_instructions,
            },
            "heap_bytes": m.heap_bytes,
            "stable_bytes": m.stable_bytes,
            "loaded_graphs": m.loaded_graphs,
        }));
        return Ok(());
    }
    let mut table = table(&[m.name.as_str(), m.version.as_str()]);
    let list = |items: &[String]| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
    for (what, value) in [
        ("engine", m.engine.clone()),
        ("specification", m.specification.clone()),
        ("encodings", list(&m.encodings)),
        ("tensor types", list(&m.tensor_types)),
        ("extensions", list(&m.extensions)),
        ("heap", format::bytes(m.heap_bytes)),
        ("stable memory", format::bytes(m.stable_bytes)),
        ("loaded graphs", m.loaded_graphs.to_string()),
        ("largest model", format::bytes(limits.max_model_bytes)),
        ("all models", format::bytes(limits.max_total_bytes)),
        ("heap for graphs", format::bytes(limits.max_heap_bytes)),
        ("largest chunk", format::bytes(u64::from(limits.max_chunk_bytes))),
        ("open uploads", limits.max_open_uploads.to_string()),
        ("an update may take", format!("{} instructions", format::instructions(limits.update_instructions))),
        ("a query may take", format!("{} instructions", format::instructions(limits.query_instructions))),
    ] {
        table.add_row([what, value.as_str()]);
    }
    say!("{table}");
    Ok(())
}
