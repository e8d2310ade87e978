//! Serving pods and ports, in the shapes that charts and operators create.

use super::within;

#[test]
fn an_endpoint_picker_is_not_an_endpoint_and_a_server_without_a_named_port_gets_a_finding() {
    within("endpoint-picker", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/endpoint-picker.yaml"))
            .await;
        namespace
            .run("rollout status deploy/qwen-workload --timeout=60s")
            .await;
        namespace
            .run("rollout status deploy/qwen-scheduler --timeout=60s")
            .await;
        let it = "llminferenceservice/qwen";
        let reported = |view: &super::StatusView| view.message(it, "AmbiguousPort").is_some();
        let view = namespace.until("the ambiguous port", reported).await;
        assert!(view.ports("qwen").is_empty(), "{view:?}");
        assert!(
            view.endpoints("qwen").is_empty() || view.endpoints("qwen") == [(0, 0)],
            "{view:?}"
        );
        let message = view.message(it, "AmbiguousPort").unwrap();
        assert!(
            message.contains("8000") && message.contains("8001"),
            "{message}"
        );
        assert!(message.contains("headgate.dev/port"), "{message}");
        namespace
            .event(it, "AmbiguousPort", &["headgate.dev/port"])
            .await;
        namespace
            .run("annotate llminferenceservice/qwen headgate.dev/port=8000")
            .await;
        let serves = |view: &super::StatusView| view.ready("qwen") == [(2, 2)] && !reported(view);
        let view = namespace.until("the two servers", serves).await;
        assert_eq!(view.ports("qwen"), [(8000, "HTTP/1.1", "annotation")]);
    });
}

#[test]
fn a_native_sidecar_declares_a_port_as_a_container_does() {
    within("native-sidecar", async |namespace| {
        namespace
            .apply(include_str!("../inputs/native-sidecar.yaml"))
            .await;
        let serves = |why: &'static str| {
            move |view: &super::StatusView| {
                view.ready("sidecar") == [(1, 1)]
                    && view.ports("sidecar") == [(8000, "HTTP/1.1", why)]
            }
        };
        let view = namespace
            .until("the port by its name", serves("port named http"))
            .await;
        assert!(view.problems.is_empty(), "{view:?}");
        namespace
            .run("annotate deploy/sidecar headgate.dev/port=http")
            .await;
        let view = namespace
            .until("the port by the annotation", serves("annotation"))
            .await;
        assert!(view.problems.is_empty(), "{view:?}");
    });
}

#[test]
fn a_weight_on_a_deployment_below_a_labelled_service_is_a_finding_with_the_command() {
    within("labels-everywhere", async |namespace| {
        let manifests = include_str!("../inputs/labels-on-everything.yaml");
        let at = manifests.match_indices("\n---\n").nth(1).unwrap().0;
        namespace.apply(&manifests[..at]).await;
        namespace
            .run("rollout status deploy/hm-v1 --timeout=60s")
            .await;
        namespace.wait_stored("service/hm-v1").await;
        namespace.apply(&manifests[at..]).await;
        namespace
            .until("the held version", |view| view.percents("hm") == [100, 0])
            .await;
        namespace.run("label deploy/hm-v2 canary-weight=30").await;
        let ignored =
            |view: &super::StatusView| view.message("deployment/hm-v2", "LabelIgnored").is_some();
        let view = namespace.until("the ignored label", ignored).await;
        assert_eq!(view.percents("hm"), [100, 0]);
        let command =
            "kubectl label service/hm-v2 -n labels-everywhere canary-weight=30 --overwrite";
        let message = view.message("deployment/hm-v2", "LabelIgnored").unwrap();
        assert!(message.contains(command), "{message}");
        // The Deployment also gets the Event, although it is not a carrier.
        namespace
            .event("deploy/hm-v2", "LabelIgnored", &[command])
            .await;
        namespace.run("label service/hm-v2 canary-weight=30").await;
        namespace
            .until("its share", |view| {
                view.percents("hm") == [70, 30] && !ignored(view)
            })
            .await;
    });
}

#[test]
fn a_port_named_grpc_gets_http_2() {
    within("grpc-only", async |namespace| {
        namespace
            .apply(include_str!("../inputs/grpc-only.yaml"))
            .await;
        let serves = |view: &super::StatusView| view.ready("grpconly") == [(1, 1)];
        let view = namespace.until("the server", serves).await;
        assert_eq!(
            view.ports("grpconly"),
            [(8001, "HTTP/2", "port named grpc")]
        );
    });
}

#[test]
fn pods_behind_two_services_are_desired_once() {
    within("two-services", async |namespace| {
        namespace
            .apply(include_str!("../inputs/two-services.yaml"))
            .await;
        namespace
            .run("rollout status statefulset/hm --timeout=60s")
            .await;
        let whole = |view: &super::StatusView| {
            view.endpoints("hm") == [(2, 2)] && view.model("hm").unwrap()["scalePercent"] == 100
        };
        let view = namespace.until("two of two and full buckets", whole).await;
        assert_eq!(view.percents("hm"), [100]);
        assert!(
            view.ready("hm").iter().all(|ready| *ready == (2, 2)),
            "{view:?}"
        );
        assert!(!view.reasons().contains(&"VersionMerged"), "{view:?}");
    });
}

#[test]
fn labels_on_the_pod_template_make_its_deployment_the_only_carrier() {
    within("template-only", async |namespace| {
        namespace
            .apply(include_str!("../inputs/labels-on-template.yaml"))
            .await;
        namespace
            .run("rollout status deploy/tmpl --timeout=60s")
            .await;
        let view = namespace
            .until("three pods", |view| view.ready("tmpl") == [(3, 3)])
            .await;
        let carriers: Vec<_> = view
            .carriers("tmpl")
            .map(|c| c["carrier"].as_str().unwrap())
            .collect();
        assert_eq!(carriers, ["deployment template-only/tmpl"]);
        assert_eq!(view.reasons(), ["LabelsOnTemplate"]);
        let command =
            "kubectl label deployment/tmpl -n template-only model-name=tmpl model-version=v1";
        namespace
            .event("deploy/tmpl", "LabelsOnTemplate", &[command])
            .await;
        for pod in namespace.pods("app=tmpl", 3).await {
            for reason in ["VersionMerged", "LabelsOnTemplate"] {
                assert_eq!(namespace.events(&pod, reason).await, 0);
            }
        }
    });
}

#[test]
fn the_target_port_of_a_service_is_the_port_of_servers_with_uninformative_port_names() {
    within("common-servers", async |namespace| {
        namespace
            .apply(include_str!("../inputs/common-servers.yaml"))
            .await;
        let serves = |view: &super::StatusView| {
            let ready = |model: &str| view.ready(model) == [(1, 1)];
            ["llama3", "mp", "ranks"].into_iter().all(ready)
        };
        let view = namespace.until("all servers", serves).await;
        assert_eq!(
            view.ports("llama3"),
            [(8000, "HTTP/1.1", "service/vllm-engine")]
        );
        assert_eq!(view.ports("mp"), [(8000, "HTTP/1.1", "service/mp")]);
        assert_eq!(view.ports("ranks"), [(8000, "HTTP/1.1", "readiness probe")]);
        assert!(view.problems.is_empty(), "{view:?}");
    });
}
