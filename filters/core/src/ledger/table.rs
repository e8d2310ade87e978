//! The table of cells in shared memory: sets of up to 64 ways of (fingerprint, payload).
//!
//! One set is one shared value, changed by compare-and-swap, so all workers see one balance. A set is
//! created when its first key is written and grows by one way at a time, so memory is spent on the keys
//! that exist. A newcomer takes, in this order:
//!
//! 1. a way whose payload has ended: that bucket is full, and forgetting it changes nothing;
//! 2. a new way, while there are fewer than 64;
//! 3. the way that ends first. That is a *live eviction*. The newcomer starts where the evicted payload
//!    ends, but at most one window from now; what is dropped of it is reported as clipped.
//!
//! A table for `n` keys has at least `n/16` sets ([`super::placement`]). With `maxKeys` = 1 000 000 and as many live
//! keys, the probability that any set needs more than 64 ways is 2·10⁻¹⁵. With more live keys than the sets hold, a bucket can
//! become stricter, by what it takes over, or fuller, by what others were refunded. The remedy is more sets.
//!
//! The table reads only the end of a payload, so another algorithm can store another payload.

use core::marker::PhantomData;

use super::encoding::{WORD, word};
use super::placement;
use super::timeline::Timeline;

/// The content of a way beside its fingerprint.
pub(super) trait Payload: Copy {
    /// Encoded length in bytes, the same for every value.
    const LEN: usize;
    /// Writes exactly [`Payload::LEN`] bytes.
    fn encode(&self, out: &mut [u8]);
    /// Reads what [`Payload::encode`] wrote.
    fn decode(bytes: &[u8]) -> Self;
    /// The time at which it ends, ns: from then on it equals one that was never written.
    fn end(&self) -> u64;
    /// A payload that ends at this time.
    fn ending(end: u64) -> Self;
}

/// Most ways of a set.
pub(super) const MAX_WAYS: usize = 64;

/// Length of the header: the time line, and the width of the table that the keys moved to, or zero.
const HEADER: usize = Timeline::LEN + WORD;

/// One set: the header, then the ways. It is read and written whole with every reserve, and
/// therefore changed in its encoded form.
pub(super) struct Set<P> {
    bytes: Vec<u8>,
    timeline: Timeline,
    payload: PhantomData<P>,
}

/// The way of a fingerprint, or the one it would take.
#[derive(Clone, Copy)]
pub(super) struct Slot<P> {
    at: usize,
    /// The payload as it is, or as a newcomer starts.
    pub(super) payload: P,
    /// The fingerprint has this way already.
    pub(super) found: bool,
    /// Taking it evicts a payload that has not ended.
    pub(super) evicts: bool,
    /// The part of the evicted payload that the newcomer does not take over, ns.
    pub(super) clipped: u64,
}

impl<P: Payload> Set<P> {
    const WAY: usize = WORD + P::LEN;

    /// A set without ways.
    pub(super) fn new(timeline: Timeline) -> Self {
        let mut bytes = vec![0; HEADER];
        timeline.encode(&mut bytes);
        Self {
            bytes,
            timeline,
            payload: PhantomData,
        }
    }

    /// Takes a stored value; `None` if it is not a set.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let timeline = Timeline::decode(&bytes)?;
        let ways = bytes.len().checked_sub(HEADER)?;
        (ways.is_multiple_of(Self::WAY) && ways / Self::WAY <= MAX_WAYS).then_some(Self {
            bytes,
            timeline,
            payload: PhantomData,
        })
    }

    /// The encoded set.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The time line its payloads are written on.
    pub(super) fn timeline(&self) -> Timeline {
        self.timeline
    }

    /// The width of the table that its keys moved to.
    pub(super) fn moved_to(&self) -> Option<u8> {
        let width = self.bytes[Timeline::LEN];
        (width > 0).then_some(width)
    }

    /// Records that its keys moved to the sets of a table of that width, above zero.
    pub(super) fn close(&mut self, width: u8) {
        self.bytes[Timeline::LEN] = width;
    }

    /// The set of this fingerprint in a table of that width, with its part of this one.
    pub(super) fn part(&self, fingerprint: u64, width: u8) -> Self {
        let number = placement::set(fingerprint, width);
        let mut part = Self::new(self.timeline);
        let ways = self.ways().map(|(_, way)| way);
        for way in ways.filter(|way| placement::set(word(way), width) == number) {
            part.bytes.extend_from_slice(way);
        }
        part
    }

    /// Moves every payload that has not ended so that it keeps its share of a window of `span` ns, rounded
    /// up, but ends at most `ceiling` ns from now. Returns what was cut off by that, ns.
    pub(super) fn rescale(&mut self, span: u64, now: u64, ceiling: u64) -> u64 {
        let from = self.timeline;
        if from.span() == span {
            return 0;
        }
        let mut clipped: u64 = 0;
        for way in self.bytes[HEADER..].chunks_exact_mut(Self::WAY) {
            let left = P::decode(&way[WORD..]).end().saturating_sub(now);
            if left > 0 {
                let scaled = from.scale_up(left, span);
                clipped = clipped.saturating_add(scaled.saturating_sub(ceiling));
                let end = now.saturating_add(scaled.min(ceiling));
                P::ending(end).encode(&mut way[WORD..]);
            }
        }
        self.timeline = from.under(span, now);
        self.timeline.encode(&mut self.bytes);
        clipped
    }

    /// The way of a fingerprint, or the one it would take.
    pub(super) fn slot(&self, fingerprint: u64, now: u64) -> Slot<P> {
        let mut first: Option<(u64, usize)> = None;
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
            if first.is_none_or(|(end, _)| payload.end() < end) {
                first = Some((payload.end(), at));
            }
        }
        let newcomer = |at, end, evicts, clipped| Slot {
            at,
            payload: P::ending(end),
            found: false,
            evicts,
            clipped,
        };
        let full = self.bytes.len() >= HEADER + MAX_WAYS * Self::WAY;
        match first {
            Some((end, at)) if end <= now => newcomer(at, now, false, 0),
            Some((end, at)) if full => {
                let start = end.min(now.saturating_add(self.timeline.span()));
                newcomer(at, start, true, end - start)
            }
            _ => newcomer(self.bytes.len(), now, false, 0),
        }
    }

    /// Writes the payload of a fingerprint into its slot.
    pub(super) fn put(&mut self, fingerprint: u64, slot: &Slot<P>, payload: &P) {
        let end = slot.at + Self::WAY;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let way = &mut self.bytes[slot.at..end];
        way[..WORD].copy_from_slice(&fingerprint.to_le_bytes());
        payload.encode(&mut way[WORD..]);
    }

    fn ways(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes[HEADER..]
            .chunks_exact(Self::WAY)
            .enumerate()
            .map(|(index, way)| (HEADER + index * Self::WAY, way))
    }
}
