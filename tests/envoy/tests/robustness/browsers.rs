//! Web pages of other origins, and health checks: responses of the routes alone, and CORS headers of refusals.

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::Testbed;
use http::Method;
use serde_json::json;

use crate::common::{
    CAPACITY, SOON, ask, budget, charged, declare, empty_testbed, single_model_testbed,
};
use crate::missing_resources::{listener, over_ads, proxy_with};

const PAGE: &str = "https://chat.example";
const ALLOWED: &str = "access-control-allow-origin";
const EXPOSED: &str = "access-control-expose-headers";

/// A tagging policy for the whole namespace that allows this origin, and an origin pattern of maximum length.
fn letting(origin: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata: {{name: browsers}}\n\
         spec:\n  cors:\n    allowOrigins: ['{origin}', 'https://*.{}']\n",
        "a".repeat(70)
    )
}

/// The preflight request of a browser on `origin` for a path.
fn preflight(testbed: &Testbed, path: &str, origin: &str) -> HttpRequest {
    HttpRequest::new(Method::OPTIONS, format!("{}{path}", testbed.url()))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        )
}

async fn sent(testbed: &Testbed, request: HttpRequest) -> Reply {
    testbed.client().send(request).await.unwrap()
}

/// Number of listener and route updates that Envoy applied.
async fn updates(testbed: &Testbed) -> (u64, u64) {
    let stats = testbed.envoys()[0].envoy.admin().stats("").await.unwrap();
    let sum = |end: &str| {
        let of = stats.iter().filter(|(name, _)| name.ends_with(end));
        of.map(|(_, count)| count).sum()
    };
    (
        sum("listener_manager.lds.update_success"),
        sum(".rds.ai-model-route.update_success"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_an_allowed_origin_may_send_requests_and_read_refusals() {
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    // No policy allows an origin: the refusal names the field to set.
    let reply = sent(&testbed, preflight(&testbed, "/v1/chat/completions", PAGE)).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(
        reply.text().contains("cors.allowOrigins"),
        "{}",
        reply.text()
    );
    let chat = |output| ask("acme", output).header("origin", PAGE).to(testbed.url());
    let reply = sent(&testbed, chat(16)).await;
    assert_eq!((reply.status, reply.header(ALLOWED)), (200, None));
    let before = updates(&testbed).await;

    testbed
        .files()
        .write_policy("browsers.yaml", &letting(PAGE))
        .unwrap();
    let answered = eventually(SOON, "an answer to the preflight", async || {
        let reply = sent(&testbed, preflight(&testbed, "/v1/chat/completions", PAGE)).await;
        match reply.status {
            200 => Ok(reply),
            status => Err(format!("{status}: {}", reply.text())),
        }
    });
    let reply = answered.await.unwrap();
    assert_eq!(reply.header(ALLOWED), Some(PAGE));
    let methods = reply.header("access-control-allow-methods").unwrap();
    assert_eq!(methods, "GET, HEAD, POST, OPTIONS");
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    let headers = reply.header("access-control-allow-headers").unwrap();
    assert!(headers.starts_with("authorization, content-type"));
    // Also on paths without a model, because a direct response is a route, too.
    for path in [
        "/v1/models",
        "/v1/nothing/of/the/kind",
        "/elsewhere",
        "/health",
    ] {
        let reply = sent(&testbed, preflight(&testbed, path, PAGE)).await;
        assert_eq!(
            (reply.status, reply.header(ALLOWED)),
            (200, Some(PAGE)),
            "{path}"
        );
    }
    // The page may read refusals of the filter and Envoy's own responses, like a model's.
    let get =
        |path: &str| HttpRequest::get(format!("{}{path}", testbed.url())).header("origin", PAGE);
    let no_model = HttpRequest::post(format!("{}/v1/chat/completions", testbed.url()), "{}");
    let unknown = OpenAiRequest::chat("unheard-of").header("origin", PAGE);
    for (request, status) in [
        (chat(16), 200),
        (chat(CAPACITY * 2), 400),
        (chat(CAPACITY - 16), 429),
        (no_model.header("origin", PAGE), 400),
        (unknown.to(testbed.url()), 404),
        (get("/v1/models"), 200),
        (get("/elsewhere"), 404),
        (get("/health"), 200),
    ] {
        let reply = sent(&testbed, request).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header(ALLOWED), Some(PAGE), "{status}");
        let exposed = reply.header(EXPOSED).unwrap();
        assert!(exposed.contains("retry-after, "), "{exposed}");
        let json = reply.header("content-type").unwrap();
        assert!(json.starts_with("application/json"), "{status}: {json}");
    }
    // Another origin gets no CORS headers, and its preflight is refused.
    let other = ask("acme", 16).header("origin", "https://other.example");
    let reply = sent(&testbed, other.to(testbed.url())).await;
    assert_eq!((reply.status, reply.header(ALLOWED)), (200, None));
    for path in ["/v1/chat/completions", "/elsewhere", "/health"] {
        let reply = sent(&testbed, preflight(&testbed, path, "https://other.example")).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(text.contains("cors.allowOrigins"), "{path}: {text}");
        assert_eq!(reply.header(ALLOWED), None, "{path}");
    }

    let after = updates(&testbed).await;
    assert_eq!(after.0, before.0, "no listener");
    assert!(after.1 > before.1, "but routes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_without_a_model_is_answered_before_any_model_is_served() {
    let testbed = empty_testbed(1, 1, &budget("tenants", ""), &[]).await;
    testbed.wait_until_settled().await.unwrap();
    let get = |path: &str| HttpRequest::get(format!("{}{path}", testbed.url()));
    for path in ["/health", "/healthz", "/ping", "/health?verbose=1"] {
        let reply = sent(&testbed, get(path)).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, r#"{"status":"ok"}"#),
            "{path}"
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    for path in ["/healthy", "/health/live"] {
        let reply = sent(&testbed, get(path)).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("unknown_path"), "{}", reply.text());
    }
}

/// Through the filter: by each of the model's names, without a charge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_of_a_model_passes_the_filter_and_costs_nothing() {
    let mut testbed = empty_testbed(1, 1, &budget("tenants", ""), &[]).await;
    let named = "headgate.dev/model-names";
    declare(&mut testbed, "m", "v1", |manifest| {
        manifest.annotation(named, "org/Big-Model")
    })
    .await;
    testbed.wait_until_settled().await.unwrap();
    for method in [Method::GET, Method::HEAD] {
        for (path, model, status) in [
            ("/health", "m", 200),
            ("/healthz?all", "org/Big-Model", 200),
            ("/ping", "m", 200),
            ("/health", "nope", 404),
        ] {
            let request = HttpRequest::new(method.clone(), format!("{}{path}", testbed.url()))
                .header("x-model", model)
                .header("x-tenant-id", "prober");
            let reply = sent(&testbed, request).await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
            let served = (status == 200).then_some("m/v1");
            assert_eq!(reply.header("x-mock-served-by"), served, "{method} {path}");
        }
    }
    charged(&testbed, "prober", 0).await;
    let mock = testbed.mock("m", "v1").unwrap();
    mock.handle().set_healthy(false);
    let request = HttpRequest::get(format!("{}/health", testbed.url())).header("x-model", "m");
    let reply = sent(&testbed, request).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
}

/// Methods and paths on a complete testbed, with the control plane's routes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_method_gets_a_405_and_an_unknown_path_a_404() {
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    let ask = |method: Method, path: &str| {
        sent(
            &testbed,
            HttpRequest::new(method, format!("{}{path}", testbed.url())),
        )
    };
    for (method, path, allow) in [
        (Method::GET, "/v1/chat/completions", "POST"),
        (Method::POST, "/v1/models", "GET, HEAD"),
        (Method::POST, "/healthz", "GET, HEAD"),
    ] {
        let reply = ask(method.clone(), path).await;
        assert_eq!(reply.status, 405, "{method} {path}: {}", reply.text());
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    for path in [
        "/v1/chat/completion",
        "/v1",
        "/chat/completions",
        "/",
        "/v3",
    ] {
        let reply = ask(Method::POST, path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        let error = reply.json().unwrap()["error"].clone();
        assert_eq!(error["code"], "unknown_path", "{path}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("path"), "{path}: {message}");
        assert!(!message.contains("does not exist"), "{path}: {message}");
    }
    let mock = testbed.mock("m", "v1").unwrap();
    assert_eq!(mock.stats().requests, 0);
}

/// With the routes alone; the test above covers the filter's handling of `x-model`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_with_a_model_goes_to_the_model() {
    let mut testbed = empty_testbed(1, 0, &budget("tenants", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let bare = free_addr().unwrap();
    let routes = json!({ "config_source": over_ads(), "route_config_name": "ai-model-route" });
    let listeners = [listener("bare", bare, ("rds", routes), vec![])];
    let _envoy = Envoy::start(proxy_with(&testbed, "asker", &listeners))
        .await
        .unwrap();
    let settled = testbed.wait_for_status(SOON, "the proxy to be current", |s| {
        s.proxy("asker").is_some_and(|p| p.current)
    });
    settled.await.unwrap();
    let get = async |path: &str, model: &str| {
        let request = HttpRequest::get(format!("http://{bare}{path}"));
        sent(&testbed, request.header("x-model", model)).await
    };
    for path in ["/health", "/healthz?all", "/ping"] {
        let served = get(path, "m").await;
        assert_eq!(served.header("x-mock-served-by"), Some("m/v1"), "{path}");
        let unknown = get(path, "nope").await;
        assert_eq!(unknown.status, 404);
        assert!(
            unknown.text().contains("model_not_found"),
            "{}",
            unknown.text()
        );
        assert_eq!(get(path, "").await.text(), r#"{"status":"ok"}"#);
    }
}
