//! Serving pods below the object of an operator, by the labels and fields that the operators set.

use super::{StatusView, TestNamespace, within};

/// Waits until a model has this number of ready and desired endpoints, full buckets and no finding.
async fn serves(namespace: &TestNamespace, model: &str, count: i64, why: &str) -> StatusView {
    let whole = |view: &StatusView| {
        let carriers = view.ready(model) == [(count, count)];
        carriers && view.endpoints(model) == [(count, count)] && view.problems.is_empty()
    };
    let view = namespace
        .until(&format!("{count} endpoints of {model}"), whole)
        .await;
    assert_eq!(view.ports(model).len(), 1, "{view:?}");
    assert_eq!(view.ports(model)[0].2, why, "{view:?}");
    view
}

#[test]
fn a_blue_green_preview_takes_no_sessions_until_it_is_active() {
    within("blue-green", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/blue-green.yaml"))
            .await;
        for hash in ["aaa", "bbb"] {
            let wait = format!("wait --for=condition=Ready pod -l hash={hash} --timeout=60s");
            namespace.pods(&format!("hash={hash}"), 2).await;
            namespace.run(&wait).await;
        }
        // Nothing names the active one yet: the older one serves, and a finding asks for the Service.
        let reported = |view: &StatusView| {
            view.percents("ro") == [100] && view.message("rollout/ro", "RolesUnclear").is_some()
        };
        let view = namespace
            .until("the finding about the active Service", reported)
            .await;
        let version = |view: &StatusView| {
            view.versions("ro")
                .map(|v| v["version"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (version(&view), view.ready("ro")),
            (vec!["v1".into()], vec![(2, 2)])
        );
        for (hash, serving) in [("aaa", "v1"), ("bbb", "v2")] {
            let status =
                serde_json::json!({"status": {"blueGreen": {"activeSelector": hash}}}).to_string();
            let words = [
                "-n",
                namespace.name,
                "patch",
                "rollout",
                "ro",
                "--type=merge",
                "-p",
                &status,
            ];
            namespace.kubectl.run(words).await.unwrap();
            let settled = |view: &StatusView| {
                version(view) == [serving]
                    && view.ready("ro") == [(2, 2)]
                    && view.problems.is_empty()
            };
            let view = namespace.until(&format!("{serving} alone"), settled).await;
            assert_eq!(view.percents("ro"), [100]);
        }
        let full = |view: &StatusView| view.models[0]["scalePercent"] == 100;
        namespace.until("buckets at 100 %", full).await;
    });
}

#[test]
fn pods_of_a_pending_ray_cluster_and_its_head_are_not_endpoints_until_kuberay_marks_them() {
    within("ray-service", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/ray-service.yaml"))
            .await;
        let head = "{ name: gcs-server, containerPort: 6379 }, { name: dashboard, containerPort: 8265 }, { name: client, containerPort: 10001 }, { name: serve, containerPort: 8000 }";
        let worker = "{ name: metrics, containerPort: 8080 }";
        for cluster in ["qwen-aaaaa", "qwen-bbbbb"] {
            let uid = namespace
                .run(&format!(
                    "get raycluster {cluster} -o jsonpath={{.metadata.uid}}"
                ))
                .await;
            for (name, kind, serves, ports) in [
                ("head", "head", "false", head),
                ("worker-1", "worker", "true", worker),
                ("worker-2", "worker", "true", worker),
            ] {
                let made = include_str!("../inputs/ray-pod.yaml");
                let made = made
                    .replace("NAME", &format!("{cluster}-{name}"))
                    .replace("CLUSTER", cluster)
                    .replace("OWNER", &uid)
                    .replace("TYPE", kind)
                    .replace("SERVE", serves)
                    .replace("PORTS", ports);
                namespace.apply(&made).await;
            }
        }
        let view = serves(&namespace, "qwen", 2, "service/qwen-serve-svc").await;
        assert_eq!(view.ports("qwen")[0].0, 8000);
        // KubeRay moves its Service first and its status later.
        let selector =
            r#"{"spec": {"selector": {"ray.io/cluster": "qwen-bbbbb", "ray.io/serve": "true"}}}"#;
        let words = [
            "-n",
            namespace.name,
            "patch",
            "service",
            "qwen-serve-svc",
            "--type=merge",
            "-p",
            selector,
        ];
        namespace.kubectl.run(words).await.unwrap();
        namespace
            .run("delete raycluster qwen-aaaaa --wait=false")
            .await;
        serves(&namespace, "qwen", 2, "service/qwen-serve-svc").await;
    });
}

