//! Generated text, each text counted once.
//!
//! Hosts give the same text under two names in one chunk, begin every delta with all text before it, or end a stream
//! with the whole message. So text is not summed up as it arrives. The texts of a choice are collected as *pieces* (a
//! length and a hash of the beginning, never the bytes) and compared when the choice ends and its index is known. A
//! *series* is all pieces of one kind in one choice, over all documents of the answer.
//!
//! The rules:
//!
//! - Of equal pieces of one class in one choice, one counts. Text under an unknown name belongs to any class.
//! - A `message` beside deltas, or a legacy `text` beside either, counts as far as it is longer.
//! - The pieces of a series are cumulative while each one is longer than the previous one and begins with it. An equal
//!   piece is allowed once per longer piece; always for a tool's name; and always once the text has grown twice and has
//!   32 bytes ([`MIN_WHOLE`]) or more. Of cumulative pieces, only the last counts; otherwise all count, except a piece of
//!   at least 32 bytes that repeats all text before it.
//! - A tool's name that is repeated counts once.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Pieces kept apart in one choice. Further pieces add to the length of one of their class.
const MAX_PIECES: usize = 32;
/// Series kept apart in one answer, of about 100 bytes each. Text of further series is summed up.
const MAX_SERIES: usize = 256;
/// Bytes of a piece that are hashed: texts of equal length and equal beginning are the same.
const MAX_HASHED: u64 = 1024;
/// Least length, in bytes, of a delta that repeats all text before it.
const MIN_WHOLE: u64 = 32;

/// The kind of a text, by the field that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextKind {
    Content,
    Refusal,
    Transcript,
    /// `text` of a choice, and text outside of choices.
    Whole,
    /// All text of a sequence so far.
    Cumulative,
    /// All text of a sequence, perhaps with its prompt. It counts only if no other text of the sequence came before.
    Complete,
    Reasoning,
    ReasoningContent,
    Thinking,
    /// Text under an unknown name.
    Unknown,
    Details,
    Encrypted,
    ToolName,
    ToolArguments,
    CallName,
    CallArguments,
}

/// Kinds of text that may repeat each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Answer,
    Reasoning,
    Encrypted,
    Tools,
}

impl TextKind {
    fn class(self) -> Class {
        match self {
            Self::Content
            | Self::Refusal
            | Self::Transcript
            | Self::Whole
            | Self::Cumulative
            | Self::Complete => Class::Answer,
            Self::Reasoning
            | Self::ReasoningContent
            | Self::Thinking
            | Self::Unknown
            | Self::Details => Class::Reasoning,
            Self::Encrypted => Class::Encrypted,
            Self::ToolName | Self::ToolArguments | Self::CallName | Self::CallArguments => {
                Class::Tools
            }
        }
    }
}

/// The place of a text. A text in a later place repeats those in earlier places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Delta,
    /// `function_call` beside `tool_calls`.
    DeltaCall,
    Message,
    MessageCall,
    /// The choice itself.
    Choice,
    /// The document.
    Document,
}

/// A complete text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Digest {
    len: u64,
    hash: u64,
}

impl Digest {
    /// The number of bytes that are hashed.
    fn hashed(self) -> u64 {
        self.len.min(MAX_HASHED)
    }

    /// Whether a text with the given beginning begins with this text, as far as it is hashed.
    fn begins(self, beginning: Self) -> bool {
        self.hashed() == beginning.len && self.hash == beginning.hash
    }
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    place: Place,
    kind: TextKind,
    /// The tool call; `None` until it is known.
    call: Option<u32>,
    text: Digest,
}

/// The piece being read.
#[derive(Debug, Clone, Copy)]
struct Running {
    place: Place,
    kind: TextKind,
    len: u64,
    hasher: SipHasher13,
}

/// All text of one kind in one choice.
#[derive(Debug, Clone, Copy)]
struct TextSeries {
    choice: u32,
    call: u32,
    place: Place,
    kind: TextKind,
    first: Digest,
    /// The last piece, while pieces may be cumulative.
    last: Digest,
    /// Whether the piece being read begins with `first`, and with `last`.
    begins: (bool, bool),
    pieces: u32,
    longer: u32,
    repeated: u32,
    cumulative: bool,
    sum: u64,
    /// The bytes that count.
    count: u64,
}

