//! The memory that equal proxies cost the server, measured in a process of its own: this binary starts itself as that server.
//!
//! `cargo test -p headgate-xds --test memory -- 2000` measures with 2000 proxies instead of the default.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxies;
mod server;

use std::time::{Duration, Instant};

use proxies::Fleet;
use server::ServerProcess;

/// Proxies, unless an argument says otherwise.
const PROXIES: usize = 400;
/// Clusters, and as many endpoint resources, of each proxy.
const CLUSTERS: usize = 800;
/// What an idle proxy may cost beyond [`FRAGMENTS`]: 42 KB of buffers of HTTP/2, and 20 KB for its stream.
const IDLE_BYTES: usize = 70_000;
/// What may be left over, however many proxies there are, of the memory that proxies need which connect at the same time.
const FRAGMENTS: usize = 24_000_000;
/// What a proxy that does not read may cost: the responses that wait for it share their bodies, but one of them is encoded.
const STALLED_BYTES: usize = 4 << 20;
/// The time after which the server has returned what it no longer needs.
const SETTLES: Duration = Duration::from_secs(12);
/// Proxies that do not read.
const STALLED: usize = 100;
/// What the server may keep after its proxies have left: caches, and pages that the allocator cannot return.
const KEPT_BYTES: usize = 32 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == server::ROLE) {
        return server::run();
    }
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(idle_proxies_share_what_they_hold(count.unwrap_or(PROXIES)));
    runtime.block_on(proxies_that_do_not_read_are_bounded());
}

async fn idle_proxies_share_what_they_hold(count: usize) {
    let mut server = ServerProcess::start();
    let warm_up = Fleet::connect(&server.address, 8).await;
    let empty = server.resident_bytes();
    let begun = Instant::now();
    let mut fleet = Fleet::connect(&server.address, count).await;
    tokio::time::sleep(SETTLES).await;
    let connected = server.resident_bytes() - empty;
    println!(
        "{count} idle proxies: {} MB after {:?}",
        connected / 1_000_000,
        begun.elapsed()
    );
    server.publish();
    fleet.run_next_revision().await;
    tokio::time::sleep(SETTLES).await;
    let updated = server.resident_bytes() - empty;
    println!("{count} updated proxies: {} MB", updated / 1_000_000);
    drop(fleet);
    server.wait_until_streams(warm_up.len()).await;
    tokio::time::sleep(SETTLES).await;
    let kept = server.resident_bytes().saturating_sub(empty);
    println!("after {count} proxies left: {} MB", kept / 1_000_000);
    let limit = count * IDLE_BYTES + FRAGMENTS;
    assert!(connected < limit, "{connected} bytes, limit {limit}");
    assert!(
        updated < limit,
        "{updated} bytes after updates, limit {limit}"
    );
    assert!(kept < KEPT_BYTES, "{kept} bytes are kept");
}

async fn proxies_that_do_not_read_are_bounded() {
    let mut server = ServerProcess::start();
    let empty = server.resident_bytes();
    let stalled = Fleet::connect_stalled(&server.address, STALLED).await;
    server.wait_until_streams(STALLED).await;
    let mut most = 0;
    for _ in 0..20 {
        server.publish();
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(server.resident_bytes() - empty);
    }
    println!(
        "{STALLED} proxies that do not read: {} MB",
        most / 1_000_000
    );
    assert!(most < STALLED * STALLED_BYTES, "{most} bytes");
    drop(stalled);
    server.wait_until_streams(0).await;
    tokio::time::sleep(SETTLES).await;
    let kept = server.resident_bytes().saturating_sub(empty);
    println!("after they left: {} MB", kept / 1_000_000);
    assert!(kept < KEPT_BYTES, "{kept} bytes are kept");
}
