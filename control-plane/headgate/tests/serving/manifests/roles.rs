//! Serving pods below the object of an operator, by the labels and fields that the operators set.

use super::{Place, StatusView, within};

/// Waits until a model has so many endpoints, of as many wanted, and full buckets, and nothing is said.
async fn serves(place: &Place, model: &str, count: i64, why: &str) -> StatusView {
    let whole = |seen: &StatusView| {
        let carriers = seen.ready(model) == [(count, count)];
        carriers && seen.endpoints(model) == [(count, count)] && seen.problems.is_empty()
    };
    let seen = place
        .until(&format!("{count} endpoints of {model}"), whole)
        .await;
    assert_eq!(seen.ports(model).len(), 1, "{seen:?}");
    assert_eq!(seen.ports(model)[0].2, why, "{seen:?}");
    seen
}

#[test]
fn a_blue_green_preview_takes_nothing_until_it_is_the_active_one() {
    within("blue-green", async |place| {
        place
            .apply_owner(include_str!("../inputs/blue-green.yaml"))
            .await;
        for hash in ["aaa", "bbb"] {
            let wait = format!("wait --for=condition=Ready pod -l hash={hash} --timeout=60s");
            place.pods(&format!("hash={hash}"), 2).await;
            place.run(&wait).await;
        }
        // Nothing says yet which is active: the older one serves, and the Service is asked for.
        let asked = |seen: &StatusView| {
            seen.percents("ro") == [100] && seen.says("rollout/ro", "RolesUnclear").is_some()
        };
        let seen = place
            .until("the active Service to be asked for", asked)
            .await;
        let version = |seen: &StatusView| {
            seen.versions("ro")
                .map(|v| v["version"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (version(&seen), seen.ready("ro")),
            (vec!["v1".into()], vec![(2, 2)])
        );
        for (hash, serving) in [("aaa", "v1"), ("bbb", "v2")] {
            let status =
                serde_json::json!({"status": {"blueGreen": {"activeSelector": hash}}}).to_string();
            let words = [
                "-n",
                place.name,
                "patch",
                "rollout",
                "ro",
                "--type=merge",
                "-p",
                &status,
            ];
            place.kubectl.run(words).await.unwrap();
            let settled = |seen: &StatusView| {
                version(seen) == [serving]
                    && seen.ready("ro") == [(2, 2)]
                    && seen.problems.is_empty()
            };
            let seen = place.until(&format!("{serving} alone"), settled).await;
            assert_eq!(seen.percents("ro"), [100]);
        }
        let full = |seen: &StatusView| seen.models[0]["scalePercent"] == 100;
        place.until("buckets at 100 %", full).await;
    });
}

#[test]
fn a_ray_services_pending_cluster_and_its_heads_are_no_endpoints_until_kuberay_says_so() {
    within("ray-service", async |place| {
        place
            .apply_owner(include_str!("../inputs/ray-service.yaml"))
            .await;
        let head = "{ name: gcs-server, containerPort: 6379 }, { name: dashboard, containerPort: 8265 }, { name: client, containerPort: 10001 }, { name: serve, containerPort: 8000 }";
        let worker = "{ name: metrics, containerPort: 8080 }";
        for cluster in ["qwen-aaaaa", "qwen-bbbbb"] {
            let uid = place
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
                place.apply(&made).await;
            }
        }
        let seen = serves(&place, "qwen", 2, "service/qwen-serve-svc").await;
        assert_eq!(seen.ports("qwen")[0].0, 8000);
        // KubeRay moves its Service first, and its status after it.
        let selector =
            r#"{"spec": {"selector": {"ray.io/cluster": "qwen-bbbbb", "ray.io/serve": "true"}}}"#;
        let words = [
            "-n",
            place.name,
            "patch",
            "service",
            "qwen-serve-svc",
            "--type=merge",
            "-p",
            selector,
        ];
        place.kubectl.run(words).await.unwrap();
        place.run("delete raycluster qwen-aaaaa --wait=false").await;
        serves(&place, "qwen", 2, "service/qwen-serve-svc").await;
    });
}

#[test]
fn the_leader_of_a_group_serves_and_its_workers_do_not() {
    within("leader-worker-set", async |place| {
        place
            .apply_owner(include_str!("../inputs/leader-worker-set.yaml"))
            .await;
        let seen = serves(&place, "deepseek", 1, "the only port").await;
        assert_eq!(seen.ports("deepseek")[0].0, 8080);
    });
}

#[test]
fn a_transformer_serves_in_front_of_its_predictor() {
    within("inference-service", async |place| {
        place
            .apply_owner(include_str!("../inputs/inference-service.yaml"))
            .await;
        let seen = serves(&place, "llama", 1, "service/llama-transformer").await;
        assert_eq!(seen.ports("llama")[0].0, 8080);
    });
}

#[test]
fn above_what_knative_makes_for_an_inference_service_it_carries_also_at_zero() {
    within("serverless", async |place| {
        place
            .apply(include_str!("../inputs/inference-service-serverless.yaml"))
            .await;
        let seen = serves(&place, "llama", 2, "service/llama-predictor-00001-private").await;
        assert_eq!(seen.ports("llama")[0].0, 8012);
        let carriers: Vec<_> = seen
            .carriers("llama")
            .map(|c| c["carrier"].as_str().unwrap())
            .collect();
        assert_eq!(carriers, ["inferenceservice serverless/llama"]);
        place
            .run("scale deploy/llama-predictor-00001-deployment --replicas=0")
            .await;
        let idle = |seen: &StatusView| seen.ready("llama") == [(0, 0)];
        place.until("none of none wanted", idle).await;
    });
}

#[test]
fn decode_pods_serve_through_their_routing_sidecar_and_prefill_pods_and_the_scheduler_do_not() {
    within("llm-inference-service", async |place| {
        place
            .apply_owner(include_str!("../inputs/llm-inference-service.yaml"))
            .await;
        // As shipped, its servers speak TLS.
        let it = "llminferenceservice/qwen";
        let said = |seen: &StatusView| {
            seen.says(it, "TlsPort").is_some() && seen.ready("qwen") == [(2, 2)]
        };
        let seen = place.until("TLS to be asked about", said).await;
        let command = "kubectl annotate llminferenceservice/qwen -n llm-inference-service headgate.dev/tls=true";
        let message = seen.says(it, "TlsPort").unwrap();
        assert!(
            message.contains(command) && message.contains("--upstream-ca"),
            "{message}"
        );
        place
            .run("annotate llminferenceservice/qwen headgate.dev/tls=true")
            .await;
        let seen = serves(&place, "qwen", 2, "service/qwen-kserve-workload-svc").await;
        assert_eq!(seen.ports("qwen")[0].0, 8000);
    });
}

#[test]
fn charts_with_the_usual_port_names_serve_by_labels_alone_and_never_on_metrics() {
    within("charts", async |place| {
        place.apply(include_str!("../inputs/charts.yaml")).await;
        let triton = serves(&place, "triton", 1, "service/triton").await;
        assert_eq!(triton.ports("triton")[0].0, 8000);
        let nim = serves(&place, "nim", 1, "port named api").await;
        assert_eq!(nim.ports("nim")[0].0, 8000);
        let tgi = serves(&place, "tgi", 1, "port named http").await;
        assert_eq!(tgi.ports("tgi")[0].0, 8080);
    });
}

#[test]
fn an_inference_pool_says_the_port_of_decode_pods() {
    within("llm-d", async |place| {
        place.apply(include_str!("../inputs/llm-d.yaml")).await;
        let seen = serves(&place, "qwen", 2, "inferencepool/ms-qwen").await;
        assert_eq!(seen.ports("qwen")[0].0, 8000);
        assert_eq!(seen.models.len(), 1, "{seen:?}");
    });
}
