//! What a bucket holds after a stream has ended, however it ended.

use headgate_contract::{ModelCapacity, Profile, Semantic};
use headgate_core::cost::{Pricing, Work, window};
use headgate_core::effects::Flow;
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;
use proptest::prelude::*;

use crate::world::{Proxy, counted, one_model, tokens};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const SSE: [(&str, &str); 2] = [
    (":status", "200"),
    ("content-type", "text/event-stream; charset=utf-8"),
];
/// 8 bytes of prompt: 2 tokens; 300 are reserved for the completion.
const BODY: &str =
    r#"{"model":"m","max_tokens":300,"messages":[{"role":"user","content":"12345678"}]}"#;
const USAGE: &str = r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":40,"total_tokens":47}}"#;

/// A refill so slow that time gives nothing back within a test.
fn proxy(more: &str) -> Proxy {
    Proxy::new(&one_model(&tokens(7200, "0.001", more)))
}

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// Sends the request, lets the rest happen, ends the stream; what was charged in the end.
fn charged(proxy: &mut Proxy, rest: impl FnOnce(&mut Proxy, &mut Stream)) -> u64 {
    let (mut stream, step) = proxy.chat(&[], BODY);
    assert_eq!(step.flow, Flow::Continue);
    rest(proxy, &mut stream);
    proxy.end(&mut stream);
    let spent = 7200 - left(proxy);
    assert!(proxy.end(&mut stream).is_empty());
    assert_eq!(7200 - left(proxy), spent, "a second end changes nothing");
    spent
}

/// The greatest request that would pass now.
fn left(proxy: &mut Proxy) -> u64 {
    let fits = |proxy: &mut Proxy, tokens: u64| {
        let body = format!(r#"{{"model":"m","max_tokens":{tokens}}}"#);
        let (mut stream, step) = proxy.chat(&[], &body);
        let passed = step.flow == Flow::Continue;
        if passed {
            let before = (proxy.world.details.take(), proxy.world.upstream.take());
            proxy.world.ends("no_healthy_upstream", false);
            proxy.end(&mut stream);
            proxy.world.details.replace(before.0);
            proxy.world.upstream.replace(before.1);
        }
        passed
    };
    let (mut low, mut high) = (0, 7201);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if fits(proxy, middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}

#[test]
fn a_whole_answer_is_settled_on_its_usage() {
    let spent = charged(&mut proxy(""), |p, s| {
        assert!(s.wants_response_headers());
        p.answer(s, &JSON, USAGE);
    });
    assert_eq!(spent, 47);
}

#[test]
fn the_settlement_is_counted() {
    let mut proxy = proxy("");
    let (mut stream, _) = proxy.chat(&[], BODY);
    proxy.answer(&mut stream, &JSON, USAGE);
    let effects = proxy.end(&mut stream);
    let rule = "|rule=default/p/budget|model=m|version=v1";
    assert_eq!(
        counted(
            &effects,
            &format!("headgate_settlements{rule}|outcome=usage")
        ),
        1
    );
    assert_eq!(
        counted(&effects, &format!("headgate_charged_milli{rule}")),
        47_000
    );
    assert!(counted(&effects, &format!("headgate_refunded_milli{rule}")) == 255_000);
    assert_eq!(
        counted(&effects, "headgate_output_tokens|model=m|version=v1"),
        40
    );
    assert_eq!(
        counted(&effects, "headgate_input_tokens|model=m|version=v1"),
        7
    );
}

#[test]
fn more_than_was_reserved_is_debited() {
    let spent = charged(&mut proxy(""), |p, s| {
        p.answer(
            s,
            &JSON,
            r#"{"usage":{"prompt_tokens":500,"completion_tokens":300}}"#,
        );
    });
    assert_eq!(spent, 800);
}

#[test]
fn a_stream_is_settled_on_its_usage_or_on_its_deltas() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":40}}\n\n";
    let whole = format!("{}{}{usage}data: [DONE]\n\n", delta("a"), delta("b"));
    assert_eq!(
        charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, &whole))),
        47
    );
    let silent = format!("{}{}{}data: [DONE]\n\n", delta("a"), delta("b"), delta("c"));
    assert_eq!(
        charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, &silent))),
        2 + 3
    );
}

