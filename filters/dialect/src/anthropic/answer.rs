//! The keys of answers.
//!
//! A stream reports usage in `message_start` and again in every `message_delta`. Counts are cumulative: a later report replaces the
//! counts that it has. The counts of the cache are beside `input_tokens`.

use crate::answer::Schema;
use crate::answer::field::{Container, Field};
use crate::answer::text::TextKind;
use crate::openai::answer as openai;

/// Answers of Messages.
pub(super) const MESSAGES: Schema = Schema {
    field,
    last_events: &["message_stop"],
    amends_reports: true,
    ..openai::GENERATED
};

fn field(container: Container, key: &[u8]) -> Field {
    match (container, key) {
        // A whole answer, and the first event of a block.
        (Container::Top, b"content" | b"content_block") => Field::Text(TextKind::Content),
        _ => openai::field(container, key),
    }
}
