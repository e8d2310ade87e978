//! The keys of answers of `/generate`, of Text Generation Inference and of SGLang.
//!
//! The former streams a `token` in each event. Its last event repeats all of them as `generated_text`, and reports usage if the request
//! asks for `details`. The latter repeats all text so far in each event, with the usage so far. Of several sequences, an event
//! has the `index` of its own; the `index` beside a `token` is that of the token.

use crate::answer::Schema;
use crate::answer::field::{Container, Field};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::json::{Kind, lookup};
use crate::openai::answer as openai;

/// Generated text.
pub(crate) const GENERATED: Schema = Schema {
    field,
    by_sequence: true,
    ..openai::GENERATED
};

fn field(container: Container, key: &[u8]) -> Field {
    lookup(keys(container), key).unwrap_or(Field::Ignored)
}

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    use Field::{Count as Number, Inside, Text};
    use Kind::{Array, Object};
    match container {
        Container::Top => &[
            ("index", Field::Index),
            ("token", Inside(Container::Token, Object)),
            ("generated_text", Field::WholeText),
            ("details", Inside(Container::Usage, Object)),
            ("error", Field::Error),
            ("text", Text(TextKind::Cumulative)),
            ("meta_info", Inside(Container::Usage, Object)),
        ],
        Container::Token => &[("text", Text(TextKind::Content))],
        Container::Usage => &[
            ("generated_tokens", Number(Count::Output)),
            ("input_length", Number(Count::Input)),
            ("best_of_sequences", Inside(Container::Details, Array)),
            ("prompt_tokens", Number(Count::Input)),
            ("completion_tokens", Number(Count::Output)),
            ("cached_tokens", Number(Count::Cached)),
            ("reasoning_tokens", Number(Count::Reasoning)),
        ],
        // The sequences that were generated and are not the best one.
        Container::Detail => &[("generated_tokens", Number(Count::OutputBeside))],
        _ => &[],
    }
}
