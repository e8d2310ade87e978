//! The demo's claims on a real Kubernetes API. The claims share a cluster, because it takes seconds to start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_demo::sessions::Sessions;
use headgate_demo::{
    budget, canary, objects, outage, settlement, tags, versions, walkthrough, workloads,
};
use headgate_testkit::measured;
use headgate_testkit::testbed::{Testbed, TestbedOptions};

/// From an edit to its ACK after the API server is back, on a busy machine; the control plane probes it at most every 1.5 s.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_changes_reach_traffic_and_their_result_is_visible_in_kubectl() {
    let mut testbed = Testbed::start(TestbedOptions::on_kubernetes())
        .await
        .unwrap();
    objects::policies_are_programmed(&testbed).await.unwrap();
    let unmatched = objects::policy_that_matches_nothing_says_so(&testbed).await;
    assert!(unmatched.unwrap().starts_with("MatchesNothing"));
    tags::tag_travels(&testbed).await.unwrap();
    let sessions = Sessions::new("split", 2000);
    canary::sessions_split(&testbed, &sessions, 2, 10.0)
        .await
        .unwrap();
    let sessions = Sessions::new("raise", 2000);
    let raised = canary::label_raised(&testbed, &sessions, 10.0, 30).await;
    let raised = raised.unwrap();
    assert_eq!(raised.moved + raised.kept, 2000);
    measured!("kubectl label to Envoy's ACK: {:?}", raised.acked);
    objects::bad_weight_is_refused(&testbed).await.unwrap();
    versions::new_version_is_held(&mut testbed, &Sessions::new("past", 200))
        .await
        .unwrap();
    objects::held_version_has_its_event(&testbed).await.unwrap();
    versions::pin_reaches(&testbed, versions::NEW, 10)
        .await
        .unwrap();
    versions::unknown_pin_is_refused(&testbed).await.unwrap();
    budget::tenant_runs_out(&testbed, "acme").await.unwrap();
    settlement::stream_settles_on_usage(&testbed, "streams", 800, 120)
        .await
        .unwrap();
    settlement::cut_stream_is_charged(&testbed, "hangs-up", 800, 60)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_of_the_readme_prints_what_the_readme_shows() {
    let testbed = Testbed::start(TestbedOptions::on_kubernetes())
        .await
        .unwrap();
    walkthrough::walk(&testbed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_pods_the_api_and_the_control_plane_fail_no_request() {
    let mut testbed = Testbed::start(TestbedOptions::on_kubernetes())
        .await
        .unwrap();
    let few = |name: &str| Sessions::new(name, 300);
    let rolled = workloads::rollout_fails_nothing(&testbed, &few("rollout")).await;
    assert_eq!(rolled.unwrap().after.len(), 1);
    let scaled = workloads::scale_down_fails_nothing(&testbed, &few("scale")).await;
    assert_eq!(scaled.unwrap().before.len(), 3);
    let followed = workloads::budget_follows_capacity(&testbed).await.unwrap();
    assert_eq!((followed.full, followed.half), (2000, 1000));
    let stood = workloads::api_dies(&mut testbed, &few("away"), 300, 40).await;
    let (away, acked) = stood.map(|stood| (stood.away, stood.acked)).unwrap();
    measured!(
        "the API was away for {away:?}; kubectl label to Envoy's ACK when it was back: {acked:?}"
    );
    assert!(acked < AT_ONCE, "{acked:?}");
    outage::control_plane_dies(&mut testbed, &few("outage"), 300, 50)
        .await
        .unwrap();

    // A claim that does not hold is reported: the label moves sessions while only pods should change.
    let sessions = few("moved");
    let (rolled, labelled) = tokio::join!(
        workloads::rollout_fails_nothing(&testbed, &sessions),
        testbed.label(canary::WORKLOAD, "canary-weight", Some("1")),
    );
    labelled.unwrap();
    let broken = rolled.unwrap_err();
    assert_eq!(broken.claim, workloads::ROLLOUT.sentence());
    assert!(broken.why.contains("changed their version"), "{broken}");
}
