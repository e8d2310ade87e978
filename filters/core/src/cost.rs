//! The cost of a request: both capacity profiles, in integers.
//!
//! One function prices the reservation and the settlement. A reservation is the price of the announced work
//! (`n · max_tokens` of output), a settlement is the price of the work that was done. For `semantic`, the settlement
//! evaluates cost *and* capacity again at `max_tokens := ⌈output/n⌉`. (A price by used/reserved would let an inflated
//! `max_tokens` buy free requests.)
//!
//! Every amount in a [`Quote`] is a whole number of `1/per_unit` of the bucket's unit, and `per_unit` is chosen so that
//! nothing is rounded. Products beyond 128 bits saturate, which can only raise a cost. Within the bounds of the contract and
//! of the dialects, that takes a cost far above any capacity.

use headgate_contract::{Decimal, Profile, Semantic, Tokens, Weights};
use headgate_dialect::Usage;

use crate::ledger::Window;
use crate::ledger::WindowError;

/// Range of the temperature factor, in units of 10⁻¹²: 0.1 to 4.
const FACTOR: std::ops::RangeInclusive<i128> = 100_000_000_000..=4_000_000_000_000;
const MILLION: u128 = 1_000_000;

/// The work of a request, announced or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Tokens of the prompt.
    pub input: u64,
    /// Generated tokens of all sequences.
    pub output: u64,
    /// The number of sequences; at least 1.
    pub n: u64,
    /// The parts of both that have prices of their own.
    pub parts: Parts,
}

/// Disjoint parts of the prompt and of the output, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// Of the prompt, read from a cache.
    pub cached_input: u64,
    /// Of the prompt, written to a cache.
    pub cache_write: u64,
    /// Of the prompt, audio.
    pub input_audio: u64,
    /// Of the prompt, images.
    pub input_image: u64,
    /// Of the output, reasoning.
    pub reasoning: u64,
    /// Of the output, audio.
    pub output_audio: u64,
    /// Of the output, images.
    pub output_image: u64,
}

impl Parts {
    /// The parts that the upstream reported.
    #[must_use]
    pub fn of(usage: &Usage) -> Self {
        Self {
            cached_input: usage.cached,
            cache_write: usage.cache_written,
            input_audio: usage.input_audio,
            input_image: usage.input_image,
            reasoning: usage.reasoning,
            output_audio: usage.output_audio,
            output_image: usage.output_image,
        }
    }

    /// Each part with its name in metrics.
    pub(crate) fn named(self) -> [(&'static str, u64); 7] {
        [
            ("cached_input", self.cached_input),
            ("cache_write", self.cache_write),
            ("input_audio", self.input_audio),
            ("input_image", self.input_image),
            ("reasoning", self.reasoning),
            ("output_audio", self.output_audio),
            ("output_image", self.output_image),
        ]
    }
}

/// The price of a token of each class, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    input: u64,
    cached_input: u64,
    cache_write: u64,
    input_audio: u64,
    input_image: u64,
    output: u64,
    reasoning: u64,
    output_audio: u64,
    output_image: u64,
}

impl Prices {
    /// The prices that a policy gives. A class without a weight costs as much as the class that contains it.
    fn new(weights: &Weights) -> Self {
        let or = |weight: Option<Decimal>, parent: Decimal| weight.unwrap_or(parent).millionths();
        let (input, output) = (weights.input, weights.output);
        Self {
            input: input.millionths(),
            cached_input: or(weights.cached_input, input),
            cache_write: or(weights.cache_write, input),
            input_audio: or(weights.audio, input),
            input_image: or(weights.image, input),
            output: output.millionths(),
            reasoning: or(weights.reasoning, output),
            output_audio: or(weights.audio, output),
            output_image: or(weights.image, output),
        }
    }

    /// The price of the work in millionths of a token.
    fn of(&self, work: &Work) -> u128 {
        let Work { input, output, .. } = *work;
        if work.parts == Parts::default() {
            return spent(self.input, input).saturating_add(spent(self.output, output));
        }
        let parts = &work.parts;
        // A part is never more than the whole.
        let of_whole = |whole: (u64, u64), parts: &[(u64, u64)]| {
            let (mut rest, mut cost) = (whole.0, 0u128);
            for (tokens, price) in parts {
                let tokens = rest.min(*tokens);
                rest -= tokens;
                cost = cost.saturating_add(spent(*price, tokens));
            }
            cost.saturating_add(spent(whole.1, rest))
        };
        let input = of_whole(
            (input, self.input),
            &[
                (parts.cached_input, self.cached_input),
                (parts.cache_write, self.cache_write),
                (parts.input_audio, self.input_audio),
                (parts.input_image, self.input_image),
            ],
        );
        let output = of_whole(
            (output, self.output),
            &[
                (parts.reasoning, self.reasoning),
                (parts.output_audio, self.output_audio),
                (parts.output_image, self.output_image),
            ],
        );
        input.saturating_add(output)
    }
}

fn spent(price: u64, tokens: u64) -> u128 {
    u128::from(price) * u128::from(tokens)
}

