//! Refused requests: all facts from before the refusal appear in the log, the statistics and the answer.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;

use crate::proxy::{
    Proxy, SECOND, counted, one_model, removed, reply, reply_header, request_header, state, text,
    tokens,
};

const TENANT: (&str, &str) = ("x-tenant-id", "acme");

/// One namespace with this tagging and a bucket of 100 tokens.
fn proxy(tagging: &str) -> Proxy {
    let config = one_model(&tokens(100, "1", ""));
    let tagged = format!(r#""tagging":[{{"policy":"t","tagging":{tagging}}}],"buckets""#);
    Proxy::new(&config.replace(r#""buckets""#, &tagged))
}

fn states(step: &Step) -> [Option<&str>; 5] {
    ["model", "version", "tenant", "rule", "reason"]
        .map(|tag| state(step, &format!("headgate.{tag}")))
}

#[test]
fn the_filter_state_has_the_facts_of_a_refused_request() {
    let mut proxy = proxy("{}");
    let over = r#"{"model":"Org/M","max_tokens":90}"#;
    assert_eq!(proxy.chat(&[TENANT], over).1.flow, Flow::Continue);
    let rule = Some("default/p/budget");
    let (_, step) = proxy.chat(&[TENANT], over);
    let expected_states = |reason| [Some("m"), Some("v1"), Some("acme"), rule, Some(reason)];
    assert_eq!(states(&step), expected_states("rate_limit_exceeded"));
    for (name, value) in [
        ("x-model", "m"),
        ("x-model-version", "v1"),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-rule", "default/p/budget"),
        ("x-headgate-reason", "rate_limit_exceeded"),
    ] {
        assert_eq!(reply_header(reply(&step), name), Some(value), "{name}");
    }
    let (_, step) = proxy.chat(&[TENANT], r#"{"model":"Org/M","max_tokens":900}"#);
    assert_eq!(states(&step), expected_states("cost_exceeds_capacity"));

    // An invalid or too long body: the part that was read, or the header.
    let unread = |model, reason| [model, None, Some("acme"), None, Some(reason)];
    let (_, step) = proxy.chat(&[TENANT], r#"{"model":"Org/M","max_tokens":"many"}"#);
    assert_eq!(states(&step), unread(Some("m"), "invalid_type"));
    let long = format!(r#"{{"model":"m","user":"{}"}}"#, "x".repeat(900));
    let long = format!(r#"{},"x":"{}""#, &long[..long.len() - 1], "y".repeat(5000));
    let (_, step) = proxy.chat(&[TENANT], &long);
    assert_eq!(states(&step), unread(Some("m"), "request_too_large"));
    let announced = [TENANT, ("content-length", "999999"), ("x-model", "m")];
    let (_, step) = proxy.chat(&announced, "{");
    assert_eq!(states(&step), unread(Some("m"), "request_too_large"));
    let (_, step) = proxy.chat(&[TENANT, ("content-encoding", "gzip")], "{");
    let reason = "unsupported_content_encoding";
    assert_eq!(states(&step), unread(None, reason));

    // A model that is not served appears in the log alone, as the client wrote it.
    let (_, step) = proxy.chat(&[TENANT], r#"{"model":"gpt 5"}"#);
    assert_eq!(states(&step), unread(Some("gpt%205"), "model_not_found"));
    assert_eq!(reply_header(reply(&step), "x-model"), None);
    let requests = "model_namespace=.=default;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=model_not_found;.;headgate_requests_total";
    assert_eq!(counted(&step.effects, requests), 1);
}

#[test]
fn without_filter_state_only_the_answer_has_the_refusal() {
    let mut proxy = proxy(r#"{"filterState":false,"responseHeaders":false}"#);
    let (_, step) = proxy.chat(&[TENANT], r#"{"model":"m","max_tokens":900}"#);
    assert_eq!(states(&step), [None; 5]);
    let reason = reply_header(reply(&step), "x-headgate-reason");
    assert_eq!(reason, Some("cost_exceeds_capacity"));
}

#[test]
fn a_wait_longer_than_the_client_timeout_turns_off_retries_of_its_sdk() {
    for (more, refill, shown) in [
        ("", "1", None),
        ("", "0.1", Some("false")),
        (r#","maxClientWait":"1h""#, "0.1", None),
        (r#","maxClientWait":"10s""#, "1", Some("false")),
    ] {
        let mut proxy = Proxy::new(&one_model(&tokens(100, refill, more)));
        let body = r#"{"model":"m","max_tokens":60}"#;
        assert_eq!(proxy.chat(&[], body).1.flow, Flow::Continue);
        let (_, step) = proxy.chat(&[], body);
        let refused = reply(&step);
        assert_eq!(refused.status, 429);
        assert_eq!(
            reply_header(refused, "x-should-retry"),
            shown,
            "{more} {refill}"
        );
    }
}

#[test]
fn header_and_body_must_name_the_same_model() {
    let config = one_model("").replace(
        r#""models":{"#,
        r#""models":{"other":{"base":[{"carrier":"deployment/o","weight":1,"versions":[{"version":"v1","endpoints":1}]}]},"#,
    );
    for (header, body, status) in [
        ("m", "m", 0),
        ("m", "Org/M", 0),
        ("Org/M", "m", 0),
        ("other", "m", 400),
        ("m", "other", 400),
        ("nobody", "m", 400),
        ("m", "nobody", 400),
        ("nobody", "nobodyelse", 400),
        ("nobody", "nobody", 404),
    ] {
        let body = format!(r#"{{"model":"{body}"}}"#);
        let (_, step) = Proxy::new(&config).chat(&[("x-model", header)], &body);
        let answered = match &step.flow {
            Flow::Reply(reply) => reply.status,
            _ => 0,
        };
        assert_eq!(answered, status, "{header} {body}");
        if status == 400 {
            let words = text(reply(&step));
            assert!(
                words.contains(header) && words.contains("x-model"),
                "{words}"
            );
            assert!(words.contains("\"code\":\"model_mismatch\""), "{words}");
        }
    }
    // The next hop uses the header and compares nothing.
    let follow =
        config
            .replace('{', r#"{"role":"follow","#)
            .replacen(r#"{"role":"follow","#, "\u{0}", 1);
    let follow = follow
        .replace(r#"{"role":"follow","#, "{")
        .replace('\u{0}', r#"{"role":"follow","#);
    let (_, step) = Proxy::new(&follow).chat(&[("x-model", "other")], r#"{"model":"m"}"#);
    assert_eq!(step.flow, Flow::Continue);
}

/// A request without a body.
fn bare(proxy: &mut Proxy, method: &str, path: &str, more: &[(&str, &str)]) -> Step {
    let mut headers = vec![(":method", method), (":path", path)];
    headers.extend_from_slice(more);
    proxy.send(&headers, None).1
}

#[test]
fn an_unknown_path_is_reported_as_a_path_and_not_as_a_model() {
    let mut proxy = proxy("{}");
    for (method, path, status, code) in [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/embeddings", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("POST", "/v1/chat/completion", 404, "unknown_path"),
        ("GET", "/v1/assistants", 404, "unknown_path"),
        ("POST", "/infer", 400, "missing_required_parameter"),
    ] {
        let step = bare(&mut proxy, method, path, &[TENANT]);
        let refused = reply(&step);
        assert_eq!(refused.status, status, "{method} {path}");
        let words = text(refused);
        assert!(words.contains(&format!("\"code\":\"{code}\"")), "{words}");
        assert!(status == 400 || words.contains(path), "{words}");
        assert_eq!(reply_header(refused, "allow").is_some(), status == 405);
    }
    let step = bare(&mut proxy, "GET", "/v1/completions", &[]);
    assert_eq!(reply_header(reply(&step), "allow"), Some("POST"));
    let tokenize =
        |proxy: &mut Proxy| bare(proxy, "POST", "/v1/tokenizer", &[("x-model", "m"), TENANT]);
    assert_eq!(
        reply(&tokenize(&mut proxy)).status,
        404,
        "a model does not help"
    );
    // A policy serves unknown paths of the model server, metered or not.
    let mut charged = self::proxy(r#"{"apis": {"unknownEndpoints": "reservation"}}"#);
    assert_eq!(
        reply(&tokenize(&mut charged)).status,
        400,
        "512 tokens are more than it holds"
    );
    let mut free = self::proxy(r#"{"apis": {"unknownEndpoints": "free"}}"#);
    assert_eq!(tokenize(&mut free).flow, Flow::Continue);
}

#[test]
fn a_refused_preflight_names_the_setting() {
    let mut proxy = proxy("{}");
    let preflight = [
        ("origin", "https://chat.example"),
        ("access-control-request-method", "POST"),
    ];
    for path in ["/v1/chat/completions", "/v1/models", "/health"] {
        let step = bare(&mut proxy, "OPTIONS", path, &preflight);
        let refused = reply(&step);
        assert_eq!(refused.status, 403, "{path}");
        let words = text(refused);
        assert!(words.contains("cors.allowOrigins"), "{words}");
        assert!(words.contains("https://chat.example"), "{words}");
    }
}

#[test]
fn health_checks_of_a_model_are_not_metered() {
    let mut proxy = proxy("{}");
    for _ in 0..10 {
        let step = bare(
            &mut proxy,
            "GET",
            "/health",
            &[("x-model", "Org/M"), TENANT],
        );
        assert_eq!(step.flow, Flow::Continue);
        assert_eq!(request_header(&step, "x-model"), Some("m"));
        assert_eq!(request_header(&step, "x-model-version"), Some("v1"));
        let reserved =
            |e: &Effect| matches!(e, Effect::Count(m, _) if m.rendered().contains("reserves"));
        assert!(!step.effects.iter().any(reserved));
    }
    let step = bare(&mut proxy, "GET", "/health", &[("x-model", "nobody")]);
    assert_eq!(reply(&step).status, 404);
    let step = bare(&mut proxy, "GET", "/health", &[]);
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(request_header(&step, "x-model"), None);
}

#[test]
fn baggage_of_others_precedes_the_members_of_headgate() {
    let members = |n: usize| {
        let list: Vec<_> = (0..n).map(|i| format!("k{i}=v")).collect();
        list.join(",")
    };
    let left_out = |step: &Step| {
        counted(
            &step.effects,
            "model=.=m;.;version=.=v1;.;headgate_baggage_members_left_out_total",
        )
    };
    let chat = r#"{"model":"m","max_tokens":1}"#;
    for (sent, dropped) in [
        (members(61), 0),
        (members(62), 1),
        (members(64), 3),
        (members(70), 3),
    ] {
        let (_, step) = proxy("{}").chat(&[("baggage", &sent)], chat);
        let count = sent.split(',').count();
        assert_eq!(left_out(&step), dropped, "{count}");
        let written = request_header(&step, "baggage").unwrap_or(&sent);
        assert!(written.starts_with(&sent), "what others wrote stays");
        assert!(written.split(',').count() <= count.max(64));
    }
    for (length, dropped) in [(8000, 0), (8140, 1), (8192, 3), (9000, 3)] {
        let sent = format!("k={}", "v".repeat(length - 2));
        let (_, step) = proxy("{}").chat(&[("baggage", &sent)], chat);
        assert_eq!(left_out(&step), dropped, "{length}");
        let written = request_header(&step, "baggage").unwrap_or(&sent);
        assert!(written.len() <= length.max(8192), "{}", written.len());
    }
}

#[test]
fn the_first_tenants_with_a_hundred_requests_have_statistics() {
    let tagging = r#"{"tenantMetrics":{"maxTenants":2}}"#;
    let mut proxy = proxy(tagging);
    let send = |proxy: &mut Proxy, tenant: &str, times: u64| {
        let mut counts = [0; 2];
        for _ in 0..times {
            let (_, step) = proxy.chat(
                &[("x-tenant-id", tenant)],
                r#"{"model":"m","max_tokens":1}"#,
            );
            for (count, label) in counts.iter_mut().zip([tenant, "other"]) {
                for outcome in ["admitted", "rate_limit_exceeded"] {
                    *count += counted(
                        &step.effects,
                        &format!(
                            "model_namespace=.=default;.;tenant=.={label};.;outcome=.={outcome};.;headgate_tenant_requests_total"
                        ),
                    );
                }
            }
        }
        proxy.host.sleep(SECOND);
        proxy.vm.tick(&proxy.host);
        counts
    };
    assert_eq!(send(&mut proxy, "a", 99), [0, 99]);
    assert_eq!(send(&mut proxy, "a", 1), [0, 1]);
    assert_eq!(send(&mut proxy, "a", 3), [3, 0]);
    // Another worker gets this, and both count together.
    let mut other = headgate_core::vm::Vm::new(crate::proxy::BOTH);
    let config = one_model("").replace(
        r#""buckets""#,
        &format!(r#""tagging":[{{"policy":"t","tagging":{tagging}}}],"buckets""#),
    );
    other.configure(config.as_bytes(), &proxy.host).unwrap();
    std::mem::swap(&mut proxy.vm, &mut other);
    assert_eq!(send(&mut proxy, "b", 60), [0, 60]);
    assert_eq!(send(&mut proxy, "a", 1), [1, 0]);
    std::mem::swap(&mut proxy.vm, &mut other);
    assert_eq!(send(&mut proxy, "b", 40), [0, 40]);
    assert_eq!(send(&mut proxy, "b", 1), [1, 0]);
    // Never more than two.
    assert_eq!(send(&mut proxy, "c", 300), [0, 300]);
    assert_eq!(send(&mut proxy, "c", 1), [0, 1]);
    assert_eq!(send(&mut proxy, "b", 1), [1, 0]);
}

#[test]
fn tokens_are_counted_by_tenant() {
    let mut proxy = proxy(r#"{"tenantMetrics":{"maxTenants":1}}"#);
    let (mut stream, _) = proxy.chat(&[TENANT], r#"{"model":"m","max_tokens":9}"#);
    let json = [(":status", "200"), ("content-type", "application/json")];
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}"#;
    proxy.answer(&mut stream, &json, usage);
    let effects = proxy.end(&mut stream);
    for (kind, used) in [("input", 7), ("output", 5)] {
        let name = format!(
            "model_namespace=.=default;.;tenant=.=other;.;kind=.={kind};.;headgate_tenant_tokens_total"
        );
        assert_eq!(counted(&effects, &name), used);
    }
    assert!(!removed(&Step::with(effects), "x"));
    let _ = Headers::default();
}
