//! Web pages of other origins, and health checks: what Envoy answers by the routes alone, and what refusals carry.

use headgate_testkit::client::{HttpRequest, OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;
use headgate_testkit::ports::free_addr;
use headgate_testkit::stage::Stage;
use http::Method;
use serde_json::json;

use crate::common::{CAPACITY, SOON, ask, budget, charged, declare, empty_world, small_world};
use crate::names::{listener, over_ads, proxy_with};

const PAGE: &str = "https://chat.example";
const ALLOWED: &str = "access-control-allow-origin";
const EXPOSED: &str = "access-control-expose-headers";

/// A tagging for the whole namespace that lets this origin call, and one as long as a pattern may be.
fn letting(origin: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata: {{name: browsers}}\n\
         spec:\n  cors:\n    allowOrigins: ['{origin}', 'https://*.{}']\n",
        "a".repeat(70)
    )
}

/// What a browser asks before it sends a request of `origin` to a path.
fn preflight(stage: &Stage, path: &str, origin: &str) -> HttpRequest {
    HttpRequest::new(Method::OPTIONS, format!("{}{path}", stage.url()))
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        )
}

async fn sent(stage: &Stage, request: HttpRequest) -> Reply {
    stage.client().send(request).await.unwrap()
}

/// Of the listener and the routes: how often Envoy took a new one.
async fn updates(stage: &Stage) -> (u64, u64) {
    let stats = stage.envoys()[0].envoy.admin().stats("").await.unwrap();
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
async fn a_page_of_an_allowed_origin_may_call_and_may_read_refusals() {
    let stage = small_world(1, &budget("tenants", ""), &[]).await;
    // Nobody said who may: nothing is told but what to set.
    let reply = sent(&stage, preflight(&stage, "/v1/chat/completions", PAGE)).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(
        reply.text().contains("cors.allowOrigins"),
        "{}",
        reply.text()
    );
    let chat = |output| ask("acme", output).header("origin", PAGE).to(stage.url());
    let reply = sent(&stage, chat(16)).await;
    assert_eq!((reply.status, reply.header(ALLOWED)), (200, None));
    let before = updates(&stage).await;

    stage
        .files()
        .write_policy("browsers.yaml", &letting(PAGE))
        .unwrap();
    let asked = eventually(SOON, "an answer to the preflight", async || {
        let reply = sent(&stage, preflight(&stage, "/v1/chat/completions", PAGE)).await;
        match reply.status {
            200 => Ok(reply),
            status => Err(format!("{status}: {}", reply.text())),
        }
    });
    let reply = asked.await.unwrap();
    assert_eq!(reply.header(ALLOWED), Some(PAGE));
    let methods = reply.header("access-control-allow-methods").unwrap();
    assert_eq!(methods, "GET, HEAD, POST, OPTIONS");
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    let headers = reply.header("access-control-allow-headers").unwrap();
    assert!(headers.starts_with("authorization, content-type"));
    // Also where no request would find a model: a direct response is a route, too.
    for path in [
        "/v1/models",
        "/v1/nothing/of/the/kind",
        "/elsewhere",
        "/health",
    ] {
        let reply = sent(&stage, preflight(&stage, path, PAGE)).await;
        assert_eq!(
            (reply.status, reply.header(ALLOWED)),
            (200, Some(PAGE)),
            "{path}"
        );
    }
    // The filter's refusals and Envoy's own answers are for the page to read, as what a model answers.
    let get =
        |path: &str| HttpRequest::get(format!("{}{path}", stage.url())).header("origin", PAGE);
    let no_model = HttpRequest::post(format!("{}/v1/chat/completions", stage.url()), "{}");
    let unknown = OpenAiRequest::chat("unheard-of").header("origin", PAGE);
    for (request, status) in [
        (chat(16), 200),
        (chat(CAPACITY * 2), 400),
        (chat(CAPACITY - 16), 429),
        (no_model.header("origin", PAGE), 400),
        (unknown.to(stage.url()), 404),
        (get("/v1/models"), 200),
        (get("/elsewhere"), 404),
        (get("/health"), 200),
    ] {
        let reply = sent(&stage, request).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(reply.header(ALLOWED), Some(PAGE), "{status}");
        let exposed = reply.header(EXPOSED).unwrap();
        assert!(exposed.contains("retry-after, "), "{exposed}");
        let json = reply.header("content-type").unwrap();
        assert!(json.starts_with("application/json"), "{status}: {json}");
    }
    // Of another page nothing is told, and its preflight is not answered by Envoy.
    let other = ask("acme", 16).header("origin", "https://other.example");
    let reply = sent(&stage, other.to(stage.url())).await;
    assert_eq!((reply.status, reply.header(ALLOWED)), (200, None));
    for path in ["/v1/chat/completions", "/elsewhere", "/health"] {
        let reply = sent(&stage, preflight(&stage, path, "https://other.example")).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
        let text = reply.text();
        assert!(text.contains("cors.allowOrigins"), "{path}: {text}");
        assert_eq!(reply.header(ALLOWED), None, "{path}");
    }

    let after = updates(&stage).await;
    assert_eq!(after.0, before.0, "no listener");
    assert!(after.1 > before.1, "but routes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_that_names_no_model_is_answered_though_nothing_is_served() {
    let stage = empty_world(1, 1, &budget("tenants", ""), &[]).await;
    stage.settled().await.unwrap();
    let get = |path: &str| HttpRequest::get(format!("{}{path}", stage.url()));
    for path in ["/health", "/healthz", "/ping", "/health?verbose=1"] {
        let reply = sent(&stage, get(path)).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, r#"{"status":"ok"}"#),
            "{path}"
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    for path in ["/healthy", "/health/live"] {
        let reply = sent(&stage, get(path)).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("unknown_path"), "{}", reply.text());
    }
}

/// Through the filter: by any of the model's names, unmetered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_of_a_model_passes_the_filter_and_costs_nothing() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &[]).await;
    let named = "headgate.dev/model-names";
    declare(&mut stage, "m", "v1", |manifest| {
        manifest.annotation(named, "org/Big-Model")
    })
    .await;
    stage.settled().await.unwrap();
    for method in [Method::GET, Method::HEAD] {
        for (path, model, status) in [
            ("/health", "m", 200),
            ("/healthz?all", "org/Big-Model", 200),
            ("/ping", "m", 200),
            ("/health", "nope", 404),
        ] {
            let request = HttpRequest::new(method.clone(), format!("{}{path}", stage.url()))
                .header("x-model", model)
                .header("x-tenant-id", "prober");
            let reply = sent(&stage, request).await;
            assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
            let served = (status == 200).then_some("m/v1");
            assert_eq!(reply.header("x-mock-served-by"), served, "{method} {path}");
        }
    }
    charged(&stage, "prober", 0).await;
    let mock = stage.mock("m", "v1").unwrap();
    mock.handle().set_healthy(false);
    let request = HttpRequest::get(format!("{}/health", stage.url())).header("x-model", "m");
    let reply = sent(&stage, request).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"));
}

/// Methods and paths on a whole stage, with the routes that the control plane makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_method_is_405_and_an_unknown_path_404_that_says_path() {
    let stage = small_world(1, &budget("tenants", ""), &[]).await;
    let ask = |method: Method, path: &str| {
        sent(
            &stage,
            HttpRequest::new(method, format!("{}{path}", stage.url())),
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
        "/v2",
    ] {
        let reply = ask(Method::POST, path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        let error = reply.json().unwrap()["error"].clone();
        assert_eq!(error["code"], "unknown_path", "{path}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("path"), "{path}: {message}");
        assert!(!message.contains("does not exist"), "{path}: {message}");
    }
    let mock = stage.mock("m", "v1").unwrap();
    assert_eq!(mock.stats().requests, 0);
}

/// By routes alone: what the filter makes of `x-model` is tested above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_that_names_a_model_goes_to_the_model() {
    let mut stage = empty_world(1, 0, &budget("tenants", ""), &[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    let bare = free_addr().unwrap();
    let routes = json!({ "config_source": over_ads(), "route_config_name": "ai-model-route" });
    let listeners = [listener("bare", bare, ("rds", routes), vec![])];
    let _envoy = Envoy::start(proxy_with(&stage, "asker", &listeners))
        .await
        .unwrap();
    let settled = stage.await_status(SOON, "the proxy to be in step", |s| {
        s.proxy("asker").is_some_and(|p| p.settled)
    });
    settled.await.unwrap();
    let get = async |path: &str, model: &str| {
        let request = HttpRequest::get(format!("http://{bare}{path}"));
        sent(&stage, request.header("x-model", model)).await
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
