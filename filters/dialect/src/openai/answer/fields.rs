//! The answer fields of interest: where they stand, what they are called, what they hold.

use super::report::Count;
use super::text::Slot;
use crate::json::Kind;

/// A container of interest in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// Outside the document.
    Root,
    /// A document that is a list of answers or errors.
    List,
    Top,
    /// An answer in an envelope: `result`, `response`, …
    Envelope,
    Choices,
    Choice,
    Delta,
    Message,
    /// A list of content blocks, whose text belongs to this slot.
    Blocks(Slot),
    Block(Slot),
    Details,
    Detail,
    Audio,
    ToolCalls,
    ToolCall,
    Function,
    FunctionCall,
    /// A value that counts by its bytes as sent.
    Raw,
    Usage,
    /// A report under another name.
    TokenUsage,
    /// A list of one report.
    Reports,
    InputDetails,
    OutputDetails,
    Timings,
    /// A host's own object, with usage inside.
    Vendor,
    Error,
    /// A list of errors.
    Errors,
    Status,
}

/// What the value at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Other,
    Inside(At, Kind),
    /// Generated text: a string, a block or a list of blocks.
    Text(Slot),
    /// Generated text, if it is a string.
    String(Slot),
    /// Generated text as a string, an answer as an object.
    Answer(At),
    /// Text of the slot that the container belongs to.
    SameText,
    /// Generated text: a string, or a value as sent.
    Raw(Slot),
    /// Generated text, if it is a string of a choice: what flows counts whatever it is called.
    Unknown,
    /// Base64 of sound.
    Sound,
    Count(Count),
    /// Which choice, or which tool call.
    Index,
    /// A word of a few letters.
    Word(Word),
    /// What a host says of itself or of the request: nothing of the answer.
    Metadata,
    /// Something that makes an error of a document that has nothing else.
    Hint(Hint),
    /// An error, unless it is null, false, zero or empty.
    Error,
    /// An error if it is false.
    Success,
}

/// What errors are told by, where nothing is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hint {
    /// Alone.
    Detail,
    /// Together with a code.
    Message,
    Code,
}

/// A word that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// What kind of document this is, or how it went.
    Object,
    /// Why a choice ended.
    Finish,
}

