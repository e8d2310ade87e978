//! The tests that run natively: golden tables, properties, wording.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../golden/mod.rs"]
mod golden;

mod agreement;
mod chunking;
mod cutting;
mod multipart;
mod openai;
mod openinference;
mod passing;
mod servers;
mod stream_options;
mod wording;

#[test]
fn transcripts_and_bad_bodies_have_the_expected_results_in_pieces_of_any_size() {
    golden::check_all();
}
