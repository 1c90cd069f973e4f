//! What the target is, can, and has done: `metadata`, `capabilities`, `stats`.

use ic_nn_types::{ExecutionTarget, GraphEncoding, Limits};
use serde_json::{Value, json};

use crate::args::{ShowArgs, StatsArgs};
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Prints the server's metadata.
pub fn metadata(args: &ShowArgs, progress: Progress) -> Result<(), Failure> {
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
            "limits": limits_json(limits),
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
        ("of it for streamed weights", limits.max_weight_cache_bytes.map_or("-".into(), format::bytes)),
        ("largest chunk", format::bytes(u64::from(limits.max_chunk_bytes))),
        ("largest tensor in a message", format::bytes(limits.max_tensor_bytes)),
        ("open uploads", limits.max_open_uploads.to_string()),
        ("bytes of an uploader", unless_zero(limits.max_bytes_per_uploader, format::bytes)),
        ("an upload is abandoned after", format!("{} s", format::grouped(limits.abandoned_after_seconds))),
        ("execution contexts", limits.max_contexts.to_string()),
        (
            "a caller may take a day",
            unless_zero(limits.instructions_per_caller_and_day, |n| {
                format!("{} instructions", format::instructions(n))
            }),
        ),
        ("an update may take", format!("{} instructions", format::instructions(limits.update_instructions))),
        ("a query may take", format!("{} instructions", format::instructions(limits.query_instructions))),
    ] {
        table.add_row([what, value.as_str()]);
    }
    say!("{table}");
    Ok(())
}

/// `capabilities`.
pub fn capabilities(args: &ShowArgs, progress: Progress) -> Result<(), Failure> {
    let c = Target::open(&args.target, progress)?.client().capabilities()?;
    let types: Vec<&str> = c.tensor_types.iter().map(|t| t.label()).collect();
    if args.json {
        let encodings: Vec<Value> = c
            .encodings
            .iter()
            .map(
                |e| json!({ "encoding": encoding(e.encoding), "supported": e.supported, "detail": e.detail }),
            )
            .collect();
        let targets: Vec<Value> = c
            .targets
            .iter()
            .map(|t| json!({ "target": execution(t.target), "supported": t.supported, "detail": t.detail }))
            .collect();
        print_json(&json!({
            "specification": c.specification,
            "engine": c.engine,
            "build": c.build,
            "encodings": encodings,
            "tensor_types": types,
            "targets": targets,
            "operators": c.operators,
            "limits": limits_json(&c.limits),
            "costs": {
                "schedule": c.costs.name,
                "nodes": c.costs.nodes,
                "cycles_per_instruction": c.costs.cycles_per_instruction,
                "cycles_per_update": c.costs.cycles_per_update,
                "cycles_per_ingress_message": c.costs.cycles_per_ingress_message,
                "cycles_per_ingress_byte": c.costs.cycles_per_ingress_byte,
                "cycles_per_call": c.costs.cycles_per_call,
                "cycles_per_call_byte": c.costs.cycles_per_call_byte,
                "cycles_per_gib_second": c.costs.cycles_per_gib_second,
            },
        }));
        return Ok(());
    }
    let served = |supported: bool| if supported { "yes" } else { "no" };
    let mut table = table(&["", "", "served", ""]);
    for e in &c.encodings {
        table.add_row(["encoding", encoding(e.encoding), served(e.supported), &e.detail]);
    }
    for t in &c.targets {
        table.add_row(["target", execution(t.target), served(t.supported), &t.detail]);
    }
    say!("{}, {}, build {}", c.specification, c.engine, c.build);
    say!("{table}");
    say!("element types: {}", types.join(" "));
    say!(
        "an update costs {} cycles and {} an instruction on {} nodes; queries are free (fees of {})",
        format::grouped(c.costs.cycles_per_update),
        c.costs.cycles_per_instruction,
        c.costs.nodes,
        c.costs.name
    );
    say!("{} operators: {}", c.operators.len(), c.operators.join(" "));
    Ok(())
}

/// `stats`.
pub fn stats(args: &StatsArgs, progress: Progress) -> Result<(), Failure> {
    let s = Target::open(&args.target, progress)?.client().model_statistics(&args.model)?;
    if args.json {
        print_json(&json!({
            "name": s.name,
            "version": s.version,
            "success": s.success,
            "fail": s.fail,
            "cache_hits": s.cache_hits,
            "min_instructions": s.min_instructions,
            "mean_instructions": s.mean_instructions,
            "max_instructions": s.max_instructions,
            "last_used": s.last_used,
        }));
        return Ok(());
    }
    let model = format!("{}:{}", s.name, s.version);
    let mut table = table(&[model.as_str(), "counted in updates"]);
    for (what, value) in [
        ("inferences", format::grouped(s.success)),
        ("of these from the response cache", format::grouped(s.cache_hits)),
        ("refused or failed", format::grouped(s.fail)),
        ("instructions, least", format::instructions(s.min_instructions)),
        ("instructions, mean", format::instructions(s.mean_instructions)),
        ("instructions, most", format::instructions(s.max_instructions)),
        ("last used, UTC", s.last_used.map_or_else(|| "never".to_owned(), format::utc)),
    ] {
        table.add_row([what, value.as_str()]);
    }
    say!("{table}");
    Ok(())
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "max_chunk_bytes": limits.max_chunk_bytes,
        "max_model_bytes": limits.max_model_bytes,
        "max_total_bytes": limits.max_total_bytes,
        "max_heap_bytes": limits.max_heap_bytes,
        "max_weight_cache_bytes": limits.max_weight_cache_bytes,
        "max_open_uploads": limits.max_open_uploads,
        "max_bytes_per_uploader": limits.max_bytes_per_uploader,
        "abandoned_after_seconds": limits.abandoned_after_seconds,
        "max_contexts": limits.max_contexts,
        "instructions_per_caller_and_day": limits.instructions_per_caller_and_day,
        "max_tensor_bytes": limits.max_tensor_bytes,
        "update_instructions": limits.update_instructions,
        "query_instructions": limits.query_instructions,
    })
}

/// Zero is no limit.
fn unless_zero(limit: u64, text: impl Fn(u64) -> String) -> String {
    if limit == 0 { "no limit".to_owned() } else { text(limit) }
}

fn encoding(encoding: GraphEncoding) -> &'static str {
    ic_nn_engine::encoding::label(encoding)
}

fn execution(target: ExecutionTarget) -> &'static str {
    match target {
        ExecutionTarget::Cpu => "cpu",
        ExecutionTarget::Gpu => "gpu",
        ExecutionTarget::Tpu => "tpu",
    }
}
