//! A claim that does not hold is reported as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_demo::sessions::Sessions;
use headgate_demo::{budget, canary, outage, settlement, tags, versions};
use headgate_testkit::testbed::{Testbed, TestbedOptions};

/// An environment in which every claim is wrong: the canary has 40 %, nothing is limited, and no tag is as expected.
const OTHER_TENANT_HEADER: &str = "apiVersion: headgate.dev/v1alpha1
kind: TrafficTagPolicy
metadata: { name: default }
spec: { tenantFrom: ['header:x-somebody-else'], unknownVersion: weights }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_false_claim_is_reported() {
    let options = TestbedOptions::default().policy(OTHER_TENANT_HEADER);
    let mut testbed = Testbed::start(options).await.unwrap();
    let files = testbed.files();
    files
        .label("llama3-70b-v2.yaml", "canary-weight", Some("40"))
        .unwrap();
    testbed.wait_until_settled().await.unwrap();

    let sessions = Sessions::new("wrong", 1000);
    let split = canary::sessions_split(&testbed, &sessions, 1, 10.0).await;
    assert_eq!(split.unwrap_err().claim, canary::SPLIT.sentence());
    let raised = canary::label_raised(&testbed, &sessions, 10.0, 50).await;
    assert_eq!(raised.unwrap_err().claim, canary::RAISE.sentence());
    let lowered = canary::label_raised(&testbed, &sessions, 50.0, 20).await;
    let why = lowered.unwrap_err().why;
    assert!(why.contains("moved elsewhere"), "{why}");
    let tag = tags::tag_travels(&testbed).await;
    assert_eq!(tag.unwrap_err().claim, tags::CLAIM.sentence());
    let unknown = versions::unknown_pin_is_refused(&testbed).await;
    assert_eq!(unknown.unwrap_err().claim, versions::UNKNOWN.sentence());
    let pin = versions::pin_reaches(&testbed, "v7", 20).await;
    assert_eq!(pin.unwrap_err().claim, versions::PIN.sentence());
    let ran_out = budget::tenant_runs_out(&testbed, "acme").await;
    assert_eq!(ran_out.unwrap_err().claim, budget::CLAIM.sentence());
    let settled = settlement::stream_settles_on_usage(&testbed, "acme", 80, 10).await;
    assert_eq!(settled.unwrap_err().claim, settlement::STREAMED.sentence());
    let cut = settlement::cut_stream_is_charged(&testbed, "acme", 80, 10).await;
    assert_eq!(cut.unwrap_err().claim, settlement::CUT.sentence());

    testbed.stop_mock("llama3-70b", "v1").await;
    let few = Sessions::new("few", 50);
    let survived = outage::control_plane_dies(&mut testbed, &few, 50, 30).await;
    assert_eq!(survived.unwrap_err().claim, outage::CLAIM.sentence());
}
