//! The balance of a bucket after each kind of end of a stream.

use headgate_core::effects::Flow;
use headgate_core::headers::Headers;
use headgate_core::stream::Stream;

use crate::proxy::{Proxy, SECOND, counted, one_model, tokens};

const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
const SSE: [(&str, &str); 2] = [
    (":status", "200"),
    ("content-type", "text/event-stream; charset=utf-8"),
];
/// 8 bytes of prompt: 2 tokens; 300 are reserved for the completion.
const BODY: &str =
    r#"{"model":"m","max_tokens":300,"messages":[{"role":"user","content":"12345678"}]}"#;
const USAGE: &str = r#"{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":40,"total_tokens":47}}"#;

/// A refill so slow that time refills nothing within a test.
fn proxy(more: &str) -> Proxy {
    Proxy::new(&one_model(&tokens(7200, "0.001", more)))
}

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// Sends the request, runs the rest of the stream, ends it and returns the charge.
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

/// The size of the largest request that would be admitted now.
fn left(proxy: &mut Proxy) -> u64 {
    let fits = |proxy: &mut Proxy, tokens: u64| {
        let body = format!(r#"{{"model":"m","max_tokens":{tokens}}}"#);
        let (mut stream, step) = proxy.chat(&[], &body);
        let passed = step.flow == Flow::Continue;
        if passed {
            let before = (proxy.host.details.take(), proxy.host.upstream.take());
            proxy.host.ends("no_healthy_upstream", false);
            proxy.end(&mut stream);
            proxy.host.details.replace(before.0);
            proxy.host.upstream.replace(before.1);
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
fn a_complete_answer_is_settled_on_its_usage() {
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
    let rule = "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;";
    assert_eq!(
        counted(
            &effects,
            &format!("{rule}outcome=.=usage;.;headgate_settlements_total")
        ),
        1
    );
    assert_eq!(
        counted(&effects, &format!("{rule}headgate_charged_milli")),
        47_000
    );
    assert!(counted(&effects, &format!("{rule}headgate_refunded_milli_total")) == 255_000);
    assert_eq!(
        counted(
            &effects,
            "model=.=m;.;version=.=v1;.;headgate_output_tokens"
        ),
        40
    );
    assert_eq!(
        counted(&effects, "model=.=m;.;version=.=v1;.;headgate_input_tokens"),
        7
    );
}

#[test]
fn use_above_the_reservation_is_debited() {
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
fn a_stream_is_settled_on_its_usage_or_on_its_text() {
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
        2 + 1
    );
}

#[test]
fn text_after_the_last_report_is_charged_too() {
    let report = |output: u64| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":1000,\"completion_tokens\":{output},\"total_tokens\":{}}}}}\n\n",
            1000 + output
        )
    };
    // A prompt of 1000 tokens, equal to the estimate.
    let prompt = "x".repeat(4000);
    let body = format!(
        r#"{{"model":"m","max_tokens":300,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    );
    let text = delta(&"abcd".repeat(1000));
    for (answer, expected) in [
        (format!("{}{text}data: [DONE]\n\n", report(1)), 2000),
        (format!("{text}{}data: [DONE]\n\n", report(1)), 1001),
        (format!("{text}{text}{}", report(1)), 1001),
    ] {
        let mut proxy = proxy("");
        let (mut stream, _) = proxy.chat(&[], &body);
        proxy.answer(&mut stream, &SSE, &answer);
        proxy.end(&mut stream);
        assert_eq!(7200 - left(&mut proxy), expected, "{}", answer.len());
    }
}

#[test]
fn text_without_a_report_is_charged_up_to_the_limit_of_the_body() {
    let text = delta(&"abcd".repeat(1000));
    // The body, and the tokens charged for the answer.
    for (most, expected) in [
        ("\"max_tokens\":300,", 300),
        ("\"max_tokens\":300,\"n\":2,", 600),
        ("\"max_tokens\":3000,", 1000),
        ("", 1000),
    ] {
        let body =
            format!(r#"{{{most}"model":"m","messages":[{{"role":"user","content":"Hi!!"}}]}}"#);
        let mut proxy = proxy("");
        let (mut stream, _) = proxy.chat(&[], &body);
        proxy.answer(&mut stream, &SSE, &format!("{text}data: [DONE]\n\n"));
        proxy.end(&mut stream);
        assert_eq!(7200 - left(&mut proxy), 1 + expected, "{most}");
    }
}

#[test]
fn a_stream_of_the_responses_api_is_charged_its_report() {
    let delta = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"word0 word1 \"}\n\n";
    let usage = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":11,\"output_tokens\":23,\"total_tokens\":34}}}\n\n";
    let whole = format!("{delta}{usage}");
    for (answer, expected) in [(&whole[..], 34), (delta, 2 + 3)] {
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, answer)));
        assert_eq!(spent, expected, "{answer}");
    }
}

/// Servers with speculative decoding or batching put several tokens into one delta.
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
    // A stream cut after an early report: the larger of the report, and of the estimate and what flowed.
    let early =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":0}}\n\n";
    let cut = charged(&mut proxy(""), |p, s| {
        s.response_headers(&mut p.vm, &p.host, &Headers::from_pairs(&SSE), false);
        for event in [early, &delta(&long), &delta(&long)] {
            s.response_body(&mut p.vm, &p.host, event.as_bytes(), false);
        }
    });
    assert_eq!(cut, 2 + 21);
    // A report at the end counts, however much text there was.
    let late = early.replace(":0}", ":3}");
    let stream = format!("{}{late}data: [DONE]\n\n", delta(&long));
    let used = charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, &stream)));
    assert_eq!(used, 7 + 3);
}

