//! The keys of answers, as OpenAI and the servers and hosts that follow it write them.

use crate::answer::Schema;
use crate::answer::field::{Container, ErrorSign, Field, Keyword};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::json::{Kind, lookup};

/// Answers with generated text.
pub(crate) const GENERATED: Schema = Schema {
    field,
    generates: true,
    last_events: &[],
    amends_reports: false,
    continues: false,
    by_sequence: false,
    sounds: false,
};

/// Answers of embeddings.
pub(super) const EMBEDDINGS: Schema = Schema {
    field: embeddings_field,
    generates: false,
    ..GENERATED
};

/// Answers of scores, of moderations and of files.
pub(crate) const SCORES: Schema = Schema {
    field: scores_field,
    ..EMBEDDINGS
};

fn scores_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"results" | b"data") => Field::Inside(Container::Vectors, Kind::Array),
        _ => field(container, key),
    }
}

/// Answers with pictures, whose usage has the tokens of the pictures as output.
pub(super) const IMAGES: Schema = Schema {
    field: images_field,
    last_events: &["image_generation.completed", "image_edit.completed"],
    ..GENERATED
};

fn images_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"data") => Field::Inside(Container::Pictures, Kind::Array),
        // In an event, a picture that may not be complete.
        (Container::Top | Container::Picture, b"b64_json") => Field::Base64,
        _ => field(container, key),
    }
}

/// Answers that are a sound. Events of it have base64 in `audio`.
pub(super) const SPEECH: Schema = Schema {
    field: speech_field,
    last_events: &["speech.audio.done"],
    sounds: true,
    ..GENERATED
};

fn speech_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"audio" | b"delta") => Field::Base64,
        _ => field(container, key),
    }
}

/// Answers of the Open Inference Protocol, which report no usage.
pub(crate) const TENSORS: Schema = Schema {
    field: tensors_field,
    ..EMBEDDINGS
};

fn tensors_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"outputs") => Field::Inside(Container::Vectors, Kind::Array),
        (Container::Top, b"error") => Field::Error,
        _ => Field::Ignored,
    }
}

/// Answers with the text of a sound. Usage is in tokens, or in seconds of the sound. The text is what the sound says, so it has no limit of
/// its own and costs nothing beside usage.
pub(super) const TRANSCRIPTIONS: Schema = Schema {
    field: transcriptions_field,
    generates: false,
    last_events: &["transcript.text.done"],
    ..GENERATED
};

fn transcriptions_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"text" | b"delta") => Field::Text(TextKind::Content),
        // The length stands beside the text in a verbose answer. Usage counts where both are there.
        (Container::Usage, b"seconds") | (Container::Top, b"duration") => {
            Field::Count(Count::Seconds)
        }
        _ => field(container, key),
    }
}

/// Answers of Responses. The last event of a stream repeats the text of all events before it.
pub(super) const RESPONSES: Schema = Schema {
    field: response_field,
    last_events: &[
        "response.completed",
        "response.incomplete",
        "response.failed",
    ],
    continues: true,
    ..GENERATED
};

fn response_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top | Container::Envelope, b"id") => Field::ResponseId,
        (Container::Top, b"output") => Field::Text(TextKind::Content),
        (Container::Envelope, b"output") => Field::Ignored,
        (Container::Top, b"partial_image_b64") => Field::Base64,
        _ => field(container, key),
    }
}

fn embeddings_field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        (Container::Top, b"data") => Field::Inside(Container::Vectors, Kind::Array),
        _ => field(container, key),
    }
}

/// The field that a key names.
pub(crate) fn field(container: Container, key: &[u8]) -> Field {
    if let Some(field) = lookup(keys(container), key) {
        return field;
    }
    match container {
        // The text of a block is of the same kind as its list.
        Container::Block(kind) if is_block_text(key) => Field::Text(kind),
        Container::Top | Container::Envelope if key.starts_with(b"x_") => {
            Field::Inside(Container::Vendor, Kind::Object)
        }
        Container::Delta | Container::Message if is_reasoning(key) => {
            Field::Text(TextKind::Thinking)
        }
        Container::Delta | Container::Message if !is_label(key) => Field::Unknown,
        _ => Field::Ignored,
    }
}

