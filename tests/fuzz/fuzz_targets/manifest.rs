//! Manifests: bytes → documents → objects → observation, as YAML and as JSON. No input may cause a panic or take long.
#![no_main]

use std::time::{Duration, Instant};

use headgate_model::{LabelKeys, Observed};
use headgate_source::files::{Reducer, remarks};
use libfuzzer_sys::fuzz_target;

/// Longest time for one input. Inputs have at most 4 KiB by default, so this bounds the cost of each byte.
const LIMIT: Duration = Duration::from_secs(5);

fuzz_target!(|bytes: &[u8]| {
    let began = Instant::now();
    for file in ["manifest.yaml", "manifest.json"] {
        let mut reducer = Reducer::new("default", LabelKeys::default());
        reducer.apply(file, bytes, 0);
        let first = reducer.observe(&Observed::default()).unwrap_or_default();
        // The same content again changes nothing.
        reducer.apply(file, bytes, 0);
        assert_eq!(reducer.observe(&first), None);
        let files = [(file.to_owned(), bytes.to_vec())];
        let _ = remarks(&files, "default", &LabelKeys::default());
    }
    let elapsed = began.elapsed();
    assert!(elapsed < LIMIT, "{elapsed:?}");
});
