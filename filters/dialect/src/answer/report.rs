//! A usage report → the usage that can be true.
//!
//! An answer may report usage several times, in one document or in several events. A later report replaces an earlier one,
//! and what it leaves out remains ([`merge`]).
//!
//! Hosts disagree about what they count. The rules for answers with output:
//!
//! ```text
//! only zeros and nulls                     not a report
//! prompt absent or 0                       unknown; the rest of the total, if there is output and a rest
//! total > prompt + completion              the rest is output: reasoning is counted beside the completion
//! no total, reasoning > completion         the same
//! reasoning <= completion                  reasoning is inside the completion, as with OpenAI
//! only a total                             reported as the total
//! input_tokens and similar names           used where OpenAI's names are absent or 0; cache counts beside them are input
//! total < prompt + completion              the total is ignored
//! not whole, negative, out of range        the whole report is ignored; of details, only that value
//! ```
//!
//! Details (the cache, reasoning, audio, images) are disjoint parts of input and output: each takes at most what the ones before
//! it leave.
//!
//! Where an endpoint generates nothing, all of a report is input: the greater of prompt and total. (Some hosts of
//! embeddings report only a total, and count pictures only there.)

use crate::json::Decimal;
use crate::usage::Usage;

/// Greatest count of a prompt, and of the output of one sequence: above any context window.
const MAX_COUNT: u64 = 10_000_000;
/// Most inputs of one request that generates nothing, as OpenAI documents for embeddings.
const MAX_INPUTS: u64 = 2048;

/// Tokens of a second of sound in a prompt, as OpenAI documents for input: one for 100 ms.
const TOKENS_PER_SECOND: u64 = 10;

/// A number of a usage report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Input,
    /// Read from a cache, and part of `Input`.
    Cached,
    /// Written to a cache, and part of `Input`.
    Written,
    /// Audio, and part of `Input`.
    InputAudio,
    /// Images, and part of `Input`.
    InputImage,
    /// Read from a cache, and not part of `Input`: llama.cpp's timings.
    Beside,
    /// Another part of the prompt that is not part of `Input`.
    InputBeside,
    /// Reasoning that is not part of `Output`.
    ReasoningBeside,
    /// Seconds of sound in the prompt.
    Seconds,
    /// The output of one of the other sequences, which is not part of `Output`.
    OutputBeside,
    Output,
    Reasoning,
    /// Audio, and part of `Output`.
    OutputAudio,
    /// Images, and part of `Output`.
    OutputImage,
    /// A part of `Input` or `Output`: the tokens of one modality.
    OfModality,
    Total,
    /// The same under another name, which counts where OpenAI's name is absent or 0.
    OtherInput,
    OtherOutput,
    /// Not part of `OtherInput`: Anthropic.
    CacheWritten,
    CacheRead,
}

/// A usage report being read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    input: Option<u64>,
    cached: u64,
    written: u64,
    input_audio: u64,
    input_image: u64,
    beside: Option<u64>,
    input_beside: u64,
    reasoning_beside: u64,
    output_beside: u64,
    output: Option<u64>,
    reasoning: u64,
    output_audio: u64,
    output_image: u64,
    total: Option<u64>,
    other_input: Option<u64>,
    other_output: Option<u64>,
    cache_written: u64,
    cache_read: u64,
    unusable: bool,
    /// The part of one modality that is being read.
    part: Part,
}

/// A count of one modality.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    modality: Modality,
    tokens: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Modality {
    /// Text, documents, and what is not known: the rest of a count.
    #[default]
    Text,
    Audio,
    /// Also films, whose frames are images.
    Image,
}

impl Report {
    /// Takes the modality of the part that is being read, in Google's words.
    pub(super) fn modality(&mut self, word: &[u8]) {
        self.part.modality = match word {
            b"AUDIO" => Modality::Audio,
            b"IMAGE" | b"VIDEO" => Modality::Image,
            _ => Modality::Text,
        };
    }

