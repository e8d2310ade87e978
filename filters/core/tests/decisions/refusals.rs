//! The exact answer of every refusal.

use headgate_core::refusal::{Refusal, Shortfall};
use headgate_dialect::{BodyError, Endpoint};

fn chat() -> &'static Endpoint {
    Endpoint::of_path(b"/v1/chat/completions").unwrap()
}

fn shortfall() -> Box<Shortfall> {
    Box::new(Shortfall {
        costs: chat().costs(),
        bucket: "fair".into(),
        kind: "requests",
        cost: 1500,
        capacity: 20_000,
        remaining: 250,
        retry_after: 0,
        exceeds_client_wait: false,
        headers: Vec::new(),
    })
}

#[test]
fn each_refusal_states_the_error_and_the_fix() {
    let m = || "m".to_owned();
    let rows = [
        (
            Refusal::NotConfigured,
            503,
            "server_error",
            "null",
            "not_configured",
            "the traffic filter has no configuration yet; try again",
            Some("1"),
        ),
        (
            Refusal::NoNamespace,
            404,
            "invalid_request_error",
            "null",
            "model_not_found",
            "no models are served on this host; check the host name",
            None,
        ),
        (
            Refusal::ModelMissing { in_body: true },
            400,
            "invalid_request_error",
            "\"model\"",
            "missing_required_parameter",
            "`model` is missing: name the model in the request body",
            None,
        ),
        (
            Refusal::ModelNotReady { model: m() },
            503,
            "server_error",
            "null",
            "model_not_ready",
            "the model `m` has no ready replica at the moment; try again later",
            Some("1"),
        ),
        (
            Refusal::VersionNotFound {
                model: m(),
                version: "a\"b".into(),
                near: vec![],
            },
            404,
            "invalid_request_error",
            "\"x-model-version\"",
            "version_not_found",
            r#"the model `m` has no version `a\"b`; leave `x-model-version` out"#,
            None,
        ),
        (
            Refusal::Body(BodyError::TooLong {
                field: "user",
                max: 9,
            }),
            400,
            "invalid_request_error",
            "\"user\"",
            "string_above_max_length",
            "`user` must be at most 9 bytes long",
            None,
        ),
        (
            Refusal::BodyEncoded,
            415,
            "invalid_request_error",
            "\"content-encoding\"",
            "unsupported_content_encoding",
            "the request body is compressed (`content-encoding`); send it uncompressed",
            None,
        ),
        (
            Refusal::OverBudget(shortfall()),
            429,
            "requests",
            "null",
            "rate_limit_exceeded",
            "over the budget of bucket `fair`: the request costs 1.5 requests, 0.25 of 20 are left; try again in 1 s",
            Some("1"),
        ),
        (
            Refusal::CapacityReduced(shortfall()),
            503,
            "server_error",
            "null",
            "capacity_reduced",
            "the request costs 1.5 requests, more than bucket `fair` holds while capacity is reduced (20); try again in 1 s, or with a lower `max_tokens`",
            Some("1"),
        ),
        (
            Refusal::Contended(shortfall()),
            503,
            "server_error",
            "null",
            "bucket_contended",
            "other requests change bucket `fair` at the same time; try again in 1 s",
            Some("1"),
        ),
    ];
    for (refusal, status, kind, param, code, message, retry) in rows {
        let reply = refusal.reply(chat().dialect(), false);
        let expected = format!(
            r#"{{"error":{{"message":"{message}","type":"{kind}","param":{param},"code":"{code}"}}}}"#
        );
        assert_eq!(String::from_utf8_lossy(&reply.body), expected);
        assert_eq!(reply.status, status, "{code}");
        assert_eq!(refusal.code(), code);
        let header = reply.headers.iter().find(|(n, _)| n == "retry-after");
        assert_eq!(header.map(|(_, v)| v.as_str()), retry, "{code}");
    }
}

#[test]
fn long_values_of_a_client_are_quoted_in_part() {
    let reply = Refusal::ModelNotFound {
        model: "ü".repeat(5000),
    }
    .reply(chat().dialect(), false);
    assert!(reply.body.len() < 500);
    assert!(reply.message.contains('…'));
}
