//! Serving pods and ports, in the shapes that charts and operators create.

use super::within;

#[test]
fn an_endpoint_picker_is_no_endpoint_and_a_server_that_names_no_port_is_asked_for_one() {
    within("endpoint-picker", async |place| {
        place
            .apply_owner(include_str!("../inputs/endpoint-picker.yaml"))
            .await;
        place
            .run("rollout status deploy/qwen-workload --timeout=60s")
            .await;
        place
            .run("rollout status deploy/qwen-scheduler --timeout=60s")
            .await;
        let it = "llminferenceservice/qwen";
        let asked = |seen: &super::StatusView| seen.says(it, "AmbiguousPort").is_some();
        let seen = place.until("that two ports are as good", asked).await;
        assert!(seen.ports("qwen").is_empty(), "{seen:?}");
        assert!(
            seen.endpoints("qwen").is_empty() || seen.endpoints("qwen") == [(0, 0)],
            "{seen:?}"
        );
        let said = seen.says(it, "AmbiguousPort").unwrap();
        assert!(said.contains("8000") && said.contains("8001"), "{said}");
        assert!(said.contains("headgate.dev/port"), "{said}");
        place
            .told(it, "AmbiguousPort", &["headgate.dev/port"])
            .await;
        place
            .run("annotate llminferenceservice/qwen headgate.dev/port=8000")
            .await;
        let serves = |seen: &super::StatusView| seen.ready("qwen") == [(2, 2)] && !asked(seen);
        let seen = place.until("the two servers", serves).await;
        assert_eq!(seen.ports("qwen"), [(8000, "HTTP/1.1", "annotation")]);
    });
}

#[test]
fn a_native_sidecar_declares_a_port_as_a_container_does() {
    within("native-sidecar", async |place| {
        place
            .apply(include_str!("../inputs/native-sidecar.yaml"))
            .await;
        let serves = |why: &'static str| {
            move |seen: &super::StatusView| {
                seen.ready("sidecar") == [(1, 1)]
                    && seen.ports("sidecar") == [(8000, "HTTP/1.1", why)]
            }
        };
        let seen = place
            .until("the port by its name", serves("port named http"))
            .await;
        assert!(seen.problems.is_empty(), "{seen:?}");
        place
            .run("annotate deploy/sidecar headgate.dev/port=http")
            .await;
        let seen = place
            .until("the port by the annotation", serves("annotation"))
            .await;
        assert!(seen.problems.is_empty(), "{seen:?}");
    });
}

#[test]
fn where_labels_are_on_everything_the_weight_on_the_deployment_is_a_finding_with_the_command() {
    within("labels-everywhere", async |place| {
        let manifests = include_str!("../inputs/labels-on-everything.yaml");
        let at = manifests.match_indices("\n---\n").nth(1).unwrap().0;
        place.apply(&manifests[..at]).await;
        place.run("rollout status deploy/hm-v1 --timeout=60s").await;
        place.remembers("service/hm-v1").await;
        place.apply(&manifests[at..]).await;
        place
            .until("the held version", |seen| seen.percents("hm") == [100, 0])
            .await;
        place.run("label deploy/hm-v2 canary-weight=30").await;
        let said =
            |seen: &super::StatusView| seen.says("deployment/hm-v2", "LabelIgnored").is_some();
        let seen = place.until("that it is not heard", said).await;
        assert_eq!(seen.percents("hm"), [100, 0]);
        let command =
            "kubectl label service/hm-v2 -n labels-everywhere canary-weight=30 --overwrite";
        let message = seen.says("deployment/hm-v2", "LabelIgnored").unwrap();
        assert!(message.contains(command), "{message}");
        // Also where people look for it, though the Deployment carries nothing.
        place.told("deploy/hm-v2", "LabelIgnored", &[command]).await;
        place.run("label service/hm-v2 canary-weight=30").await;
        place
            .until("its share", |seen| {
                seen.percents("hm") == [70, 30] && !said(seen)
            })
            .await;
    });
}

#[test]
fn a_port_named_grpc_is_spoken_to_in_http_2() {
    within("grpc-only", async |place| {
        place.apply(include_str!("../inputs/grpc-only.yaml")).await;
        let serves = |seen: &super::StatusView| seen.ready("grpconly") == [(1, 1)];
        let seen = place.until("the server", serves).await;
        assert_eq!(
            seen.ports("grpconly"),
            [(8001, "HTTP/2", "port named grpc")]
        );
    });
}

#[test]
fn the_same_pods_behind_two_services_are_wanted_once() {
    within("two-services", async |place| {
        place
            .apply(include_str!("../inputs/two-services.yaml"))
            .await;
        place
            .run("rollout status statefulset/hm --timeout=60s")
            .await;
        let whole = |seen: &super::StatusView| {
            seen.endpoints("hm") == [(2, 2)] && seen.model("hm").unwrap()["scalePercent"] == 100
        };
        let seen = place.until("two of two and full buckets", whole).await;
        assert_eq!(seen.percents("hm"), [100]);
        assert!(
            seen.ready("hm").iter().all(|ready| *ready == (2, 2)),
            "{seen:?}"
        );
        assert!(!seen.reasons().contains(&"VersionMerged"), "{seen:?}");
    });
}

#[test]
fn labels_on_the_pod_template_make_its_deployment_the_one_carrier() {
    within("template-only", async |place| {
        place
            .apply(include_str!("../inputs/labels-on-template.yaml"))
            .await;
        place.run("rollout status deploy/tmpl --timeout=60s").await;
        let seen = place
            .until("three pods", |seen| seen.ready("tmpl") == [(3, 3)])
            .await;
        let carriers: Vec<_> = seen
            .carriers("tmpl")
            .map(|c| c["carrier"].as_str().unwrap())
            .collect();
        assert_eq!(carriers, ["deployment template-only/tmpl"]);
        assert_eq!(seen.reasons(), ["LabelsOnTemplate"]);
        let command =
            "kubectl label deployment/tmpl -n template-only model-name=tmpl model-version=v1";
        place
            .told("deploy/tmpl", "LabelsOnTemplate", &[command])
            .await;
        for pod in place.pods("app=tmpl", 3).await {
            for reason in ["VersionMerged", "LabelsOnTemplate"] {
                assert_eq!(place.events(&pod, reason).await, 0);
            }
        }
    });
}

#[test]
fn the_target_port_of_a_service_is_the_port_of_servers_whose_names_say_nothing() {
    within("common-servers", async |place| {
        place
            .apply(include_str!("../inputs/common-servers.yaml"))
            .await;
        let serves = |seen: &super::StatusView| {
            let ready = |model: &str| seen.ready(model) == [(1, 1)];
            ["llama3", "mp", "ranks"].into_iter().all(ready)
        };
        let seen = place.until("all servers", serves).await;
        assert_eq!(
            seen.ports("llama3"),
            [(8000, "HTTP/1.1", "service/vllm-engine")]
        );
        assert_eq!(seen.ports("mp"), [(8000, "HTTP/1.1", "service/mp")]);
        assert_eq!(seen.ports("ranks"), [(8000, "HTTP/1.1", "readiness probe")]);
        assert!(seen.problems.is_empty(), "{seen:?}");
    });
}
