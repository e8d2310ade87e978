//! What a request costs: both capacity profiles, in integers.
//!
//! One function prices the reservation and the settlement: a reserve is the price of the work that was
//! announced (`n · max_tokens` of output), a settlement the price of the work that was done. For `semantic`
//! that re-evaluates cost *and* capacity at `max_tokens := ⌈output/n⌉`; pricing by used/reserved instead
//! would let an inflated `max_tokens` buy free requests.
//!
//! Exactness: every figure of a [`Quote`] is a whole number of `1/per_unit` of the bucket's unit, with
//! `per_unit` chosen so that nothing is rounded. Products beyond 128 bits saturate, which can only make a
//! cost greater; with the bounds of the contract and of the dialect that takes a cost far above any capacity.

use headgate_contract::{Decimal, Profile, Semantic, Tokens};

use crate::ledger::Window;
use crate::ledger::WindowError;

/// Bounds of the temperature factor, in millionths of a millionth: 0.1 and 4.
const FACTOR: std::ops::RangeInclusive<i128> = 100_000_000_000..=4_000_000_000_000;
const MILLION: u128 = 1_000_000;

/// Work, announced or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens generated, over all sequences.
    pub output: u64,
    /// Sequences generated; at least 1.
    pub n: u64,
}

/// A price, exact. All three in `1/per_unit` of the bucket's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// What the work costs.
    pub cost: u128,
    /// What a full bucket holds now, scale included.
    pub capacity: u128,
    /// What it holds at scale 1.
    pub unscaled: u128,
    /// How many of these make one of the bucket's unit.
    pub per_unit: u128,
}

/// How one bucket prices the requests of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pricing {
    /// Counts tokens. All in millionths.
    Tokens {
        /// Tokens in a full bucket.
        capacity: u64,
        /// Price of a prompt token.
        input_weight: u64,
        /// Price of a generated token.
        output_weight: u64,
        /// Temperature sensitivity.
        sensitivity: u64,
    },
    /// Prices a request as a share of its own capacity.
    Semantic {
        /// Least capacity, in millionths.
        min_capacity: u64,
        /// Capacity at `reference`, in millionths; 0 for a model outside the table.
        base_capacity: u64,
        /// `max_tokens` of a request that costs 1.
        reference: u32,
        /// Temperature sensitivity, in millionths.
        sensitivity: u64,
    },
}

impl Pricing {
    /// The pricing of `model` under a profile.
    #[must_use]
    pub fn new(profile: &Profile, model: &str) -> Self {
        match profile {
            Profile::Tokens(t) => Self::tokens(t),
            Profile::Semantic(s) => Self::semantic(s, model),
        }
    }

    fn tokens(t: &Tokens) -> Self {
        Self::Tokens {
            capacity: t.capacity.millionths(),
            input_weight: t.input_weight.millionths(),
            output_weight: t.output_weight.millionths(),
            sensitivity: t.temperature_sensitivity.millionths(),
        }
    }

    fn semantic(s: &Semantic, model: &str) -> Self {
        let row = s.models.get(model);
        Self::Semantic {
            min_capacity: s.min_capacity.millionths(),
            base_capacity: row.map_or(0, |r| r.base_capacity.millionths()),
            reference: s.reference_max_tokens,
            sensitivity: row.map_or(Decimal::UNIT, |r| r.temperature_sensitivity.millionths()),
        }
    }

