//! Usage by sequence, for answers in which each document reports the usage of one sequence.
//!
//! A request has one or several prompts, and each prompt generates the same number of sequences. The sequences of a prompt have
//! consecutive indices, and each of them reports the whole prompt: it counts once.

use super::report::merge;
use crate::usage::Usage;

/// Most sequences that are kept apart, of about 60 bytes each. Of others, only the text counts.
const MAX_SEQUENCES: usize = 1024;

/// The current item of a list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Index {
    next: u32,
    pub(super) given: Option<u32>,
    /// What is given is the index of something else.
    pub(super) is_fixed: bool,
}

impl Index {
    /// The list's next item begins.
    pub(super) fn begin(&mut self) {
        self.next = self.next.saturating_add(1);
        self.given = None;
        self.is_fixed = false;
    }

    pub(super) fn get(self) -> u32 {
        let given = self.given.filter(|_| !self.is_fixed);
        given.unwrap_or(self.next.saturating_sub(1))
    }
}

/// The usage of the sequences of an answer.
#[derive(Debug, Clone)]
pub(super) struct Sequences {
    /// The number of prompts.
    pub(super) prompts: u64,
    /// By index.
    reports: Vec<Option<Usage>>,
    /// What the current document reports. Its index may follow.
    current: Option<Usage>,
    /// There are more sequences than are kept.
    more: bool,
}

impl Default for Sequences {
    fn default() -> Self {
        Self {
            prompts: 1,
            reports: Vec::new(),
            current: None,
            more: false,
        }
    }
}

impl Sequences {
    /// The current document reports usage.
    pub(super) fn report(&mut self, usage: Usage) {
        self.current = Some(merge(self.current, usage));
    }

    /// The current document ends. It is about the sequence with this index.
    pub(super) fn end_document(&mut self, index: u32) {
        let index = index as usize;
        let Some(usage) = self.current.take() else {
            return;
        };
        if index >= MAX_SEQUENCES {
            self.more = true;
            return;
        }
        if self.reports.len() <= index {
            self.reports.resize(index + 1, None);
        }
        if let Some(known) = self.reports.get_mut(index) {
            *known = Some(merge(*known, usage));
        }
    }

    /// Whether the report of some sequence is missing. `seen`: how many there are, as far as that is known.
    pub(super) fn misses(&self, seen: u32) -> bool {
        self.more || self.reports.iter().flatten().count() < seen as usize
    }

    /// The usage of all sequences. `sequences`: how many the request asked for; `index`: the sequence of the current document. The prompts
    /// count if all of them are reported.
    pub(super) fn total(&self, sequences: u64, index: u32) -> Option<Usage> {
        let mut all = Self::clone(self);
        all.end_document(index);
        let of_prompt = (sequences / all.prompts).max(1);
        let of_prompt = usize::try_from(of_prompt).unwrap_or(usize::MAX);
        let mut total = all
            .reports
            .iter()
            .flatten()
            .next()
            .map(|_| Usage::default())?;
        let (mut prompts, mut input) = (0, 0);
        for sequences in all.reports.chunks(of_prompt) {
            let sequences = || sequences.iter().flatten();
            for usage in sequences() {
                total.output = total.output.saturating_add(usage.output);
                total.reasoning = total.reasoning.saturating_add(usage.reasoning);
            }
            if let Some(prompt) = sequences().filter_map(|usage| usage.input).max() {
                // Further sequences find the prompt in the cache because of the first one.
                let cached = sequences().map(|usage| usage.cached).min();
                total.cached += cached.unwrap_or(0);
                input += prompt;
                prompts += 1;
            }
        }
        match prompts >= all.prompts {
            true => total.input = Some(input),
            false => total.cached = 0,
        }
        Some(total)
    }
}
