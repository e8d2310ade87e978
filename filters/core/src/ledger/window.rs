//! A rule's window: the exact arithmetic between costs, cells and nanoseconds.
//!
//! The currency of the ledger is time. A bucket of any capacity refills in the same window
//! `T = capacity / refill_per_second`, so a request takes the share `cost / capacity` of it. `T` is
//! kept as an exact fraction of nanoseconds; what governor counts is `burst` cells of `period`
//! nanoseconds each, and rounding always goes against the client: `period × burst ≥ T`, and a
//! cost is rounded up to whole cells.

use core::num::NonZeroU32;

/// One unit in the integer millionths that every decimal of a configuration is held in.
pub const MILLION: u128 = 1_000_000;

/// The greatest burst, a multiple of [`DIVISOR`] below 2^32.
const MAX_BURST: u128 = 4_294_965_600;

/// Bursts are multiples of this, so that the usual capacities (20, 30, 80, 100, 200 …) divide them
/// and a whole number of requests empties a bucket exactly.
const DIVISOR: u128 = 7_200;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// The shortest window: below it, rounding the burst up to [`DIVISOR`] would cost over one percent.
const MIN_WINDOW_NS: u128 = 1_000_000;

/// Exclusive bound on `period × burst` (73 years). Far below 2^64 because governor adds windows
/// to arrival times without checking for overflow.
const MAX_WINDOW_NS: u128 = 1 << 61;

/// The default debt, in windows.
const DEFAULT_DEBT: u64 = 10;

/// Bound on the default debt of a long window, ns: 24 hours.
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Why a window cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// The capacity is zero: nothing could ever pass.
    NoCapacity,
    /// The refill or fill ratio is zero: the window would be endless.
    NoRefill,
    /// The window is shorter than a millisecond.
    TooShort,
    /// The window is 2^61 ns (73 years) or longer.
    TooLong,
}

impl core::fmt::Display for WindowError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoCapacity => "capacity must be above 0",
            Self::NoRefill => "refill must be above 0",
            Self::TooShort => "capacity / refill must be at least one millisecond",
            Self::TooLong => "capacity / refill must be below 2^61 nanoseconds (73 years)",
        })
    }
}

impl std::error::Error for WindowError {}

/// The constant `T` of a rule, exact, with the governor quota that represents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `T` in ns is `numerator / denominator`, in lowest terms.
    numerator: u128,
    denominator: u128,
    period: u64,
    burst: NonZeroU32,
}

impl Window {
    /// The window of the `tokens` profile: `T = capacity / refill_per_second`, both in millionths
    /// of the bucket's unit.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn from_capacity_and_refill(
        capacity: u128,
        refill_per_second: u128,
    ) -> Result<Self, WindowError> {
        if capacity == 0 {
            return Err(WindowError::NoCapacity);
        }
        let ns = capacity.checked_mul(NS_PER_SECOND);
        Self::from_fraction(ns.ok_or(WindowError::TooLong)?, refill_per_second)
    }

    /// The window of the `semantic` profile: `T = 1 / fill_ratio`, the ratio in millionths per
    /// second.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn from_fill_ratio(fill_ratio: u64) -> Result<Self, WindowError> {
        Self::from_fraction(MILLION * NS_PER_SECOND, u128::from(fill_ratio))
    }

    fn from_fraction(numerator: u128, denominator: u128) -> Result<Self, WindowError> {
        if denominator == 0 {
            return Err(WindowError::NoRefill);
        }
        if numerator / denominator >= MAX_WINDOW_NS {
            return Err(WindowError::TooLong);
        }
        if numerator / denominator < MIN_WINDOW_NS {
            return Err(WindowError::TooShort);
        }
        let common = gcd(numerator, denominator);
        let (numerator, denominator) = (numerator / common, denominator / common);
        // ⌈⌈n/d⌉/k⌉ = ⌈n/(d·k)⌉ for whole k, and cannot overflow.
        let whole = numerator.div_ceil(denominator);
        let period = whole.div_ceil(MAX_BURST).max(1);
        let burst = DIVISOR * whole.div_ceil(DIVISOR * period);
        if period * burst >= MAX_WINDOW_NS {
            return Err(WindowError::TooLong);
        }
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new);
        Ok(Self {
            numerator,
            denominator,
            period: u64::try_from(period).map_err(|_| WindowError::TooLong)?,
            burst: burst.ok_or(WindowError::TooLong)?,
        })
    }

    /// Length of a cell, in ns (`q` in the design).
    #[must_use]
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Cells in a full bucket (`B` in the design).
    #[must_use]
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// `period × burst` in ns: a full bucket as time, `T` rounded up.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.period * u64::from(self.burst.get())
    }

    /// `T` in ns as an exact fraction in lowest terms, (numerator, denominator).
    #[must_use]
    pub fn exact(&self) -> (u128, u128) {
        (self.numerator, self.denominator)
    }

    /// `⌈cost · burst / capacity⌉`: the cells of a cost in a bucket of this capacity, both in
    /// millionths of the same unit. Zero only for a cost of zero; above [`Window::burst`] it can
    /// never be reserved at once. A capacity of zero, like a product beyond 128 bits, saturates.
    #[must_use]
    pub fn cells(&self, cost: u128, capacity: u128) -> u64 {
        if cost == 0 {
            return 0;
        }
        let cells = cost
            .checked_mul(u128::from(self.burst.get()))
            .and_then(|scaled| {
                scaled
                    .checked_add(capacity.checked_sub(1)?)?
                    .checked_div(capacity)
            });
        cells
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(u64::MAX)
    }

    /// `⌊cells · capacity / burst⌋`: the inverse of [`Window::cells`], for showing a balance in the
    /// bucket's unit (millionths).
    #[must_use]
    pub fn units(&self, cells: u64, capacity: u128) -> u128 {
        capacity.saturating_mul(u128::from(cells)) / u128::from(self.burst.get())
    }

    /// Greatest debt of a bucket of this window after settlement, ns; for [`super::RuleSpec::max_debt`].
    /// `windows` is in millionths of a window. Without it: 10 windows, but at most 24 hours, or one window
    /// where that is longer, so that a monthly budget does not lock out for ten months. Saturates.
    #[must_use]
    pub fn debt(&self, windows: Option<u64>) -> u64 {
        let span = self.span();
        match windows {
            Some(millionths) => {
                let ns = u128::from(span) * u128::from(millionths) / MILLION;
                u64::try_from(ns).unwrap_or(u64::MAX)
            }
            None => span.saturating_mul(DEFAULT_DEBT).min(span.max(DAY_NS)),
        }
    }

    /// Cells as ns; saturates.
    pub(super) fn ns(&self, cells: u64) -> u64 {
        cells.saturating_mul(self.period)
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
