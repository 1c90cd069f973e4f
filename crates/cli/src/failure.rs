//! What a command fails with: one readable line, a hint where there is one, and the exit code.

use std::process::ExitCode;

use ic_nn_client::{CallError, ClientError, RejectCode};
use ic_nn_types::ErrorCode;

/// The replica's code for a message that the canister's `inspect_message` dropped. A canister's own rejects have it too, but
/// none of the methods that are called here rejects.
const NOT_LET_IN: &str = "IC0406";

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

/// What the exit code tells a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// 1: the service or the engine said no.
    Failed = 1,
    /// 2: the arguments, or the files they name, will not do.
    Usage = 2,
    /// 3: nothing was asked yet: no canister to run, none to reach, no place to write.
    Unprepared = 3,
}

impl Failure {
    /// The service or the engine failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// The arguments, or the files they name, will not do.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// Something that must be there first is not.
    pub fn unprepared(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Unprepared, message: message.into(), hint: None }
    }

    /// Says what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Writes the failure to stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {}", one_line(&self.message));
        if let Some(hint) = &self.hint {
            eprintln!(" hint: {hint}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Line breaks from outside become spaces, control characters vanish: a file's name or a canister's text must not
/// write over the terminal.
fn one_line(text: &str) -> String {
    let words: Vec<String> =
        text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect()).collect();
    words.join(" ")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Service { error, method } => match service_hint(error.code, method) {
                Some(hint) => Failure::failed(message).hint(hint),
                None => Failure::failed(message),
            },
            ClientError::Call { error: CallError::Unreachable { .. }, .. } => Failure::unprepared(message)
                .hint("is the replica running, and is --url right? an upload that broke off resumes when repeated"),
            ClientError::Call { error: CallError::Rejected { code: RejectCode::DestinationInvalid, .. }, .. } => {
                Failure::unprepared(message).hint("is --canister right, and is the canister on that network?")
            }
            ClientError::Call { error: CallError::Rejected { error_code, .. }, .. } if error_code == NOT_LET_IN => {
                Failure::failed(message).hint(
                    "the canister drops updates of who may not call them: name your key with --identity; an admin lets you \
                     in with `ic-nn roles grant PRINCIPAL uploader` (`caller` for inference by update)",
                )
            }
            ClientError::Call { .. } | ClientError::Upload { .. } | ClientError::Tensor { .. } => {
                Failure::failed(message)
            }
            ClientError::Decode { .. } => Failure::failed(message)
                .hint("the canister may not be ic-nn, or of another version; `ic-nn metadata` asks it"),
        }
    }
}

fn service_hint(code: ErrorCode, method: &str) -> Option<&'static str> {
    match (code, method) {
        (ErrorCode::NotFound, "revoke_role") => Some("`ic-nn roles list` shows who has one"),
        (ErrorCode::NotFound, "job_status" | "job_result" | "job_cancel") => {
            Some("`ic-nn jobs list` shows those that are there")
        }
        (ErrorCode::NotFound, _) => Some("`ic-nn list` shows the models that are there"),
        (ErrorCode::Security, "grant_role" | "revoke_role") => {
            Some("controllers name admins, admins the others: name your key with --identity")
        }
        (ErrorCode::Security, "infer") => Some(
            "updates cost cycles, so callers are listed: an admin lets you in with `ic-nn roles grant PRINCIPAL caller`; \
             a query needs no role unless the policy says so",
        ),
        (ErrorCode::Security, _) => Some(
            "name your key with --identity; an admin lets you in with `ic-nn roles grant PRINCIPAL uploader`",
        ),
        (ErrorCode::UnsupportedOperation | ErrorCode::TooLarge, "infer_query") => {
            Some("--update asks by an update, which costs cycles and may take what a query may not")
        }
        (ErrorCode::InvalidArgument, "infer" | "infer_query") => {
            Some("`ic-nn describe NAME` shows what the model takes")
        }
        (ErrorCode::InvalidEncoding, _) => {
            Some("only ONNX files can be uploaded; `ic-nn describe FILE` checks one")
        }
        (ErrorCode::UnsupportedOperation, "upload_commit") => {
            Some("`ic-nn describe FILE` lists the operators of the file")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_stays_on_its_line() {
        assert_eq!(one_line("a\nb\t c\u{1b}[2J"), "a b c[2J");
    }

    #[test]
    fn what_cannot_be_reached_is_told_apart_from_what_was_refused() {
        let unreachable =
            ClientError::Call { method: "list", error: CallError::unreachable("http://x", "refused") };
        assert_eq!(Failure::from(unreachable).exit, Exit::Unprepared);
        let refused = ClientError::Service { method: "describe", error: ic_nn_types::Error::not_found("m") };
        let failure = Failure::from(refused);
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.hint.is_some_and(|hint| hint.contains("ic-nn list")));
    }
}
