//! Compares what a step did with what was recorded.

use ic_nn_host::{LogLine, Reject};
use sha2::{Digest, Sha256};

use super::step::{Log, Step};

/// Answer of a step.
pub enum Outcome {
    /// Nothing to compare but that there was no reject.
    Done,
    /// A reply.
    Reply(Vec<u8>),
    /// A reject, before or after induction.
    Reject(Reject),
    /// Log lines.
    Logs(Vec<LogLine>),
    /// The state a canister is in.
    State(String),
}

/// What differs in reply, codes or logs.
pub fn outcome(step: &Step, got: &Outcome) -> Option<String> {
    match got {
        Outcome::Reject(reject) => codes(step, reject),
        _ if step.reject_code.is_some() || step.http_error.is_some() => {
            let expected = step.message.as_ref().or(step.message_head.as_ref()).or(step.http_error.as_ref());
            Some(format!("succeeded, expected {}: {:.120}", step.error_code_num, expected?))
        }
        Outcome::Done => None,
        Outcome::Reply(bytes) => reply(step, bytes),
        Outcome::Logs(lines) => logs(step.logs.as_deref().unwrap_or_default(), lines),
        Outcome::State(state) => (step.status.as_ref() != Some(state))
            .then(|| format!("state {state}, expected {}", step.status.as_deref().unwrap_or("none"))),
    }
}

fn codes(step: &Step, got: &Reject) -> Option<String> {
    if step.http_error.is_some() {
        return None;
    }
    let Some(code) = step.reject_code else { return Some(format!("rejected: {got:.300}")) };
    let error_code = format!("IC{:04}", step.error_code_num);
    (got.code as u8 != code || got.error_code != error_code)
        .then(|| format!("rejected {got:.300}, expected {code} ({error_code}): {:.200}", recorded_text(step)))
}

fn reply(step: &Step, bytes: &[u8]) -> Option<String> {
    if let Some(sha256) = &step.reply_sha256 {
        let got = hex::encode(Sha256::digest(bytes));
        return (got != *sha256).then(|| {
            format!(
                "reply of {} bytes ({got:.8}), expected {:?} bytes ({sha256:.8})",
                bytes.len(),
                step.reply_len
            )
        });
    }
    let recorded = step.reply_hex.as_ref()?;
    (hex::encode(bytes) != *recorded).then(|| {
        format!(
            "reply {}, expected {}",
            readable(bytes),
            readable(&hex::decode(recorded).unwrap_or_default())
        )
    })
}

/// Little-endian numbers where the bytes divide into such.
fn readable(bytes: &[u8]) -> String {
    let (words, rest) = bytes.as_chunks::<8>();
    if words.is_empty() || !rest.is_empty() || words.len() > 40 {
        return format!("{:.200}", hex::encode(bytes));
    }
    format!("{:?}", words.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>())
}

fn logs(recorded: &[Log], got: &[LogLine]) -> Option<String> {
    let same =
        got.len() == recorded.len() && got.iter().zip(recorded).all(|(line, log)| same_line(line, log));
    let got: Vec<_> = got.iter().map(|line| (line.index, short(&text(&line.content)))).collect();
    let recorded: Vec<_> =
        recorded.iter().map(|log| (log.idx, short(log.content.as_deref().unwrap_or("?")))).collect();
    (!same).then(|| format!("logs {got:?}, expected {recorded:?}"))
}

/// Lines of a backtrace aside. Of long lines the record holds the first 100 characters and the length.
fn same_line(line: &LogLine, log: &Log) -> bool {
    let Some(recorded) = &log.content else { return line.index == log.idx };
    let same = match recorded.strip_suffix("...") {
        Some(head) if log.len > Some(recorded.len()) => {
            Some(line.content.len()) == log.len && text(&line.content).starts_with(head)
        }
        _ => cause(&text(&line.content)) == cause(recorded),
    };
    line.index == log.idx && same
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

/// What differs in the cause that a reject's message names.
pub fn message(step: &Step, got: &Outcome) -> Option<String> {
    let Outcome::Reject(got) = got else { return None };
    let recorded = step.message.as_ref()?;
    let (got, recorded) = (cause(&got.message), cause(recorded));
    (got != recorded).then(|| format!("says {got:?}, expected {recorded:?}"))
}

fn recorded_text(step: &Step) -> &str {
    step.message.as_deref().or(step.message_head.as_deref()).unwrap_or_default()
}

/// The first line of a message, without backtrace, offsets and advice, and with one spelling of System API names.
fn cause(message: &str) -> String {
    let end = message.find("\nCanister Backtrace").unwrap_or(message.len());
    let line = message[..end].lines().next().unwrap_or_default();
    let line = line.split(" (at offset").next().unwrap_or_default();
    line.trim_end_matches('.').replace("ic0_", "ic0.").replace('"', "")
}
