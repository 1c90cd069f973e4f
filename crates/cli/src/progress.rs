//! What is told while work is under way, always on stderr: bars on a terminal, plain lines elsewhere, nothing
//! with `--quiet`.

use std::io::IsTerminal;
use std::time::Duration;

use ic_nn_client::UploadEvent;
use ic_nn_types::{JobState, JobStatus};
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

    /// A job that is waited for.
    pub fn job(&self, job: u64) -> JobProgress {
        let shown = !self.quiet && self.terminal;
        let to = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(PARTS as u64), to);
        bar.set_style(style("{bar:32.cyan/blue} {percent} % {elapsed} {msg}"));
        bar.set_message(format!("job {job}"));
        JobProgress { bar, plain: (!self.quiet && !self.terminal).then_some(*self), told: 0 }
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

/// A job's bar, or its plain lines.
pub struct JobProgress {
    bar: ProgressBar,
    plain: Option<Progress>,
    /// Tenths that a plain line has told of.
    told: u64,
}

/// Parts of a job's bar.
const PARTS: f64 = 1_000.0;

impl JobProgress {
    /// Shows how far it is.
    pub fn tell(&mut self, status: &JobStatus) {
        let left = status.instructions_left.map_or(String::new(), |left| {
            format!(", about {} instructions left", format::instructions(left))
        });
        let message = match (status.state, status.position) {
            (JobState::Queued, Some(before)) if before > 0 => format!("job {} behind {before}", status.job),
            _ => format!("job {}{left}", status.job),
        };
        self.bar.set_position((PARTS * status.progress) as u64);
        self.bar.set_message(message.clone());
        let tenths = (10.0 * status.progress) as u64;
        if let (Some(plain), true) = (self.plain, tenths > self.told) {
            self.told = tenths;
            plain.note(&format!("{} % of {message}", tenths * 10));
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
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
