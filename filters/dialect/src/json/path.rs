//! Where in a document a sink is: the containers of interest, and how deep it is in one that is not.
//!
//! Sinks look at a handful of containers; everything inside any other is skipped by counting.

/// A stack of at most `N` containers of interest.
#[derive(Debug, Clone)]
pub(crate) struct Path<At, const N: usize> {
    stack: [At; N],
    len: usize,
    skipped: u32,
}

impl<At: Copy, const N: usize> Path<At, N> {
    /// Outside the document, which is named `root`.
    pub(crate) fn new(root: At) -> Self {
        Self {
            stack: [root; N],
            len: 0,
            skipped: 0,
        }
    }

    /// The innermost container, or `None` inside one that is skipped.
    pub(crate) fn at(&self) -> Option<At> {
        (self.skipped == 0).then(|| self.stack[self.len])
    }

    /// How many containers are open.
    pub(crate) fn depth(&self) -> usize {
        self.len + self.skipped as usize
    }

    /// Enters a container of interest. One too many is skipped instead.
    pub(crate) fn enter(&mut self, at: At) {
        if self.len + 1 < N {
            self.len += 1;
            self.stack[self.len] = at;
        } else {
            self.skip();
        }
    }

    /// Enters a container of no interest.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Leaves the innermost container; answers which, if it was one of interest.
    pub(crate) fn leave(&mut self) -> Option<At> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        let left = self.stack[self.len];
        self.len = self.len.saturating_sub(1);
        Some(left)
    }
}