/// The keys that are read in a container, the most frequent ones first.
fn keys(container: Container) -> &'static [(&'static str, Field)] {
    use Field::{Count as Number, Error, Ignored, Inside, Text, Verbatim};
    use Kind::{Array, Object};
    match container {
        Container::Top | Container::Envelope => &[
            // Every chunk has these. They are found sooner than a key that is not in the table.
            ("id", Ignored),
            ("object", Field::Keyword(Keyword::Kind)),
            ("created", Ignored),
            ("model", Ignored),
            ("choices", Inside(Container::Choices, Array)),
            ("usage", Inside(Container::Usage, Object)),
            ("error", Error),
            ("timings", Inside(Container::Timings, Object)),
            // Workers AI: the text, or an envelope. OpenAI's Responses: the answer.
            ("response", Field::Answer(Container::Envelope)),
            // OpenAI's Responses: more of the text. Anthropic: an object.
            ("delta", Field::Answer(Container::Message)),
            ("result", Inside(Container::Envelope, Object)),
            ("data", Inside(Container::Envelope, Object)),
            ("output", Inside(Container::Envelope, Object)),
            ("meta", Inside(Container::Vendor, Object)),
            ("token_usage", Inside(Container::TokenUsage, Object)),
            ("tokenUsage", Inside(Container::TokenUsage, Object)),
            ("success", Field::Success),
            ("tool_calls", Inside(Container::ToolCalls, Array)),
            ("message", Inside(Container::Message, Object)),
            ("base_resp", Inside(Container::Status, Object)),
            ("error_code", Error),
            ("errors", Inside(Container::Errors, Array)),
            ("type", Field::Keyword(Keyword::Kind)),
            ("status", Field::Keyword(Keyword::Kind)),
            ("detail", Field::ErrorSign(ErrorSign::Detail)),
            ("msg", Field::ErrorSign(ErrorSign::Message)),
            ("code", Field::ErrorSign(ErrorSign::Code)),
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
        Container::Choice => &[
            ("index", Field::Index),
            ("delta", Inside(Container::Delta, Object)),
            ("message", Inside(Container::Message, Object)),
            ("text", Text(TextKind::Whole)),
            ("finish_reason", Field::Keyword(Keyword::FinishReason)),
            ("logprobs", Ignored),
            ("usage", Inside(Container::Usage, Object)),
            ("error", Error),
            ("content", Text(TextKind::Content)),
            ("reasoning", Text(TextKind::Reasoning)),
            ("reasoning_content", Text(TextKind::ReasoningContent)),
            ("thinking", Text(TextKind::Thinking)),
        ],
        Container::Delta | Container::Message => &[
            ("content", Text(TextKind::Content)),
            ("role", Ignored),
            ("reasoning_content", Text(TextKind::ReasoningContent)),
            ("reasoning", Text(TextKind::Reasoning)),
            ("reasoning_details", Inside(Container::Details, Array)),
            ("tool_calls", Inside(Container::ToolCalls, Array)),
            ("refusal", Text(TextKind::Refusal)),
            ("thinking", Text(TextKind::Thinking)),
            ("function_call", Inside(Container::FunctionCall, Object)),
            ("audio", Inside(Container::Audio, Object)),
            ("text", Text(TextKind::Whole)),
            ("partial_json", Field::String(TextKind::ToolArguments)),
            ("usage", Inside(Container::Usage, Object)),
        ],
        Container::Block(_) => &[
            ("thinking", Text(TextKind::Thinking)),
            ("reasoning", Text(TextKind::Thinking)),
            ("reasoning_content", Text(TextKind::Thinking)),
            // A tool call among the content.
            ("name", Text(TextKind::CallName)),
            ("input", Verbatim(TextKind::CallArguments)),
            ("arguments", Verbatim(TextKind::CallArguments)),
        ],
        Container::Detail => &[
            ("text", Text(TextKind::Details)),
            ("summary", Text(TextKind::Details)),
            ("data", Text(TextKind::Encrypted)),
            ("content", Text(TextKind::Details)),
        ],
        Container::Audio => &[
            ("data", Field::Base64),
            ("transcript", Text(TextKind::Transcript)),
        ],
        Container::ToolCall => &[
            ("index", Field::Index),
            ("function", Inside(Container::Function, Object)),
            ("custom", Inside(Container::Function, Object)),
            ("name", Text(TextKind::ToolName)),
            ("arguments", Verbatim(TextKind::ToolArguments)),
        ],
        Container::Function => &[
            ("name", Text(TextKind::ToolName)),
            ("arguments", Verbatim(TextKind::ToolArguments)),
            ("input", Verbatim(TextKind::ToolArguments)),
            ("parameters", Verbatim(TextKind::ToolArguments)),
        ],
        Container::FunctionCall => &[
            ("name", Text(TextKind::CallName)),
            ("arguments", Verbatim(TextKind::CallArguments)),
        ],
        Container::Usage | Container::TokenUsage => &[
            ("prompt_tokens", Number(Count::Input)),
            ("completion_tokens", Number(Count::Output)),
            ("total_tokens", Number(Count::Total)),
            (
                "prompt_tokens_details",
                Inside(Container::InputDetails, Object),
            ),
            (
                "completion_tokens_details",
                Inside(Container::OutputDetails, Object),
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
            (
                "input_tokens_details",
                Inside(Container::InputDetails, Object),
            ),
            (
                "output_tokens_details",
                Inside(Container::OutputDetails, Object),
            ),
            // OpenAI's transcriptions.
            (
                "input_token_details",
                Inside(Container::InputDetails, Object),
            ),
            ("inputTokens", Number(Count::OtherInput)),
            ("outputTokens", Number(Count::OtherOutput)),
            ("promptTokens", Number(Count::OtherInput)),
            ("completionTokens", Number(Count::OtherOutput)),
            ("totalTokens", Number(Count::Total)),
        ],
        Container::InputDetails => &[
            ("cached_tokens", Number(Count::Cached)),
            ("audio_tokens", Number(Count::InputAudio)),
            ("image_tokens", Number(Count::InputImage)),
            // OpenRouter.
            ("cache_write_tokens", Number(Count::Written)),
        ],
        Container::OutputDetails => &[
            ("reasoning_tokens", Number(Count::Reasoning)),
            ("audio_tokens", Number(Count::OutputAudio)),
            ("image_tokens", Number(Count::OutputImage)),
        ],
        // llama.cpp.
        Container::Timings => &[
            ("prompt_n", Number(Count::Input)),
            ("predicted_n", Number(Count::Output)),
            ("cache_n", Number(Count::Beside)),
        ],
        Container::Vendor => &[
            ("usage", Inside(Container::Usage, Object)),
            ("error", Error),
            ("token_usage", Inside(Container::TokenUsage, Object)),
            ("tokenUsage", Inside(Container::TokenUsage, Object)),
        ],
        // Groq: generated text that is not a valid tool call.
        Container::Error => &[("failed_generation", Field::String(TextKind::Whole))],
        // MiniMax.
        Container::Status => &[("status_code", Error)],
        _ => &[],
    }
}

/// Whether a key of a content block names its text.
fn is_block_text(key: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [b"text", b"content", b"refusal", b"summary", b"value"];
    NAMES.contains(&key)
}

/// Whether a key of a message names something that is not text.
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

/// Whether a key of a message names reasoning.
fn is_reasoning(key: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"reasoning", b"think", b"thought"];
    names.iter().any(|name| key.starts_with(name)) && !key.ends_with(b"signature")
}
