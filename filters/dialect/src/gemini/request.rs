//! The keys of request bodies. Google accepts every name in both spellings.
//!
//! ```text
//! text        contents[].parts[].text
//! verbatim    systemInstruction, tools, toolConfig, responseSchema; the function calls, results and code of a part
//! media       parts with inlineData or fileData, or without a key that is known here; inline text counts as text
//! ```

use crate::openai::request as openai;
use crate::request::Schema;
use crate::request::field::{Container, Field, Number};

/// `:generateContent` and `:streamGenerateContent`. (A streamed answer is known by its content type.)
pub(super) const GENERATE: Schema = Schema {
    top: &[&[
        ("contents", Field::Messages),
        ("systemInstruction", Field::Verbatim),
        ("system_instruction", Field::Verbatim),
        ("generationConfig", Field::Options),
        ("generation_config", Field::Options),
        ("tools", Field::Verbatim),
        ("toolConfig", Field::Verbatim),
        ("tool_config", Field::Verbatim),
    ]],
    keys,
    describe,
    least_max_tokens: 1,
    prompts_multiply: false,
    messages_are_users: true,
    numbers_are_strings: true,
    usage_is_optional: false,
    ..openai::CHAT_COMPLETIONS
};

/// `:embedContent` and `:batchEmbedContents`
pub(super) const EMBED: Schema = Schema {
    top: &[&[("content", Field::Verbatim), ("requests", Field::Verbatim)]],
    ..GENERATE
};

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Message => &[("role", Field::Role), ("parts", Field::Content)],
        Container::Part => &[
            ("text", Field::PartText),
            ("inlineData", Field::Media),
            ("inline_data", Field::Media),
            ("fileData", Field::Media),
            ("file_data", Field::Media),
            ("functionCall", Field::Verbatim),
            ("function_call", Field::Verbatim),
            ("functionResponse", Field::Verbatim),
            ("function_response", Field::Verbatim),
            ("executableCode", Field::Verbatim),
            ("executable_code", Field::Verbatim),
            ("codeExecutionResult", Field::Verbatim),
            ("code_execution_result", Field::Verbatim),
        ],
        Container::Media => &[
            ("mimeType", Field::MediaKind),
            ("mime_type", Field::MediaKind),
            ("data", Field::MediaReference),
            ("fileUri", Field::MediaReference),
            ("file_uri", Field::MediaReference),
        ],
        Container::Options => &[
            ("maxOutputTokens", Field::Number(Number::MaxTokens)),
            ("max_output_tokens", Field::Number(Number::MaxTokens)),
            ("candidateCount", Field::Number(Number::N)),
            ("candidate_count", Field::Number(Number::N)),
            ("temperature", Field::Number(Number::Temperature)),
            ("responseSchema", Field::Verbatim),
            ("response_schema", Field::Verbatim),
            ("responseJsonSchema", Field::Verbatim),
        ],
        _ => &[],
    }
}

fn describe(field: Field) -> (&'static str, &'static str) {
    match field {
        Field::Number(Number::MaxTokens | Number::MaxCompletionTokens) => {
            ("generationConfig.maxOutputTokens", "a whole number")
        }
        Field::Number(Number::N | Number::BestOf) => {
            ("generationConfig.candidateCount", "a whole number")
        }
        Field::Number(Number::Temperature) => ("generationConfig.temperature", "a number"),
        Field::Options => ("generationConfig", "an object"),
        Field::Messages => ("contents", "an array of contents"),
        Field::Message => ("contents[]", "an object with `role` and `parts`"),
        Field::Role => ("contents[].role", "a string"),
        Field::Content => ("contents[].parts", "an array of parts"),
        Field::Part => ("contents[].parts[]", "an object"),
        Field::PartText => ("contents[].parts[].text", "a string"),
        _ => openai::describe(field),
    }
}
