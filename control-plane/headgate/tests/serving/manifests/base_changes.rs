//! Changes of a base with `kubectl`, and the version that takes its traffic meanwhile.

use super::{TestNamespace, within};

/// A version of two replicas: `m-v1` of version `v1`.
async fn apply(namespace: &TestNamespace, version: &str) {
    let made = include_str!("../inputs/workload.yaml");
    let name = format!("m-{version}");
    namespace
        .apply(&made.replace("NAME", &name).replace("VERSION", version))
        .await;
    namespace
        .run(&format!("rollout status deploy/{name} --timeout=60s"))
        .await;
}

async fn weigh(namespace: &TestNamespace, name: &str, weight: u8) {
    namespace
        .run(&format!(
            "label deploy/{name} canary-weight={weight} --overwrite"
        ))
        .await;
}

async fn shares(namespace: &TestNamespace, percents: &[i64]) {
    let what = format!("{percents:?}");
    namespace
        .until(&what, |view| view.percents("m") == percents)
        .await;
}

/// One version that serves and is the stored base, and one held version.
async fn one_and_held(namespace: &TestNamespace) {
    apply(namespace, "v1").await;
    namespace.wait_stored("deployment/m-v1").await;
    apply(namespace, "v2").await;
    shares(namespace, &[100, 0]).await;
}

#[test]
fn a_recreated_stable_version_is_the_base_again_and_no_version_is_promoted() {
    within("recreated", async |namespace| {
        one_and_held(&namespace).await;
        namespace.run("delete deploy m-v1 --wait=true").await;
        shares(&namespace, &[100]).await;
        let words = ["deployment recreated/m-v1"];
        namespace.event("deploy/m-v2", "StandsIn", &words).await;
        apply(&namespace, "v1").await;
        shares(&namespace, &[100, 0]).await;
        // As `kubectl replace --force` does.
        let json = namespace.run("get deploy m-v1 -o json").await;
        let mut made: serde_json::Value = serde_json::from_str(&json).unwrap();
        for field in ["uid", "resourceVersion", "creationTimestamp"] {
            made["metadata"].as_object_mut().unwrap().remove(field);
        }
        made.as_object_mut().unwrap().remove("status");
        let words = ["-n", namespace.name, "replace", "--force", "-f", "-"];
        namespace
            .kubectl
            .run_with_input(words, &made.to_string())
            .await
            .unwrap();
        namespace
            .run("rollout status deploy/m-v1 --timeout=60s")
            .await;
        let whole = |view: &super::StatusView| {
            view.percents("m") == [100, 0]
                && view.message("deployment/m-v2", "VersionHeld").is_some()
        };
        namespace.until("the stable version again", whole).await;
        assert_eq!(namespace.events("m-v2", "Promoted").await, 0);
    });
}

#[test]
fn a_promoted_version_with_one_of_ten_pods_ready_takes_the_share_of_one_pod() {
    within("one-of-ten", async |namespace| {
        namespace.hold("m-v2-");
        let each = include_str!("../inputs/ten-replicas-each.yaml");
        let (first, second) = each.split_once("\n---\n").unwrap();
        namespace.apply(first).await;
        namespace
            .run("rollout status deploy/m-v1 --timeout=60s")
            .await;
        namespace.wait_stored("deployment/m-v1").await;
        namespace.apply(second).await;
        let pods = namespace.pods("app=m-v2", 10).await;
        namespace.ready(&pods[0], true).await;
        namespace
            .until("one pod of it", |view| {
                view.ready("m") == [(10, 10), (1, 10)]
            })
            .await;
        shares(&namespace, &[100, 0]).await;
        weigh(&namespace, "m-v2", 100).await;
        let shared = |view: &super::StatusView| {
            view.percents("m") == [91, 9]
                && view.message("deployment/m-v2", "PromotionShared").is_some()
        };
        let view = namespace.until("what one of eleven carries", shared).await;
        let message = view.message("deployment/m-v2", "PromotionShared").unwrap();
        assert!(
            message.contains("1 of 10 replicas are ready") && message.contains("50 %"),
            "{message}"
        );
        // The buckets follow the pods that serve, ten seconds later.
        let full = |view: &super::StatusView| view.models[0]["scalePercent"] == 100;
        namespace.until("full buckets", full).await;

        for pod in &pods[1..4] {
            namespace.ready(pod, true).await;
        }
        shares(&namespace, &[71, 29]).await;
        // From `minReadyPercent` on it takes everything.
        namespace.ready(&pods[4], true).await;
        let whole = |view: &super::StatusView| {
            view.percents("m") == [0, 100]
                && view.message("deployment/m-v2", "PromotionShared").is_none()
        };
        namespace.until("all of it", whole).await;
        // A carrier that had its full share keeps it: a pod that flaps around `minReadyPercent` moves no session.
        namespace.wait_stored("deployment/m-v2").await;
        namespace.ready(&pods[4], false).await;
        namespace
            .until("four of ten", |view| view.ready("m").contains(&(4, 10)))
            .await;
        shares(&namespace, &[0, 100]).await;
    });
}

