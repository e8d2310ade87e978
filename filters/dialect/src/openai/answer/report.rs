//! A usage report → the usage that can be true.
//!
//! Hosts disagree on what they count. The rules:
//!
//! ```text
//! zeros and nulls alone                    no report
//! prompt absent or 0                       unknown; the rest of the total, if there is output and a rest
//! total > prompt + completion              the rest is output: reasoning is counted beside the completion
//! no total, reasoning > completion         the same
//! reasoning <= completion                  inside, as OpenAI has it
//! total alone                              told as such
//! input_tokens and the like                where OpenAI's names are absent or 0; a cache beside them is input
//! total < prompt + completion              not believed
//! not whole, negative, out of range        the report is none; of details, that one
//! ```

use crate::json::Decimal;
use crate::usage::Usage;

/// Greatest count of a prompt, and of what one sequence generates: above any context window.
const MAX_COUNT: u64 = 10_000_000;

/// A number of a usage report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Input,
    /// Read from a cache, and in `Input`.
    Cached,
    /// Read from a cache, and beside `Input`: llama.cpp's timings.
    Beside,
    Output,
    Reasoning,
    Total,
    /// The same under names that count if those of OpenAI say nothing.
    OtherInput,
    OtherOutput,
    /// Beside `OtherInput`: Anthropic.
    CacheWritten,
    CacheRead,
}

/// A usage report being read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    input: Option<u64>,
    cached: u64,
    beside: Option<u64>,
    output: Option<u64>,
    reasoning: u64,
    total: Option<u64>,
    other_input: Option<u64>,
    other_output: Option<u64>,
    cache_written: u64,
    cache_read: u64,
    unusable: bool,
}

impl Report {
    /// A count has a value that is none. Details tell nothing that is charged.
    pub(super) fn spoil(&mut self, count: Count) {
        self.unusable |= matches!(
            count,
            Count::Input | Count::Beside | Count::Output | Count::Total
        );
    }

    /// A count, in a report on so many `sequences`.
    pub(super) fn count(&mut self, count: Count, number: Decimal, sequences: u64) {
        let max = match count {
            Count::Output | Count::OtherOutput | Count::Reasoning => {
                MAX_COUNT.saturating_mul(sequences.max(1))
            }
            Count::Total => MAX_COUNT.saturating_mul(sequences.max(1).saturating_add(1)),
            _ => MAX_COUNT,
        };
        let value = match number.whole() {
            Ok(value) if value <= max => value,
            _ => return self.spoil(count),
        };
        match count {
            Count::Input => self.input = Some(value),
            // Hosts give these at two places.
            Count::Cached => self.cached = self.cached.max(value),
            Count::Reasoning => self.reasoning = self.reasoning.max(value),
            Count::Beside => self.beside = Some(value),
            Count::Output => self.output = Some(value),
            Count::Total => self.total = Some(value),
            Count::OtherInput => self.other_input = Some(value),
            Count::OtherOutput => self.other_output = Some(value),
            Count::CacheWritten => self.cache_written = value,
            Count::CacheRead => self.cache_read = value,
        }
    }

    /// What it says, if that can be true.
    pub(super) fn usage(&self) -> Option<Usage> {
        let given = |count: Option<u64>| count.filter(|count| *count > 0);
        let total = given(self.total);
        let told = given(self.output).or(self.other_output).or(self.output);
        let completion = told.unwrap_or(0);
        let prompt = given(self.input).or_else(|| given(self.all_input(completion)));
        let with_reasoning = match self.reasoning > completion {
            true => completion + self.reasoning,
            false => completion,
        };
        let output = match (prompt, total) {
            (Some(prompt), Some(total)) => completion.max(total.saturating_sub(prompt)),
            // Half a report.
            (Some(_), None) if told.is_none() && with_reasoning == 0 => return None,
            _ => with_reasoning,
        };
        let rest = total.map_or(0, |total| total.saturating_sub(output));
        let input = prompt.or(given(Some(rest)).filter(|_| output > 0));
        if self.unusable || (input.is_none() && total.is_none() && output == 0) {
            return None;
        }
        Some(Usage {
            input,
            cached: self.cached.max(self.cache_read).min(input.unwrap_or(0)),
            output,
            reasoning: self.reasoning.min(output),
            total: total.filter(|total| *total >= input.unwrap_or(0) + output),
        })
    }

    /// The prompt under its other name, and what was written to a cache or read from it, unless a total says that it is
    /// inside.
    fn all_input(&self, completion: u64) -> Option<u64> {
        let input = self.other_input?;
        let inside = self.total == Some(input + completion);
        let beside = self.cache_written + self.cache_read;
        Some(input + if inside { 0 } else { beside })
    }

    /// What llama.cpp's `timings` say. Their prompt is what was left of it after the cache, which older servers
    /// do not tell.
    pub(super) fn timings(&self) -> Option<Usage> {
        let usage = self.usage()?;
        let cached = self.beside;
        Some(Usage {
            input: cached
                .map(|cached| cached + self.input.unwrap_or(0))
                .filter(|input| *input > 0),
            cached: cached.unwrap_or(0),
            ..usage
        })
    }
}

/// The usage after a further report: that one, but what it does not say remains.
pub(super) fn merge(known: Option<Usage>, next: Usage) -> Usage {
    let Some(known) = known else { return next };
    let mut merged = next;
    if next.input.is_none() {
        (merged.input, merged.cached) = (known.input, known.cached);
    }
    if next.output == 0 {
        (merged.output, merged.reasoning) = (known.output, known.reasoning);
    }
    let input = merged.input.unwrap_or(0);
    let total = next.total.or(known.total);
    if let (Some(_), Some(total)) = (merged.input, total) {
        merged.output = merged.output.max(total.saturating_sub(input));
    }
    merged.total = total.filter(|total| *total >= input + merged.output);
    merged
}
