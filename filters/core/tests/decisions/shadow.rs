//! Buckets in shadow mode: they refuse nothing, are charged as if they did, and no other bucket notices them.

use headgate_core::effects::{Effect, Flow, Step};
use headgate_core::headers::Headers;
use proptest::prelude::*;
use proptest::sample::select;

use crate::proxy::{
    Proxy, SECOND, counted, one_model, reply, response_header, state, text, tokens,
};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const SSE: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];
const WOULD_LIMIT: &str = "rule=.=default/s/trial;.;model=.=m;.;version=.=v1;.;outcome=.=would_limit;.;headgate_reserves_total";
const RESERVED: &str = "rule=.=default/s/trial;.;model=.=m;.;version=.=v1;.;outcome=.=reserved;.;headgate_reserves_total";

/// A tokens bucket in shadow mode, of policy `s`.
fn shadow(capacity: u64, more: &str) -> String {
    let more = format!(r#","mode":"shadow"{more}"#);
    tokens(capacity, "0.001", &more)
        .replace(r#""policy":"p""#, r#""policy":"s""#)
        .replace("budget", "trial")
}

fn body(max_tokens: u64) -> String {
    format!(r#"{{"model":"m","max_tokens":{max_tokens}}}"#)
}

#[test]
fn a_request_that_a_shadow_bucket_would_refuse_passes_and_is_counted() {
    let mut proxy = Proxy::new(&one_model(&shadow(1000, "")));
    for (max_tokens, passes) in [
        (600, true),
        (600, false),
        // What it would have refused is not charged.
        (400, true),
        (1, false),
        // Above the capacity.
        (5000, false),
    ] {
        let (_, step) = proxy.chat(&[], &body(max_tokens));
        assert_eq!(step.flow, Flow::Continue, "{max_tokens}");
        let counts = (
            counted(&step.effects, RESERVED),
            counted(&step.effects, WOULD_LIMIT),
        );
        assert_eq!(
            counts,
            (u64::from(passes), u64::from(!passes)),
            "{max_tokens}"
        );
        let states = ["rule", "reason"].map(|name| state(&step, &format!("headgate.{name}")));
        let expected = match passes {
            true => [None, None],
            false => [Some("default/s/trial"), Some("would_limit")],
        };
        assert_eq!(states, expected, "{max_tokens}");
        let admitted = "model_namespace=.=default;.;model=.=m;.;version=.=v1;.;lane=.=base;.;outcome=.=admitted;.;headgate_requests_total";
        assert_eq!(counted(&step.effects, admitted), 1);
    }
}

#[test]
fn without_filter_state_a_shadow_bucket_only_counts() {
    let config = one_model(&shadow(10, "")).replace(
        r#""buckets""#,
        r#""tagging":[{"policy":"t","tagging":{"filterState":false}}],"buckets""#,
    );
    let (_, step) = Proxy::new(&config).chat(&[], &body(600));
    assert_eq!(counted(&step.effects, WOULD_LIMIT), 1);
    let states = |e: &&Effect| matches!(e, Effect::SetState(..));
    assert_eq!(step.effects.iter().find(states), None);
}

#[test]
fn every_shadow_bucket_that_would_refuse_is_named() {
    let other = shadow(20, "").replace("trial", "other");
    let buckets = [shadow(10, ""), tokens(1000, "1", ""), other].join(",");
    let (_, step) = Proxy::new(&one_model(&buckets)).chat(&[], &body(600));
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(
        state(&step, "headgate.rule"),
        Some("default/s/trial,default/s/other")
    );
}

#[test]
fn the_balance_of_a_shadow_bucket_is_not_shown() {
    let mut alone = Proxy::new(&one_model(&shadow(1000, r#","settleOn":"reservation""#)));
    let (mut stream, _) = alone.chat(&[], &body(100));
    assert!(!stream.wants_response_headers(), "nothing to read them for");
    let step = alone.answer(&mut stream, &JSON, "");
    assert_eq!(response_header(&step, "ratelimit"), None);

    let buckets = format!("{},{}", shadow(50, ""), tokens(1000, "10", ""));
    let mut both = Proxy::new(&one_model(&buckets));
    let (mut stream, _) = both.chat(&[], &body(100));
    let step = both.answer(&mut stream, &JSON, "");
    assert_eq!(
        response_header(&step, "ratelimit"),
        Some("\"budget\";r=900;t=10")
    );
    assert_eq!(
        response_header(&step, "x-ratelimit-limit-tokens"),
        Some("1000")
    );
    let (_, step) = both.chat(&[], &body(950));
    assert!(text(reply(&step)).contains("bucket `budget`"), "{step:?}");
}

/// A request that another bucket refuses is not charged to the shadow bucket, nor counted as limited by it.
#[test]
fn what_another_bucket_refuses_does_not_reach_a_shadow_bucket() {
    let buckets = format!("{},{}", shadow(1000, ""), tokens(100, "1", ""));
    let mut proxy = Proxy::new(&one_model(&buckets));
    for max_tokens in [101, 500] {
        let (_, step) = proxy.chat(&[], &body(max_tokens));
        assert!(matches!(step.flow, Flow::Reply(_)));
        assert_eq!(counted(&step.effects, WOULD_LIMIT), 0);
    }
    let (_, step) = proxy.chat(&[], &body(100));
    assert_eq!(counted(&step.effects, RESERVED), 1);
}

/// The key of a shadow bucket refuses no request either.
#[test]
fn a_key_that_cannot_be_read_would_limit() {
    let bucket = shadow(1000, "").replace(r#"["tenant"]"#, r#"["header:x-team"]"#);
    let mut proxy = Proxy::new(&one_model(&bucket));
    let teams = [("x-team", "a"), ("x-team", "b")];
    let (_, step) = proxy.chat(&teams, &body(10));
    assert_eq!(step.flow, Flow::Continue);
    assert_eq!(counted(&step.effects, WOULD_LIMIT), 1);
}

#[test]
fn a_shadow_bucket_does_not_keep_others_from_asking_for_usage() {
    let stream = r#"{"model":"m","max_tokens":100,"stream":true}"#;
    let asks = |buckets: &[String]| {
        let (_, step) = Proxy::new(&one_model(&buckets.join(","))).chat(&[], stream);
        let amends = |e: &Effect| matches!(e, Effect::AmendRequestBody(..));
        step.effects.iter().any(amends)
    };
    let (ask, observe) = ("", r#","usage":"observe""#);
    let own = |more: &str| tokens(1000, "1", more);
    assert!(asks(&[own(ask)]));
    assert!(asks(&[own(ask), shadow(1000, observe)]));
    assert!(!asks(&[own(observe), shadow(1000, ask)]));
    assert!(asks(&[shadow(1000, ask)]));
    assert!(!asks(&[shadow(1000, observe)]));
}

/// How a request goes on after it was admitted.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Whole(u64),
    Stream(u64),
    /// A stream that is cut after an early report.
    Cut(u64),
    ServerError,
    ErrorOnly,
    Unreadable,
    Timeout,
    NeverSent,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    tenant: &'static str,
    max_tokens: u64,
    rest: Rest,
    /// Seconds until the next one.
    pause: u64,
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let rest = prop_oneof![
        4 => (0u64..400).prop_map(Rest::Whole),
        2 => (0u64..400).prop_map(Rest::Stream),
        2 => (0u64..400).prop_map(Rest::Cut),
        1 => Just(Rest::ServerError),
        1 => Just(Rest::ErrorOnly),
        1 => Just(Rest::Unreadable),
        1 => Just(Rest::Timeout),
        1 => Just(Rest::NeverSent),
    ];
    let request = (select(vec!["a", "b"]), 1u64..600, rest, 0u64..20);
    let request = request.prop_map(|(tenant, max_tokens, rest, pause)| Request {
        tenant,
        max_tokens,
        rest,
        pause,
    });
    prop::collection::vec(request, 1..20)
}

/// Everything that clients and other buckets see of a request.
fn seen(step: &Step) -> (Option<String>, Vec<String>) {
    let flow = match &step.flow {
        Flow::Reply(reply) => Some(format!("{reply:?}")),
        _ => None,
    };
    (flow, visible(&step.effects))
}

fn visible(effects: &[Effect]) -> Vec<String> {
    let shown = effects.iter().filter(|effect| match effect {
        Effect::Count(m, _) | Effect::Observe(m, _) => {
            m.rendered().starts_with("rule=.=default/p/") || m.rendered().contains("requests_total")
        }
        Effect::SetResponseHeader(..) => true,
        _ => false,
    });
    let text = |effect: &Effect| match effect {
        Effect::Count(m, n) | Effect::Observe(m, n) => format!("{} {n}", m.rendered()),
        other => format!("{other:?}"),
    };
    shown.map(text).collect()
}

/// Runs a request; returns all that is seen of it.
fn run(proxy: &mut Proxy, request: Request) -> Vec<(Option<String>, Vec<String>)> {
    let body = format!(
        r#"{{"model":"m","max_tokens":{},"messages":[{{"role":"user","content":"12345678"}}]}}"#,
        request.max_tokens
    );
    proxy.host.serves("v1");
    let (mut stream, step) = proxy.chat(&[("x-tenant-id", request.tenant)], &body);
    let mut all = vec![seen(&step)];
    if step.flow != Flow::Continue {
        return all;
    }
    proxy.host.sleep(SECOND);
    let usage = |output: u64| {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":{output}}}}}"#)
    };
    let gzip = [JSON[0], JSON[1], ("content-encoding", "gzip")];
    match request.rest {
        Rest::Whole(output) => all.push(seen(&proxy.answer(&mut stream, &JSON, &usage(output)))),
        Rest::Stream(output) => {
            let events = format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\ndata: [DONE]\n\n",
                "x".repeat(output as usize)
            );
            all.push(seen(&proxy.answer(&mut stream, &SSE, &events)));
        }
        Rest::Cut(output) => {
            let headers = Headers::from_pairs(&SSE);
            let step = stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
            all.push(seen(&step));
            let events = format!("data: {}\n\n", usage(output));
            stream.response_body(&mut proxy.vm, &proxy.host, events.as_bytes(), false);
        }
        Rest::ServerError => all.push(seen(&proxy.answer(&mut stream, &[(":status", "500")], "x"))),
        Rest::ErrorOnly => {
            all.push(seen(&proxy.answer(
                &mut stream,
                &JSON,
                r#"{"error":{"message":"x"}}"#,
            )));
        }
        Rest::Unreadable => all.push(seen(&proxy.answer(&mut stream, &gzip, &"z".repeat(900)))),
        Rest::Timeout => proxy.host.ends("response_timeout", true),
        Rest::NeverSent => proxy.host.ends("no_healthy_upstream", false),
    }
    all.push((None, visible(&proxy.end(&mut stream))));
    proxy.host.sleep(request.pause * SECOND);
    all
}

/// The shared cells of the policies that are no trial.
fn cells(proxy: &Proxy) -> Vec<(String, Vec<u8>)> {
    let cells = proxy.host.cells.borrow();
    let own = cells.iter().filter(|(key, _)| key.contains("default/p/"));
    own.map(|(key, (value, _))| (key.clone(), value.clone()))
        .collect()
}

fn own_buckets() -> impl Strategy<Value = String> {
    let fair = r#"{"policy":"p","bucket":{"name":"fair","key":[],"profile":"semantic"}}"#;
    let kept = tokens(2000, "1", r#","settleOn":"reservation""#).replace("budget", "kept");
    select(vec![
        tokens(1000, "10", ""),
        tokens(1000, "10", r#","bytesPerToken":2"#),
        kept.clone(),
        format!("{},{fair}", tokens(800, "5", "")),
        format!("{fair},{kept}"),
    ])
}

fn shadow_buckets() -> impl Strategy<Value = String> {
    let fair = r#"{"policy":"s","bucket":{"name":"trial","key":["tenant"],"mode":"shadow","profile":"semantic","bytesPerToken":1}}"#;
    select(vec![
        shadow(1000, ""),
        shadow(10, ""),
        shadow(500, r#","settleOn":"reservation","usage":"observe""#),
        shadow(500, r#","bytesPerToken":1,"unreadable":"reservation""#),
        fair.to_owned(),
        format!("{fair},{}", shadow(300, "").replace("trial", "second")),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A set of buckets behaves exactly as it does without a shadow bucket: decisions, answers, charges and balances.
    #[test]
    fn no_other_bucket_notices_a_shadow_bucket(
        own in own_buckets(), shadow in shadow_buckets(), first in any::<bool>(), requests in requests(),
    ) {
        let both = if first { format!("{shadow},{own}") } else { format!("{own},{shadow}") };
        let (mut without, mut with) = (Proxy::new(&one_model(&own)), Proxy::new(&one_model(&both)));
        for request in requests {
            prop_assert_eq!(run(&mut without, request), run(&mut with, request), "{:?}", request);
        }
        prop_assert_eq!(cells(&without), cells(&with));
    }

    /// A shadow bucket counts exactly the requests that the same bucket refuses if it is enforced, and has the same balance.
    #[test]
    fn a_shadow_bucket_is_charged_as_if_it_were_enforced(trial in shadow_buckets(), requests in requests()) {
        let trial = trial.split(",{").next().unwrap();
        let enforced = trial.replace(r#","mode":"shadow""#, "").replace(r#""mode":"shadow","#, "");
        let (mut shadow, mut enforced) = (Proxy::new(&one_model(trial)), Proxy::new(&one_model(&enforced)));
        let balances = |proxy: &Proxy| {
            let cells = proxy.host.cells.borrow();
            cells.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        for request in requests {
            let refused = run(&mut enforced, request)[0].0.is_some();
            let now = enforced.host.now.get();
            let admitted = run(&mut shadow, request);
            prop_assert!(admitted[0].0.is_none(), "{:?}", admitted);
            // A request that is refused takes no time.
            shadow.host.now.set(now);
            prop_assert_eq!(balances(&shadow), balances(&enforced), "{:?}, refused: {}", request, refused);
        }
    }
}
