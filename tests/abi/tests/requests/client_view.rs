//! The view of clients and operators: errors of paths and methods, contradictory names, waits, baggage, and statistics by tenant.

use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::PromSample;
use headgate_tests_abi::config::{one_version, tagged, tokens, with_buckets};
use headgate_tests_abi::testbed::{SOON, Testbed, start, try_start};
use http::Method;
use serde_json::json;

use crate::charges::{CAPACITY, bucket, charge_of, chat, left, sent, testbed};

async fn bare(testbed: &Testbed, method: Method, path: &str, model: Option<&str>) -> Reply {
    let request = HttpRequest::new(method, format!("{}{path}", testbed.url));
    let request = request.header("x-tenant-id", "acme");
    testbed
        .send(match model {
            Some(model) => request.header("x-model", model),
            None => request,
        })
        .await
}

fn code(reply: &Reply) -> String {
    let body = reply.json().unwrap_or_default();
    body["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_allowed_methods() {
    let testbed = testbed().await;
    for (method, path, allow) in [
        (Method::GET, "/v1/chat/completions", "POST"),
        (Method::PUT, "/v1/chat/completions?x=1", "POST"),
        (Method::DELETE, "/v1/completions", "POST"),
        (Method::GET, "/v1/responses", "POST"),
        (Method::GET, "/v1//chat/./completions", "POST"),
        (Method::POST, "/v1/models", "GET, HEAD"),
        (Method::DELETE, "/v1/embeddings", "POST"),
        (Method::POST, "/health", "GET, HEAD"),
    ] {
        for model in [None, Some("m")] {
            let reply = bare(&testbed, method.clone(), path, model).await;
            assert_eq!(reply.status, 405, "{method} {path}: {}", reply.text());
            assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
            assert_eq!(code(&reply), "method_not_allowed", "{method} {path}");
        }
    }
    assert_eq!(testbed.served(), 0);
    // A HEAD has no body.
    let head = bare(&testbed, Method::HEAD, "/v1/chat/completions", None).await;
    assert_eq!((head.status, head.text().as_str()), (405, ""));
    assert_eq!(head.header("allow"), Some("POST"));
}

#[tokio::test]
async fn an_unknown_path_is_404_and_names_the_path() {
    let testbed = testbed().await;
    for (method, path) in [
        (Method::POST, "/v1/chat/completion"),
        (Method::GET, "/v1/assistants"),
        (Method::POST, "/v1"),
    ] {
        let reply = bare(&testbed, method, path, None).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(text.contains("path") && text.contains(path), "{text}");
        assert_eq!(code(&reply), "unknown_path");
    }
    assert_eq!(testbed.served(), 0);
    // Servers have further paths: a request that names the model reaches its server, which answers.
    let reply = bare(&testbed, Method::GET, "/v1/assistants", Some("m")).await;
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
}

#[tokio::test]
async fn a_health_check_of_a_model_reaches_it_and_is_not_metered() {
    let testbed = testbed().await;
    let charged = charge_of(&testbed, "healthy", async |tenant| {
        for path in [
            "/health",
            "/healthz",
            "/ping",
            "/health?verbose",
            "//health/",
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = HttpRequest::new(method.clone(), format!("{}{path}", testbed.url))
                    .header("x-model", "Org/M-Instruct")
                    .header("x-tenant-id", tenant);
                let reply = testbed.send(request).await;
                if path != "//health/" {
                    assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text());
                }
                assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"), "{path}");
                assert_eq!(reply.header("x-ratelimit-remaining-tokens"), None, "{path}");
            }
        }
    });
    assert_eq!(charged.await, 0);
    let unknown = bare(&testbed, Method::GET, "/health", Some("gpt-17")).await;
    assert_eq!(
        (unknown.status, code(&unknown).as_str()),
        (404, "model_not_found")
    );
    // Without a model a route answers 200; this bootstrap has no such route.
    let nobodys = bare(&testbed, Method::GET, "/health", None).await;
    assert_eq!((nobodys.status, nobodys.text().as_str()), (404, ""));
}

