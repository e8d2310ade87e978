//! Whole requests: their model, their version and their answer.

use headgate_core::effects::Flow;
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use headgate_core::vm::Stages;

use crate::proxy::{
    Proxy, at_inbound, counted, one_model, reply, request_header, response_header, text, tokens,
};

const FULL: &str = r#"{"namespaces":{"default":{"models":{
  "llama":{"names":["meta-llama/Llama"],
    "canaries":[{"carrier":"deployment/l2","weight":30,"versions":[{"version":"v2","endpoints":1}]}],
    "base":[{"carrier":"deployment/l1","weight":2,"versions":[{"version":"v1","endpoints":2}]}],
    "dark":[{"carrier":"deployment/l3","versions":[{"version":"v3","endpoints":1},{"version":"v4","endpoints":0}]}]},
  "gone":{"base":[{"carrier":"deployment/g","weight":1,"versions":[{"version":"v1","endpoints":0}]}]}}}}}"#;

fn chat(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}"{more}}}"#)
}

#[test]
fn a_client_name_leads_to_the_model_id() {
    for name in ["llama", "meta-llama/Llama"] {
        let header = [("x-model", "meta-llama/Llama")];
        let (_, step) = Proxy::new(FULL).chat(&header, &chat(name, ""));
        assert_eq!(step.flow, Flow::Continue);
        assert_eq!(request_header(&step, "x-model"), Some("llama"));
    }
    let (_, step) = Proxy::new(FULL).chat(&[], &chat("meta-llama/llama", ""));
    assert_eq!(reply(&step).status, 404, "names are case-sensitive");
}

#[test]
fn an_unknown_model_is_404_in_openais_shape() {
    let (_, step) = Proxy::new(FULL).chat(&[], &chat("gpt-5", ""));
    assert_eq!(reply(&step).status, 404);
    assert_eq!(
        text(reply(&step)),
        r#"{"error":{"message":"the model `gpt-5` does not exist; GET /v1/models lists what is served","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
    );
}

#[test]
fn a_model_with_nothing_ready_is_503_before_any_reserve() {
    let (_, step) = Proxy::new(FULL).chat(&[], &chat("gone", ""));
    assert_eq!(reply(&step).status, 503);
    assert!(text(reply(&step)).contains("model_not_ready"));
    let (_, step) = Proxy::new(FULL).chat(&[("x-model-version", "v1")], &chat("gone", ""));
    assert_eq!(reply(&step).status, 503);
}

#[test]
fn a_pin_reaches_its_version_or_is_refused_with_the_reason() {
    let pinned = |v: &'static str| {
        Proxy::new(FULL)
            .chat(&[("x-model-version", v)], &chat("llama", ""))
            .1
    };
    for existing in ["v1", "v2", "v3"] {
        let step = pinned(existing);
        assert_eq!(step.flow, Flow::Continue);
        assert_eq!(request_header(&step, "x-headgate-lane"), Some("pin"));
    }
    let step = pinned("v4");
    assert_eq!(reply(&step).status, 503);
    assert!(text(reply(&step)).contains("version `v4` of `llama` has no ready replica"));
    let step = pinned("v33");
    assert_eq!(reply(&step).status, 404);
    assert_eq!(
        text(reply(&step)),
        r#"{"error":{"message":"the model `llama` has no version `v33`; leave `x-model-version` out, or name one of: v3, v1, v2, v4","type":"invalid_request_error","param":"x-model-version","code":"version_not_found"}}"#
    );
}

#[test]
fn an_unknown_pin_is_ignored_if_the_policy_allows_it() {
    let config = FULL.replacen(
        "\"default\":{",
        r#""default":{"tagging":[{"policy":"t","models":["llama"],"tagging":{"unknownVersion":"weights"}}],"#,
        1,
    );
    let (_, step) = Proxy::new(&config).chat(&[("x-model-version", "v33")], &chat("llama", ""));
    assert_eq!(step.flow, Flow::Continue);
    assert!(matches!(
        request_header(&step, "x-headgate-lane"),
        Some("base" | "canary")
    ));
}

fn version(proxy: &mut Proxy, headers: &[(&str, &str)], body: &str) -> String {
    let (_, step) = proxy.chat(headers, body);
    request_header(&step, "x-model-version").unwrap().to_owned()
}

