//! Accepted tokens, and the form of refusals.

use headgate_testkit::client::HttpRequest;
use headgate_testkit::jwt::now;
use http::Method;
use serde_json::{Value, json};

use crate::common::{
    ISSUER, bearer, chat, issuer, provider, received, refused, start, statistic, with_token,
};

const PAGE: &str = "https://chat.example";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claim_of_a_valid_token_is_the_tenant_whatever_headers_say() {
    let keys = issuer(ISSUER);
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    let token = |org: &str| {
        let claims = json!({ "aud": ["other", "models"], "org": org });
        bearer(&keys.token(&claims).unwrap())
    };
    let acme = token("acme");
    let forged = [
        ("authorization", acme.as_str()),
        ("x-tenant-id", "other"),
        ("x-headgate-tenant", "other"),
        ("baggage", "headgate.tenant=other"),
    ];
    let got = received(&chat(&testbed, &forged).await);
    assert_eq!(got["x-headgate-tenant"], "acme");
    // The model server gets no credentials.
    assert_eq!(got["authorization"], Value::Null);

    // The budget of acme ends, and the headers do not open another one. 10 of 1 000 000 tokens are spent.
    let large = async |headers: &[(&str, &str)], tokens: u64| {
        let mut request = headgate_testkit::client::OpenAiRequest::chat("m").max_tokens(tokens);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.to(testbed.url());
        testbed.client().send(request).await.unwrap().status
    };
    assert_eq!(large(&forged, 900_000).await, 200);
    assert_eq!(large(&forged, 900_000).await, 429);
    assert_eq!(
        large(&[("authorization", &token("else"))], 900_000).await,
        200
    );
    assert_eq!(statistic(&testbed, "denied").await, 0);
    assert_eq!(statistic(&testbed, "allowed").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_token_is_refused_in_the_form_of_the_api() {
    let (keys, stranger) = (issuer(ISSUER), issuer(ISSUER));
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    let signed = |claims: Value| keys.token(&claims).unwrap();
    let good = signed(json!({ "aud": "models" }));
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}")
    };
    let symmetric = keys.unsigned("HS256", &json!({ "aud": "models" }));
    let none = keys.unsigned("none", &json!({ "aud": "models" }));
    for (token, status, reason) in [
        (
            signed(json!({ "aud": "models", "exp": now() - 120 })),
            401,
            "Jwt is expired",
        ),
        (
            signed(json!({ "aud": "models", "nbf": now() + 120 })),
            401,
            "Jwt not yet valid",
        ),
        (
            signed(json!({ "aud": "models", "iss": "https://issuer.test" })),
            401,
            "Jwt issuer is not configured",
        ),
        (
            signed(json!({ "aud": "other" })),
            403,
            "Audiences in Jwt are not allowed",
        ),
        (signed(json!({})), 403, "Audiences in Jwt are not allowed"),
        (
            stranger.token(&json!({ "aud": "models" })).unwrap(),
            401,
            "Jwt verification fails",
        ),
        (format!("{symmetric}.{signature}"), 401, ""),
        (format!("{none}."), 401, ""),
        (format!("{head}.{payload}."), 401, ""),
        (format!("{head}.{payload}"), 401, ""),
        ("sk-1234".to_owned(), 401, "Jwt"),
    ] {
        refused(&with_token(&testbed, &token).await, status, reason);
    }
    for headers in [
        vec![],
        vec![("authorization", "Basic dXNlcjpwYXNz")],
        vec![("x-api-key", good.as_str())],
        vec![("cookie", good.as_str())],
    ] {
        refused(&chat(&testbed, &headers).await, 401, "Jwt is missing");
    }
    // A token in the address would be in every access log.
    let url = format!("{}/v1/models?access_token={good}", testbed.url());
    let reply = testbed.client().send(HttpRequest::get(&url)).await.unwrap();
    refused(&reply, 401, "Jwt is missing");
    // The scheme is in any case; clocks may differ by a minute.
    let lower = format!("bearer {good}");
    assert_eq!(
        chat(&testbed, &[("authorization", &lower)]).await.status,
        200
    );
    let late = signed(json!({ "aud": "models", "exp": now() - 30 }));
    assert_eq!(with_token(&testbed, &late).await.status, 200);
    // Two headers are two tokens, or one that is none: never a good one that covers a bad one.
    let bad = bearer(&stranger.token(&json!({ "aud": "models" })).unwrap());
    for both in [
        [bad.as_str(), &bearer(&good)],
        [&bearer(&good), bad.as_str()],
    ] {
        let headers = both.map(|value| ("authorization", value));
        let reply = chat(&testbed, &headers).await;
        let got = match reply.status {
            200 => received(&reply)["authorization"].clone(),
            401 => Value::Null,
            other => panic!("{other}: {}", reply.text()),
        };
        assert_eq!(got, Value::Null, "the model server gets no token");
    }
    assert!(statistic(&testbed, "denied").await >= 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_health_checks_and_grpc_get_what_they_understand() {
    let keys = issuer(ISSUER);
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    let send = async |request: HttpRequest| testbed.client().send(request).await.unwrap();
    let url = |path: &str| format!("{}{path}", testbed.url());
    let preflight = |origin: &str| {
        HttpRequest::new(Method::OPTIONS, url("/v1/chat/completions"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
    };
    assert_eq!(send(preflight(PAGE)).await.status, 200);
    let other = send(preflight("https://other.example")).await;
    assert_eq!(other.status, 403, "{}", other.text());
    assert!(
        other.text().contains("cors.allowOrigins"),
        "{}",
        other.text()
    );
    // The page can read why its request was refused.
    let page = chat(&testbed, &[("origin", PAGE)]).await;
    refused(&page, 401, "Jwt is missing");
    assert_eq!(page.header("access-control-allow-origin"), Some(PAGE));
    // What looks like a preflight, and is none, needs a token.
    let options = HttpRequest::new(Method::OPTIONS, url("/v1/chat/completions"));
    refused(
        &send(options.header("x-model", "m")).await,
        401,
        "Jwt is missing",
    );

    // A load balancer's check of the proxy needs no token; the model's own does.
    for path in ["/healthz", "/health?x=1"] {
        assert_eq!(
            send(HttpRequest::get(url(path))).await.status,
            200,
            "{path}"
        );
    }
    let of_model = HttpRequest::get(url("/health")).header("x-model", "m");
    refused(&send(of_model).await, 401, "Jwt is missing");
    refused(
        &send(HttpRequest::get(url("/v1/models"))).await,
        401,
        "Jwt is missing",
    );
    refused(
        &send(HttpRequest::get(url("/elsewhere"))).await,
        401,
        "Jwt is missing",
    );

    let path = "/inference.GRPCInferenceService/ModelInfer";
    let call = HttpRequest::post(url(path), "").header("content-type", "application/grpc");
    let reply = send(call.header("te", "trailers")).await;
    let status = (reply.header("grpc-status"), reply.header("grpc-message"));
    assert_eq!(status, (Some("16"), Some("Jwt is missing")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_says_where_tokens_are_how_late_and_whether_they_are_forwarded() {
    let (keys, second) = (issuer(ISSUER), issuer("https://second.test"));
    let mut other = provider("https://second.test", &second);
    other["fromHeaders"] = json!([{ "name": "X-Token" }]);
    other["fromCookies"] = json!(["token"]);
    other["clockSkew"] = json!("1s");
    other["forward"] = json!(true);
    let spec = json!({ "jwt": [provider(ISSUER, &keys), other] });
    let testbed = start(&spec, &[]).await;
    let token = second
        .token(&json!({ "aud": "models", "org": "acme" }))
        .unwrap();
    let got = received(&chat(&testbed, &[("x-token", &token)]).await);
    assert_eq!(
        (&got["x-headgate-tenant"], &got["x-token"]),
        (&json!("acme"), &json!(token))
    );
    let cookie = format!("a=b; token={token}");
    let got = received(&chat(&testbed, &[("cookie", &cookie)]).await);
    assert_eq!(got["x-headgate-tenant"], "acme");
    // Not where the other issuer's tokens are.
    assert_eq!(with_token(&testbed, &token).await.status, 401);
    let late = second
        .token(&json!({ "aud": "models", "exp": now() - 30 }))
        .unwrap();
    assert_eq!(chat(&testbed, &[("x-token", &late)]).await.status, 401);
    // A token of either issuer is enough.
    let first = keys
        .token(&json!({ "aud": "models", "org": "first" }))
        .unwrap();
    assert_eq!(
        received(&with_token(&testbed, &first).await)["x-headgate-tenant"],
        "first"
    );
}
