//! How a streamed request is made to ask for its usage: `stream_options.include_usage`.
//!
//! One splice of the body, found while it is read. A request that says anything about usage that is not understood is left
//! alone: whoever wrote it knows better.

/// Bytes of a request body that are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Splice {
    /// Offset of the first byte that is replaced.
    pub at: u64,
    /// How many bytes are removed there.
    pub remove: u64,
    /// What stands there afterwards.
    pub insert: &'static str,
}

impl Splice {
    /// The body with the splice made; `None` if the splice does not lie within it.
    #[must_use]
    pub fn apply(&self, body: &[u8]) -> Option<Vec<u8>> {
        let at = usize::try_from(self.at).ok()?;
        let (before, rest) = body.split_at_checked(at)?;
        let after = rest.get(usize::try_from(self.remove).ok()?..)?;
        let mut out = Vec::with_capacity(before.len() + self.insert.len() + after.len());
        out.extend_from_slice(before);
        out.extend_from_slice(self.insert.as_bytes());
        out.extend_from_slice(after);
        Some(out)
    }
}

const OPTIONS: &str = "\"stream_options\":{\"include_usage\":true},";
const OPTIONS_VALUE: &str = "{\"include_usage\":true}";
const MEMBER: &str = "\"include_usage\":true,";
const ONLY_MEMBER: &str = "\"include_usage\":true";
const VALUE: &str = "true";

/// What a request says about the usage of its stream, so far.
#[derive(Debug, Default)]
pub(super) struct StreamOptions {
    /// Offset behind the bracket that opens the document.
    document: u64,
    /// Offset behind the bracket that opens `stream_options`.
    object: u64,
    /// Times that `stream_options` was given.
    given: u32,
    /// Members of it.
    members: u32,
    /// Times that `include_usage` was given.
    include_given: u32,
    /// A literal to replace with another: `null`, or `include_usage: false`.
    replace: Option<Splice>,
    /// The request asks already, or says something that is not understood.
    leave: bool,
}

impl StreamOptions {
    /// The document begins.
    pub(super) fn open_document(&mut self, at: u64) {
        self.document = at + 1;
    }

    /// `stream_options` begins as an object.
    pub(super) fn open(&mut self, at: u64) {
        self.given += 1;
        self.object = at + 1;
    }

    /// A member of it.
    pub(super) fn member(&mut self) {
        self.members += 1;
    }

    /// `stream_options: null`, which ends before `end`.
    pub(super) fn null(&mut self, end: u64) {
        self.given += 1;
        self.replace = Some(literal("null", end, OPTIONS_VALUE));
    }

    /// `include_usage` as `true`, `false` or (`None`) `null`, which ends before `end`.
    pub(super) fn include_usage(&mut self, value: Option<bool>, end: u64) {
        self.include_given += 1;
        match value {
            Some(true) => self.leave = true,
            Some(false) => self.replace = Some(literal("false", end, VALUE)),
            None => self.replace = Some(literal("null", end, VALUE)),
        }
    }

    /// Something that is not understood, or that settles the matter otherwise.
    pub(super) fn leave(&mut self) {
        self.leave = true;
    }

    /// The splice that makes the request ask; `None` if it has to stay as it is.
    pub(super) fn ask(&self) -> Option<Splice> {
        if self.leave || self.given > 1 || self.include_given > 1 {
            return None;
        }
        let insert = |at, insert| Splice {
            at,
            remove: 0,
            insert,
        };
        Some(match (self.replace, self.given, self.members) {
            (Some(replace), _, _) => replace,
            (None, 0, _) => insert(self.document, OPTIONS),
            (None, _, 0) => insert(self.object, ONLY_MEMBER),
            (None, _, _) => insert(self.object, MEMBER),
        })
    }
}

fn literal(word: &str, end: u64, insert: &'static str) -> Splice {
    let remove = word.len() as u64;
    Splice {
        at: end.saturating_sub(remove),
        remove,
        insert,
    }
}
