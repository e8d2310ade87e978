//! The wall clock, for times that people read.

use k8s_openapi::jiff::Timestamp;

/// The current time in Unix seconds.
pub fn unix_now() -> i64 {
    Timestamp::now().as_second()
}
