//! Changes of a base with `kubectl`, and the version that takes its traffic meanwhile.

use super::{Place, within};

/// A version of two replicas: `m-v1` of version `v1`.
async fn apply(place: &Place, version: &str) {
    let made = include_str!("../inputs/workload.yaml");
    let name = format!("m-{version}");
    place
        .apply(&made.replace("NAME", &name).replace("VERSION", version))
        .await;
    place
        .run(&format!("rollout status deploy/{name} --timeout=60s"))
        .await;
}

async fn weigh(place: &Place, name: &str, weight: u8) {
    place
        .run(&format!(
            "label deploy/{name} canary-weight={weight} --overwrite"
        ))
        .await;
}

async fn shares(place: &Place, percents: &[i64]) {
    let what = format!("{percents:?}");
    place
        .until(&what, |seen| seen.percents("m") == percents)
        .await;
}

/// One version that serves and is stored as the base, and one that is held beside it.
async fn one_and_held(place: &Place) {
    apply(place, "v1").await;
    place.remembers("deployment/m-v1").await;
    apply(place, "v2").await;
    shares(place, &[100, 0]).await;
}

#[test]
fn a_stable_version_that_is_recreated_is_the_base_again_and_nobody_is_promoted() {
    within("recreated", async |place| {
        one_and_held(&place).await;
        place.run("delete deploy m-v1 --wait=true").await;
        shares(&place, &[100]).await;
        let words = ["deployment recreated/m-v1"];
        place.told("deploy/m-v2", "StandsIn", &words).await;
        apply(&place, "v1").await;
        shares(&place, &[100, 0]).await;
        // As `kubectl replace --force` does it in one go.
        let json = place.run("get deploy m-v1 -o json").await;
        let mut made: serde_json::Value = serde_json::from_str(&json).unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            made["metadata"].as_object_mut().unwrap().remove(field);
        }
        made.as_object_mut().unwrap().remove("status");
        let words = ["-n", place.name, "replace", "--force", "-f", "-"];
        place
            .kubectl
            .run_with_input(words, &made.to_string())
            .await
            .unwrap();
        place.run("rollout status deploy/m-v1 --timeout=60s").await;
        let whole = |seen: &super::StatusView| {
            seen.percents("m") == [100, 0] && seen.says("deployment/m-v2", "VersionHeld").is_some()
        };
        place.until("the stable version again", whole).await;
        assert_eq!(place.events("m-v2", "Promoted").await, 0);
    });
}

#[test]
fn a_promoted_version_of_which_one_pod_in_ten_is_ready_takes_what_one_pod_can_carry() {
    within("one-of-ten", async |place| {
        place.hold("m-v2-");
        let each = include_str!("../inputs/ten-replicas-each.yaml");
        let (first, second) = each.split_once("\n---\n").unwrap();
        place.apply(first).await;
        place.run("rollout status deploy/m-v1 --timeout=60s").await;
        place.remembers("deployment/m-v1").await;
        place.apply(second).await;
        let pods = place.pods("app=m-v2", 10).await;
        place.ready(&pods[0], true).await;
        place
            .until("one pod of it", |seen| {
                seen.ready("m") == [(10, 10), (1, 10)]
            })
            .await;
        shares(&place, &[100, 0]).await;
        weigh(&place, "m-v2", 100).await;
        let shared = |seen: &super::StatusView| {
            seen.percents("m") == [91, 9]
                && seen.says("deployment/m-v2", "PromotionShared").is_some()
        };
        let seen = place.until("what one of eleven carries", shared).await;
        let said = seen.says("deployment/m-v2", "PromotionShared").unwrap();
        assert!(
            said.contains("1 of 10 replicas are ready") && said.contains("50 %"),
            "{said}"
        );
        // The buckets hold what the pods carry that serve; a change of them takes ten seconds.
        let full = |seen: &super::StatusView| seen.models[0]["scalePercent"] == 100;
        place.until("full buckets", full).await;

        for pod in &pods[1..4] {
            place.ready(pod, true).await;
        }
        shares(&place, &[71, 29]).await;
        // At `minReadyPercent` it takes everything.
        place.ready(&pods[4], true).await;
        let whole = |seen: &super::StatusView| {
            seen.percents("m") == [0, 100]
                && seen.says("deployment/m-v2", "PromotionShared").is_none()
        };
        place.until("all of it", whole).await;
        // A carrier that had its full share keeps it: a pod that flaps around `minReadyPercent` moves no session.
        place.remembers("deployment/m-v2").await;
        place.ready(&pods[4], false).await;
        place
            .until("four of ten", |seen| seen.ready("m").contains(&(4, 10)))
            .await;
        shares(&place, &[0, 100]).await;
    });
}