/// Speculative decoding and batching servers put several tokens into a delta.
#[test]
fn a_delta_of_many_tokens_is_charged_by_its_text() {
    let long = "x".repeat(41);
    let silent = format!("{}{}data: [DONE]\n\n", delta(&long), delta(&long));
    for (more, tokens) in [
        ("", 21),
        (r#","bytesPerToken":8"#, 11),
        (r#","bytesPerToken":64"#, 2),
    ] {
        let whole = charged(&mut proxy(more), |p, s| drop(p.answer(s, &SSE, &silent)));
        assert_eq!(
            whole,
            if more.is_empty() { 2 } else { 1 } + tokens,
            "{more}"
        );
    }
    // A stream cut after an early report: the larger of the two.
    let early =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":0}}\n\n";
    let cut = charged(&mut proxy(""), |p, s| {
        s.response_headers(&mut p.vm, &p.world, &Headers::from_pairs(&SSE), false);
        for event in [early, &delta(&long), &delta(&long)] {
            s.response_body(&mut p.vm, &p.world, event.as_bytes(), false);
        }
    });
    assert_eq!(cut, 7 + 21);
    // A report at the end is the truth, however much text there was.
    let late = early.replace(":0}", ":3}");
    let told = format!("{}{late}data: [DONE]\n\n", delta(&long));
    let told = charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, &told)));
    assert_eq!(told, 7 + 3);
}

#[test]
fn a_stream_cut_by_the_client_is_charged_for_what_flowed() {
    let spent = charged(&mut proxy(""), |p, s| {
        p.world.details.replace(Some("via_upstream".into()));
        s.response_headers(&mut p.vm, &p.world, &Headers::from_pairs(&SSE), false);
        assert!(s.wants_response_body());
        for _ in 0..25 {
            s.response_body(&mut p.vm, &p.world, delta("word").as_bytes(), false);
        }
        p.world
            .details
            .replace(Some("downstream_remote_disconnect".into()));
    });
    assert_eq!(spent, 2 + 25);
}

#[test]
fn sent_with_nothing_observed_is_charged_the_input() {
    for headers in [None, Some(SSE)] {
        let spent = charged(&mut proxy(""), |p, s| {
            if let Some(headers) = headers {
                s.response_headers(&mut p.vm, &p.world, &Headers::from_pairs(&headers), false);
            }
            p.world.ends("downstream_remote_disconnect", true);
        });
        assert_eq!(spent, 2);
    }
}

#[test]
fn an_error_of_the_upstream_without_usage_is_charged_the_input() {
    let headers = [(":status", "500"), ("content-type", "application/json")];
    let body = r#"{"error":{"message":"boom"}}"#;
    assert_eq!(
        charged(&mut proxy(""), |p, s| drop(p.answer(s, &headers, body))),
        2
    );
}

#[test]
fn a_504_keeps_the_reservation() {
    for settle_on in ["usage", "reservation"] {
        for connected in [true, false] {
            let more = format!(r#","settleOn":"{settle_on}""#);
            let spent = charged(&mut proxy(&more), |p, s| {
                p.world.ends("response_timeout", connected);
                p.answer(s, &[(":status", "504")], "upstream request timeout");
            });
            assert_eq!(spent, 302, "{settle_on}, connected: {connected}");
        }
    }
}

#[test]
fn what_was_never_sent_costs_nothing() {
    for (status, details) in [
        ("200", "direct_response"),
        ("503", "no_healthy_upstream"),
        (
            "503",
            "upstream_reset_before_response_started{remote_connection_failure|Connection_refused}",
        ),
        ("403", "rbac_access_denied_matched_policy[none]"),
    ] {
        for settle_on in ["usage", "reservation"] {
            let more = format!(r#","settleOn":"{settle_on}""#);
            let spent = charged(&mut proxy(&more), |p, s| {
                p.world.ends(details, false);
                p.answer(
                    s,
                    &[(":status", status), ("content-type", "text/plain")],
                    "no",
                );
            });
            assert_eq!(spent, 0, "{details} {settle_on}");
        }
    }
    // No response headers at all: the client left while the upstream was being connected.
    let spent = charged(&mut proxy(""), |p, _| {
        p.world.ends("downstream_remote_disconnect", false)
    });
    assert_eq!(spent, 0);
}

#[test]
fn an_answer_that_cannot_be_read_is_never_free() {
    let compressed = [JSON[0], JSON[1], ("content-encoding", "gzip")];
    let binary = [
        (":status", "200"),
        ("content-type", "application/octet-stream"),
    ];
    let bytes = "x".repeat(100);
    for headers in [&compressed[..], &binary[..]] {
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, headers, &bytes)));
        assert_eq!(spent, 2 + 25);
        let more = r#","unreadable":"reservation""#;
        let spent = charged(&mut proxy(more), |p, s| drop(p.answer(s, headers, &bytes)));
        assert_eq!(spent, 302);
    }
}