    /// The part of one modality is complete. It belongs to the input or to the output.
    pub(super) fn end_modality(&mut self, input: bool) {
        let part = std::mem::take(&mut self.part);
        let sum = match (part.modality, input) {
            (Modality::Text, _) => return,
            (Modality::Audio, true) => &mut self.input_audio,
            (Modality::Image, true) => &mut self.input_image,
            (Modality::Audio, false) => &mut self.output_audio,
            (Modality::Image, false) => &mut self.output_image,
        };
        *sum = sum.saturating_add(part.tokens);
    }

    /// A count has an impossible value. A detail is ignored then: its tokens are charged as the rest of the input or output.
    pub(super) fn invalidate(&mut self, count: Count) {
        self.unusable |= matches!(
            count,
            Count::Input | Count::Beside | Count::Output | Count::OutputBeside | Count::Total
        );
    }

    /// Takes a count. `sequences`: how many were generated; `None` if the endpoint generates nothing.
    pub(super) fn count(&mut self, count: Count, number: Decimal, sequences: Option<u64>) {
        let Some(sequences) = sequences else {
            return self.take(count, number, MAX_COUNT * MAX_INPUTS);
        };
        let max = match count {
            Count::Output
            | Count::OutputBeside
            | Count::OtherOutput
            | Count::Reasoning
            | Count::ReasoningBeside
            | Count::OutputAudio
            | Count::OutputImage => MAX_COUNT.saturating_mul(sequences.max(1)),
            Count::Total => MAX_COUNT.saturating_mul(sequences.max(1).saturating_add(1)),
            _ => MAX_COUNT,
        };
        self.take(count, number, max);
    }

    fn take(&mut self, count: Count, number: Decimal, max: u64) {
        if count == Count::Seconds {
            let millionths = number.millionths().unwrap_or_default();
            let tokens = millionths
                .saturating_mul(TOKENS_PER_SECOND)
                .div_ceil(1_000_000);
            (self.input, self.output) = (Some(tokens.min(max)), self.output.or(Some(0)));
            self.input_audio = tokens.min(max);
            return;
        }
        let value = match number.whole() {
            Ok(value) if value <= max => value,
            _ => return self.invalidate(count),
        };
        match count {
            Count::Input => self.input = Some(value),
            // Hosts give these in two places.
            Count::Cached => self.cached = self.cached.max(value),
            Count::Reasoning => self.reasoning = self.reasoning.max(value),
            Count::Seconds => {}
            Count::OfModality => self.part.tokens = value,
            Count::Written => self.written = value,
            Count::InputAudio => self.input_audio = value,
            Count::InputImage => self.input_image = value,
            Count::OutputAudio => self.output_audio = value,
            Count::OutputImage => self.output_image = value,
            Count::Beside => self.beside = Some(value),
            Count::InputBeside => self.input_beside = value,
            Count::ReasoningBeside => self.reasoning_beside = value,
            Count::OutputBeside => self.output_beside = self.output_beside.saturating_add(value),
            Count::Output => self.output = Some(value),
            Count::Total => self.total = Some(value),
            Count::OtherInput => self.other_input = Some(value),
            Count::OtherOutput => self.other_output = Some(value),
            Count::CacheWritten => self.cache_written = value,
            Count::CacheRead => self.cache_read = value,
        }
    }

    /// The usage of an endpoint that generates nothing.
    pub(super) fn input_only(&self) -> Option<Usage> {
        let prompt = self.input.or_else(|| self.all_input(0));
        let input = prompt.max(self.total).filter(|input| *input > 0)?;
        let usage = Usage {
            input: Some(input),
            total: Some(input),
            ..Usage::default()
        };
        (!self.unusable).then(|| self.with_parts(usage))
    }

