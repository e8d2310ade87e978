//! How the story looks: short headings, what was done, what was seen, and whether the claim holds.
//!
//! Invariant: plain text where nobody looks: no colours and no signs beyond ASCII marks unless standard output is a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stdout};

use headgate_demo::{Broken, Claim, Claimed};
use headgate_testkit::kube::Typed;

const WIDTH: usize = 16;

/// Where the story is written, and what did not hold so far.
pub(crate) struct Paper {
    terminal: bool,
    chapters: usize,
    broken: Vec<Broken>,
}

impl Paper {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            chapters: 0,
            broken: Vec::new(),
        }
    }

    /// A numbered heading.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        let heading = format!("{}. {title}", self.chapters);
        self.line(&format!("\n{}", self.styled("1", &heading)));
    }

    /// What was done.
    pub(crate) fn done(&self, what: impl Display) {
        self.line(&format!("   {what}"));
    }

    /// What was typed, and what it said.
    pub(crate) fn typed(&self, typed: &Typed) {
        self.done(format!("$ {}", typed.line));
        for line in typed.output.lines() {
            self.line(&format!("     {line}"));
        }
    }

    /// What was seen.
    pub(crate) fn seen(&self, what: &str, value: impl Display) {
        self.line(&format!("   {what:WIDTH$} {value}"));
    }

    /// Whether the claim holds; shows what was measured if it does.
    pub(crate) fn judge<T>(
        &mut self,
        claim: Claim,
        measured: Claimed<T>,
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
                self.line(&format!("   {mark} {claim}\n     seen: {}", broken.why));
                self.broken.push(broken);
            }
        }
    }

    /// The last lines; returns what did not hold.
    pub(crate) fn end(self, took: std::time::Duration) -> Vec<Broken> {
        let seconds = took.as_secs_f64();
        if self.broken.is_empty() {
            self.line(&format!("\nEvery claim holds. It took {seconds:.1} s."));
        } else {
            self.line(&format!(
                "\n{} claims do not hold ({seconds:.1} s):",
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

    /// A reader who leaves (`| head`) ends the writing, not the measuring.
    pub(crate) fn line(&self, text: &str) {
        let mut out = stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}
