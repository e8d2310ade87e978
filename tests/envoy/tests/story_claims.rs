//! The claims themselves: one that does not hold says so, and which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::traffic::Sessions;
use headgate_demo::{budget, canary, outage, settlement, tags, versions};
use headgate_testkit::stage::{Stage, StageOptions};

/// A world in which every claim is wrong: the canary is at 40 %, nothing is limited, and nothing is tagged as expected.
const OTHER_TENANT_HEADER: &str = "apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata: { name: default }
spec: { tenantHeader: x-somebody-else, unknownVersion: weights }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_does_not_hold_says_so() {
    let options = StageOptions::default().policy(OTHER_TENANT_HEADER);
    let mut stage = Stage::start(options).await.unwrap();
    let files = stage.files();
    files
        .label("llama3-70b-v2.yaml", "canary-weight", Some("40"))
        .unwrap();
    stage.settled().await.unwrap();

    let sessions = Sessions::new("wrong", 1000);
    let split = canary::sessions_split(&stage, &sessions, 1, 10.0).await;
    assert_eq!(split.unwrap_err().claim, canary::SPLIT.sentence());
    let raised = canary::label_raised(&stage, &sessions, 10.0, 50).await;
    assert_eq!(raised.unwrap_err().claim, canary::RAISE.sentence());
    let lowered = canary::label_raised(&stage, &sessions, 50.0, 20).await;
    let why = lowered.unwrap_err().why;
    assert!(why.contains("moved elsewhere"), "{why}");
    let tag = tags::tag_travels(&stage).await;
    assert_eq!(tag.unwrap_err().claim, tags::CLAIM.sentence());
    let unknown = versions::unknown_pin_is_refused(&stage).await;
    assert_eq!(unknown.unwrap_err().claim, versions::UNKNOWN.sentence());
    let pin = versions::pin_reaches(&stage, "v7", 20).await;
    assert_eq!(pin.unwrap_err().claim, versions::PIN.sentence());
    let ran_out = budget::tenant_runs_out(&stage, "acme").await;
    assert_eq!(ran_out.unwrap_err().claim, budget::CLAIM.sentence());
    let settled = settlement::stream_settles_on_usage(&stage, "acme", 80, 10).await;
    assert_eq!(settled.unwrap_err().claim, settlement::STREAMED.sentence());
    let cut = settlement::cut_stream_is_charged(&stage, "acme", 80, 10).await;
    assert_eq!(cut.unwrap_err().claim, settlement::CUT.sentence());

    stage.stop_mock("llama3-70b", "v1").await;
    let few = Sessions::new("few", 50);
    let survived = outage::control_plane_dies(&mut stage, &few, 50, 30).await;
    assert_eq!(survived.unwrap_err().claim, outage::CLAIM.sentence());
}