#[test]
fn a_stream_cut_by_the_client_is_charged_its_observed_text() {
    let spent = charged(&mut proxy(""), |p, s| {
        p.host.details.replace(Some("via_upstream".into()));
        s.response_headers(&mut p.vm, &p.host, &Headers::from_pairs(&SSE), false);
        assert!(s.wants_response_body());
        for _ in 0..25 {
            s.response_body(&mut p.vm, &p.host, delta("word").as_bytes(), false);
        }
        p.host
            .details
            .replace(Some("downstream_remote_disconnect".into()));
    });
    assert_eq!(spent, 2 + 25);
}

/// A forwarded request whose client leaves before or after the headers of the answer.
fn leave(proxy: &mut Proxy, stream: &mut Stream, headers: Option<[(&str, &str); 2]>) {
    if let Some(headers) = headers {
        let headers = Headers::from_pairs(&headers);
        stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
    }
    proxy.host.ends("downstream_remote_disconnect", true);
}

#[test]
fn a_client_that_leaves_before_anything_is_generated_is_charged_by_policy() {
    for headers in [None, Some(SSE)] {
        for (policy, used) in [("", 302), ("prompt", 2), ("reservation", 302)] {
            let more = match policy {
                "" => String::new(),
                policy => format!(r#","abandoned":"{policy}""#),
            };
            let spent = charged(&mut proxy(&more), |p, s| leave(p, s, headers));
            assert_eq!(spent, used, "{policy}");
        }
    }
}

/// A complete answer of 40 tokens in two seconds.
fn learn(proxy: &mut Proxy) {
    let (mut stream, _) = proxy.chat(&[("x-tenant-id", "teacher")], BODY);
    proxy.host.sleep(2 * SECOND);
    proxy.answer(&mut stream, &JSON, USAGE);
    proxy.end(&mut stream);
}

#[test]
fn elapsed_time_is_charged_at_the_speed_of_the_versions_complete_answers() {
    for headers in [None, Some(SSE)] {
        // 20 tokens a second, for 3 s and for longer than the reservation lasts.
        for (seconds, used) in [(3, 2 + 60), (100, 302)] {
            let mut proxy = proxy("");
            learn(&mut proxy);
            let spent = charged(&mut proxy, |p, s| {
                p.host.sleep(seconds * SECOND);
                leave(p, s, headers);
            });
            assert_eq!(spent, used, "{seconds} s");
        }
    }
    // Twice as much for two sequences.
    let mut proxy = proxy("");
    learn(&mut proxy);
    let two = BODY.replace("300", "300,\"n\":2");
    let (mut stream, _) = proxy.chat(&[], &two);
    proxy.host.sleep(3 * SECOND);
    leave(&mut proxy, &mut stream, None);
    proxy.end(&mut stream);
    assert_eq!(7200 - left(&mut proxy), 2 + 120);
}

#[test]
fn a_failed_request_is_charged_by_policy_and_one_that_the_upstream_refused_is_free() {
    let error = r#"{"error":{"message":"no"}}"#;
    let answer = |status: &'static str| {
        move |p: &mut Proxy, s: &mut Stream| {
            let headers = [(":status", status), ("content-type", "application/json")];
            drop(p.answer(s, &headers, error));
        }
    };
    let reset = |p: &mut Proxy, s: &mut Stream| {
        p.host.ends(
            "upstream_reset_before_response_started{connection_termination}",
            true,
        );
        let headers = [(":status", "503"), ("content-type", "text/plain")];
        drop(p.answer(s, &headers, "reset"));
    };
    type Rest<'a> = &'a dyn Fn(&mut Proxy, &mut Stream);
    let rows: [(&str, Rest<'_>, u64); 10] = [
        ("clientError", &answer("400"), 0),
        ("clientError", &answer("401"), 0),
        ("clientError", &answer("404"), 0),
        ("clientError", &answer("413"), 0),
        ("clientError", &answer("422"), 0),
        ("rateLimited", &answer("429"), 0),
        ("serverError", &answer("500"), 0),
        ("serverError", &answer("200"), 0),
        ("reset", &reset, 2),
        ("timeout", &answer("504"), 302),
    ];
    for (field, rest, by_default) in rows {
        for settle_on in ["usage", "reservation"] {
            let charged_by = |policy: Option<&str>| {
                let policy = policy.map_or_else(String::new, |p| {
                    format!(r#","onFailure":{{"{field}":"{p}"}}"#)
                });
                let more = format!(r#","settleOn":"{settle_on}"{policy}"#);
                let mut proxy = proxy(&more);
                learn(&mut proxy);
                charged(&mut proxy, |p, s| {
                    p.host.sleep(SECOND);
                    rest(p, s);
                })
            };
            // With a kept reservation the answer is not read, so an error with status 200 is not detected.
            if settle_on == "reservation" && field == "serverError" {
                continue;
            }
            // Answers that are not read do not change the measured speed.
            let elapsed = if settle_on == "usage" { 2 + 20 } else { 302 };
            let by_default = if field == "timeout" {
                elapsed
            } else {
                by_default
            };
            assert_eq!(charged_by(None), by_default, "{field} {settle_on}");
            for (policy, used) in [
                ("nothing", 0),
                ("prompt", 2),
                ("reservation", 302),
                ("elapsed", elapsed),
            ] {
                let spent = charged_by(Some(policy));
                assert_eq!(spent, used, "{field}: {policy}, {settle_on}");
            }
        }
    }
}

#[test]
fn a_report_that_contradicts_the_observed_text_does_not_count() {
    let denies = r#"{"choices":[{"message":{"content":"0123456789"}}],"usage":{"prompt_tokens":7,"completion_tokens":0,"total_tokens":7}}"#;
    let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, &JSON, denies)));
    assert_eq!(spent, 7);
    let embeds = r#"{"data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
    let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, &JSON, embeds)));
    assert_eq!(spent, 7);
}

