//! The story, told as tests: on a real Kubernetes API. Lines share a cluster, because it takes seconds to start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use headgate_demo::traffic::Sessions;
use headgate_demo::{
    budget, canary, objects, outage, settlement, tags, versions, walkthrough, workloads,
};
use headgate_testkit::measured;
use headgate_testkit::stage::{Stage, StageOptions};

/// From an edit to its ACK once the API server is back, on a busy machine: whether it is back is asked every 1.5 s at most.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_applies_and_labels_reaches_traffic_and_what_became_of_it_reaches_kubectl() {
    let mut stage = Stage::start(StageOptions::on_kubernetes()).await.unwrap();
    objects::policies_are_programmed(&stage).await.unwrap();
    let unmatched = objects::policy_that_matches_nothing_says_so(&stage).await;
    assert!(unmatched.unwrap().starts_with("MatchesNothing"));
    tags::tag_travels(&stage).await.unwrap();
    let sessions = Sessions::new("split", 2000);
    canary::sessions_split(&stage, &sessions, 2, 10.0)
        .await
        .unwrap();
    let sessions = Sessions::new("raise", 2000);
    let raised = canary::label_raised(&stage, &sessions, 10.0, 30).await;
    let raised = raised.unwrap();
    assert_eq!(raised.moved + raised.kept, 2000);
    measured!("kubectl label to Envoy's ACK: {:?}", raised.acked);
    objects::bad_weight_is_refused(&stage).await.unwrap();
    versions::new_version_is_held(&mut stage, &Sessions::new("past", 200))
        .await
        .unwrap();
    objects::held_version_has_its_event(&stage).await.unwrap();
    versions::pin_reaches(&stage, versions::NEW, 10)
        .await
        .unwrap();
    versions::unknown_pin_is_refused(&stage).await.unwrap();
    budget::tenant_runs_out(&stage, "acme").await.unwrap();
    settlement::stream_settles_on_usage(&stage, "streams", 800, 120)
        .await
        .unwrap();
    settlement::cut_stream_is_charged(&stage, "hangs-up", 800, 60)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_canary_is_walked_to_its_promotion_and_the_end_of_the_version_before() {
    let stage = Stage::start(StageOptions::on_kubernetes()).await.unwrap();
    walkthrough::walk(&stage).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_an_api_and_a_control_plane_come_and_go_without_a_failed_request() {
    let mut stage = Stage::start(StageOptions::on_kubernetes()).await.unwrap();
    let few = |name: &str| Sessions::new(name, 300);
    let rolled = workloads::rollout_fails_nothing(&stage, &few("rollout")).await;
    assert_eq!(rolled.unwrap().after.len(), 1);
    let scaled = workloads::scale_down_fails_nothing(&stage, &few("scale")).await;
    assert_eq!(scaled.unwrap().before.len(), 3);
    let followed = workloads::budget_follows_capacity(&stage).await.unwrap();
    assert_eq!((followed.full, followed.half), (2000, 1000));
    let stood = workloads::api_dies(&mut stage, &few("away"), 300, 40).await;
    let (away, acked) = stood.map(|stood| (stood.away, stood.acked)).unwrap();
    measured!(
        "the API was away for {away:?}; kubectl label to Envoy's ACK when it was back: {acked:?}"
    );
    assert!(acked < AT_ONCE, "{acked:?}");
    outage::control_plane_dies(&mut stage, &few("outage"), 300, 50)
        .await
        .unwrap();

    // A claim that does not hold says so: the label moves sessions while nothing but pods should change.
    let sessions = few("moved");
    let (rolled, labelled) = tokio::join!(
        workloads::rollout_fails_nothing(&stage, &sessions),
        stage.label(canary::WORKLOAD, "canary-weight", Some("1")),
    );
    labelled.unwrap();
    let broken = rolled.unwrap_err();
    assert_eq!(broken.claim, workloads::ROLLOUT.sentence());
    assert!(broken.why.contains("changed their version"), "{broken}");
}