    /// Prices `work` at a temperature (millionths) and a scale (percent).
    ///
    /// `tokens`: `(input_weight·input + output_weight·output) · factor` of `capacity`.
    /// `semantic`: `n·m/reference · factor` of `max(min_capacity, base_capacity·m/reference)`, with
    /// `m = ⌈output/n⌉`.
    #[must_use]
    pub fn quote(&self, work: Work, temperature: u64, percent: u16) -> Quote {
        match *self {
            Self::Tokens {
                capacity,
                input_weight,
                output_weight,
                sensitivity,
            } => {
                let spent = |weight: u64, tokens: u64| u128::from(weight) * u128::from(tokens);
                let tokens = spent(input_weight, work.input)
                    .saturating_add(spent(output_weight, work.output));
                let (factor, unit) = factor(sensitivity, temperature);
                let capacity = u128::from(capacity).saturating_mul(unit);
                Quote::scaled(
                    tokens.saturating_mul(factor),
                    capacity,
                    MILLION * unit,
                    percent,
                )
            }
            Self::Semantic {
                min_capacity,
                base_capacity,
                reference,
                sensitivity,
            } => {
                // Everything times `reference`, so that nothing is divided.
                let reference = u128::from(reference.max(1));
                let max_tokens = u128::from(work.output.div_ceil(work.n.max(1)));
                let (factor, unit) = factor(sensitivity, temperature);
                let floor = u128::from(min_capacity) * reference;
                let capacity = floor.max(u128::from(base_capacity) * max_tokens);
                let cost = (u128::from(work.n.max(1)) * max_tokens)
                    .saturating_mul(MILLION)
                    .saturating_mul(factor);
                let per_unit = MILLION * unit * reference;
                Quote::scaled(cost, capacity.saturating_mul(unit), per_unit, percent)
            }
        }
    }

    /// What the bucket counts, as clients know it: `tokens` or `requests`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tokens { .. } => "tokens",
            Self::Semantic { .. } => "requests",
        }
    }
}

impl Quote {
    fn scaled(cost: u128, capacity: u128, per_unit: u128, percent: u16) -> Self {
        if percent == 100 {
            return Self {
                cost,
                capacity,
                unscaled: capacity,
                per_unit,
            };
        }
        Self {
            cost: cost.saturating_mul(100),
            capacity: capacity.saturating_mul(u128::from(percent)),
            unscaled: capacity.saturating_mul(100),
            per_unit: per_unit * 100,
        }
    }

    /// The cost in cells of a window: what settlement is written in.
    #[must_use]
    pub fn cells(&self, window: &Window) -> u64 {
        window.cells(self.cost, self.capacity)
    }

    /// A number of cells in thousandths of the bucket's unit, to the nearest: 256 of 1000 tokens leave 744,
    /// though a cost takes whole cells and so a few millionths of a token more.
    #[must_use]
    pub fn milli_units(&self, window: &Window, cells: u64) -> u64 {
        // Divided first, for a capacity that fills 128 bits has no room to be multiplied.
        let capacity = self.capacity.saturating_mul(10) / (self.per_unit / 1000).max(1);
        let tenths = window.units(cells, capacity);
        u64::try_from((tenths + 5) / 10).unwrap_or(u64::MAX)
    }
}

/// `clamp(1 + sensitivity·(temperature − 1), 0.1, 4)` as an exact fraction (numerator, denominator), the
/// denominator a power of a million as small as will do.
fn factor(sensitivity: u64, temperature: u64) -> (u128, u128) {
    let one = i128::from(Decimal::UNIT);
    let factor = one * one + i128::from(sensitivity) * (i128::from(temperature) - one);
    let factor = factor.clamp(*FACTOR.start(), *FACTOR.end()).unsigned_abs();
    match factor {
        f if f.is_multiple_of(MILLION * MILLION) => (f / MILLION / MILLION, 1),
        f if f.is_multiple_of(MILLION) => (f / MILLION, MILLION),
        f => (f, MILLION * MILLION),
    }
}

/// Tokens of so many bytes at `bytes_per_token` millionths each, rounded up.
#[must_use]
pub fn tokens_of_bytes(bytes: u64, bytes_per_token: u64) -> u64 {
    let per_token = bytes_per_token.max(1);
    // Nearly every text is short enough for the machine's own division.
    match bytes.checked_mul(Decimal::UNIT) {
        Some(millionths) => millionths.div_ceil(per_token),
        None => tokens_of_many(bytes, per_token),
    }
}

#[cold]
fn tokens_of_many(bytes: u64, per_token: u64) -> u64 {
    let tokens = (u128::from(bytes) * MILLION).div_ceil(u128::from(per_token));
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// The window `T` of a profile.
///
/// # Errors
/// [`WindowError`]; none that the contract's own bounds let through.
pub fn window(profile: &Profile) -> Result<Window, WindowError> {
    match profile {
        Profile::Tokens(t) => Window::from_capacity_and_refill(
            u128::from(t.capacity.millionths()),
            u128::from(t.refill_per_second.millionths()),
        ),
        Profile::Semantic(s) => Window::from_fill_ratio(s.fill_ratio.millionths()),
    }
}
