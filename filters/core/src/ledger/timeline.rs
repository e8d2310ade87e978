//! The time line of the cells of one set, and its change when the window is edited.
//!
//! A cell is a time. Its distance from now, divided by the window, is the used share of the bucket, so a set
//! stores the window of its cells. After an edit of the window, the first reserve moves every cell of the set so
//! that each keeps its share. Streams that reserved before the edit hold times of the old window;
//! [`Timeline::translate`] converts them.
//!
//! `refilled` counts the windows refilled until `since`, so the conversion is exact over any number of edits. A
//! cell's distance from now, in windows, is the same before and after an edit, so the number of windows that
//! will have been refilled when it is reached never changes.

use super::encoding::word;

/// The time line of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeline {
    /// The window, `period × burst` in ns; never zero.
    span: u64,
    /// The time of the last edit, ns.
    since: u64,
    /// Windows refilled by then, in units of 2^-64 windows.
    refilled: u128,
}

impl Timeline {
    /// Encoded length in bytes.
    pub(super) const LEN: usize = 32;

    /// The line of a set whose window never changed. It does not depend on when the set is created.
    pub(super) fn new(span: u64) -> Self {
        Self {
            span: span.max(1),
            since: 0,
            refilled: 0,
        }
    }

    /// The window, `period × burst` in ns.
    pub(super) fn span(&self) -> u64 {
        self.span
    }

    /// The line from `now` on, under another window.
    pub(super) fn under(&self, span: u64, now: u64) -> Self {
        Self {
            span: span.max(1),
            since: now,
            refilled: self.refilled_at(now),
        }
    }

    /// An amount of time of this line as the same share of a window of `span` ns, rounded up; saturates.
    pub(super) fn scale_up(&self, ns: u64, span: u64) -> u64 {
        let scaled = (u128::from(ns) * u128::from(span)).div_ceil(u128::from(self.span));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// The same, rounded down.
    pub(super) fn scale_down(&self, ns: u64, span: u64) -> u64 {
        let scaled = u128::from(ns) * u128::from(span) / u128::from(self.span);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    /// Where an instant of this line lies on another line of the same set, rounded down.
    pub(super) fn translate(&self, instant: u64, to: &Self) -> u64 {
        if self == to {
            return instant;
        }
        to.reached(self.refilled_at(instant))
    }

    /// Windows refilled at an instant, in 2^-64, rounded down.
    fn refilled_at(&self, instant: u64) -> u128 {
        let span = u128::from(self.span);
        match instant.checked_sub(self.since) {
            Some(after) => self.refilled + (u128::from(after) << 64) / span,
            None => {
                let before = u128::from(self.since - instant) << 64;
                self.refilled.saturating_sub(before.div_ceil(span))
            }
        }
    }

    /// The instant at which so many windows are refilled, rounded down.
    fn reached(&self, refilled: u128) -> u64 {
        let ns = |windows: u128| {
            let fraction = windows & u128::from(u64::MAX);
            let ns = (windows >> 64) * u128::from(self.span)
                + ((fraction * u128::from(self.span)) >> 64);
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        match refilled.checked_sub(self.refilled) {
            Some(after) => self.since.saturating_add(ns(after)),
            None => {
                let before = ns(self.refilled - refilled).saturating_add(1);
                self.since.saturating_sub(before)
            }
        }
    }

    /// Writes exactly [`Self::LEN`] bytes.
    pub(super) fn encode(&self, out: &mut [u8]) {
        out[..8].copy_from_slice(&self.span.to_le_bytes());
        out[8..16].copy_from_slice(&self.since.to_le_bytes());
        out[16..Self::LEN].copy_from_slice(&self.refilled.to_le_bytes());
    }

    /// Reads what [`Self::encode`] wrote; `None` if that is no time line.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let refilled = bytes.get(16..)?.first_chunk()?;
        let span = word(bytes);
        (span > 0).then(|| Self {
            span,
            since: word(&bytes[8..]),
            refilled: u128::from_le_bytes(*refilled),
        })
    }
}
