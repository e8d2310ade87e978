//! Content that is read again and again, such as files that a writer replaces one after another.
//!
//! Invariant: changed content is used once two reads in a row agree.

/// The content of a source at its last reads.
#[derive(Debug)]
pub struct Settled<C> {
    /// At the last read.
    seen: C,
    /// The content that was used last, whether it was good or not.
    used: C,
}

impl<C: Clone + PartialEq> Settled<C> {
    /// The content of the first read, which is used at once.
    pub fn new(content: C) -> Self {
        Self {
            seen: content.clone(),
            used: content,
        }
    }

    /// Takes the next read. Returns the content if it has settled and was not used last.
    pub fn read(&mut self, content: C) -> Option<&C> {
        let is_settled = content == self.seen;
        self.seen = content;
        if !is_settled || self.seen == self.used {
            return None;
        }
        self.used = self.seen.clone();
        Some(&self.used)
    }
}
