//! Options of the YAML parser: limits that follow from the length of the text.
//!
//! Invariant: parsing takes time and memory in proportion to the text. Aliases, which can stand for a billion nodes in a hundred bytes,
//! add little.

use serde_saphyr::options::{NonFiniteFloatPolicy, Options};

/// Parser events, nodes and bytes that aliases may add to a document: more than any manifest needs.
const MORE: usize = 4 << 20;
/// Parser events that the aliases of one document may expand to.
const REPLAYED: usize = 50_000;

/// The options for a text.
pub(super) fn options(text: &str) -> Options {
    let length = text.len();
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            // `{a,b}` has a null for each pair of bytes.
            max_events: length.saturating_mul(2).saturating_add(MORE),
            max_nodes: length.saturating_mul(2).saturating_add(MORE),
            max_total_scalar_bytes: length.saturating_add(MORE),
            max_documents: 100_000,
            // Bounds recursion, and so the stack.
            max_depth: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED,
        },
        // Numbers such as `12e4567` exceed a float; `source_text` restores them as text.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}
