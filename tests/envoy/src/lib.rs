//! End-to-end tests on a real Envoy, each with its own testbed; shared code is in `headgate-testkit`.
//!
//! | files | content |
//! |---|---|
//! | `tests/demo_*.rs` | the demo's claims, checked by the demo's own functions |
//! | `tests/robustness/` | behaviour under faults and under changes with load, one program |