/// An exact price. All amounts are in `1/per_unit` of the bucket's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// The cost of the work.
    pub cost: u128,
    /// The capacity of the bucket, including the scale.
    pub capacity: u128,
    /// The capacity at scale 1.
    pub unscaled: u128,
    /// The number of these amounts in one unit of the bucket.
    pub per_unit: u128,
}

/// The prices of one bucket for the requests of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pricing {
    /// Counts tokens.
    Tokens {
        /// The capacity, in millionths of a token.
        capacity: u64,
        /// The price of a token of each class.
        prices: Prices,
        /// The temperature sensitivity, in millionths.
        sensitivity: u64,
    },
    /// Prices a request as a share of its own capacity.
    Semantic {
        /// The least capacity, in millionths.
        min_capacity: u64,
        /// The capacity at `reference`, in millionths; 0 for a model that is not in the table.
        base_capacity: u64,
        /// The `max_tokens` of a request that costs 1.
        reference: u32,
        /// The temperature sensitivity, in millionths.
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
            prices: Prices::new(&t.weights),
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

    /// The price of `work` at a temperature (in millionths) and a scale (in percent).
    ///
    /// `tokens`: `(Σ price·tokens of each class) · factor` of `capacity`.
    /// `semantic`: `n·m/reference · factor` of `max(min_capacity, base_capacity·m/reference)`, with
    /// `m = ⌈output/n⌉`.
    #[must_use]
    pub fn quote(&self, work: Work, temperature: u64, percent: u16) -> Quote {
        match *self {
            Self::Tokens {
                capacity,
                ref prices,
                sensitivity,
            } => {
                let tokens = prices.of(&work);
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
                // Every amount is multiplied by `reference`, so that nothing is divided.
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

    /// With another capacity, in millionths of a token. Semantic pricing is scaled instead.
    #[must_use]
    pub(crate) fn with_capacity(mut self, millionths: u64) -> Self {
        if let Self::Tokens { capacity, .. } = &mut self {
            *capacity = millionths;
        }
        self
    }

    /// With a multiple of the capacity; `factor` is in millionths and above 0. Capacities are rounded down to whole millionths, but not
    /// to 0.
    #[must_use]
    pub(crate) fn scaled(mut self, factor: u64) -> Self {
        let scale = |value: &mut u64| {
            let scaled = u128::from(*value) * u128::from(factor) / MILLION;
            let least = (*value).min(1);
            *value = u64::try_from(scaled).unwrap_or(u64::MAX).max(least);
        };
        match &mut self {
            Self::Tokens { capacity, .. } => scale(capacity),
            Self::Semantic {
                min_capacity,
                base_capacity,
                ..
            } => {
                scale(min_capacity);
                scale(base_capacity);
            }
        }
        self
    }

    /// The price of announced work. Output may turn out to be reasoning, so the higher of both prices counts.
    #[must_use]
    pub(crate) fn announced(&self, mut work: Work, temperature: u64, percent: u16) -> Quote {
        if let Self::Tokens { prices, .. } = self
            && prices.reasoning > prices.output
        {
            work.parts.reasoning = work.output;
        }
        self.quote(work, temperature, percent)
    }

    /// The unit that the bucket counts, for clients: `tokens` or `requests`.
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

    /// The cost in cells of a window, the unit of settlements.
    #[must_use]
    pub fn cells(&self, window: &Window) -> u64 {
        window.cells(self.cost, self.capacity)
    }

    /// A number of cells in thousandths of the bucket's unit, rounded to the nearest. (A cost takes whole cells, which is a few
    /// millionths of a token more. After rounding, 256 of 1000 tokens leave 744.)
    #[must_use]
    pub fn milli_units(&self, window: &Window, cells: u64) -> u64 {
        // The division comes first, so that a capacity of 128 bits does not overflow.
        let capacity = self.capacity.saturating_mul(10) / (self.per_unit / 1000).max(1);
        let tenths = window.units(cells, capacity);
        u64::try_from((tenths + 5) / 10).unwrap_or(u64::MAX)
    }
}

/// `clamp(1 + sensitivity·(temperature − 1), 0.1, 4)` as an exact fraction (numerator, denominator). The denominator is the
/// least power of a million that is sufficient.
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

/// The tokens of a number of bytes, rounded up. `bytes_per_token` is in millionths.
#[must_use]
pub fn tokens_of_bytes(bytes: u64, bytes_per_token: u64) -> u64 {
    let per_token = bytes_per_token.max(1);
    // Nearly every text is short enough for a division of 64 bits.
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
/// [`WindowError`], for values outside of the contract's bounds.
pub fn window(profile: &Profile) -> Result<Window, WindowError> {
    match profile {
        Profile::Tokens(t) => Window::from_capacity_and_refill(
            u128::from(t.capacity.millionths()),
            u128::from(t.refill_per_second.millionths()),
        ),
        Profile::Semantic(s) => Window::from_fill_ratio(s.fill_ratio.millionths()),
    }
}
