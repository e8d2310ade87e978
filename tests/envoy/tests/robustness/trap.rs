//! A trap in a delivered filter: a test build of the module, replaced at run time.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;

use crate::common::{INPUT, SOON, ask, budget, charged, reloads, single_model_testbed};

/// `FAIL_RELOAD` creates a new VM after about a second.
const BACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_trap_the_charge_remains_and_requests_are_served_within_three_seconds() {
    let variable = "HEADGATE_TRAP_MODULE";
    let module = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|p| p.is_file());
    let module = module
        .unwrap_or_else(|| panic!("{variable} names no module; run tools/build-wasm trap first"));
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    let before = testbed
        .status()
        .await
        .unwrap()
        .proxy("envoy-0")
        .unwrap()
        .types["ecds"]
        .acked
        .clone();
    let draft = testbed.path("headgate.wasm");
    std::fs::copy(&module, &draft).unwrap();
    std::fs::rename(&draft, testbed.files().wasm().join("headgate.wasm")).unwrap();
    let swapped = testbed.wait_for_status(SOON, "the trapping module to run", |s| {
        s.proxy("envoy-0")
            .is_some_and(|p| p.current && p.types["ecds"].acked != before)
    });
    swapped.await.unwrap();

    let trapped = testbed
        .send(&ask("acme", 200).header("x-headgate-trap", "now"))
        .await
        .unwrap();
    assert_eq!(trapped.status, 503, "{}", trapped.text());
    assert_eq!(testbed.mock("m", "v1").unwrap().stats().requests, 0);
    let since = Instant::now();
    let back = eventually(BACK, "an answer of the new VM", async || {
        let reply = testbed.send(&ask("acme", 200)).await.unwrap();
        if reply.status == 200 {
            Ok(())
        } else {
            Err(reply.status)
        }
    });
    back.await.unwrap();
    // The counter by which operators, and tests that assert no trap, notice it.
    let stats = testbed.envoys()[0].envoy.stats("wasm.").await.unwrap();
    assert!(reloads(&stats) > 0, "{stats:?}");
    headgate_testkit::measured!("served again {:?} after the trap", since.elapsed());
    // The trapped request stays charged with its reservation.
    charged(&testbed, "acme", (INPUT + 200) + (INPUT + 16)).await;
}