#[test]
fn an_error_with_generated_text_is_charged_at_any_status() {
    let failed = r#"{"error":{"message":"Failed to call a function","failed_generation":"x"},"usage":{"prompt_tokens":7,"completion_tokens":40}}"#;
    let spent = charged(&mut proxy(""), |p, s| {
        let headers = [(":status", "400"), ("content-type", "application/json")];
        drop(p.answer(s, &headers, failed));
    });
    assert_eq!(spent, 47);
}

#[test]
fn a_504_keeps_the_reservation() {
    for settle_on in ["usage", "reservation"] {
        for connected in [true, false] {
            let more = format!(r#","settleOn":"{settle_on}""#);
            let spent = charged(&mut proxy(&more), |p, s| {
                p.host.ends("response_timeout", connected);
                p.answer(s, &[(":status", "504")], "upstream request timeout");
            });
            assert_eq!(spent, 302, "{settle_on}, connected: {connected}");
        }
    }
}

#[test]
fn a_request_that_was_never_sent_costs_nothing() {
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
                p.host.ends(details, false);
                p.answer(
                    s,
                    &[(":status", status), ("content-type", "text/plain")],
                    "no",
                );
            });
            assert_eq!(spent, 0, "{details} {settle_on}");
        }
    }
    // No response headers: the client left while Envoy connected to the upstream.
    let spent = charged(&mut proxy(""), |p, _| {
        p.host.ends("downstream_remote_disconnect", false)
    });
    assert_eq!(spent, 0);
}

