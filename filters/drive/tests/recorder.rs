//! A proxy that records all actions: the second user of the driver's traits, after the proxy-wasm ABI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxy;

use headgate_core::headers::Headers;
use headgate_core::metrics::MetricKind;
use headgate_core::vm::Stages;
use headgate_drive::{Next, Root, Worker};

use crate::proxy::{Recorder, budget, config};

const CHAT: &[(&str, &str)] = &[
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    ("x-tenant-id", "acme"),
    ("x-session-id", "s1"),
    ("accept-encoding", "gzip"),
];
const BODY: &str = r#"{"model":"m","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hi you"}]}"#;

fn configured(worker: &Worker, proxy: &Recorder, json: &str) -> Root {
    let mut root = Root::new(Stages::ALL);
    assert!(root.configure(worker, proxy, b"headgate", Ok(json.into())));
    root
}

/// A request is tagged, reserved and amended; its answer is tagged, and the event that the client did not request is removed;
/// then the charge is settled, and counts reach the proxy with the next tick.
#[test]
fn a_request_and_its_answer_are_performed_in_order() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let root = configured(&worker, &proxy, &config(&[budget(1000)]));
    let mut exchange = root.open();

    let next = exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
    assert_eq!(next, Next::Hold);
    assert_eq!(proxy.performed(), [""; 0]);
    let (first, last) = BODY.split_at(20);
    let next = exchange.request_body(&worker, &proxy, || first, false);
    assert_eq!(next, Next::Hold);
    *proxy.request_body.borrow_mut() = BODY.into();
    let next = exchange.request_body(&worker, &proxy, || last, true);
    assert_eq!(next, Next::Continue);
    assert_eq!(
        proxy.performed(),
        [
            "remove request accept-encoding",
            "add request x-model: m",
            "add request x-model-version: v1",
            "add request x-headgate-lane: base",
            "add request x-headgate-tenant: acme",
            "add request baggage: headgate.model=m,headgate.version=v1,headgate.lane=base,headgate.tenant=acme",
            "state headgate.model: m",
            "state headgate.version: v1",
            "state headgate.lane: base",
            "state headgate.tenant: acme",
            r#"body request {"stream_options":{"include_usage":true},"model":"m","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"Hi you"}]}"#,
        ]
    );

    let answer = [(":status", "200"), ("content-type", "text/event-stream")];
    let headers = || Headers::from_pairs(&answer);
    let next = exchange.response_headers(&worker, &proxy, headers, false);
    assert_eq!(next, Next::Continue);
    assert_eq!(
        proxy.performed(),
        [
            "set response x-ratelimit-limit-tokens: 1000",
            "set response x-ratelimit-remaining-tokens: 898",
            "set response x-ratelimit-reset-tokens: 11s",
            "set response ratelimit-policy: \"tokens\";q=1000;w=100",
            "set response ratelimit: \"tokens\";r=898;t=11",
            "set response x-model: m",
            "set response x-model-version: v1",
        ]
    );
    let text = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10}}\n\n";
    let next = exchange.response_body(&worker, &proxy, || format!("{text}{usage}"), false);
    assert_eq!(next, Next::Continue);
    assert_eq!(proxy.performed(), [format!("body response {text}")]);
    exchange.response_body(&worker, &proxy, || "data: [DONE]\n\n", true);
    exchange.end(&worker, &proxy);
    assert_eq!(proxy.performed(), [""; 0], "counts wait for the tick");

    root.tick(&worker, &proxy);
    let mut counts = proxy.performed();
    counts.sort();
    assert_eq!(
        counts,
        [
            "accept_encoding_removed_total [m, v1] +1",
            "charged_milli [default/p/tokens, m, v1] = 10000",
            "input_tokens [m, v1] = 7",
            "output_tokens [m, v1] = 3",
            "refunded_milli_total [default/p/tokens, m, v1] +92000",
            "requests_total [default, m, v1, base, admitted] +1",
            "reserves_total [default/p/tokens, m, v1, reserved] +1",
            "settlements_total [default/p/tokens, m, v1, usage] +1",
        ]
    );
    root.tick(&worker, &proxy);
    assert_eq!(proxy.performed(), [""; 0], "nothing is counted twice");
}

#[test]
fn a_refused_request_is_answered_and_never_continues_even_if_the_answer_cannot_be_sent() {
    for refuses in [false, true] {
        let (worker, proxy) = (Worker::new(), Recorder::new());
        let root = configured(&worker, &proxy, &config(&[budget(50)]));
        let mut exchange = root.open();
        exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
        proxy.refuses.set(refuses);
        let next = exchange.request_body(&worker, &proxy, || BODY, true);
        assert_eq!(next, Next::Answered);
        let performed = proxy.performed();
        let last = performed.last().unwrap();
        match refuses {
            false => assert_eq!(last, "reply 400 headgate_cost_exceeds_capacity"),
            true => assert_eq!(
                last,
                "log Warning headgate: the host refused to send the reply headgate_cost_exceeds_capacity (status 7)"
            ),
        }
        proxy.refuses.set(false);
        let more = exchange.request_body(&worker, &proxy, || -> &str { panic!("read") }, true);
        assert_eq!(more, Next::Answered, "{refuses}");
        assert_eq!(exchange.request_trailers(&worker, &proxy), Next::Answered);
    }
}