#[test]
fn a_name_of_a_deleted_carrier_stays_with_the_model_and_is_reported_as_undeclared() {
    within("orphaned-name", async |namespace| {
        one_and_held(&namespace).await;
        namespace
            .run("annotate deploy/m-v1 headgate.dev/model-names=meta-llama/Llama-3-70B-Instruct")
            .await;
        weigh(&namespace, "m-v2", 100).await;
        shares(&namespace, &[0, 100]).await;
        let named = |view: &super::StatusView| {
            let names = &view.models[0]["names"];
            names.as_array().is_some_and(|names| {
                names
                    .iter()
                    .any(|name| name == "meta-llama/Llama-3-70B-Instruct")
            })
        };
        namespace.until("the name", named).await;
        let stored = "wait smdl/m --timeout=60s --for=jsonpath={.status.names[0].name}=meta-llama/Llama-3-70B-Instruct";
        namespace.run(stored).await;
        namespace.run("delete deploy m-v1 --wait=true").await;
        let orphaned = |view: &super::StatusView| view.reasons().contains(&"NameOrphaned");
        let view = namespace
            .until("that nobody declares the name", orphaned)
            .await;
        assert!(named(&view), "{view:?}");
        // A carrier that declares the name again ends the finding.
        namespace
            .run("annotate deploy/m-v2 headgate.dev/model-names=meta-llama/Llama-3-70B-Instruct")
            .await;
        namespace
            .until("that it is declared", |view| named(view) && !orphaned(view))
            .await;
        let declared = "wait smdl/m --timeout=60s --for=jsonpath={.status.names[0].carriers[0]}=deployment/m-v2";
        namespace.run(declared).await;
        // Removed from a carrier that exists, the name ends at once.
        namespace
            .run("annotate deploy/m-v2 headgate.dev/model-names-")
            .await;
        namespace
            .until("that it is gone", |view| !named(view))
            .await;
    });
}

#[test]
fn if_every_carrier_is_dark_the_last_base_continues_alone() {
    within("all-dark", async |namespace| {
        for version in ["v1", "v2", "v3"] {
            apply(&namespace, version).await;
            let weight = if version == "v1" { 100 } else { 0 };
            weigh(&namespace, &format!("m-{version}"), weight).await;
        }
        shares(&namespace, &[100, 0, 0]).await;
        namespace.wait_stored("deployment/m-v1").await;
        weigh(&namespace, "m-v1", 0).await;
        let dark_serves =
            |view: &super::StatusView| view.message("deployment/m-v1", "DarkServes").is_some();
        let view = namespace.until("that a dark one serves", dark_serves).await;
        assert_eq!(view.percents("m"), [100, 0, 0], "{view:?}");
        assert_eq!(
            view.reasons()
                .iter()
                .filter(|reason| **reason == "DarkServes")
                .count(),
            1
        );
        weigh(&namespace, "m-v2", 100).await;
        shares(&namespace, &[0, 100, 0]).await;
    });
}

