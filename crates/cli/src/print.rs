//! Standard output. A reader that stops reading (`| head`) ends the program quietly, as other programs end.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Writes one line; ends the program where nobody reads any more, or nothing can be written.
pub fn line(text: Arguments<'_>) {
    end_on_error(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) {
    end_on_error(std::io::stdout().lock().write_all(bytes));
}

fn end_on_error(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            Failure::unprepared(format!("cannot write to standard output: {error}")).report();
            std::process::exit(3);
        }
    }
}

/// `println!` through [`line()`].
macro_rules! say {
    ($($text:tt)*) => { $crate::print::line(format_args!($($text)*)) };
}
pub(crate) use say;
