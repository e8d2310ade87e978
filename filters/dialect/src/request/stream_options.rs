//! The option `stream_options.include_usage`: how a streamed request is amended so that the upstream reports usage.
//!
//! The amendment is one splice, found while the body is read. A request that already says something else about usage is
//! sent on unchanged.

use std::borrow::Cow;

/// A replacement of bytes in a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Offset of the first byte that is replaced.
    pub at: u64,
    /// The number of bytes that are removed there.
    pub remove: u64,
    /// The text that is inserted instead.
    pub insert: Cow<'static, str>,
}

impl Splice {
    /// The body after these replacements, in the order of their places; `None` if one lies outside of the body or before the end of
    /// another.
    #[must_use]
    pub fn apply_all(splices: &[Self], body: &[u8]) -> Option<Vec<u8>> {
        let inserted: usize = splices.iter().map(|splice| splice.insert.len()).sum();
        let mut out = Vec::with_capacity(body.len() + inserted);
        let mut copied = 0;
        for splice in splices {
            let at = usize::try_from(splice.at).ok()?;
            out.extend_from_slice(body.get(copied..at)?);
            out.extend_from_slice(splice.insert.as_bytes());
            copied = at.checked_add(usize::try_from(splice.remove).ok()?)?;
        }
        out.extend_from_slice(body.get(copied..)?);
        Some(out)
    }

    /// The length of a body of this length after these replacements.
    #[must_use]
    pub fn length_after(splices: &[Self], length: u64) -> u64 {
        splices.iter().fold(length, |length, splice| {
            let longer = length.saturating_add(splice.insert.len() as u64);
            longer.saturating_sub(splice.remove)
        })
    }
}

const OPTIONS: &str = "\"stream_options\":{\"include_usage\":true},";
const OPTIONS_VALUE: &str = "{\"include_usage\":true}";
const MEMBER: &str = "\"include_usage\":true,";
const ONLY_MEMBER: &str = "\"include_usage\":true";
const VALUE: &str = "true";

/// The options of a request, read so far, for the usage of its stream.
#[derive(Debug, Default)]
pub(super) struct StreamOptions {
    /// Offset after the bracket that opens the document.
    document: u64,
    /// Offset after the bracket that opens `stream_options`.
    object: u64,
    /// How often `stream_options` is given.
    given: u32,
    /// The number of its members.
    members: u32,
    /// How often `include_usage` is given.
    include_given: u32,
    /// The replacement of a literal: of `null`, or of `false` in `include_usage`.
    replace: Option<Splice>,
    /// The request already asks for usage, or has a value that is not understood.
    unchanged: bool,
}

impl StreamOptions {
    /// The document begins.
    pub(super) fn open_document(&mut self, at: u64) {
        self.document = at + 1;
    }

    /// `stream_options` begins, as an object.
    pub(super) fn open(&mut self, at: u64) {
        self.given += 1;
        self.object = at + 1;
    }

    /// A member of `stream_options` begins.
    pub(super) fn member(&mut self) {
        self.members += 1;
    }

    /// `stream_options` is `null`, which ends before `end`.
    pub(super) fn null(&mut self, end: u64) {
        self.given += 1;
        self.replace = Some(replacement("null", end, OPTIONS_VALUE));
    }

    /// `include_usage` is `true`, `false` or (`None`) `null`, which ends before `end`.
    pub(super) fn include_usage(&mut self, value: Option<bool>, end: u64) {
        self.include_given += 1;
        match value {
            Some(true) => self.unchanged = true,
            Some(false) => self.replace = Some(replacement("false", end, VALUE)),
            None => self.replace = Some(replacement("null", end, VALUE)),
        }
    }

    /// The request has a value that is not understood, or another option about usage: it is sent on unchanged.
    pub(super) fn keep_unchanged(&mut self) {
        self.unchanged = true;
    }

    /// The splice that makes the request ask for usage; `None` if it is sent on unchanged.
    pub(super) fn splice(&self) -> Option<Splice> {
        if self.unchanged || self.given > 1 || self.include_given > 1 {
            return None;
        }
        let insert = |at, insert: &'static str| Splice {
            at,
            remove: 0,
            insert: insert.into(),
        };
        Some(match (&self.replace, self.given, self.members) {
            (Some(replace), _, _) => replace.clone(),
            (None, 0, _) => insert(self.document, OPTIONS),
            (None, _, 0) => insert(self.object, ONLY_MEMBER),
            (None, _, _) => insert(self.object, MEMBER),
        })
    }
}

/// Replaces a literal that ends before `end`.
fn replacement(literal: &str, end: u64, insert: &'static str) -> Splice {
    let remove = literal.len() as u64;
    Splice {
        at: end.saturating_sub(remove),
        remove,
        insert: insert.into(),
    }
}
