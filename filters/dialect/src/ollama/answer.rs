//! The keys of answers. A stream is a line of JSON for each piece of text. The line with `done: true` is the last one, and reports usage.
//!
//! `prompt_eval_count` may be absent where the prompt was in the cache.

use crate::answer::Schema;
use crate::answer::field::{Container, Field};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::json::{Kind, lookup};
use crate::openai::answer as openai;

/// Generated text.
pub(super) const GENERATED: Schema = Schema {
    field,
    by_sequence: true,
    ..openai::GENERATED
};

/// Embeddings.
pub(super) const EMBED: Schema = Schema {
    field,
    generates: false,
    ..openai::GENERATED
};

fn field(container: Container, key: &[u8]) -> Field {
    lookup(keys(container), key).unwrap_or(Field::Ignored)
}

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    use Field::{Count as Number, Inside, Text, Verbatim};
    use Kind::{Array, Object};
    match container {
        Container::Top => &[
            ("message", Inside(Container::Message, Object)),
            ("response", Text(TextKind::Content)),
            ("thinking", Text(TextKind::Thinking)),
            ("done", Field::Done),
            ("prompt_eval_count", Number(Count::Input)),
            ("eval_count", Number(Count::Output)),
            ("error", Field::Error),
            ("embeddings", Inside(Container::Vectors, Array)),
            ("embedding", Inside(Container::Vectors, Array)),
        ],
        Container::Message => &[
            ("content", Text(TextKind::Content)),
            ("thinking", Text(TextKind::Thinking)),
            ("tool_calls", Inside(Container::ToolCalls, Array)),
        ],
        Container::ToolCall => &[("function", Inside(Container::Function, Object))],
        Container::Function => &[
            ("index", Field::Index),
            ("name", Text(TextKind::ToolName)),
            ("arguments", Verbatim(TextKind::ToolArguments)),
        ],
        _ => &[],
    }
}