impl TextSeries {
    /// Adds a piece. Returns how many bytes more count.
    fn add(&mut self, text: Digest) -> u64 {
        let before = self.count;
        let grows = self.begins.1 && text.len > self.last.len;
        let (all, again) = (self.sum, self.pieces > 2 && !self.cumulative);
        if again && self.begins.0 && text.len == all && all >= MIN_WHOLE {
            // Some hosts end a stream with the whole text.
            return 0;
        }
        if self.pieces == 0 {
            self.first = text;
        } else if grows {
            self.longer += 1;
        } else {
            self.repeated += 1;
            // A long text that has grown is repeated while another text of its chunks grows; a name, while its arguments grow.
            let grown = self.longer > 1 && text.len >= MIN_WHOLE;
            let name = matches!(
                self.kind,
                TextKind::ToolName | TextKind::CallName | TextKind::Cumulative
            );
            let repeats = grown || name || self.repeated <= self.longer;
            self.cumulative &= text == self.last && repeats;
        }
        self.pieces = self.pieces.saturating_add(1);
        self.sum += text.len;
        // No text begins with a text of length 0.
        self.last = if self.cumulative {
            text
        } else {
            Digest::default()
        };
        self.count = if self.cumulative { text.len } else { self.sum };
        self.count.saturating_sub(before)
    }
}

/// The text of an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    all_series: Vec<TextSeries>,
    /// Pieces of the current choice, sorted by place and class.
    pieces: Vec<Piece>,
    running: Option<Running>,
    total: u64,
    /// The total before the current document.
    before: u64,
}

impl Texts {
    /// Bytes of text that count, without the current choice.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// A document begins.
    pub(super) fn begin_document(&mut self) {
        self.before = self.total;
    }

    /// The current document is not valid: its text does not count.
    pub(super) fn drop_document(&mut self) {
        self.total = self.before;
        self.pieces.clear();
        self.running = None;
    }

    /// A string of generated text begins.
    pub(super) fn begin(&mut self, place: Place, kind: TextKind) {
        if let Some(running) = &self.running
            && running.place == place
            && running.kind == kind
            && kind != TextKind::Unknown
        {
            return;
        }
        self.end_piece();
        for series in &mut self.all_series {
            if series.place == place && series.kind == kind {
                series.begins = (false, false);
            }
        }
        self.running = Some(Running {
            place,
            kind,
            len: 0,
            hasher: SipHasher13::new(),
        });
    }

    /// More of the string. When it is as long as an earlier text of its kind, it is compared with that one.
    pub(super) fn push(&mut self, text: &[u8]) {
        let Some(running) = &mut self.running else {
            return;
        };
        let (place, kind, mut at) = (running.place, running.kind, running.len);
        running.len += text.len() as u64;
        let (to, mut text) = (running.len.min(MAX_HASHED), text);
        let alike = |series: &&mut TextSeries| series.place == place && series.kind == kind;
        while at < to {
            let lens = self.all_series.iter_mut().filter(alike);
            let lens = lens.flat_map(|series| [series.first.hashed(), series.last.hashed()]);
            let next = lens.filter(|len| (at + 1..=to).contains(len)).min();
            let (head, rest) = text.split_at((next.unwrap_or(to) - at) as usize);
            running.hasher.write(head);
            text = rest;
            at += head.len() as u64;
            if next.is_none() {
                break;
            }
            let hash = running.hasher.finish();
            let here = Digest { len: at, hash };
            for series in self.all_series.iter_mut().filter(alike) {
                series.begins.0 |= series.first.begins(here);
                series.begins.1 |= series.last.begins(here);
            }
        }
    }

    /// Adds bytes that are not compared.
    pub(super) fn push_len(&mut self, len: u64) {
        if let Some(running) = &mut self.running {
            running.len += len;
        }
    }

    fn end_piece(&mut self) {
        let Some(running) = self.running.take().filter(|running| running.len > 0) else {
            return;
        };
        let text = Digest {
            len: running.len,
            hash: running.hasher.finish(),
        };
        let new = (running.place, running.kind.class());
        let key = |piece: &Piece| (piece.place, piece.kind.class());
        if self.pieces.len() == MAX_PIECES {
            match self.pieces.iter_mut().find(|piece| key(piece) == new) {
                Some(piece) => piece.text.len += text.len,
                None => self.total += text.len,
            }
            return;
        }
        let at = self.pieces.iter().position(|piece| key(piece) > new);
        let piece = Piece {
            place: running.place,
            kind: running.kind,
            call: None,
            text,
        };
        self.pieces.insert(at.unwrap_or(self.pieces.len()), piece);
    }