#[test]
fn the_leader_of_a_group_serves_and_its_workers_do_not() {
    within("leader-worker-set", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/leader-worker-set.yaml"))
            .await;
        let view = serves(&namespace, "deepseek", 1, "the only port").await;
        assert_eq!(view.ports("deepseek")[0].0, 8080);
    });
}

#[test]
fn a_transformer_serves_in_front_of_its_predictor() {
    within("inference-service", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/inference-service.yaml"))
            .await;
        let view = serves(&namespace, "llama", 1, "service/llama-transformer").await;
        assert_eq!(view.ports("llama")[0].0, 8080);
    });
}

#[test]
fn an_inference_service_is_the_carrier_of_its_knative_objects_also_at_zero_replicas() {
    within("serverless", async |namespace| {
        namespace
            .apply(include_str!("../inputs/inference-service-serverless.yaml"))
            .await;
        let view = serves(
            &namespace,
            "llama",
            2,
            "service/llama-predictor-00001-private",
        )
        .await;
        assert_eq!(view.ports("llama")[0].0, 8012);
        let carriers: Vec<_> = view
            .carriers("llama")
            .map(|c| c["carrier"].as_str().unwrap())
            .collect();
        assert_eq!(carriers, ["inferenceservice serverless/llama"]);
        namespace
            .run("scale deploy/llama-predictor-00001-deployment --replicas=0")
            .await;
        let idle = |view: &StatusView| view.ready("llama") == [(0, 0)];
        namespace.until("none of none wanted", idle).await;
    });
}

#[test]
fn decode_pods_serve_through_their_routing_sidecar_and_prefill_pods_and_the_scheduler_do_not_serve()
{
    within("llm-inference-service", async |namespace| {
        namespace
            .apply_owner(include_str!("../inputs/llm-inference-service.yaml"))
            .await;
        // As shipped, its servers use TLS.
        let it = "llminferenceservice/qwen";
        let reported = |view: &StatusView| {
            view.message(it, "TlsPort").is_some() && view.ready("qwen") == [(2, 2)]
        };
        let view = namespace.until("the finding about TLS", reported).await;
        let command = "kubectl annotate llminferenceservice/qwen -n llm-inference-service headgate.dev/tls=true";
        let message = view.message(it, "TlsPort").unwrap();
        assert!(
            message.contains(command) && message.contains("--upstream-ca"),
            "{message}"
        );
        namespace
            .run("annotate llminferenceservice/qwen headgate.dev/tls=true")
            .await;
        let view = serves(&namespace, "qwen", 2, "service/qwen-kserve-workload-svc").await;
        assert_eq!(view.ports("qwen")[0].0, 8000);
    });
}

#[test]
fn charts_with_common_port_names_need_only_labels_and_never_serve_on_metrics_ports() {
    within("charts", async |namespace| {
        namespace.apply(include_str!("../inputs/charts.yaml")).await;
        let triton = serves(&namespace, "triton", 1, "service/triton").await;
        assert_eq!(triton.ports("triton")[0].0, 8000);
        let nim = serves(&namespace, "nim", 1, "port named api").await;
        assert_eq!(nim.ports("nim")[0].0, 8000);
        let tgi = serves(&namespace, "tgi", 1, "port named http").await;
        assert_eq!(tgi.ports("tgi")[0].0, 8080);
    });
}

#[test]
fn an_inference_pool_determines_the_port_of_decode_pods() {
    within("llm-d", async |namespace| {
        namespace.apply(include_str!("../inputs/llm-d.yaml")).await;
        let view = serves(&namespace, "qwen", 2, "inferencepool/ms-qwen").await;
        assert_eq!(view.ports("qwen")[0].0, 8000);
        assert_eq!(view.models.len(), 1, "{view:?}");
    });
}
