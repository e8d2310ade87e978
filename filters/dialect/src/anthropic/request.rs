//! The keys of request bodies.
//!
//! ```text
//! text        messages[].content and the text of its blocks
//! verbatim    system, tools, tool_choice, mcp_servers; the thinking, name and input of a block, and the text in the content of one
//! media       blocks with a source, or without a key that is known here; a source of text counts as text
//! ```

use crate::openai::request as openai;
use crate::request::Schema;
use crate::request::field::{Container, Field, Name, Number};

/// `POST /v1/messages`. With `max_tokens: 0` servers only fill their cache.
pub(super) const MESSAGES: Schema = Schema {
    top: &[&[
        ("model", Field::Name(Name::Model)),
        ("max_tokens", Field::Number(Number::MaxTokens)),
        ("messages", Field::Messages),
        ("system", Field::Verbatim),
        ("stream", Field::Stream),
        ("temperature", Field::Number(Number::Temperature)),
        ("metadata", Field::Metadata),
        ("tools", Field::Verbatim),
        ("tool_choice", Field::Verbatim),
        ("mcp_servers", Field::Verbatim),
        ("output_format", Field::Verbatim),
        ("output_config", Field::Verbatim),
    ]],
    keys,
    describe: openai::describe,
    least_max_tokens: 0,
    prompts_multiply: false,
    usage_is_optional: false,
    ..openai::CHAT_COMPLETIONS
};

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    match container {
        Container::Message => &[("role", Field::Role), ("content", Field::Content)],
        Container::Part => &[
            ("text", Field::PartText),
            ("source", Field::MediaSource),
            ("thinking", Field::Verbatim),
            ("name", Field::Verbatim),
            ("input", Field::Verbatim),
            ("content", Field::InnerContent),
            ("tool_use_id", Field::Verbatim),
            ("data", Field::Verbatim),
            ("title", Field::Verbatim),
            ("context", Field::Verbatim),
        ],
        Container::Media => &[
            ("type", Field::MediaKind),
            ("url", Field::MediaReference),
            ("data", Field::MediaReference),
            ("file_id", Field::MediaReference),
            ("content", Field::Verbatim),
        ],
        Container::InnerPart => &[
            ("text", Field::Verbatim),
            ("source", Field::MediaSource),
            ("content", Field::Verbatim),
            ("title", Field::Verbatim),
            ("url", Field::Verbatim),
            ("encrypted_content", Field::Verbatim),
        ],
        _ => openai::keys(container),
    }
}
