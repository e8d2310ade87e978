//! Many workers on one hot key: concurrent compare-and-swap on the shared data.

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport};
use headgate_testkit::testbed::Testbed;

use crate::common::{
    CAPACITY, INPUT, SOON, ask, budget, charged, counted, only, single_model_testbed,
};

/// More workers than cores, so that they are preempted during updates.
const WORKERS: u32 = 4;
/// Tokens per request; 60 requests fill the bucket.
const COST: u64 = 120;

/// Sends `requests` of one tenant over 64 connections.
async fn rush(url: &str, tenant: &'static str, requests: usize) -> LoadReport {
    let url = url.to_owned();
    let load = Load::start(LoadOptions::new(64, move |n| Job {
        session: n.to_string(),
        request: ask(tenant, COST - INPUT).to(&url),
    }));
    load.wait_for(requests, SOON * 2).await.unwrap();
    load.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_on_one_hot_key_never_over_admit() {
    let testbed = single_model_testbed(WORKERS, &budget("hot", "settleOn: reservation"), &[]).await;
    let report = rush(testbed.url(), "hot", 400).await;
    // A reservation whose compare-and-swap stayed contended gets a 503; other requests have used the budget since.
    only(&report, &[200, 429, 503]);
    assert_eq!(
        report.count(200) as u64,
        CAPACITY / COST,
        "{:?}",
        report.outcomes()
    );
    charged(&testbed, "hot", CAPACITY).await;
    busy_workers(&testbed).await;
    headgate_testkit::measured!("{:?}", report.outcomes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_key_is_settled_to_the_last_token() {
    let testbed = single_model_testbed(WORKERS, &budget("hot", ""), &[]).await;
    let report = rush(testbed.url(), "hot", 300).await;
    only(&report, &[200, 429, 503]);
    // The mock model produces 16 tokens, whatever was reserved.
    let used = report.count(200) as u64 * (INPUT + 16);
    assert!(used <= CAPACITY, "{used}");
    charged(&testbed, "hot", used).await;
    busy_workers(&testbed).await;
    headgate_testkit::measured!("{:?}", report.outcomes());
}

/// The test is valid only if more than one worker took part.
async fn busy_workers(testbed: &Testbed) {
    let admin = testbed.envoys()[0].envoy.admin();
    let stats = admin.stats("listener.").await.unwrap();
    let busy = |(name, count): &(&String, &u64)| {
        name.contains(".worker_") && name.ends_with("downstream_cx_total") && **count > 0
    };
    let workers = stats.iter().filter(busy).count();
    assert!(workers >= 2, "{stats:?}");
    counted(admin, "settlements_total").await;
}