#[test]
fn a_failed_action_is_logged_and_the_others_continue() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let root = configured(&worker, &proxy, &config(&[]));
    proxy.refuses.set(true);
    let mut exchange = root.open();
    let mut headers = CHAT.to_vec();
    headers[1].1 = "/infer";
    headers.push(("x-model", "m"));
    let next = exchange.request_headers(&worker, &proxy, Headers::from_pairs(&headers), true);
    assert_eq!(next, Next::Continue);
    let performed = proxy.performed();
    for action in ["add a request header", "set filter state"] {
        let line = format!("log Warning headgate: the host refused to {action} (status 7)");
        assert!(performed.contains(&line), "{line} in {performed:#?}");
    }
    exchange.end(&worker, &proxy);
    root.tick(&worker, &proxy);
    let line = "log Warning headgate: the host refused to count (status 7)";
    assert!(proxy.performed().iter().any(|performed| performed == line));
}

#[test]
fn body_bytes_without_an_effect_are_never_requested() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let root = configured(&worker, &proxy, &config(&[]));
    let mut exchange = root.open();
    let headers = [(":method", "GET"), (":path", "/metrics")];
    let next = exchange.request_headers(&worker, &proxy, Headers::from_pairs(&headers), false);
    assert_eq!(next, Next::Continue);
    let never = || -> &str { panic!("read") };
    assert_eq!(
        exchange.request_body(&worker, &proxy, never, true),
        Next::Continue
    );
    assert_eq!(exchange.request_trailers(&worker, &proxy), Next::Continue);
    let unread = || -> Headers { panic!("read") };
    assert_eq!(
        exchange.response_headers(&worker, &proxy, unread, false),
        Next::Continue
    );
    assert_eq!(
        exchange.response_body(&worker, &proxy, never, true),
        Next::Continue
    );
    assert_eq!(
        exchange.response_trailers(&worker, &proxy, Headers::default),
        Next::Continue
    );
    exchange.end(&worker, &proxy);
    assert_eq!(proxy.performed(), [""; 0]);
}

#[test]
fn a_refused_configuration_changes_only_the_log() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let unconfigured = Root::new(Stages::ALL);
    let mut exchange = unconfigured.open();
    exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
    assert!(
        proxy
            .performed()
            .iter()
            .any(|p| p == "reply 503 headgate_not_configured")
    );

    let mut root = configured(&worker, &proxy, &config(&[]));
    let bad = r#"{"stages":[],"namespaces":{}}"#;
    assert!(!root.configure(&worker, &proxy, b"headgate", Ok(bad.into())));
    assert!(!root.configure(
        &worker,
        &proxy,
        b"headgate",
        Err(headgate_drive::Refused(3))
    ));
    assert_eq!(
        proxy.performed(),
        [
            "log Error headgate: the new configuration is not valid, so the filter keeps the active one: stages: is empty: list `tag`, `limit` or both, or remove it",
            "log Error headgate: the new configuration is not valid, so the filter keeps the active one: it cannot be read (status 3)",
        ]
    );
    let mut exchange = root.open();
    let next = exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
    assert_eq!(next, Next::Hold);
}

/// A new root of the same filter shares its state; a filter of another name does not.
#[test]
fn filters_share_a_worker_and_not_their_configuration() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let _first = configured(&worker, &proxy, &config(&[]));
    let other = worker.filter(b"other", Stages::ALL);
    let same = worker.filter(b"headgate", Stages::ALL);
    assert!(!std::rc::Rc::ptr_eq(&other, &same));
    assert!(std::rc::Rc::ptr_eq(
        &same,
        &worker.filter(b"headgate", Stages::TAG)
    ));
}

#[test]
fn the_stages_come_from_each_configuration_or_else_from_the_module() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let mut root = Root::new(Stages::LIMIT);
    let plain = config(&[budget(1000)]);
    let with = |stages: &str| plain.replacen('{', &format!(r#"{{"stages":{stages},"#), 1);
    for (json, tags, limits) in [
        (plain.clone(), false, true),
        (with(r#"["tag"]"#), true, false),
        (with(r#"["tag","limit"]"#), true, true),
        (with(r#"["limit"]"#), false, true),
        (plain.clone(), false, true),
    ] {
        assert!(root.configure(&worker, &proxy, b"headgate", Ok(json.clone().into())));
        let mut exchange = root.open();
        exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
        exchange.request_body(&worker, &proxy, || BODY, true);
        exchange.end(&worker, &proxy);
        root.tick(&worker, &proxy);
        let performed = proxy.performed();
        let tagged = performed
            .iter()
            .any(|p| p.starts_with("add request x-headgate-lane"));
        let reserved = performed.iter().any(|p| p.starts_with("reserves"));
        assert_eq!((tagged, reserved), (tags, limits), "{json}: {performed:#?}");
    }
}

#[test]
fn lost_attempts_are_counted() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let root = configured(&worker, &proxy, &config(&[]));
    worker.count_lost_attempt();
    worker.count_lost_attempt();
    root.tick(&worker, &proxy);
    assert_eq!(proxy.performed(), ["bucket_tries_lost_total [] +2"]);
}

/// Values wait until the tick, unless there are many.
#[test]
fn values_of_histograms_do_not_accumulate() {
    let (worker, proxy) = (Worker::new(), Recorder::new());
    let root = configured(&worker, &proxy, &config(&[budget(1_000_000)]));
    let mut observed = 0;
    for _ in 0..300 {
        let mut exchange = root.open();
        exchange.request_headers(&worker, &proxy, Headers::from_pairs(CHAT), false);
        exchange.request_body(&worker, &proxy, || BODY, true);
        exchange.end(&worker, &proxy);
        observed += proxy.kinds(MetricKind::Histogram);
        proxy.performed();
    }
    assert_eq!(observed, 256);
    root.tick(&worker, &proxy);
    assert_eq!(proxy.kinds(MetricKind::Histogram), 300 - 256);
}