#[test]
fn a_promoted_version_without_its_weight_label_stays_the_base_and_the_way_back_is_reported() {
    within("label-off", async |namespace| {
        one_and_held(&namespace).await;
        weigh(&namespace, "m-v2", 100).await;
        shares(&namespace, &[0, 100]).await;
        let finish = [
            "kubectl label deployment/m-v2 -n label-off canary-weight=0",
            "delete deployment/m-v1",
        ];
        namespace.event("deploy/m-v2", "Promoted", &finish).await;
        namespace.wait_stored("deployment/m-v2").await;
        namespace.run("label deploy/m-v2 canary-weight-").await;
        let back = ["kubectl label deployment/m-v2 -n label-off canary-weight=0"];
        namespace.event("deploy/m-v2", "StaysBase", &back).await;
        shares(&namespace, &[0, 100]).await;
        weigh(&namespace, "m-v2", 0).await;
        shares(&namespace, &[100, 0]).await;
    });
}

#[test]
fn a_base_restored_from_a_backup_counts_at_running_replicas() {
    within("restored-base", async |namespace| {
        one_and_held(&namespace).await;
        let base = "annotate smdl/m headgate.dev/base=deployment/m-v2=v2 --overwrite";
        namespace.run(base).await;
        namespace.wait_stored("deployment/m-v2").await;
        shares(&namespace, &[0, 100]).await;
        // From then on the control plane writes it again.
        weigh(&namespace, "m-v1", 100).await;
        namespace.wait_stored("deployment/m-v1").await;
        shares(&namespace, &[100, 0]).await;
    });
}

#[test]
fn a_model_with_hold_answers_503_while_its_base_is_lost_and_serves_once_it_returns() {
    within("on-base-lost", async |namespace| {
        namespace.hold("m-v1-");
        namespace
            .apply(include_str!("../inputs/hold-without-a-base.yaml"))
            .await;
        let made = include_str!("../inputs/workload.yaml");
        let [one, two] = ["v1", "v2"].map(|v| {
            made.replace("NAME", &format!("m-{v}"))
                .replace("VERSION", v)
        });
        namespace.apply(&one).await;
        let pods = namespace.pods("app=m-v1", 2).await;
        for pod in &pods {
            namespace.ready(pod, true).await;
        }
        namespace.wait_stored("deployment/m-v1").await;
        namespace.apply(&two).await;
        namespace
            .run("rollout status deploy/m-v2 --timeout=60s")
            .await;
        weigh(&namespace, "m-v2", 20).await;
        shares(&namespace, &[80, 20]).await;

        for pod in &pods {
            namespace.ready(pod, false).await;
        }
        let held = |view: &super::StatusView| {
            let finding = view.problems.iter().find(|p| p["reason"] == "NothingReady");
            finding.is_some_and(|p| {
                p["message"]
                    .as_str()
                    .unwrap()
                    .contains("`spec.onBaseLost` of its ServedModel is hold")
            })
        };
        let view = namespace.until("that it answers 503", held).await;
        assert_eq!(view.percents("m"), [0, 0], "{view:?}");
        // A pin still reaches the version that is ready.
        assert_eq!(view.endpoints("m"), [(0, 2), (2, 2)]);
        assert_eq!(namespace.events("m-v2", "StandsIn").await, 0);
        let condition = "get smdl/m -o jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
        headgate_testkit::deadline::eventually(super::WITHIN, "the condition", async || {
            let reason = namespace.run(condition).await;
            if reason == "NothingReady" {
                Ok(())
            } else {
                Err(reason)
            }
        })
        .await
        .unwrap();

        namespace.ready(&pods[0], true).await;
        namespace.ready(&pods[1], true).await;
        namespace
            .until("the base again", |view| {
                view.percents("m") == [80, 20] && !held(view)
            })
            .await;
    });
}
