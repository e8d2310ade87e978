//! A set: the cells of the keys that share one value in shared memory, changed whole by compare-and-swap.
//!
//! ```text
//! span  u64    the window that the cells are written in, ns
//! epoch u32    how often that changed
//! past  u32    how many of the last changes follow, each: when u64, span before u64
//! ways         fingerprint u64, payload
//! ```
//!
//! A set starts empty and grows by one way at a time. A newcomer takes a way whose payload is spent, else a new way, and only
//! in a set that may not grow any more the way whose payload is spent first: that key is evicted.
//!
//! The table knows of a payload only when it is spent and how it is rescaled, so rules other than GCRA can bring their own.

use core::marker::PhantomData;

/// What a way holds for its key.
pub(super) trait Payload: Copy {
    /// Encoded length in bytes, the same for every value.
    const LEN: usize;
    /// Writes exactly [`Payload::LEN`] bytes.
    fn encode(&self, out: &mut [u8]);
    /// Reads back what [`Payload::encode`] wrote.
    fn decode(bytes: &[u8]) -> Self;
    /// From when on nothing is lost by forgetting it, ns.
    fn spent_at(&self) -> u64;
    /// A newcomer's payload that is spent at that time; 0 for one that owes nothing.
    fn spent(at: u64) -> Self;
    /// The payload with the same share used of another window.
    fn rescaled(&self, change: &Change) -> Self;
}

const WORD: usize = 8;
/// Length of `span`, `epoch` and `past`.
const HEADER: usize = 16;
/// Length of a past change.
const PAST: usize = 16;
/// Most past changes that are kept: a stream that outlives more of them is given nothing back.
const MAX_PAST: usize = 4;

/// A change of the window: when, and the spans before and after, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Change {
    /// A length of time as the same share of the window after the change, rounded up.
    pub(super) fn length(&self, ns: u64) -> u64 {
        let scaled = (u128::from(ns) * u128::from(self.to)).div_ceil(u128::from(self.from.max(1)));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// An arrival time after the change: what lies ahead keeps its share of the window.
    pub(super) fn arrival(&self, tat: u64) -> u64 {
        match tat.checked_sub(self.at) {
            Some(ahead) => self.at.saturating_add(self.length(ahead)),
            None => tat,
        }
    }
}

/// One set, worked on as bytes, in place: it is read and written whole with every reserve.
pub(super) struct Set<P> {
    bytes: Vec<u8>,
    payload: PhantomData<P>,
}

/// Where a fingerprint has its payload, or would have it.
#[derive(Clone, Copy)]
pub(super) struct Slot<P> {
    at: usize,
    /// The payload as it is, or as a newcomer starts.
    pub(super) payload: P,
    /// The fingerprint has a payload of its own.
    pub(super) found: bool,
    /// Another key, whose payload is not spent, loses its way.
    pub(super) evicts: bool,
    /// The part of the evicted key's time that the newcomer does not take over, ns.
    pub(super) clipped: u64,
}

impl<P: Payload> Set<P> {
    const WAY: usize = WORD + P::LEN;

