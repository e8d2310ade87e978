//! The keys of answers. Each event of a stream has a piece of text, and reports usage so far; of older servers, only the last one does. Of
//! several prompts, an event has the `index` of its own.

use crate::answer::Schema;
use crate::answer::field::{Container, Field};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::json::{Kind, lookup};
use crate::openai::answer as openai;

/// Generated text. (`prompt` is the prompt of the request.)
pub(super) const GENERATED: Schema = Schema {
    field,
    by_sequence: true,
    ..openai::GENERATED
};

fn field(container: Container, key: &[u8]) -> Field {
    lookup(keys(container), key).unwrap_or(Field::Ignored)
}

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    use Field::{Count as Number, Inside, Text};
    use Kind::Object;
    match container {
        Container::Top => &[
            ("index", Field::Index),
            ("content", Text(TextKind::Content)),
            ("stop", Field::Done),
            ("tokens_predicted", Number(Count::Output)),
            ("tokens_evaluated", Number(Count::Input)),
            ("timings", Inside(Container::InputDetails, Object)),
            ("error", Field::Error),
        ],
        // The rest of the timings says again what the document does.
        Container::InputDetails => &[("cache_n", Number(Count::Cached))],
        _ => &[],
    }
}