#[test]
fn an_answer_of_an_unknown_dialect_is_never_free() {
    let whole = r#"{"content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":7,"output_tokens":40}}"#;
    let event = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n";
    let by_bytes = |text: &str| (text.len() as u64).div_ceil(4);
    for (headers, body) in [(&JSON, whole), (&SSE, event), (&JSON, "no json at all")] {
        let bytes = by_bytes(body);
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, headers, body)));
        assert_eq!(spent, 2 + bytes, "{body}");
        let more = r#","unreadable":"reservation""#;
        let spent = charged(&mut proxy(more), |p, s| drop(p.answer(s, headers, body)));
        assert_eq!(spent, 302, "{body}");
        // Also where the body of the request was not read, and where the client hangs up.
        let mut proxy = proxy("");
        let path = [
            (":method", "POST"),
            (":path", "/v1/messages"),
            ("x-model", "m"),
        ];
        let (mut stream, _) = proxy.send(&path, Some(b"{}"));
        let headers = Headers::from_pairs(headers);
        stream.response_headers(&mut proxy.vm, &proxy.world, &headers, false);
        stream.response_body(&mut proxy.vm, &proxy.world, body.as_bytes(), false);
        proxy.end(&mut stream);
        assert_eq!(7200 - left(&mut proxy), bytes, "{body}");
    }
}