    /// A set without keys, in a window of `span` ns.
    pub(super) fn new(span: u64) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[..WORD].copy_from_slice(&span.to_le_bytes());
        Self {
            bytes,
            payload: PhantomData,
        }
    }

    /// A stored value; `None` if it is no set.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let set = Self {
            bytes,
            payload: PhantomData,
        };
        let ways = set.bytes.len().checked_sub(set.head())?;
        (set.bytes.len() >= HEADER && ways.is_multiple_of(Self::WAY)).then_some(set)
    }

    /// The encoded set.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The window that the payloads are written in, ns.
    pub(super) fn span(&self) -> u64 {
        word(&self.bytes)
    }

    /// How often the window changed.
    pub(super) fn epoch(&self) -> u32 {
        half(&self.bytes[WORD..])
    }

    fn past(&self) -> usize {
        let past = self.bytes.get(WORD + 4..).map_or(0, half);
        usize::try_from(past).unwrap_or(MAX_PAST).min(MAX_PAST)
    }

    /// Length of all that stands before the ways.
    fn head(&self) -> usize {
        HEADER + self.past() * PAST
    }

    /// The changes since `epoch`, the oldest first; `None` if not all of them are known any more.
    pub(super) fn changes_since(&self, epoch: u32) -> Option<Vec<Change>> {
        let wanted = usize::try_from(self.epoch().wrapping_sub(epoch)).ok()?;
        let first = self.past().checked_sub(wanted)?;
        let entry = |i: usize| &self.bytes[HEADER + i * PAST..];
        let changes = (first..self.past()).map(|i| Change {
            at: word(entry(i)),
            from: word(&entry(i)[WORD..]),
            to: match i + 1 < self.past() {
                true => word(&entry(i + 1)[WORD..]),
                false => self.span(),
            },
        });
        Some(changes.collect())
    }

    /// Brings the whole set into another window, if it is not in it.
    pub(super) fn rescale(&mut self, span: u64, now: u64) {
        if self.span() != span {
            self.change(span, now);
        }
    }

    #[cold]
    fn change(&mut self, span: u64, now: u64) {
        let change = Change {
            at: now,
            from: self.span(),
            to: span,
        };
        let mut past: Vec<u8> = self.bytes[HEADER..self.head()].to_vec();
        past.extend(change.at.to_le_bytes());
        past.extend(change.from.to_le_bytes());
        let forgotten = past.len().saturating_sub(MAX_PAST * PAST);
        let past = &past[forgotten..];
        let ways = self.bytes[self.head()..].to_vec();
        let epoch = self.epoch().wrapping_add(1);
        let known = u32::try_from(past.len() / PAST).unwrap_or(0);
        let head = [
            &span.to_le_bytes()[..],
            &epoch.to_le_bytes(),
            &known.to_le_bytes(),
            past,
        ];
        self.bytes = head.concat();
        for way in ways.chunks_exact(Self::WAY) {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(way);
            let rescaled = P::decode(&way[WORD..]).rescaled(&change);
            rescaled.encode(&mut self.bytes[at + WORD..]);
        }
    }

    /// The slot of a fingerprint in a set that may have `most` ways: its own, else one that is spent, else a new one, else the
    /// one that is spent first.
    pub(super) fn find(&self, fingerprint: u64, now: u64, most: usize) -> Slot<P> {
        let mut first: Option<(u64, usize)> = None;
        let mut ways = 0;
        for (at, way) in self.ways() {
            let payload = P::decode(&way[WORD..]);
            if word(way) == fingerprint {
                return Slot {
                    at,
                    payload,
                    found: true,
                    evicts: false,
                    clipped: 0,
                };
            }
            let spent = payload.spent_at();
            if first.is_none_or(|(earliest, _)| spent < earliest) {
                first = Some((spent, at));
            }
            ways += 1;
        }
        let new = Slot {
            at: self.bytes.len(),
            payload: P::spent(0),
            found: false,
            evicts: false,
            clipped: 0,
        };
        match first {
            Some((spent, at)) if spent <= now => Slot { at, ..new },
            Some((spent, at)) if ways >= most => {
                let inherited = spent.min(now.saturating_add(self.span()));
                Slot {
                    at,
                    payload: P::spent(inherited),
                    evicts: true,
                    clipped: spent - inherited,
                    ..new
                }
            }
            _ => new,
        }
    }

    /// Gives the slot to the fingerprint, with this payload.
    pub(super) fn put(&mut self, fingerprint: u64, slot: &Slot<P>, payload: &P) {
        if self.bytes.len() < slot.at + Self::WAY {
            self.bytes.resize(slot.at + Self::WAY, 0);
        }
        let way = &mut self.bytes[slot.at..slot.at + Self::WAY];
        way[..WORD].copy_from_slice(&fingerprint.to_le_bytes());
        payload.encode(&mut way[WORD..]);
    }

    fn ways(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let head = self.head();
        self.bytes[head..]
            .chunks_exact(Self::WAY)
            .enumerate()
            .map(move |(index, way)| (head + index * Self::WAY, way))
    }
}

/// The first eight bytes, little-endian; zero if there are fewer.
pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

fn half(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}
