//! The memory that the allocator keeps although nothing uses it any more.
//!
//! Many proxies that connect, or are updated, at the same time need much memory for a short time. glibc returns to the system
//! only what lies at the end of a heap, so most of it would stay with the process for ever (measured by `tests/memory`).

// `malloc_trim` has no safe binding.
#![allow(unsafe_code)]

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

/// How often unused memory is returned, if anything has happened.
const INTERVAL: Duration = Duration::from_secs(10);

/// Returns unused memory to the system while `changes` grows, and once after it. Never ends.
pub(crate) async fn return_unused(mut changes: watch::Receiver<u64>) -> ! {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if changes.has_changed().unwrap_or(false) {
            changes.mark_unchanged();
            // It takes some milliseconds for a large heap.
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: it may be called at any time and from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators return memory by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