#[test]
fn what_says_nothing_yet_is_no_unknown_dialect() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    for body in [": ping\n\n", role, "data: [DONE]\n\n"] {
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, body)));
        assert_eq!(spent, 2, "{body}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_and_is_cut_short_keeps_a_share_of_a_capacity() {
    let bucket = r#"{"policy":"p","bucket":{"name":"budget","key":[],"profile":"semantic","semantic":{"fillRatio":0.000001}}}"#;
    let reserves = |end: bool| {
        let mut proxy = Proxy::new(&one_model(bucket));
        let (mut stream, _) = proxy.chat(&[], r#"{"model":"m","max_tokens":512}"#);
        let headers = Headers::from_pairs(&JSON);
        stream.response_headers(&mut proxy.vm, &proxy.world, &headers, false);
        stream.response_body(&mut proxy.vm, &proxy.world, b"{\"answer\":\"A\"}", end);
        let effects = proxy.end(&mut stream);
        counted(
            &effects,
            "headgate_charged_milli|rule=default/p/budget|model=m|version=v1",
        )
    };
    assert_eq!(reserves(false), 1000);
    assert!(reserves(true) < 100);
}

#[test]
fn a_whole_answer_without_usage_is_charged_by_its_text() {
    let body = r#"{"choices":[{"message":{"content":"0123456789"}}]}"#;
    assert_eq!(
        charged(&mut proxy(""), |p, s| drop(p.answer(s, &JSON, body))),
        2 + 3
    );
}

#[test]
fn settled_on_the_reservation_it_stands_and_the_answer_is_not_read() {
    let spent = charged(&mut proxy(r#","settleOn":"reservation""#), |p, s| {
        p.answer(s, &JSON, USAGE);
        assert!(!s.wants_response_body());
    });
    assert_eq!(spent, 302);
}

#[test]
fn a_configuration_change_does_not_touch_what_a_stream_owes() {
    let spent = charged(&mut proxy(""), |p, s| {
        p.vm.configure(one_model("").as_bytes(), &p.world).unwrap();
        p.answer(s, &JSON, USAGE);
        p.end(s);
        p.vm.configure(one_model(&tokens(7200, "0.001", "")).as_bytes(), &p.world)
            .unwrap();
    });
    assert_eq!(spent, 47);
}

fn semantic(base: u64) -> Pricing {
    let mut table = Semantic::default();
    let row = ModelCapacity {
        base_capacity: headgate_contract::Decimal::whole(base),
        temperature_sensitivity: headgate_contract::Decimal::whole(1),
    };
    table.models.insert("x".try_into().unwrap(), row);
    Pricing::new(&Profile::Semantic(table), "x")
}

#[test]
fn gpt_4_at_512_that_used_256_is_given_nothing_back() {
    let window = window(&Profile::Semantic(Semantic::default())).unwrap();
    let cells = |output| {
        let work = Work {
            input: 0,
            output,
            n: 1,
        };
        semantic(100).quote(work, 1_000_000, 100).cells(&window)
    };
    assert_eq!(cells(512), cells(256));
    assert!(cells(64) < cells(256), "below the floor less work is less");
}

proptest! {
    /// Whatever was announced, the same work is charged the same in the end, and announcing more never
    /// reserves less: an inflated `max_tokens` buys nothing.
    #[test]
    fn inflated_max_tokens_gains_nothing(
        base in 0_u64..300, honest in 1_u64..4000, more in 0_u64..4_000_000, used in 0_u64..4000,
        n in 1_u64..8, temperature in 0_u64..3_000_000, percent in (1_u16..40).prop_map(|p| p * 5),
    ) {
        let window = window(&Profile::Semantic(Semantic::default())).unwrap();
        let pricing = semantic(base);
        let cells = |output| pricing.quote(Work { input: 9, output, n }, temperature, percent).cells(&window);
        let (reserved, inflated) = (cells(n * honest), cells(n * (honest + more)));
        prop_assert!(inflated >= reserved);
        // The settlement knows of the work done alone.
        let used = used.min(honest) * n;
        let refund = |reserved: u64| reserved - cells(used).min(reserved);
        prop_assert_eq!(inflated - refund(inflated), reserved - refund(reserved));
        // And a request that did all it announced gets nothing back.
        prop_assert_eq!(cells(n * honest), reserved);
    }

    /// The same through whole streams: two tenants do the same work, one of them announces more.
    #[test]
    fn inflated_max_tokens_gains_nothing_in_a_stream(honest in 1_u64..600, more in 0_u64..100_000, used in 1_u64..600) {
        let bucket = r#"{"policy":"p","bucket":{"name":"fair","key":["tenant"],"profile":"semantic","semantic":{"fillRatio":0.000001}}}"#;
        let mut proxy = Proxy::new(&one_model(bucket));
        let mut charge = |tenant: &str, max_tokens: u64| {
            let body = format!(r#"{{"model":"m","max_tokens":{max_tokens}}}"#);
            let (mut stream, step) = proxy.chat(&[("x-tenant-id", tenant)], &body);
            if step.flow != Flow::Continue {
                return None;
            }
            let answer = format!(r#"{{"usage":{{"prompt_tokens":1,"completion_tokens":{used}}}}}"#);
            proxy.answer(&mut stream, &JSON, &answer);
            let effects = proxy.end(&mut stream);
            Some(counted(&effects, "headgate_settlements|rule=default/p/fair|model=m|version=v1|outcome=usage"))
                .zip(remaining(&mut proxy, tenant))
        };
        let (a, b) = (charge("honest", honest), charge("greedy", honest + more));
        prop_assume!(a.is_some());
        if b.is_some() {
            prop_assert!(a >= b, "{a:?} {b:?}");
        }
    }
}

/// How many requests of the reference size still pass for a tenant.
fn remaining(proxy: &mut Proxy, tenant: &str) -> Option<u64> {
    let body = r#"{"model":"m","max_tokens":16}"#;
    (0..2000).find(|_| proxy.chat(&[("x-tenant-id", tenant)], body).1.flow != Flow::Continue)
}
