//! The place of a sink in a document: a stack of the containers it reads.
//!
//! A sink reads a handful of containers. Everything inside any other container is skipped by counting its depth.

/// A stack of at most `N` containers that are read.
#[derive(Debug, Clone)]
pub(crate) struct Path<C, const N: usize> {
    stack: [C; N],
    len: usize,
    skipped: u32,
}

impl<C: Copy, const N: usize> Path<C, N> {
    /// A path that is outside the document, which is called `root`.
    pub(crate) fn new(root: C) -> Self {
        Self {
            stack: [root; N],
            len: 0,
            skipped: 0,
        }
    }

    /// The innermost container; `None` inside one that is skipped.
    pub(crate) fn at(&self) -> Option<C> {
        (self.skipped == 0).then(|| self.stack[self.len])
    }

    /// The number of open containers.
    pub(crate) fn depth(&self) -> usize {
        self.len + self.skipped as usize
    }

    /// Enters a container that is read. Beyond `N` it is skipped instead.
    pub(crate) fn enter(&mut self, container: C) {
        if self.len + 1 < N {
            self.len += 1;
            self.stack[self.len] = container;
        } else {
            self.skip();
        }
    }

    /// Enters a container that is skipped.
    pub(crate) fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Leaves the innermost container. Returns it, unless it was skipped.
    pub(crate) fn leave(&mut self) -> Option<C> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return None;
        }
        let left = self.stack[self.len];
        self.len = self.len.saturating_sub(1);
        Some(left)
    }
}
