//! The golden tables once more as wasm, the machine that runs them in production.
#![cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#![allow(clippy::unwrap_used)]

mod golden;

use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
fn transcripts_and_bad_bodies_have_the_expected_results_as_wasm_too() {
    golden::check_all();
}
