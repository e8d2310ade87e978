//! Readiness over time: canaries that never start, and canaries that flap. Both tests start with the cluster of
//! [`crate::manifests`].

use serde_json::json;

use crate::manifests::{StatusView, document, wait_for_slow_test, within};

const STABLE_VERSION: &str = include_str!("inputs/stable-version.yaml");
const NEVER_STARTS: &str = include_str!("inputs/canary-never-starts.yaml");
const FLAPS: &str = include_str!("inputs/canary-flaps.yaml");

#[test]
fn a_canary_that_never_starts_gets_an_event_with_the_reasons_of_its_pods() {
    wait_for_slow_test("a canary that never starts");
}

pub(crate) fn never_starts() {
    within("never-starts", async |namespace| {
        namespace.hold("m-v2-");
        namespace.apply(STABLE_VERSION).await;
        namespace
            .until("the stable version", |view| view.percents("m") == [100])
            .await;
        namespace.apply(NEVER_STARTS).await;
        let pod = namespace.pods("app=m-v2", 1).await.remove(0);
        let waiting = json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{
                "name": "s", "image": "does-not-exist", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"does-not-exist\""}},
            }],
        });
        namespace.report(&pod, &waiting).await;
        // Its share stays with the base from the start, and it has no finding before the limit.
        let early = namespace
            .until("the canary", |view| view.percents("m") == [100, 0])
            .await;
        assert_eq!(
            early.message("deployment/m-v2", "NotStarted"),
            None,
            "{early:?}"
        );
        let words = [
            "Warning",
            "within 2 minutes (ImagePullBackOff: Back-off pulling image \"does-not-exist\")",
            "its 50 % of new sessions stay with the other versions",
            "kubectl describe deployment/m-v2 -n never-starts",
        ];
        // The limit of the rule, and the time of an Event.
        let late = |view: &StatusView| view.message("deployment/m-v2", "NotStarted").is_some();
        namespace.until_late("that it does not start", late).await;
        namespace.event("deploy/m-v2", "NotStarted", &words).await;

        // Meanwhile a kind without objects is read and reported as read.
        assert_eq!(document().await["api"]["unread"], json!([]));

        // A canary that starts later takes its share, and its finding ends.
        namespace.ready(&pod, true).await;
        namespace
            .until("its share", |view| {
                view.percents("m") == [50, 50] && !late(view)
            })
            .await;
    });
}

#[test]
fn a_flapping_canary_takes_no_sessions_until_it_has_been_ready_for_a_minute() {
    wait_for_slow_test("a canary that flaps");
}

pub(crate) fn flaps() {
    within("flaps", async |namespace| {
        namespace.hold("m-v2-");
        namespace.apply(STABLE_VERSION).await;
        namespace
            .until("the stable version", |view| view.percents("m") == [100])
            .await;
        namespace.apply(FLAPS).await;
        let pod = namespace.pods("app=m-v2", 1).await.remove(0);
        namespace.ready(&pod, true).await;
        namespace
            .until("the canary", |view| view.percents("m") == [70, 30])
            .await;
        let flapping = |view: &StatusView| view.message("deployment/m-v2", "Flapping").is_some();
        for time in 1..=4 {
            namespace.ready(&pod, false).await;
            let view = namespace
                .until("it to go", |view| view.endpoints("m")[1] == (0, 1))
                .await;
            assert!(!flapping(&view), "already after {time}: {view:?}");
            assert_eq!(view.percents("m"), [100, 0]);
            namespace.ready(&pod, true).await;
            namespace
                .until("it to come", |view| view.endpoints("m")[1] == (1, 1))
                .await;
        }
        let came = std::time::Instant::now();
        let view = namespace.until("that it flaps", flapping).await;
        // It is ready and takes no new sessions.
        assert_eq!(
            (view.percents("m"), view.ready("m")[1]),
            (vec![100, 0], (1, 1))
        );
        let words = [
            "takes no new sessions until it has been ready for 60 s",
            "kubectl describe deployment/m-v2 -n flaps",
        ];
        namespace.event("deploy/m-v2", "Flapping", &words).await;
        let back = |view: &StatusView| view.percents("m") == [70, 30];
        let view = namespace.until_late("its share again", back).await;
        assert!(!flapping(&view), "{view:?}");
        let out = came.elapsed().as_secs();
        assert!((58..90).contains(&out), "{out} s");
    });
}
