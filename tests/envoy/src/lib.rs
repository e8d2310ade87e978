//! End-to-end tests on a real Envoy, each on a world of its own; what they share is in `headgate-testkit`.
//!
//! | files | what they hold |
//! |---|---|
//! | `tests/story_*.rs` | each line of the demo, by the demo's own claims |
//! | `tests/robustness/` | what must hold when things go wrong or change under load, one program |
