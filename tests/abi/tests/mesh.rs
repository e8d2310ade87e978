//! An Envoy as Istio configures it: its virtual hosts, its metadata, its tags of statistics, and filters that must not hold a request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::EnvoyOptions;
use headgate_testkit::mock_model::MockAnswer;
use headgate_tests_abi::bootstrap::{Upstreams, filter};
use headgate_tests_abi::config::{slow_tokens, tagged, with_buckets};
use headgate_tests_abi::module::path;
use headgate_tests_abi::testbed::{SOON, Testbed, try_start_edited};
use serde_json::{Value, json};

const MODEL: &str = "m.models.svc.cluster.local";
const USERS: &str = "users.models.svc.cluster.local";

/// Starts Envoy with this configuration of the filter, and these changes.
async fn start(config: &Value, edit: impl FnOnce(&mut Value, &mut EnvoyOptions)) -> Testbed {
    let filter = filter(&path("headgate"), &config.to_string());
    let started = try_start_edited(filter, 1, Upstreams::Http1, edit).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// The connection manager in a bootstrap.
fn manager(bootstrap: &mut Value) -> &mut Value {
    &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

/// Virtual hosts with the names and domains that Istio gives them. Those of `users` route to `v1` without a look at headers.
fn virtual_hosts(bootstrap: &mut Value) {
    let hosts = &mut manager(bootstrap)["route_config"]["virtual_hosts"];
    let by_version = hosts[0]["routes"].clone();
    let to_users = json!([{"match": {"prefix": "/"}, "route": {"cluster": "v1"}}]);
    let host = |name: &str, domains: Value, routes: &Value| json!({"name": name, "domains": domains, "routes": routes});
    let model = format!("{MODEL}:8000");
    let users = format!("{USERS}:8000");
    *hosts = json!([
        host(&model, json!([MODEL, format!("{MODEL}.")]), &by_version),
        host(&users, json!([USERS]), &to_users),
        host("*.example.com:443", json!(["*.example.com"]), &by_version),
        host(
            "[fd00::1]:8000",
            json!(["[fd00::1]", "[fd00::1]:8000"]),
            &by_version
        ),
        host("inbound|http|8000", json!(["inbound"]), &to_users),
        host("allow_any", json!(["*"]), &to_users),
    ]);
}

/// Metadata of the node, as pilot-agent writes it.
fn node(options: &mut EnvoyOptions, namespace: &str, labels: &Value, workload: &str) {
    let metadata = json!({"NAMESPACE": namespace, "LABELS": labels, "WORKLOAD_NAME": workload});
    options.node_metadata = metadata.as_object().unwrap().clone();
}

fn hosts() -> Value {
    let mut config = with_buckets(&[slow_tokens(100_000)]);
    config["namespaces"]["models"] = config["namespaces"]["default"].take();
    config["namespaces"]
        .as_object_mut()
        .unwrap()
        .remove("default");
    config["namespaces"]["models"]["hosts"] = json!([MODEL, "*.example.com", "fd00::1"]);
    config
}

fn chat(testbed: &Testbed, host: &str) -> HttpRequest {
    let request = OpenAiRequest::chat("m").header("x-tenant-id", "acme");
    request.header("host", host).to(&testbed.url)
}

fn at_upstream(reply: &Reply, header: &str) -> Option<String> {
    let headers = reply.json().unwrap()["mock"]["headers"].clone();
    headers[header].as_str().map(str::to_owned)
}

#[tokio::test]
async fn the_host_of_a_virtual_host_is_that_of_its_namespace() {
    let testbed = start(&hosts(), |bootstrap, _| virtual_hosts(bootstrap)).await;
    for host in [
        MODEL,
        "M.models.SVC.cluster.local",
        "ai.example.com",
        "[fd00::1]",
        "[fd00::1]:8000",
    ] {
        let reply = testbed.send(chat(&testbed, host)).await;
        assert_eq!(reply.status, 200, "{host}: {}", reply.text());
        assert_eq!(reply.header("x-model"), Some("m"), "{host}");
        assert_eq!(
            at_upstream(&reply, "x-headgate-tenant").as_deref(),
            Some("acme")
        );
        assert!(
            reply.header("x-ratelimit-remaining-tokens").is_some(),
            "{host}"
        );
    }
}

#[tokio::test]
async fn another_host_is_answered_by_its_own_service() {
    let testbed = start(&hosts(), |bootstrap, _| virtual_hosts(bootstrap)).await;
    // A canned answer is given on every path.
    testbed.set_answer("users", &MockAnswer::json("{}"));
    for host in [USERS, "elsewhere.example.org", "inbound"] {
        for (method, path, body) in [
            ("POST", "/v1/users", "no JSON"),
            ("POST", "/v1/chat/completions", r#"{"model":"nobody"}"#),
            ("DELETE", "/v1/chat/completions", ""),
            ("GET", "/v1/models", ""),
            ("GET", "/v1/models/m", ""),
        ] {
            let request =
                HttpRequest::new(method.parse().unwrap(), format!("{}{path}", testbed.url));
            let request = HttpRequest {
                body: body.into(),
                ..request
            };
            let request = request
                .header("host", host)
                .header("x-model", "theirs")
                .header("x-headgate-lane", "theirs")
                .header("x-mock-answer", "users")
                .header("x-mock-keep", "seen");
            let reply = testbed.send(request).await;
            let context = format!("{host} {method} {path}: {} {}", reply.status, reply.text());
            assert!(reply.header("x-mock-served-by").is_some(), "{context}");
            for header in ["x-model", "x-model-version", "x-ratelimit-remaining-tokens"] {
                assert_eq!(reply.header(header), None, "{context}");
            }
            let seen = testbed.recorded("seen");
            let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("x-model"), Some("theirs"), "{context}");
            assert_eq!(header("x-headgate-lane"), Some("theirs"), "{context}");
            assert_eq!(header("x-model-version"), None, "{context}");
            assert_eq!(seen.body, body.as_bytes(), "{context}");
        }
    }
}

/// Endpoints and clusters with Istio's metadata in place of Headgate's.
fn istio_metadata(bootstrap: &mut Value, workload: Option<&str>, subset: Option<&str>) {
    for cluster in bootstrap["static_resources"]["clusters"]
        .as_array_mut()
        .unwrap()
    {
        let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
        endpoint["metadata"] = match workload {
            Some(workload) => json!({"filter_metadata": {"istio": {"workload": workload}}}),
            None => json!({}),
        };
        if let Some(subset) = subset {
            cluster["metadata"] = json!({"filter_metadata": {"istio": {"subset": subset}}});
        }
    }
}

#[tokio::test]
async fn an_answer_is_tagged_by_the_workload_or_the_subset_that_served() {
    for (workload, subset, expected) in [
        (Some("m-v2;models;m;;Kubernetes"), None, Some("v2")),
        (Some("other;models;m;v1;Kubernetes"), Some("v2"), Some("v1")),
        (Some("other;models;m;;Kubernetes"), Some("v2"), Some("v2")),
        (Some("m-v2;elsewhere;m;v2;Kubernetes"), None, None),
        (None, Some("v2"), Some("v2")),
        (None, None, None),
    ] {
        let testbed = start(&hosts(), |bootstrap, _| {
            virtual_hosts(bootstrap);
            istio_metadata(bootstrap, workload, subset);
        })
        .await;
        let reply = testbed.send(chat(&testbed, MODEL)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let context = format!("{workload:?} {subset:?}");
        assert_eq!(reply.header("x-model-version"), expected, "{context}");
    }
}

#[tokio::test]
async fn a_pod_tags_what_it_answers_by_its_labels_or_its_workload() {
    for (labels, workload, expected) in [
        (json!({"example.com/release": "v7"}), "m-v2", Some("v7")),
        (json!({"model-version": "v7"}), "m-v2", Some("v2")),
        (json!({}), "other", None),
    ] {
        let mut config = hosts();
        config["role"] = "follow".into();
        config["versionLabel"] = "example.com/release".into();
        let testbed = start(&config, |bootstrap, options| {
            virtual_hosts(bootstrap);
            istio_metadata(bootstrap, None, None);
            node(options, "models", &labels, workload);
        })
        .await;
        let request = chat(&testbed, "inbound").header("x-model", "m");
        let reply = testbed.send(request.header("x-model-version", "v1")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-model-version"), expected, "{labels}");
        assert_eq!(reply.header("x-model"), expected.map(|_| "m"), "{labels}");
    }
}

/// The filter as `WasmPlugin` and `TrafficExtension` configure it.
fn without_holding(bootstrap: &mut Value) {
    let wasm = &mut manager(bootstrap)["http_filters"][0]["typed_config"]["config"];
    let removed = wasm
        .as_object_mut()
        .unwrap()
        .remove("allow_on_headers_stop_iteration");
    assert!(removed.is_some());
}

#[tokio::test]
async fn a_filter_that_reads_no_bodies_tags_by_headers_and_never_holds_a_request() {
    let mut config = hosts();
    config["bodies"] = "never".into();
    let testbed = start(&config, |bootstrap, _| {
        virtual_hosts(bootstrap);
        without_holding(bootstrap);
    })
    .await;
    let large = "x".repeat(1 << 20);
    for prompt in ["hi", &large] {
        let request = OpenAiRequest::chat("m")
            .prompt(prompt)
            .header("x-tenant-id", "acme");
        let request = request.header("host", MODEL);
        let named = request.clone().header("x-model", "Org/M-Instruct");
        let reply = testbed
            .send(named.header("x-model-version", "v2").to(&testbed.url))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-model-version"), Some("v2"));
        assert_eq!(at_upstream(&reply, "x-model").as_deref(), Some("m"));
        assert_eq!(
            at_upstream(&reply, "x-headgate-tenant").as_deref(),
            Some("acme")
        );
        // Nothing is charged.
        assert_eq!(reply.header("x-ratelimit-remaining-tokens"), None);
        // The model is only in the body: the request passes without tags. No route of this host is without a version.
        let unnamed = testbed.send(request.to(&testbed.url)).await;
        assert_eq!(unnamed.status, 404, "{}", unnamed.text());
        assert_eq!(
            unnamed.header("content-type"),
            None,
            "the answer of Envoy's routes"
        );
    }
    let unknown = chat(&testbed, MODEL).header("x-model", "nobody");
    let unknown = testbed.send(unknown).await;
    assert_eq!(unknown.json().unwrap()["error"]["code"], "model_not_found");
}

/// Istio's tag of a label of its own statistics, and of each that `sidecar.istio.io/extraStatTags` names.
fn istio_tags(bootstrap: &mut Value) {
    let tag = |key: &str| json!({"tag_name": key, "regex": format!(r"({key}=\.=(.*?);\.;)")});
    let keys = [
        "model_namespace",
        "model",
        "version",
        "lane",
        "outcome",
        "tenant",
        "kind",
        "rule",
    ];
    bootstrap["stats_config"] = json!({"use_all_default_tags": false, "stats_tags": keys.map(tag)});
}

#[tokio::test]
async fn labels_are_right_by_istios_tags_and_by_the_shipped_ones_and_cannot_be_forged() {
    let forging = "a.b;.;model=.=forged;.;outcome=.=forged";
    let config = tagged(
        with_buckets(&[slow_tokens(100_000)]),
        &json!({"tenantMetrics": {"maxTenants": 5}}),
    );
    for istio in [true, false] {
        let testbed = start(&config, |bootstrap, _| {
            if istio {
                istio_tags(bootstrap);
            }
        })
        .await;
        let send = async || {
            let request = OpenAiRequest::chat("m").header("x-tenant-id", forging);
            let request = request.header("x-model-version", "v1").to(&testbed.url);
            let reply = testbed.send(request).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        };
        // A tenant has statistics of its own after 100 requests.
        for _ in 0..100 {
            send().await;
        }
        let tenant = "a.b%3B.%3Bmodel%3D.%3Dforged%3B.%3Boutcome%3D.%3Dforged";
        let samples = eventually(SOON, "statistics of the tenant", async || {
            send().await;
            let samples = testbed.envoy.admin().prometheus().await;
            let samples = samples.map_err(|e| e.to_string())?;
            let known = samples.iter().any(|s| s.has(&[("tenant", tenant)]));
            known.then_some(samples).ok_or_else(|| "none".to_owned())
        });
        let samples = samples.await.unwrap();
        let has = |name: &str, labels: &[(&str, &str)]| {
            let found = samples.iter().any(|s| s.name == name && s.has(labels));
            assert!(found, "istio {istio}: no {name} {labels:?}");
        };
        let served = [
            ("model_namespace", "default"),
            ("model", "m"),
            ("version", "v1"),
            ("lane", "pin"),
        ];
        has("headgate_requests_total", &served);
        has("headgate_requests_total", &[("outcome", "admitted")]);
        has(
            "headgate_reserves_total",
            &[("rule", "default/p/tokens"), ("outcome", "reserved")],
        );
        has(
            "headgate_tenant_requests_total",
            &[("tenant", tenant), ("outcome", "admitted")],
        );
        let named = samples.iter().filter(|s| s.name.contains("headgate_"));
        // `envoy_wasm_headgate_…` are Envoy's own, about the VM.
        let ours = named.filter(|s| !s.name.starts_with("envoy_wasm_"));
        for sample in ours {
            assert!(sample.name.starts_with("headgate_"), "{sample:?}");
            assert!(
                !sample.has(&[("model", "forged")]) && !sample.has(&[("outcome", "forged")]),
                "{sample:?}"
            );
        }
    }
}