    /// A tool call begins.
    pub(super) fn begin_call(&mut self) {
        self.end_piece();
    }

    /// The tool call with this index ends.
    pub(super) fn end_call(&mut self, index: u32) {
        self.end_piece();
        for piece in &mut self.pieces {
            if matches!(piece.kind, TextKind::ToolName | TextKind::ToolArguments) {
                piece.call = piece.call.or(Some(index));
            }
        }
    }

    /// The choice with this index ends.
    pub(super) fn end_choice(&mut self, index: u32) {
        self.end_piece();
        let inside = |piece: &&Piece| piece.place != Place::Document;
        let len = self.pieces.iter().take_while(inside).count();
        self.count(len, Some(index));
    }

    /// The document ends: counts the text outside of choices.
    pub(super) fn end_document(&mut self) {
        self.end_piece();
        self.count(self.pieces.len(), None);
    }

    /// Counts the first `len` pieces, group by group, and removes them.
    fn count(&mut self, len: usize, choice: Option<u32>) {
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut rest = pieces.get(..len).unwrap_or_default();
        while let Some(first) = rest.first() {
            let class = first.kind.class();
            let same = |piece: &&Piece| piece.place == first.place && piece.kind.class() == class;
            let (group, others) = rest.split_at(rest.iter().take_while(same).count());
            rest = others;
            let earlier = self.all_series.iter().filter(|series| {
                series.place < first.place
                    && series.kind.class() == class
                    && choice.is_none_or(|choice| series.choice == choice)
            });
            let earlier: u64 = earlier.map(|series| series.count).sum();
            self.count_group(group, &pieces, choice.unwrap_or(0), earlier);
        }
        pieces.drain(..len);
        self.pieces = pieces;
    }

    /// Counts pieces of one class in one place. `earlier`: the bytes of that class in earlier places. `all`: the pieces of the
    /// choice.
    fn count_group(&mut self, group: &[Piece], all: &[Piece], choice: u32, earlier: u64) {
        let mut sum = 0;
        for (at, piece) in group.iter().enumerate() {
            let unknown = piece.kind == TextKind::Unknown;
            let same = |other: &Piece| other.text == piece.text;
            let again = |other: &Piece| same(other) && (unknown || other.kind != piece.kind);
            let known = |other: &Piece| same(other) && other.kind != TextKind::Unknown;
            if piece.kind.class() < Class::Encrypted && group.iter().take(at).any(again)
                || unknown && all.iter().any(known)
            {
                continue;
            }
            sum += piece.text.len;
            if earlier == 0 {
                self.total += match self.series(choice, piece) {
                    Some(series) => series.add(piece.text),
                    None => piece.text.len,
                };
            }
        }
        if earlier > 0
            && let Some(first) = group.first()
            && first.kind != TextKind::Complete
        {
            // Only the bytes beyond those count.
            self.total += match self.series(choice, first) {
                Some(series) => {
                    let more = sum.saturating_sub(earlier + series.count);
                    series.count += more;
                    more
                }
                None => sum.saturating_sub(earlier),
            };
        }
    }

    /// The series of a piece; a new one, if there are not too many.
    fn series(&mut self, choice: u32, piece: &Piece) -> Option<&mut TextSeries> {
        let (place, kind, call) = (piece.place, piece.kind, piece.call.unwrap_or(0));
        let known = self.all_series.iter().position(|series| {
            series.choice == choice
                && series.call == call
                && series.place == place
                && series.kind == kind
        });
        if known.is_none() && self.all_series.len() < MAX_SERIES {
            self.all_series.push(TextSeries {
                choice,
                call,
                place,
                kind,
                first: Digest::default(),
                last: Digest::default(),
                begins: (false, false),
                pieces: 0,
                longer: 0,
                repeated: 0,
                cumulative: true,
                sum: 0,
                count: 0,
            });
            return self.all_series.last_mut();
        }
        self.all_series.get_mut(known?)
    }
}