#[tokio::test]
async fn a_model_that_header_and_body_name_differently_is_400_naming_both() {
    let mut config = one_version(&[bucket(&json!({}))]);
    let mut other = config["namespaces"]["default"]["models"]["m"].clone();
    other["names"] = json!(["Org/Other"]);
    config["namespaces"]["default"]["models"]["other"] = other;
    let testbed = start("headgate", &config).await;
    for (body, header, status) in [
        ("m", "m", 200),
        // Compared after names are mapped.
        ("m", "Org/M-Instruct", 200),
        ("Org/M-Instruct", "m", 200),
        ("m", "other", 400),
        ("Org/M-Instruct", "Org/Other", 400),
        // An unknown name differs from every other name.
        ("m", "gpt-17", 400),
        ("gpt-17", "m", 400),
        ("gpt-17", "gpt-18", 400),
        ("gpt-17", "gpt-17", 404),
    ] {
        let request = OpenAiRequest::chat(body).header("x-model", header);
        let reply = sent(&testbed, &request).await;
        let what = format!("{body}, {header}: {}", reply.text());
        assert_eq!(reply.status, status, "{what}");
        if status == 400 {
            let error = reply.json().unwrap()["error"].clone();
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(&format!("`{body}`")), "{what}");
            assert!(message.contains(&format!("`{header}`")), "{what}");
            assert_eq!(error["param"], "model");
        }
    }
}

/// The hop before has compared the names, and has mapped the name in the header.
#[tokio::test]
async fn a_following_hop_uses_the_header_without_a_comparison() {
    let mut config = one_version(&[bucket(&json!({}))]);
    config["role"] = "follow".into();
    config["namespaces"]["default"]["buckets"][0]["at"] = "inbound".into();
    let testbed = start("headgate", &config).await;
    let request = OpenAiRequest::chat("what-the-client-wrote")
        .header("x-model", "m")
        .header("x-model-version", "v1")
        .header("x-headgate-tenant", "acme")
        .header("x-tenant-id", "acme");
    let reply = sent(&testbed, &request).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(left(&reply), CAPACITY - 2 - 512);
}

