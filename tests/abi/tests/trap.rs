//! A trap in a test-only build of the fused module: its cost and its end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_tests_abi::config::{slow_tokens, with_buckets};
use headgate_tests_abi::testbed::{Testbed, try_start_file};

/// `FAIL_RELOAD` creates a new VM after about a second.
const BACK: Duration = Duration::from_secs(3);

fn module() -> PathBuf {
    let name = "HEADGATE_TRAP_MODULE";
    let path = std::env::var_os(name)
        .map(PathBuf::from)
        .filter(|p| p.is_file());
    path.unwrap_or_else(|| panic!("{name} names no module; run tools/build-wasm trap first"))
}

async fn ask(testbed: &Testbed, max_tokens: u64, trap: &str) -> Reply {
    let request = OpenAiRequest::chat("m")
        .max_tokens(max_tokens)
        .header("x-tenant-id", "acme")
        .header("x-headgate-trap", trap);
    testbed.send(request.to(&testbed.url)).await
}

#[tokio::test]
async fn after_a_trap_the_charge_remains_and_requests_are_served_again() {
    let config = with_buckets(&[slow_tokens(1000)]).to_string();
    let testbed = try_start_file(&module(), &config, 1).await.unwrap();
    let trapped = ask(&testbed, 600, "now").await;
    assert_eq!(trapped.status, 503, "{}", trapped.text());
    assert_eq!(testbed.served(), 0);

    let since = Instant::now();
    let back = eventually(BACK, "an answer of the new VM", async || {
        let reply = ask(&testbed, 300, "no").await;
        match reply.status {
            200 => Ok(reply),
            other => Err(format!("{other} {}", reply.text())),
        }
    });
    back.await.unwrap();
    println!("served again {:?} after the trap", since.elapsed());

    // 600 tokens stay charged, so 500 more exceed the capacity of 1000.
    let refused = ask(&testbed, 500, "no").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
}
