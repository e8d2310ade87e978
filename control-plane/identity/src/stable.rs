//! Content that is read again and again, such as files that a writer replaces one after another.
//!
//! Invariant: changed content is used once two reads in a row agree.

use std::time::Duration;

use tokio::sync::watch;

use crate::validity::unix_now;

/// Time between two reads.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The content of a source at its last reads.
#[derive(Debug)]
pub struct Stable<C> {
    /// At the last read.
    seen: C,
    /// The content that was used last, whether it was good or not.
    used: C,
}

impl<C: Clone + PartialEq> Stable<C> {
    /// The content of the first read, which is used at once.
    pub fn new(content: C) -> Self {
        Self {
            seen: content.clone(),
            used: content,
        }
    }

    /// Takes the next read. Returns the content if it is stable and was not used last.
    pub fn read(&mut self, content: C) -> Option<&C> {
        let is_stable = content == self.seen;
        self.seen = content;
        if !is_stable || self.seen == self.used {
            return None;
        }
        self.used = self.seen.clone();
        Some(&self.used)
    }
}

/// Reads again and again, and calls `apply` with each content that is to be used, until the last receiver of `state` is dropped.
/// `apply` returns when the same content is to be applied again, in Unix seconds; `until`: when that of the first read is.
pub(crate) async fn follow<C: Clone + PartialEq, S>(
    mut content: Stable<C>,
    mut until: Option<i64>,
    state: &watch::Sender<S>,
    read: impl Fn() -> C,
    apply: impl Fn(&C) -> Option<i64>,
) {
    loop {
        tokio::select! {
            () = state.closed() => return,
            () = tokio::time::sleep(CHECK_EVERY) => {
                if let Some(content) = content.read(read()) {
                    until = apply(content);
                } else if until.is_some_and(|until| unix_now() >= until) {
                    until = apply(&content.used);
                }
            }
        }
    }
}
