//! The time until a proxy is back after its control plane returns.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::measured;

use crate::common::{SOON, bootstrap, served, start, testbed};

/// Outages: short ones, and one after which Envoy's own backoff would have grown to 30 s.
const OUTAGES: [u64; 4] = [1, 4, 10, 30];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_back_soon_after_its_control_plane_however_long_it_was_away() {
    let mut testbed = testbed(&["default"], &[]).await;
    let xds = testbed.addresses().xds.to_string();
    let text = bootstrap(&testbed.path("bootstrap"), &["--xds", &xds]);
    let mut proxies = Vec::new();
    for n in 0..4 {
        proxies.push(start(&format!("edge-{n}"), text.clone()).await);
        served(&testbed, &format!("edge-{n}")).await;
    }
    for outage in OUTAGES.map(Duration::from_secs) {
        testbed.control_plane_mut().kill().unwrap();
        tokio::time::sleep(outage).await;
        testbed.control_plane_mut().restart().await.unwrap();
        let begin = Instant::now();
        eventually(SOON, "all proxies to be back", async || {
            let status = testbed
                .control_plane()
                .get("/syncz")
                .await
                .map_err(|e| e.to_string())?;
            let rows = status["proxies"].as_array().unwrap();
            (rows.len() == proxies.len())
                .then_some(())
                .ok_or(format!("{}", rows.len()))
        })
        .await
        .unwrap();
        let back = begin.elapsed();
        measured!(
            "after an outage of {outage:?}, four proxies were back {back:?} after the control plane was ready"
        );
        assert!(
            back < Duration::from_secs(2),
            "{back:?} after an outage of {outage:?}"
        );
    }
}
