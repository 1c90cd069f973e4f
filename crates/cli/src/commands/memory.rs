//! Where every byte of the target is: `memory`.

use ic_nn_types::MemoryStatus;
use serde_json::{Value, json};

use crate::args::ShowArgs;
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Prints heap and stable memory by purpose, then what graphs and models have of them.
pub fn memory(args: &ShowArgs, progress: Progress) -> Result<(), Failure> {
    let status = Target::open(&args.target, progress)?.client().memory_status()?;
    if args.json {
        print_json(&as_json(&status));
        return Ok(());
    }
    for (whole, bytes, parts) in
        [("heap", status.heap_bytes, &status.heap), ("stable memory", status.stable_bytes, &status.stable)]
    {
        let mut table = table(&[whole, &format::bytes(bytes)]);
        for (purpose, bytes) in parts {
            table.add_row([purpose.as_str(), &format::bytes(*bytes)]);
        }
        say!("{table}");
    }
    if !status.graphs.is_empty() {
        let mut table = table(&["graph in the heap", "heap", "streamed", "of it cached", "stays"]);
        for graph in &status.graphs {
            table.add_row([
                graph.models.join(", "),
                format::bytes(graph.bytes),
                format::bytes(graph.streamed_bytes),
                format::bytes(graph.cached_bytes),
                if graph.pinned { "yes" } else { "no" }.to_owned(),
            ]);
        }
        say!("{table}");
    }
    if !status.models.is_empty() {
        let mut table = table(&["model", "files", "image"]);
        for model in &status.models {
            table.add_row([
                &model.model,
                &format::bytes(model.file_bytes),
                &format::bytes(model.image_bytes),
            ]);
        }
        say!("{table}");
    }
    let cache = &status.weight_cache;
    if cache.hits + cache.misses > 0 {
        say!(
            "weight cache: {} of {}, {} panels found, {} read ({})",
            format::bytes(cache.bytes),
            format::bytes(cache.max_bytes),
            format::grouped(cache.hits),
            format::grouped(cache.misses),
            format::bytes(cache.read_bytes)
        );
    }
    Ok(())
}

fn as_json(status: &MemoryStatus) -> Value {
    let parts = |parts: &[(String, u64)]| -> Value {
        parts
            .iter()
            .map(|(purpose, bytes)| (purpose.clone(), json!(bytes)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let graphs = status.graphs.iter().map(|graph| {
        json!({
            "models": graph.models,
            "bytes": graph.bytes,
            "streamed_bytes": graph.streamed_bytes,
            "cached_bytes": graph.cached_bytes,
            "pinned": graph.pinned,
            "last_used": graph.last_used,
        })
    });
    let models = status.models.iter().map(|model| {
        json!({ "model": model.model, "file_bytes": model.file_bytes, "image_bytes": model.image_bytes })
    });
    let cache = &status.weight_cache;
    json!({
        "heap_bytes": status.heap_bytes,
        "max_heap_bytes": status.max_heap_bytes,
        "heap": parts(&status.heap),
        "graphs": graphs.collect::<Vec<_>>(),
        "stable_bytes": status.stable_bytes,
        "stable": parts(&status.stable),
        "models": models.collect::<Vec<_>>(),
        "weight_cache": {
            "max_bytes": cache.max_bytes,
            "bytes": cache.bytes,
            "hits": cache.hits,
            "misses": cache.misses,
            "read_bytes": cache.read_bytes,
        },
    })
}