#[tokio::test]
async fn a_max_tokens_header_raises_a_reserve_and_never_lowers_it() {
    let testbed = testbed().await;
    let unread = format!("{}/infer", testbed.url);
    // The header, and the reservation without a body field: 512 by default.
    for (header, reserved) in [("1", 512), ("512", 512), ("513", 513), ("20000", 20_000)] {
        let headers = |request: HttpRequest, tenant: &str| {
            request
                .header("x-tenant-id", format!("{tenant}-{header}"))
                .header("x-model", "m")
                .header("x-max-tokens", header)
        };
        let whole = headers(HttpRequest::post(&unread, r#"{"input":"hi"}"#), "unread");
        assert_eq!(
            left(&testbed.send(whole).await),
            CAPACITY - reserved,
            "{header}"
        );
        let bodyless = headers(HttpRequest::post(&unread, ""), "bodyless");
        assert_eq!(
            left(&testbed.send(bodyless).await),
            CAPACITY - reserved,
            "{header}"
        );
        let silent = headers(OpenAiRequest::chat("m").to(&testbed.url), "silent");
        assert_eq!(
            left(&testbed.send(silent).await),
            CAPACITY - 2 - reserved,
            "{header}"
        );
        let says = headers(
            OpenAiRequest::chat("m").max_tokens(200).to(&testbed.url),
            "says",
        );
        assert_eq!(
            left(&testbed.send(says).await),
            CAPACITY - 2 - 200,
            "{header}"
        );
    }
}

#[tokio::test]
async fn a_temperature_in_the_header_raises_a_reserve_and_never_lowers_it() {
    let sensitive = json!({"tokens": {"capacity": CAPACITY, "refillPerSecond": 0.05, "temperatureSensitivity": 1}});
    let testbed = start("headgate", &one_version(&[bucket(&sensitive)])).await;
    let unread = format!("{}/infer", testbed.url);
    for (header, reserved) in [("0.2", 512), ("1", 512), ("2", 1024)] {
        let request = HttpRequest::post(&unread, "{}")
            .header("x-tenant-id", header)
            .header("x-model", "m")
            .header("x-temperature", header);
        assert_eq!(
            left(&testbed.send(request).await),
            CAPACITY - reserved,
            "{header}"
        );
    }
}

/// Members of Headgate are left out first: the members of the client arrive, within the limits that every reader supports.
#[tokio::test]
async fn baggage_never_exceeds_8192_bytes_or_64_members() {
    let testbed = testbed().await;
    let long = |bytes: usize| format!("a={}", "x".repeat(bytes - 2));
    let many = |members: usize| {
        (0..members)
            .map(|n| format!("k{n}=v"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut whole = 0;
    for theirs in [
        String::new(),
        many(1),
        many(59),
        many(60),
        many(62),
        many(64),
        long(8000),
        long(8100),
        long(8140),
        long(8160),
        long(8192),
    ] {
        let request = chat("acme", 4).header("x-mock-keep", "baggage");
        let request = match theirs.as_str() {
            "" => request,
            theirs => request.header("baggage", theirs),
        };
        let reply = sent(&testbed, &request).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let baggage = testbed.recorded("baggage");
        let baggage = baggage.header("baggage").unwrap_or_default();
        let start = theirs.chars().take(40).collect::<String>();
        assert!(
            baggage.len() <= 8192,
            "{} bytes after {start}",
            baggage.len()
        );
        assert!(baggage.split(',').count() <= 64, "{baggage}");
        assert!(baggage.contains(&theirs), "{start} is incomplete");
        whole += usize::from(
            baggage.contains("headgate.model=m") && baggage.contains("headgate.tenant=acme"),
        );
    }
    assert!(whole >= 4, "ours were there {whole} times");
    eventually(SOON, "what was left out to be counted", async || {
        let samples = testbed
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let mut counted = samples
            .iter()
            .filter(|s| s.name == "headgate_baggage_members_left_out_total");
        match counted.next() {
            Some(sample) if sample.value >= 4.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

/// Three buckets; any of them may admit last: a client that waits for `retry-after` is admitted.
#[tokio::test]
async fn retry_after_is_the_longest_wait_and_never_too_early() {
    let named = |name: &str, capacity: u64, refill: f64| {
        let mut bucket = tokens(capacity, refill, &json!({"settleOn": "reservation"}));
        bucket["name"] = name.into();
        bucket
    };
    let config = one_version(&[
        named("quick", 300, 300.0),
        named("slow", 1000, 150.0),
        named("middle", 400, 130.0),
    ]);
    let testbed = start("headgate", &config).await;
    let tenant = |n: u64| format!("tenant-{n}");
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..12 {
        let request = chat(&tenant(n), 4).max_tokens(180 + 8 * n).to(&testbed.url);
        let client = testbed.client.clone();
        waiting.spawn(async move {
            let mut waits = Vec::new();
            let mut admitted = 0;
            while admitted < 5 {
                let reply = client.send(request.clone()).await.unwrap();
                let retry_after: Option<u64> = reply
                    .header("retry-after")
                    .map(|wait| wait.parse().unwrap());
                match (reply.status, retry_after) {
                    (200, None) => admitted += 1,
                    (429, Some(wait)) => {
                        let at = Instant::now() + Duration::from_secs(wait);
                        waits.push(wait);
                        tokio::time::sleep_until(at.into()).await;
                        let again = client.send(request.clone()).await.unwrap();
                        assert_eq!(again.status, 200, "after {wait} s: {}", again.text());
                        admitted += 1;
                    }
                    other => panic!("{other:?}: {}", reply.text()),
                }
            }
            waits
        });
    }
    let waits = waiting.join_all().await.concat();
    assert!(waits.iter().any(|wait| *wait >= 2), "{waits:?}");
}

/// `retry-after` considers all buckets: the first one that refuses does not have the longest wait.
#[tokio::test]
async fn retry_after_is_the_wait_of_the_slowest_bucket() {
    let named = |name: &str, refill: f64| {
        let mut bucket = tokens(1000, refill, &json!({"settleOn": "reservation"}));
        bucket["name"] = name.into();
        bucket
    };
    for order in [[1000.0, 10.0], [10.0, 1000.0]] {
        let buckets = [named("first", order[0]), named("second", order[1])];
        let testbed = start("headgate", &one_version(&buckets)).await;
        let request = chat("acme", 4).max_tokens(999);
        assert_eq!(sent(&testbed, &request).await.status, 200);
        let refused = sent(&testbed, &request).await;
        assert_eq!(refused.status, 429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((95..=100).contains(&wait), "{order:?}: {wait} s");
        assert_eq!(refused.header("x-should-retry"), Some("false"));
    }
}

/// The sum of a statistic by tenant, per tenant.
fn by_tenant(samples: &[PromSample], name: &str, labels: &[(&str, &str)], tenant: &str) -> f64 {
    let labels = [
        labels,
        &[("model_namespace", "default"), ("tenant", tenant)],
    ]
    .concat();
    let found = samples.iter().filter(|s| s.name == name && s.has(&labels));
    found.map(|s| s.value).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tenants_with_a_hundred_requests_have_own_statistics() {
    let config = tagged(
        with_buckets(&[bucket(&json!({}))]),
        &json!({"tenantMetrics": {"maxTenants": 2}}),
    );
    let testbed = try_start("headgate", &config.to_string(), 2).await.unwrap();
    let requests = async |tenant: &str, count: usize| {
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let request = chat(tenant, 4).max_tokens(2).to(&testbed.url);
            // Separate connections, so that both workers take part.
            let client = headgate_testkit::client::HttpClient::new();
            asking.spawn(async move {
                for _ in 0..count / 8 {
                    assert_eq!(client.send(request.clone()).await.unwrap().status, 200);
                }
            });
        }
        asking.join_all().await;
    };
    let counted = async |tenant: &str, at_least: f64| {
        eventually(
            SOON,
            &format!("{at_least} requests of {tenant}"),
            async || {
                let samples = testbed
                    .envoy
                    .prometheus()
                    .await
                    .map_err(|e| e.to_string())?;
                let admitted = [("outcome", "admitted")];
                let total = by_tenant(
                    &samples,
                    "headgate_tenant_requests_total",
                    &admitted,
                    tenant,
                );
                if total >= at_least {
                    Ok(samples)
                } else {
                    Err(total.to_string())
                }
            },
        )
        .await
        .unwrap()
    };
    // `few` has too few requests; `late` comes when the limit of tenants is reached.
    requests("few", 80).await;
    for tenant in ["first", "second"] {
        requests(tenant, 160).await;
        counted("other", 1.0).await;
        // Workers share counts once a second, so enough requests follow after it.
        eventually(SOON, "statistics of its own", async || {
            requests(tenant, 8).await;
            let samples = testbed
                .envoy
                .prometheus()
                .await
                .map_err(|e| e.to_string())?;
            match by_tenant(&samples, "headgate_tenant_requests_total", &[], tenant) {
                0.0 => Err("none yet"),
                _ => Ok(()),
            }
            .map_err(ToOwned::to_owned)
        })
        .await
        .unwrap();
    }
    requests("late", 240).await;
    requests("first", 80).await;
    let samples = counted("first", 80.0).await;
    for nobody in ["few", "late"] {
        assert!(
            by_tenant(&samples, "headgate_tenant_requests_total", &[], nobody) < 1.0,
            "{nobody} has statistics of its own"
        );
    }
    // The sum of all requests equals the requests that the mock models served.
    eventually(SOON, "each request to be counted once", async || {
        let samples = testbed
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let all = samples
            .iter()
            .filter(|s| s.name == "headgate_tenant_requests_total");
        let all: f64 = all.map(|s| s.value).sum();
        #[allow(clippy::cast_precision_loss)]
        let served = testbed.served() as f64;
        if (all - served).abs() < 0.5 {
            Ok(())
        } else {
            Err(format!("{all} of {served}"))
        }
    })
    .await
    .unwrap();
    // Two output tokens each, and a prompt of one.
    let used = by_tenant(
        &samples,
        "headgate_tenant_tokens_total",
        &[("kind", "output")],
        "first",
    );
    assert!(used >= 2.0 * 60.0, "{used} tokens");
    assert!(by_tenant(&samples, "headgate_tenant_requests_total", &[], "other") >= 240.0);
}

#[tokio::test]
async fn there_are_no_statistics_by_tenant_by_default() {
    let testbed = testbed().await;
    for _ in 0..150 {
        assert_eq!(
            sent(&testbed, &chat("acme", 4).max_tokens(1)).await.status,
            200
        );
    }
    eventually(SOON, "the requests to be counted", async || {
        let samples = testbed
            .envoy
            .prometheus()
            .await
            .map_err(|e| e.to_string())?;
        let counted = samples
            .iter()
            .filter(|s| s.name == "headgate_requests_total");
        let counted: f64 = counted.map(|s| s.value).sum();
        if counted < 149.5 {
            return Err(format!("{counted}"));
        }
        let own_sample = samples.iter().find(|s| s.has(&[("tenant", "acme")]));
        assert!(own_sample.is_none(), "{own_sample:?}");
        Ok(())
    })
    .await
    .unwrap();
}
