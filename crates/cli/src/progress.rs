//! What is told while work is under way, always on stderr: bars on a terminal, plain lines elsewhere, nothing
//! with `--quiet`.

use std::io::IsTerminal;
use std::time::Duration;

use ic_nn_client::UploadEvent;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::format;

/// How work is told of.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    quiet: bool,
    terminal: bool,
}

impl Progress {
    /// Tells on stderr unless `quiet`.
    pub fn new(quiet: bool) -> Self {
        Progress { quiet, terminal: std::io::stderr().is_terminal() }
    }

    /// A line about what is done.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// Does `work`, which may take long, while saying so.
    pub fn during<R>(&self, what: &str, work: impl FnOnce() -> R) -> R {
        if !self.terminal {
            self.note(&format!("{what} ..."));
        }
        self.briefly(what, work)
    }

    /// Does `work`, which seldom takes long, while saying so on a terminal.
    pub fn briefly<R>(&self, what: &str, work: impl FnOnce() -> R) -> R {
        if !self.terminal || self.quiet {
            return work();
        }
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.set_style(style("{spinner} {msg} ... {elapsed}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        let result = work();
        spinner.finish_and_clear();
        result
    }

    /// The upload of `total` bytes of `name`.
    pub fn upload(&self, name: &str, total: u64) -> UploadProgress {
        let bar = ProgressBar::with_draw_target(
            Some(total),
            if self.quiet || !self.terminal {
                ProgressDrawTarget::hidden()
            } else {
                ProgressDrawTarget::stderr()
            },
        );
        bar.set_style(style(
            "{msg} {bar:32.cyan/blue} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        ));
        bar.set_message(format!("uploading {name}"));
        UploadProgress {
            bar,
            plain: (!self.quiet && !self.terminal).then_some(*self),
            name: name.to_owned(),
            total,
            told: 0,
        }
    }
}

/// One upload's bar, or its plain lines.
pub struct UploadProgress {
    bar: ProgressBar,
    plain: Option<Progress>,
    name: String,
    total: u64,
    /// Tenths of the file that a plain line has told of.
    told: u64,
}

impl UploadProgress {
    /// Shows an event.
    pub fn event(&mut self, event: &UploadEvent) {
        match event {
            UploadEvent::Begun { held, .. } => {
                self.bar.set_position(*held);
                self.line(&match held {
                    0 => format!("uploading {}: {}", self.name, format::bytes(self.total)),
                    held => format!("resuming {}: {} are there already", self.name, format::bytes(*held)),
                });
            }
            UploadEvent::Sent { sent, total } => {
                self.bar.set_position(*sent);
                let tenths = sent * 10 / (*total).max(1);
                if tenths > self.told {
                    self.told = tenths;
                    self.line(&format!("uploading {}: {} %", self.name, tenths * 10));
                }
            }
            UploadEvent::Retrying { attempt, error } => {
                self.bar.suspend(|| self.line(&format!("trying again ({attempt}): {error}")));
                self.bar.set_message(format!("uploading {} (try {attempt})", self.name));
            }
            UploadEvent::Committing => {
                self.bar.set_position(self.total);
                self.bar.set_style(style("{spinner} {msg} ... {elapsed}"));
                self.bar
                    .set_message(format!("committing {} by its sha256, checking and trying it", self.name));
                self.bar.enable_steady_tick(Duration::from_millis(100));
                self.line(&format!("committing {} by its sha256, checking and trying it ...", self.name));
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, line: &str) {
        if let Some(plain) = self.plain {
            plain.note(line);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
