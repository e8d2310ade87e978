//! Readiness over time: canaries that never start, and canaries that flap. Both tests start with the cluster of
//! [`crate::manifests`].

use serde_json::json;

use crate::manifests::{StatusView, begun, document, within};

const BESIDE: &str = include_str!("inputs/stable-beside.yaml");
const NEVER_STARTS: &str = include_str!("inputs/canary-never-starts.yaml");
const FLAPS: &str = include_str!("inputs/canary-flaps.yaml");

#[test]
fn a_weighted_canary_that_never_starts_gets_an_event_with_its_pods_own_reasons() {
    begun("a canary that never starts");
}

pub(crate) fn never_starts() {
    within("never-starts", async |place| {
        place.hold("m-v2-");
        place.apply(BESIDE).await;
        place
            .until("the stable version", |seen| seen.percents("m") == [100])
            .await;
        place.apply(NEVER_STARTS).await;
        let pod = place.pods("app=m-v2", 1).await.remove(0);
        let waiting = json!({
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
            "containerStatuses": [{
                "name": "s", "image": "does-not-exist", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"does-not-exist\""}},
            }],
        });
        place.report(&pod, &waiting).await;
        // Its share stays with the base from the start, and nothing is said of it before its time.
        let early = place
            .until("the canary", |seen| seen.percents("m") == [100, 0])
            .await;
        assert_eq!(
            early.says("deployment/m-v2", "NotStarted"),
            None,
            "{early:?}"
        );
        let words = [
            "Warning",
            "within 2 minutes (ImagePullBackOff: Back-off pulling image \"does-not-exist\")",
            "its 50 % of new sessions stay with the other versions",
            "kubectl describe deployment/m-v2 -n never-starts",
        ];
        // The time of the rule, and what an Event takes.
        let late = |seen: &StatusView| seen.says("deployment/m-v2", "NotStarted").is_some();
        place.until_late("that it does not start", late).await;
        place.told("deploy/m-v2", "NotStarted", &words).await;

        // Meanwhile a kind without objects is read, and said to be.
        assert_eq!(document().await["api"]["unread"], json!([]));

        // What starts after all takes its share, and nothing is said of it any more.
        place.ready(&pod, true).await;
        place
            .until("its share", |seen| {
                seen.percents("m") == [50, 50] && !late(seen)
            })
            .await;
    });
}

#[test]
fn a_canary_that_goes_and_comes_stays_out_until_it_has_been_ready_for_a_minute() {
    begun("a canary that flaps");
}

pub(crate) fn flaps() {
    within("flaps", async |place| {
        place.hold("m-v2-");
        place.apply(BESIDE).await;
        place
            .until("the stable version", |seen| seen.percents("m") == [100])
            .await;
        place.apply(FLAPS).await;
        let pod = place.pods("app=m-v2", 1).await.remove(0);
        place.ready(&pod, true).await;
        place
            .until("the canary", |seen| seen.percents("m") == [70, 30])
            .await;
        let flapping = |seen: &StatusView| seen.says("deployment/m-v2", "Flapping").is_some();
        for time in 1..=4 {
            place.ready(&pod, false).await;
            let seen = place
                .until("it to go", |seen| seen.endpoints("m")[1] == (0, 1))
                .await;
            assert!(!flapping(&seen), "already after {time}: {seen:?}");
            assert_eq!(seen.percents("m"), [100, 0]);
            place.ready(&pod, true).await;
            place
                .until("it to come", |seen| seen.endpoints("m")[1] == (1, 1))
                .await;
        }
        let came = std::time::Instant::now();
        let seen = place.until("that it flaps", flapping).await;
        // It is ready, and takes no new sessions.
        assert_eq!(
            (seen.percents("m"), seen.ready("m")[1]),
            (vec![100, 0], (1, 1))
        );
        let words = [
            "takes no new sessions until it has been ready for 60 s",
            "kubectl describe deployment/m-v2 -n flaps",
        ];
        place.told("deploy/m-v2", "Flapping", &words).await;
        let back = |seen: &StatusView| seen.percents("m") == [70, 30];
        let seen = place.until_late("its share again", back).await;
        assert!(!flapping(&seen), "{seen:?}");
        let out = came.elapsed().as_secs();
        assert!((58..90).contains(&out), "{out} s");
    });
}
