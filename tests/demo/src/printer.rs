//! The demo's output: headings, actions, measurements, and whether each claim holds.
//!
//! Invariant: colours and non-ASCII marks only on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};

use headgate_testkit::kube::CommandOutput;

use crate::claim::{BrokenClaim, Claim, ClaimResult};

const WIDTH: usize = 16;

/// Prints the output and collects the claims that do not hold.
#[derive(Debug)]
pub struct Printer {
    terminal: bool,
    sections: usize,
    broken: Vec<BrokenClaim>,
}

impl Default for Printer {
    fn default() -> Self {
        Self::new()
    }
}

impl Printer {
    /// Prints to standard output.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            sections: 0,
            broken: Vec::new(),
        }
    }

    /// A numbered heading.
    pub fn section(&mut self, title: &str) {
        self.sections += 1;
        let heading = format!("{}. {title}", self.sections);
        self.line(&format!("\n{}", self.styled("1", &heading)));
    }

    /// An action.
    pub fn action(&self, what: impl Display) {
        self.line(&format!("   {what}"));
    }

    /// A command with its output.
    pub fn command(&self, typed: &CommandOutput) {
        self.action(format!("$ {}", typed.line));
        for line in typed.output.lines() {
            self.line(&format!("     {line}"));
        }
    }

    /// A measurement.
    pub fn row(&self, what: &str, value: impl Display) {
        self.line(&format!("   {what:WIDTH$} {value}"));
    }

    /// Whether the claim holds; if so, also prints the figures with `show`.
    pub fn judge<T>(
        &mut self,
        claim: Claim,
        measured: ClaimResult<T>,
        show: impl FnOnce(&Self, T),
    ) {
        match measured {
            Ok(measured) => {
                show(self, measured);
                let mark = if self.terminal {
                    self.styled("32", "✓")
                } else {
                    "[ok]".into()
                };
                self.line(&format!("   {mark} {claim}"));
            }
            Err(broken) => {
                let mark = if self.terminal {
                    self.styled("31", "✗")
                } else {
                    "[FAILED]".into()
                };
                self.line(&format!("   {mark} {claim}\n     measured: {}", broken.why));
                self.broken.push(broken);
            }
        }
    }

    /// The last lines. Returns the claims that do not hold.
    #[must_use]
    pub fn finish(self, took: std::time::Duration) -> Vec<BrokenClaim> {
        let seconds = took.as_secs_f64();
        if self.broken.is_empty() {
            self.line(&format!("\nEvery claim holds. Duration: {seconds:.1} s."));
        } else {
            self.line(&format!(
                "\nClaims that do not hold: {}. Duration: {seconds:.1} s.",
                self.broken.len()
            ));
            for broken in &self.broken {
                self.line(&format!("  - {}", broken.claim));
            }
        }
        self.broken
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.terminal {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A closed standard output (`| head`) ends the printing, not the measuring.
    pub fn line(&self, text: &str) {
        let mut out = stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}