#[test]
fn a_name_whose_carrier_is_deleted_stays_with_the_model_and_is_said_to_be_declared_by_nobody() {
    within("orphaned-name", async |place| {
        one_and_held(&place).await;
        place
            .run("annotate deploy/m-v1 headgate.dev/model-names=meta-llama/Llama-3-70B-Instruct")
            .await;
        weigh(&place, "m-v2", 100).await;
        shares(&place, &[0, 100]).await;
        let named = |seen: &super::StatusView| {
            let names = &seen.models[0]["names"];
            names.as_array().is_some_and(|names| {
                names
                    .iter()
                    .any(|name| name == "meta-llama/Llama-3-70B-Instruct")
            })
        };
        place.until("the name", named).await;
        let remembered = "wait smdl/m --timeout=60s --for=jsonpath={.status.names[0].name}=meta-llama/Llama-3-70B-Instruct";
        place.run(remembered).await;
        place.run("delete deploy m-v1 --wait=true").await;
        let orphaned = |seen: &super::StatusView| seen.reasons().contains(&"NameOrphaned");
        let seen = place.until("that nobody declares the name", orphaned).await;
        assert!(named(&seen), "{seen:?}");
        // A carrier that declares the name again ends the finding.
        place
            .run("annotate deploy/m-v2 headgate.dev/model-names=meta-llama/Llama-3-70B-Instruct")
            .await;
        place
            .until("that it is declared", |seen| named(seen) && !orphaned(seen))
            .await;
        let declared = "wait smdl/m --timeout=60s --for=jsonpath={.status.names[0].carriers[0]}=deployment/m-v2";
        place.run(declared).await;
        // Removed from a carrier that exists, the name ends at once.
        place
            .run("annotate deploy/m-v2 headgate.dev/model-names-")
            .await;
        place.until("that it is gone", |seen| !named(seen)).await;
    });
}

#[test]
fn while_every_carrier_is_dark_the_one_that_served_goes_on_alone() {
    within("all-dark", async |place| {
        for version in ["v1", "v2", "v3"] {
            apply(&place, version).await;
            let weight = if version == "v1" { 100 } else { 0 };
            weigh(&place, &format!("m-{version}"), weight).await;
        }
        shares(&place, &[100, 0, 0]).await;
        place.remembers("deployment/m-v1").await;
        weigh(&place, "m-v1", 0).await;
        let dark_serves =
            |seen: &super::StatusView| seen.says("deployment/m-v1", "DarkServes").is_some();
        let seen = place.until("that a dark one serves", dark_serves).await;
        assert_eq!(seen.percents("m"), [100, 0, 0], "{seen:?}");
        assert_eq!(
            seen.reasons()
                .iter()
                .filter(|reason| **reason == "DarkServes")
                .count(),
            1
        );
        weigh(&place, "m-v2", 100).await;
        shares(&place, &[0, 100, 0]).await;
    });
}

#[test]
fn a_promoted_version_whose_weight_label_is_taken_off_stays_and_the_way_back_is_said() {
    within("label-off", async |place| {
        one_and_held(&place).await;
        weigh(&place, "m-v2", 100).await;
        shares(&place, &[0, 100]).await;
        let finish = [
            "kubectl label deployment/m-v2 -n label-off canary-weight=0",
            "delete deployment/m-v1",
        ];
        place.told("deploy/m-v2", "Promoted", &finish).await;
        place.remembers("deployment/m-v2").await;
        place.run("label deploy/m-v2 canary-weight-").await;
        let back = ["kubectl label deployment/m-v2 -n label-off canary-weight=0"];
        place.told("deploy/m-v2", "StaysBase", &back).await;
        shares(&place, &[0, 100]).await;
        weigh(&place, "m-v2", 0).await;
        shares(&place, &[100, 0]).await;
    });
}

#[test]
fn a_base_that_a_backup_restores_while_a_replica_serves_counts() {
    within("restored-base", async |place| {
        one_and_held(&place).await;
        let base = "annotate smdl/m headgate.dev/base=deployment/m-v2=v2 --overwrite";
        place.run(base).await;
        place.remembers("deployment/m-v2").await;
        shares(&place, &[0, 100]).await;
        // From then on the control plane writes it again.
        weigh(&place, "m-v1", 100).await;
        place.remembers("deployment/m-v1").await;
        shares(&place, &[100, 0]).await;
    });
}

#[test]
fn a_model_that_holds_answers_503_while_its_base_is_lost_and_takes_it_back() {
    within("on-base-lost", async |place| {
        place.hold("m-v1-");
        place
            .apply(include_str!("../inputs/holds-without-its-base.yaml"))
            .await;
        let made = include_str!("../inputs/workload.yaml");
        let [one, two] = ["v1", "v2"].map(|v| {
            made.replace("NAME", &format!("m-{v}"))
                .replace("VERSION", v)
        });
        place.apply(&one).await;
        let pods = place.pods("app=m-v1", 2).await;
        for pod in &pods {
            place.ready(pod, true).await;
        }
        place.remembers("deployment/m-v1").await;
        place.apply(&two).await;
        place.run("rollout status deploy/m-v2 --timeout=60s").await;
        weigh(&place, "m-v2", 20).await;
        shares(&place, &[80, 20]).await;

        for pod in &pods {
            place.ready(pod, false).await;
        }
        let held = |seen: &super::StatusView| {
            let said = seen.problems.iter().find(|p| p["reason"] == "NothingReady");
            said.is_some_and(|p| {
                p["message"]
                    .as_str()
                    .unwrap()
                    .contains("`spec.onBaseLost` of its ServedModel is hold")
            })
        };
        let seen = place.until("that it answers 503", held).await;
        assert_eq!(seen.percents("m"), [0, 0], "{seen:?}");
        // A pin still reaches the version that is ready.
        assert_eq!(seen.endpoints("m"), [(0, 2), (2, 2)]);
        assert_eq!(place.events("m-v2", "StandsIn").await, 0);
        let condition = "get smdl/m -o jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
        headgate_testkit::deadline::eventually(super::WITHIN, "the condition", async || {
            let reason = place.run(condition).await;
            if reason == "NothingReady" {
                Ok(())
            } else {
                Err(reason)
            }
        })
        .await
        .unwrap();

        place.ready(&pods[0], true).await;
        place.ready(&pods[1], true).await;
        place
            .until("the base again", |seen| {
                seen.percents("m") == [80, 20] && !held(seen)
            })
            .await;
    });
}