#[test]
fn a_conversation_keeps_its_version_without_a_session_header() {
    let mut proxy = Proxy::new(FULL);
    let mut versions = std::collections::BTreeSet::new();
    for i in 0..60 {
        let first = format!(r#"{{"role":"user","content":"question {i}"}}"#);
        let turn1 = chat("llama", &format!(r#","messages":[{first}]"#));
        let turn2 = chat(
            "meta-llama/Llama",
            &format!(
                r#","messages":[{{"role":"system","content":"x"}},{first},{{"role":"assistant","content":"a"}},{{"role":"user","content":"more"}}]"#
            ),
        );
        let picked = version(&mut proxy, &[], &turn1);
        assert_eq!(version(&mut proxy, &[], &turn2), picked);
        versions.insert(picked);
    }
    assert_eq!(
        versions.len(),
        2,
        "different conversations go to different versions"
    );
}

#[test]
fn the_first_session_key_present_counts() {
    let mut proxy = Proxy::new(FULL);
    for i in 0..40 {
        let key = format!("s{i}");
        let by_header = version(
            &mut proxy,
            &[("x-session-id", &key)],
            &chat("llama", r#","user":"other""#),
        );
        let empty = [("x-conversation-id", ""), ("x-session-id", &key)];
        assert_eq!(version(&mut proxy, &empty, &chat("llama", "")), by_header);
        for field in [
            format!(r#","prompt_cache_key":"{key}","user":"other""#),
            format!(r#","conversation":{{"id":"{key}"}}"#),
            format!(r#","user":"{key}""#),
            format!(r#","safety_identifier":"{key}""#),
            format!(r#","metadata":{{"user_id":"{key}"}}"#),
        ] {
            assert_eq!(
                version(&mut proxy, &[], &chat("llama", &field)),
                by_header,
                "{field}"
            );
        }
    }
}

#[test]
fn without_any_key_the_pick_is_random() {
    let mut proxy = Proxy::new(FULL);
    let picks: std::collections::BTreeSet<_> = (0..60)
        .map(|_| version(&mut proxy, &[], &chat("llama", "")))
        .collect();
    assert_eq!(picks.len(), 2);
}

#[test]
fn the_filter_lists_the_models() {
    let get = [(":method", "GET"), (":path", "/v1/models")];
    let (_, step) = Proxy::new(FULL).send(&get, None);
    assert_eq!(reply(&step).status, 200);
    let item =
        |id: &str| format!(r#"{{"id":"{id}","object":"model","created":0,"owned_by":"headgate"}}"#);
    assert_eq!(
        text(reply(&step)),
        format!(
            r#"{{"object":"list","data":[{},{},{}]}}"#,
            item("gone"),
            item("llama"),
            item("meta-llama/Llama")
        )
    );
    let limiter = Stages {
        tag: false,
        limit: true,
    };
    let (_, step) = Proxy::with(FULL, limiter).send(&get, None);
    assert_eq!(
        step.flow,
        Flow::Continue,
        "only a hop that decides answers it"
    );
}

#[test]
fn the_filter_describes_a_model_by_any_of_its_names() {
    let request = |method, path| {
        let head = [(":method", method), (":path", path)];
        Proxy::new(FULL).send(&head, None).1
    };
    for (path, id) in [
        ("/v1/models/llama", "llama"),
        ("/v1/models/meta-llama/Llama", "meta-llama/Llama"),
        ("/v1/models/meta-llama%2FLlama?x=1", "meta-llama/Llama"),
        ("/v1/models/gone/", "gone"),
    ] {
        let step = request("GET", path);
        assert_eq!(reply(&step).status, 200, "{path}");
        assert_eq!(
            text(reply(&step)),
            format!(r#"{{"id":"{id}","object":"model","created":0,"owned_by":"headgate"}}"#)
        );
    }
    let step = request("GET", "/v1/models/gpt-5");
    assert_eq!(reply(&step).status, 404);
    assert_eq!(
        text(reply(&step)),
        r#"{"error":{"message":"the model `gpt-5` does not exist; GET /v1/models lists what is served","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#
    );
    assert_eq!(
        counted(
            &step.effects,
            "model_namespace=.=default;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=model_not_found;.;headgate_requests_total"
        ),
        1
    );
    for path in ["/v1/models", "/v1/models/llama", "/v1/models/gpt-5"] {
        // The proxy leaves out the body of an answer to HEAD.
        assert_eq!(request("HEAD", path), request("GET", path), "{path}");
    }
}

#[test]
fn answers_name_the_version_that_served_and_not_the_picked_one() {
    let mut proxy = Proxy::new(&one_model(""));
    proxy.host.serves("v9");
    let (mut stream, _) = proxy.chat(&[], &chat("m", ""));
    let step = proxy.answer(&mut stream, &[(":status", "200")], "");
    assert_eq!(response_header(&step, "x-model"), Some("m"));
    assert_eq!(response_header(&step, "x-model-version"), Some("v9"));
    assert_eq!(
        counted(
            &step.effects,
            "model=.=m;.;version=.=v1;.;headgate_served_elsewhere_total"
        ),
        1
    );
}

#[test]
fn an_answer_of_the_proxy_itself_has_no_version() {
    let mut proxy = Proxy::new(&one_model(""));
    let (mut stream, _) = proxy.chat(&[], &chat("m", ""));
    proxy.host.serves("v1");
    proxy
        .host
        .details
        .replace(Some("no_healthy_upstream".into()));
    let step = proxy.answer(&mut stream, &[(":status", "503")], "");
    assert!(step.effects.is_empty());
}

#[test]
fn the_virtual_host_determines_the_namespace() {
    let two = r#"{"namespaces":{"a":{"models":{"m":{"base":[{"carrier":"d/x","weight":1,"versions":[{"version":"va","endpoints":1}]}]}}},
                 "b":{"models":{"m":{"base":[{"carrier":"d/x","weight":1,"versions":[{"version":"vb","endpoints":1}]}]}}}}}"#;
    let mut proxy = Proxy::new(two);
    for (host, expected) in [("model-serving/a", "va"), ("model-serving/b", "vb")] {
        proxy.host.virtual_host.replace(Some(host.into()));
        assert_eq!(version(&mut proxy, &[], &chat("m", "")), expected);
    }
    // A namespace of Headgate that this configuration does not have.
    proxy
        .host
        .virtual_host
        .replace(Some("model-serving/c".to_owned()));
    let (_, step) = proxy.chat(&[], &chat("m", ""));
    assert_eq!(reply(&step).status, 404);
}

#[test]
fn a_following_hop_counts_the_requests_that_it_cannot_meter() {
    let mut proxy =
        Proxy::new(r#"{"role":"follow","namespaces":{"a":{"models":{}},"b":{"models":{}}}}"#);
    proxy
        .host
        .virtual_host
        .replace(Some("model-serving/c".to_owned()));
    let (_, step) = proxy.chat(&[], &chat("m", ""));
    assert_eq!(step.flow, Flow::Continue);
    let metric = "model_namespace=.=;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=unmetered;.;headgate_requests_total";
    assert_eq!(counted(&step.effects, metric), 1);
}

#[test]
fn a_following_hop_never_answers_404() {
    let follow =
        at_inbound(&one_model(&tokens(1000, "10", ""))).replacen('{', "{\"role\":\"follow\",", 1);
    let (_, step) = Proxy::new(&follow).chat(&[("x-model", "nobody")], r#"{"model":"nobody"}"#);
    assert_eq!(step.flow, Flow::Continue);
    // Without a limit it does not even buffer the body.
    let follow = one_model("").replacen('{', "{\"role\":\"follow\",", 1);
    let mut proxy = Proxy::new(&follow);
    let headers = Headers::from_pairs(&[
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("x-model", "m"),
    ]);
    let step = Stream::new().request_headers(&mut proxy.vm, &proxy.host, headers, false);
    assert_eq!(step.flow, Flow::Continue);
}

#[test]
fn a_separate_tagger_reserves_nothing() {
    let tagger = Stages {
        tag: true,
        limit: false,
    };
    let mut proxy = Proxy::with(&one_model(&tokens(1, "0.001", "")), tagger);
    for _ in 0..5 {
        let (mut stream, step) = proxy.chat(
            &[("accept-encoding", "gzip")],
            &chat("m", r#","max_tokens":900"#),
        );
        assert_eq!(step.flow, Flow::Continue);
        assert_eq!(request_header(&step, "x-model-version"), Some("v1"));
        let step = proxy.answer(&mut stream, &[(":status", "200")], "");
        assert_eq!(response_header(&step, "x-model-version"), Some("v1"));
        assert!(!stream.wants_response_body());
        assert!(proxy.end(&mut stream).is_empty());
    }
    assert!(proxy.host.cells.borrow().is_empty());
}

#[test]
fn a_client_that_leaves_while_the_request_is_buffered_is_counted() {
    let mut proxy = Proxy::new(&one_model(&tokens(1000, "10", "")));
    let mut stream = Stream::new();
    let headers = Headers::from_pairs(&[(":method", "POST"), (":path", "/v1/chat/completions")]);
    stream.request_headers(&mut proxy.vm, &proxy.host, headers, false);
    stream.request_body(&mut proxy.vm, &proxy.host, b"{\"model\":", false);
    let effects = proxy.end(&mut stream);
    let aborted = "model_namespace=.=;.;model=.=unknown;.;version=.=;.;lane=.=;.;outcome=.=aborted;.;headgate_requests_total";
    assert_eq!(counted(&effects, aborted), 1);
    assert!(proxy.end(&mut stream).is_empty(), "an end comes once");
}

/// Conversations with the same beginning go to the same version. The share of such requests is counted.
#[test]
fn a_first_message_that_many_conversations_share_is_counted_as_skew() {
    let mut proxy = Proxy::new(FULL);
    let mut counted_as = |first: &str| {
        let more = format!(r#","messages":[{{"role":"user","content":"{first}"}}]"#);
        let (_, step) = proxy.chat(&[], &chat("llama", &more));
        let outcome = |outcome: &str| {
            let name = format!(
                "model_namespace=.=default;.;model=.=llama;.;outcome=.={outcome};.;headgate_fingerprints_total"
            );
            counted(&step.effects, &name)
        };
        (outcome("own"), outcome("shared"))
    };
    for n in 0..1000 {
        assert_eq!(counted_as(&format!("question {n}")), (1, 0));
    }
    let shared: u64 = (0..1000).map(|_| counted_as("hi").1).sum();
    assert!(shared > 900, "{shared} of 1000");
    let (_, step) = proxy.chat(&[("x-session-id", "s")], &chat("llama", ""));
    let counts = |e: &headgate_core::effects::Effect| format!("{e:?}").contains("fingerprints");
    assert!(
        !step.effects.iter().any(counts),
        "a session that names itself"
    );
}
