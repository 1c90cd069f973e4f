//! `audit`: who changed what.

use ic_nn_types::{AuditEntry, AuditRequest};
use serde_json::{Value, json};

use crate::args::AuditArgs;
use crate::failure::Failure;
use crate::format;
use crate::output::{print_json, table};
use crate::print::say;
use crate::progress::Progress;
use crate::target::Target;

/// Prints lines of the log, page by page up to the limit.
pub fn audit(args: &AuditArgs, progress: Progress) -> Result<(), Failure> {
    let target = Target::open(&args.target, progress)?;
    let client = target.client();
    let mut entries: Vec<AuditEntry> = Vec::new();
    let mut after = args.after;
    let next = loop {
        let left = args.limit.saturating_sub(entries.len() as u32);
        if left == 0 {
            break after.filter(|_| !entries.is_empty());
        }
        let page = client.audit_log(&AuditRequest { after, limit: Some(left) })?;
        let empty = page.entries.is_empty();
        entries.extend(page.entries);
        match page.next {
            Some(next) if !empty => after = Some(next),
            _ => break None,
        }
    };
    if args.json {
        let entries: Vec<Value> = entries.iter().map(line).collect();
        print_json(&json!({ "entries": entries, "next": next }));
        return Ok(());
    }
    let mut table = table(&["", "UTC", "caller", "method", "on", "refused"]);
    for e in &entries {
        table.add_row(vec![
            e.sequence.to_string(),
            format::utc(e.time),
            e.caller.to_text(),
            e.method.clone(),
            e.subject.clone(),
            e.error.clone(),
        ]);
    }
    say!("{table}");
    if let Some(next) = next {
        progress.note(&format!("there is more: --after {next}"));
    }
    Ok(())
}

fn line(e: &AuditEntry) -> Value {
    json!({
        "sequence": e.sequence,
        "time": e.time,
        "caller": e.caller.to_text(),
        "method": e.method,
        "subject": e.subject,
        "error": e.error,
    })
}