    /// The usage, if it can be true.
    pub(super) fn usage(&self) -> Option<Usage> {
        let given = |count: Option<u64>| count.filter(|count| *count > 0);
        let total = given(self.total);
        let reported = given(self.output).or(self.other_output).or(self.output);
        let completion = reported.unwrap_or(0) + self.reasoning_beside;
        let completion = completion.saturating_add(self.output_beside);
        let input = self.input.map(|input| input + self.input_beside);
        let prompt = given(input).or_else(|| given(self.all_input(completion)));
        let with_reasoning = match self.reasoning > completion {
            true => completion + self.reasoning,
            false => completion,
        };
        let output = match (prompt, total) {
            (Some(prompt), Some(total)) => completion.max(total.saturating_sub(prompt)),
            // Only half of a report.
            (Some(_), None) if reported.is_none() && with_reasoning == 0 => return None,
            _ => with_reasoning,
        };
        let rest = total.map_or(0, |total| total.saturating_sub(output));
        let input = prompt.or(given(Some(rest)).filter(|_| output > 0));
        if self.unusable || (input.is_none() && total.is_none() && output == 0) {
            return None;
        }
        Some(self.with_parts(Usage {
            input,
            output,
            total: total.filter(|total| *total >= input.unwrap_or(0) + output),
            ..Usage::default()
        }))
    }

    /// The usage with its parts, as reported.
    fn with_parts(&self, usage: Usage) -> Usage {
        disjoint(Usage {
            cached: self.cached.max(self.cache_read),
            cache_written: self.written.max(self.cache_written),
            input_audio: self.input_audio,
            input_image: self.input_image,
            reasoning: self.reasoning.max(self.reasoning_beside),
            output_audio: self.output_audio,
            output_image: self.output_image,
            ..usage
        })
    }

    /// The prompt under its other name, with the counts of the cache, unless the total says that it includes them.
    fn all_input(&self, completion: u64) -> Option<u64> {
        let input = self.other_input?;
        let inside = self.total == Some(input + completion);
        let beside = self.cache_written + self.cache_read;
        Some(input + if inside { 0 } else { beside })
    }

    /// The usage in llama.cpp's `timings`. Their prompt excludes what was read from the cache, which older servers do not
    /// report.
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

/// The usage with disjoint parts: each takes at most what the ones before it leave of the whole.
fn disjoint(mut usage: Usage) -> Usage {
    let mut rest = usage.input.unwrap_or(0);
    for part in [
        &mut usage.cached,
        &mut usage.cache_written,
        &mut usage.input_audio,
        &mut usage.input_image,
    ] {
        *part = rest.min(*part);
        rest -= *part;
    }
    rest = usage.output;
    for part in [
        &mut usage.reasoning,
        &mut usage.output_audio,
        &mut usage.output_image,
    ] {
        *part = rest.min(*part);
        rest -= *part;
    }
    usage
}

/// The usage after a further report: what that one leaves out remains. Details remain, if it has none and counts the same prompt, or
/// no less output.
pub(super) fn merge(known: Option<Usage>, next: Usage) -> Usage {
    let Some(known) = known else { return next };
    let mut merged = next;
    let details = [
        next.cached,
        next.cache_written,
        next.input_audio,
        next.input_image,
    ];
    if next.input.is_none() || (next.input == known.input && details == [0; 4]) {
        merged.input = known.input;
        merged.cached = known.cached;
        merged.cache_written = known.cache_written;
        merged.input_audio = known.input_audio;
        merged.input_image = known.input_image;
    }
    let details = [next.reasoning, next.output_audio, next.output_image];
    if next.output == 0 || (next.output >= known.output && details == [0; 3]) {
        merged.output = next.output.max(known.output);
        merged.reasoning = known.reasoning;
        merged.output_audio = known.output_audio;
        merged.output_image = known.output_image;
    }
    let input = merged.input.unwrap_or(0);
    let total = next.total.or(known.total);
    if let (Some(_), Some(total)) = (merged.input, total) {
        merged.output = merged.output.max(total.saturating_sub(input));
    }
    merged.total = total.filter(|total| *total >= input + merged.output);
    merged
}
