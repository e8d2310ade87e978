//! Labels on `/stats/prometheus`, extracted from stat names by the shipped bootstrap. Versions contain dots, which end a name for
//! Envoy's built-in rules.

use std::collections::BTreeSet;

use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::PromSample;

use crate::common::{SOON, ask, budget, declare, empty_testbed};

const VERSION: &str = "v2.3.1-cuda118";
const REQUESTS: f64 = 3.0;

/// Whether the sample has exactly these labels.
fn labelled(sample: &PromSample, labels: &[(&str, &str)]) -> bool {
    let names: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
    sample.has(labels) && names == labels.iter().map(|(name, _)| *name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_of_filters_and_clusters_have_the_complete_version_as_a_label() {
    let mut testbed = empty_testbed(1, 1, &budget("spend", ""), &[]).await;
    declare(&mut testbed, "m", VERSION, |manifest| manifest).await;
    testbed.wait_until_settled().await.unwrap();
    for _ in 0..3 {
        let reply = testbed.send(&ask("acme", 200)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let of = [("model", "m"), ("version", VERSION)];
    let with = |more: &[(&'static str, &'static str)]| [&of[..], more].concat();
    let rule = ("rule", "default/default/spend/spend");
    let cluster = "model/default/m/v2.3.1-cuda118";
    let expected = [
        (
            "headgate_requests_total",
            with(&[
                ("model_namespace", "default"),
                ("lane", "base"),
                ("outcome", "admitted"),
            ]),
        ),
        (
            "headgate_reserves_total",
            with(&[rule, ("outcome", "reserved")]),
        ),
        (
            "headgate_settlements_total",
            with(&[rule, ("outcome", "usage")]),
        ),
        (
            "headgate_charged_milli_bucket",
            with(&[rule, ("le", "+Inf")]),
        ),
        (
            "envoy_cluster_upstream_rq_total",
            with(&[
                ("model_namespace", "default"),
                ("envoy_cluster_name", cluster),
            ]),
        ),
    ];
    let counted = eventually(SOON, "every counter, with its labels", async || {
        let samples = testbed.envoys()[0].envoy.prometheus().await;
        let samples = samples.map_err(|error| error.to_string())?;
        for (name, labels) in &expected {
            let all: Vec<_> = samples.iter().filter(|s| s.name == *name).collect();
            let found = all.iter().find(|s| labelled(s, labels));
            if found.map(|s| s.value) != Some(REQUESTS) {
                return Err(format!("{name}: {all:?}"));
            }
        }
        Ok(())
    });
    counted.await.unwrap();
}
