//! Results that must be equal as wasm and native code, with the same expectations on both: the picks (they depend on the
//! last bits of `ln`) and the arithmetic of the buckets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_contract::{FilterConfig, ModelPlan, parse_json};
use headgate_core::ledger::Window;
use headgate_core::pick::Picker;

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as both;

#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
use core::prelude::v1::test as both;

const PLAN: &str = r#"{
  "canaries": [{"carrier": "deployment/c", "weight": 12.5, "versions": [{"version": "c1", "endpoints": 2}]}],
  "base": [
    {"carrier": "deployment/a", "weight": 2, "versions": [{"version": "a1", "endpoints": 1}, {"version": "a2", "endpoints": 3}]},
    {"carrier": "deployment/b", "weight": 3, "versions": [{"version": "b1", "endpoints": 1}]}
  ]
}"#;

/// A hash of the picks of 100 000 sessions: it changes if one session gets another version.
#[both]
fn every_platform_picks_the_same_versions() {
    let plan: ModelPlan = parse_json(PLAN.as_bytes()).unwrap();
    let picker = Picker::new(&plan);
    let fold = (0..100_000_u64)
        .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (i << 7))
        .fold(0_u64, |fold, session| {
            let (version, _) = picker.pick(session).unwrap();
            version.bytes().fold(fold, |f, byte| {
                f.wrapping_mul(0x0100_0000_01B3) ^ u64::from(byte)
            })
        });
    assert_eq!(fold, 13_866_023_322_150_095_642);
}

#[both]
fn the_semantic_window_is_exact() {
    let window = Window::from_fill_ratio(300_000).unwrap();
    assert_eq!(window.period(), 1);
    assert_eq!(window.burst().get(), 3_333_333_600);
    assert_eq!(window.cells(1_000_000, 100_000_000), 33_333_336);
}

#[both]
fn an_emitted_configuration_is_parsed_back() {
    let json = format!(r#"{{"namespaces": {{"default": {{"models": {{"m": {PLAN}}}}}}}}}"#);
    let config = FilterConfig::parse(json.as_bytes()).unwrap();
    let again = FilterConfig::parse(config.emit().unwrap().as_bytes()).unwrap();
    assert_eq!(again, config);
}