#[test]
fn an_unreadable_answer_is_never_free() {
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
    let whole =
        r#"{"content":[{"type":"text","text":"hi"}],"usage":{"units_in":7,"units_out":40}}"#;
    let event = "data: {\"type\":\"generated_text.part\",\"part\":\"hello\"}\n\n";
    // For events, the bytes of their data.
    let by_bytes = |text: &str| {
        let data = text.strip_prefix("data: ").unwrap_or(text).trim_end();
        (data.len() as u64).div_ceil(4)
    };
    for (headers, body) in [(&JSON, whole), (&SSE, event), (&JSON, "no json at all")] {
        let bytes = by_bytes(body);
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, headers, body)));
        assert_eq!(spent, 2 + bytes, "{body}");
        let more = r#","unreadable":"reservation""#;
        let spent = charged(&mut proxy(more), |p, s| drop(p.answer(s, headers, body)));
        assert_eq!(spent, 302, "{body}");
        // Also if the request body was not read, or the client disconnects.
        let mut proxy = proxy("");
        let path = [(":method", "POST"), (":path", "/infer"), ("x-model", "m")];
        let (mut stream, _) = proxy.send(&path, Some(b"{}"));
        let headers = Headers::from_pairs(headers);
        stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
        stream.response_body(&mut proxy.vm, &proxy.host, body.as_bytes(), false);
        proxy.end(&mut stream);
        assert_eq!(7200 - left(&mut proxy), bytes, "{body}");
    }
}

#[test]
fn an_answer_without_text_yet_is_not_an_unknown_dialect() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    for body in [": ping\n\n", role, "data: [DONE]\n\n"] {
        let spent = charged(&mut proxy(""), |p, s| drop(p.answer(s, &SSE, body)));
        assert_eq!(spent, 2, "{body}");
    }
}

#[test]
fn an_unreadable_answer_that_is_cut_short_keeps_the_reservation_of_a_semantic_bucket() {
    let bucket = r#"{"policy":"p","bucket":{"name":"budget","key":[],"profile":"semantic","semantic":{"fillRatio":0.000001}}}"#;
    let reserves = |end: bool| {
        let mut proxy = Proxy::new(&one_model(bucket));
        let (mut stream, _) = proxy.chat(&[], r#"{"model":"m","max_tokens":512}"#);
        let headers = Headers::from_pairs(&JSON);
        stream.response_headers(&mut proxy.vm, &proxy.host, &headers, false);
        stream.response_body(&mut proxy.vm, &proxy.host, b"{\"answer\":\"A\"}", end);
        let effects = proxy.end(&mut stream);
        counted(
            &effects,
            "rule=.=default/p/budget;.;model=.=m;.;version=.=v1;.;headgate_charged_milli",
        )
    };
    assert_eq!(reserves(false), 1000);
    assert!(reserves(true) < 100);
}

#[test]
fn a_complete_answer_without_usage_is_charged_by_its_text() {
    let body = r#"{"choices":[{"message":{"content":"0123456789"}}]}"#;
    assert_eq!(
        charged(&mut proxy(""), |p, s| drop(p.answer(s, &JSON, body))),
        2 + 3
    );
}

#[test]
fn with_settlement_on_the_reservation_the_answer_is_not_read() {
    let spent = charged(&mut proxy(r#","settleOn":"reservation""#), |p, s| {
        p.answer(s, &JSON, USAGE);
        assert!(!s.wants_response_body());
    });
    assert_eq!(spent, 302);
}

#[test]
fn a_configuration_change_does_not_affect_the_settlement_of_a_stream() {
    let spent = charged(&mut proxy(""), |p, s| {
        p.vm.configure(one_model("").as_bytes(), &p.host).unwrap();
        p.answer(s, &JSON, USAGE);
        p.end(s);
        p.vm.configure(one_model(&tokens(7200, "0.001", "")).as_bytes(), &p.host)
            .unwrap();
    });
    assert_eq!(spent, 47);
}
