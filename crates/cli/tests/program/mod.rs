//! Runs the program as a user does and looks at what it says.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What one run of the program said.
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program with `arguments`, in the repository, without the variables that name targets.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ic-nn"));
    command.args(arguments).current_dir(repository());
    for variable in ["IC_NN_LOCAL", "IC_NN_URL", "IC_NN_CANISTER", "IC_NN_IDENTITY"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs the program.
pub fn run(arguments: &[&str]) -> Said {
    finish(command(arguments))
}

impl Said {
    /// The standard output of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// The error of a run that must have failed with `code`: one line, perhaps with a hint.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        assert!(self.err.contains("error: "), "{}", self.err);
        self.err
    }
}