impl At {
    /// The keys of interest in this container, the most usual ones first. A table, as for requests.
    fn keys(self) -> &'static [(&'static str, Field)] {
        use Field::{Count as Number, Error, Inside, Raw, SameText, Text};
        use Kind::{Array, Object};
        match self {
            Self::Top | Self::Envelope => &[
                ("choices", Inside(Self::Choices, Array)),
                ("usage", Inside(Self::Usage, Object)),
                ("object", Field::Word(Word::Object)),
                ("error", Error),
                ("timings", Inside(Self::Timings, Object)),
                // Workers AI: the text alone, or an envelope. OpenAI's Responses: that answer, and a delta of its text.
                ("response", Field::Answer(Self::Envelope)),
                // Anthropic has an object there.
                ("delta", Field::Answer(Self::Message)),
                ("result", Inside(Self::Envelope, Object)),
                ("data", Inside(Self::Envelope, Object)),
                ("output", Inside(Self::Envelope, Object)),
                ("meta", Inside(Self::Vendor, Object)),
                ("token_usage", Inside(Self::TokenUsage, Object)),
                ("tokenUsage", Inside(Self::TokenUsage, Object)),
                ("success", Field::Success),
                ("tool_calls", Inside(Self::ToolCalls, Array)),
                ("message", Inside(Self::Message, Object)),
                ("base_resp", Inside(Self::Status, Object)),
                ("error_code", Error),
                ("errors", Inside(Self::Errors, Array)),
                ("type", Field::Word(Word::Object)),
                ("status", Field::Word(Word::Object)),
                ("detail", Field::Hint(Hint::Detail)),
                ("msg", Field::Hint(Hint::Message)),
                ("code", Field::Hint(Hint::Code)),
                ("metadata", Field::Metadata),
                ("metrics", Field::Metadata),
                ("perf_metrics", Field::Metadata),
                ("time_info", Field::Metadata),
                ("stats", Field::Metadata),
                ("model_info", Field::Metadata),
                ("runtime", Field::Metadata),
                ("prompt_filter_results", Field::Metadata),
                ("provider_specific_fields", Field::Metadata),
                ("nvext", Field::Metadata),
            ],
            Self::Choice => &[
                ("index", Field::Index),
                ("delta", Inside(Self::Delta, Object)),
                ("message", Inside(Self::Message, Object)),
                ("text", Text(Slot::Whole)),
                ("finish_reason", Field::Word(Word::Finish)),
                ("usage", Inside(Self::Usage, Object)),
                ("error", Error),
                ("content", Text(Slot::Content)),
                ("reasoning", Text(Slot::Reasoning)),
                ("reasoning_content", Text(Slot::ReasoningContent)),
                ("thinking", Text(Slot::Thinking)),
            ],
            Self::Delta | Self::Message => &[
                ("content", Text(Slot::Content)),
                ("reasoning_content", Text(Slot::ReasoningContent)),
                ("reasoning", Text(Slot::Reasoning)),
                ("reasoning_details", Inside(Self::Details, Array)),
                ("tool_calls", Inside(Self::ToolCalls, Array)),
                ("refusal", Text(Slot::Refusal)),
                ("thinking", Text(Slot::Thinking)),
                ("function_call", Inside(Self::FunctionCall, Object)),
                ("audio", Inside(Self::Audio, Object)),
                ("text", Text(Slot::Whole)),
                ("partial_json", Field::String(Slot::ToolArguments)),
                ("usage", Inside(Self::Usage, Object)),
            ],
            Self::Block(_) => &[
                ("text", SameText),
                ("thinking", Text(Slot::Thinking)),
                ("content", SameText),
                ("reasoning", Text(Slot::Thinking)),
                ("reasoning_content", Text(Slot::Thinking)),
                ("refusal", SameText),
                ("summary", SameText),
                ("value", SameText),
                // A call among the content.
                ("name", Text(Slot::CallName)),
                ("input", Raw(Slot::CallArguments)),
                ("arguments", Raw(Slot::CallArguments)),
            ],
            Self::Detail => &[
                ("text", Text(Slot::Details)),
                ("summary", Text(Slot::Details)),
                ("data", Text(Slot::Encrypted)),
                ("content", Text(Slot::Details)),
            ],
            Self::Audio => &[
                ("data", Field::Sound),
                ("transcript", Text(Slot::Transcript)),
            ],
            Self::ToolCall => &[
                ("index", Field::Index),
                ("function", Inside(Self::Function, Object)),
                ("custom", Inside(Self::Function, Object)),
                ("name", Text(Slot::ToolName)),
                ("arguments", Raw(Slot::ToolArguments)),
            ],
            Self::Function => &[
                ("name", Text(Slot::ToolName)),
                ("arguments", Raw(Slot::ToolArguments)),
                ("input", Raw(Slot::ToolArguments)),
                ("parameters", Raw(Slot::ToolArguments)),
            ],
            Self::FunctionCall => &[
                ("name", Text(Slot::CallName)),
                ("arguments", Raw(Slot::CallArguments)),
            ],
            Self::Usage | Self::TokenUsage => &[
                ("prompt_tokens", Number(Count::Input)),
                ("completion_tokens", Number(Count::Output)),
                ("total_tokens", Number(Count::Total)),
                ("prompt_tokens_details", Inside(Self::InputDetails, Object)),
                (
                    "completion_tokens_details",
                    Inside(Self::OutputDetails, Object),
                ),
                // DeepSeek, Moonshot, and SGLang or Perplexity.
                ("prompt_cache_hit_tokens", Number(Count::Cached)),
                ("cached_tokens", Number(Count::Cached)),
                ("reasoning_tokens", Number(Count::Reasoning)),
                // OpenAI's Responses, Anthropic, LangChain.
                ("input_tokens", Number(Count::OtherInput)),
                ("output_tokens", Number(Count::OtherOutput)),
                ("cache_creation_input_tokens", Number(Count::CacheWritten)),
                ("cache_read_input_tokens", Number(Count::CacheRead)),
                ("input_tokens_details", Inside(Self::InputDetails, Object)),
                ("output_tokens_details", Inside(Self::OutputDetails, Object)),
                ("inputTokens", Number(Count::OtherInput)),
                ("outputTokens", Number(Count::OtherOutput)),
                ("promptTokens", Number(Count::OtherInput)),
                ("completionTokens", Number(Count::OtherOutput)),
                ("totalTokens", Number(Count::Total)),
            ],
            Self::InputDetails => &[("cached_tokens", Number(Count::Cached))],
            Self::OutputDetails => &[("reasoning_tokens", Number(Count::Reasoning))],
            // llama.cpp.
            Self::Timings => &[
                ("prompt_n", Number(Count::Input)),
                ("predicted_n", Number(Count::Output)),
                ("cache_n", Number(Count::Beside)),
            ],
            Self::Vendor => &[
                ("usage", Inside(Self::Usage, Object)),
                ("error", Error),
                ("token_usage", Inside(Self::TokenUsage, Object)),
                ("tokenUsage", Inside(Self::TokenUsage, Object)),
            ],
            // Groq: what was generated and is no call of a tool.
            Self::Error => &[("failed_generation", Field::String(Slot::Whole))],
            // MiniMax.
            Self::Status => &[("status_code", Error)],
            _ => &[],
        }
    }

    /// The field that a key names.
    pub(super) fn field(self, key: &[u8]) -> Field {
        let named = self.keys().iter().find(|(name, _)| name.as_bytes() == key);
        match (named.map(|(_, field)| *field), self) {
            (Some(Field::SameText), Self::Block(slot)) => Field::Text(slot),
            (None, Self::Top | Self::Envelope) if key.starts_with(b"x_") => {
                Field::Inside(Self::Vendor, Kind::Object)
            }
            (None, Self::Delta | Self::Message) if is_reasoning(key) => Field::Text(Slot::Thinking),
            (None, Self::Delta | Self::Message) if !is_label(key) => Field::Unknown,
            (field, _) => field.unwrap_or(Field::Other),
        }
    }

    /// What an item of this array is.
    pub(super) fn item(self) -> Option<Field> {
        let inside = |at| Some(Field::Inside(at, Kind::Object));
        match self {
            Self::List => inside(Self::Top),
            Self::Reports => inside(Self::TokenUsage),
            Self::Choices => inside(Self::Choice),
            Self::ToolCalls => inside(Self::ToolCall),
            Self::Details => inside(Self::Detail),
            Self::Blocks(slot) => Some(Field::Text(slot)),
            _ => None,
        }
    }
}

/// Whether a key of a message names what is no text of it.
fn is_label(key: &[u8]) -> bool {
    const LABELS: [&[u8]; 13] = [
        b"role",
        b"id",
        b"type",
        b"name",
        b"index",
        b"object",
        b"model",
        b"status",
        b"phase",
        b"channel",
        b"recipient",
        b"created_at",
        b"timestamp",
    ];
    const ENDS: [&[u8]; 3] = [b"signature", b"_reason", b"_id"];
    LABELS.contains(&key) || ENDS.iter().any(|end| key.ends_with(end))
}

/// Whether a key of a message names reasoning, whatever it is called.
fn is_reasoning(key: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"reasoning", b"think", b"thought"];
    names.iter().any(|name| key.starts_with(name)) && !key.ends_with(b"signature")
}
