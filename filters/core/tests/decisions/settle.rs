//! The end of a stream → the basis of its settlement.

use headgate_core::failure::Failure;
use headgate_core::settle::{AnsweredBy, SettlementBasis, StreamRecord, Used};
use headgate_dialect::{Observed, Usage};

fn usage(input: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input: Some(input),
        output,
        ..Usage::default()
    })
}

fn answered(status: u16) -> StreamRecord {
    StreamRecord {
        answered_by: AnsweredBy::Upstream,
        status,
        complete: true,
        ..StreamRecord::default()
    }
}

fn local(status: u16, details: &str, upstream: bool) -> StreamRecord {
    StreamRecord {
        answered_by: if status == 0 {
            AnsweredBy::Nobody
        } else {
            AnsweredBy::Proxy
        },
        status,
        details: Some(details.into()),
        upstream,
        ..StreamRecord::default()
    }
}

fn used(
    usage: Option<Usage>,
    text_bytes: u64,
    unread_bytes: u64,
    complete: bool,
) -> SettlementBasis {
    SettlementBasis::Used(Used {
        usage,
        text_bytes,
        unread_bytes,
        complete,
    })
}

fn flowing(text_bytes: u64, unread_bytes: u64, bytes: u64) -> Observed {
    Observed {
        text_bytes,
        unread_bytes,
        bytes,
    }
}

#[test]
fn an_answer_is_settled_on_its_report_and_its_observed_text() {
    let rows = [
        (
            "reported",
            StreamRecord {
                usage: usage(9, 5),
                observed: flowing(30, 0, 99),
                ..answered(200)
            },
            used(usage(9, 5), 30, 0, true),
        ),
        (
            "cut short",
            StreamRecord {
                usage: usage(9, 5),
                complete: false,
                observed: flowing(30, 0, 99),
                ..answered(200)
            },
            used(usage(9, 5), 30, 0, false),
        ),
        (
            "reported before its text",
            StreamRecord {
                usage: usage(1000, 1),
                stale: true,
                observed: flowing(4000, 0, 5000),
                ..answered(200)
            },
            used(usage(1000, 1), 4000, 0, false),
        ),
        (
            "never reported",
            StreamRecord {
                observed: flowing(30, 7, 99),
                ..answered(200)
            },
            used(None, 30, 7, true),
        ),
        (
            "a status that could not be read",
            StreamRecord {
                observed: flowing(30, 0, 99),
                ..answered(0)
            },
            used(None, 30, 0, true),
        ),
        (
            "an error with usage, as a failed generation has",
            StreamRecord {
                usage: usage(9, 5),
                ..answered(400)
            },
            used(usage(9, 5), 0, 0, true),
        ),
        (
            "an error with generated text",
            StreamRecord {
                observed: flowing(30, 5, 99),
                ..answered(500)
            },
            used(None, 30, 0, true),
        ),
        (
            "an error after the output",
            StreamRecord {
                observed: flowing(30, 0, 99),
                error_only: false,
                ..answered(200)
            },
            used(None, 30, 0, true),
        ),
        ("empty", answered(200), SettlementBasis::Unobserved),
        (
            "unread",
            StreamRecord {
                unread: true,
                observed: flowing(0, 0, 99),
                ..answered(200)
            },
            SettlementBasis::Unreadable {
                bytes: 99,
                complete: true,
            },
        ),
        (
            "unread and cut short",
            StreamRecord {
                unread: true,
                complete: false,
                observed: flowing(0, 0, 99),
                ..answered(200)
            },
            SettlementBasis::Unreadable {
                bytes: 99,
                complete: false,
            },
        ),
        (
            "no part of it is JSON",
            StreamRecord {
                observed: flowing(0, 80, 99),
                ..answered(200)
            },
            SettlementBasis::Unreadable {
                bytes: 80,
                complete: true,
            },
        ),
    ];
    for (what, record, expected) in rows {
        assert_eq!(record.basis(), expected, "{what}");
    }
}

#[test]
fn a_failure_is_recognised_by_its_status_or_the_end_of_the_stream() {
    let cut = |details: &str| StreamRecord {
        complete: false,
        details: Some(details.into()),
        upstream: true,
        ..answered(200)
    };
    let failed = SettlementBasis::Failed;
    let rows = [
        ("a bad request", answered(400), failed(Failure::ClientError)),
        ("unauthorized", answered(401), failed(Failure::ClientError)),
        ("rate limited", answered(429), failed(Failure::RateLimited)),
        ("an error", answered(500), failed(Failure::ServerError)),
        (
            "an error page",
            StreamRecord {
                observed: flowing(0, 80, 99),
                ..answered(502)
            },
            failed(Failure::ServerError),
        ),
        (
            "200 with only an error",
            StreamRecord {
                error_only: true,
                ..answered(200)
            },
            failed(Failure::ServerError),
        ),
        ("an upstream's 504", answered(504), failed(Failure::Timeout)),
        (
            "a route timeout",
            local(504, "response_timeout", true),
            failed(Failure::Timeout),
        ),
        (
            "a try timeout",
            local(504, "upstream_per_try_timeout", true),
            failed(Failure::Timeout),
        ),
        (
            "a timeout whose status nobody read",
            local(0, "response_timeout", false),
            failed(Failure::Timeout),
        ),
        (
            "reset after it was sent",
            local(
                503,
                "upstream_reset_before_response_started{connection_termination}",
                true,
            ),
            failed(Failure::Reset),
        ),
        (
            "reset behind its head",
            cut("upstream_reset_after_response_started{connection_termination}"),
            failed(Failure::Reset),
        ),
        (
            "silent behind its head",
            cut("stream_idle_timeout"),
            failed(Failure::Timeout),
        ),
        (
            "the client left behind its head",
            cut("downstream_remote_disconnect"),
            failed(Failure::Abandoned),
        ),
        (
            "the client left, sent",
            local(0, "downstream_remote_disconnect", true),
            failed(Failure::Abandoned),
        ),
        (
            "drained, sent",
            local(0, "", true),
            failed(Failure::Abandoned),
        ),
    ];
    for (what, record, expected) in rows {
        assert_eq!(record.basis(), expected, "{what}");
    }
}

#[test]
fn a_request_without_an_upstream_counts_as_never_sent() {
    for (what, record) in [
        ("a direct response", local(200, "direct_response", false)),
        ("no route", local(404, "route_not_found", false)),
        ("no cluster", local(503, "cluster_not_found", false)),
        ("no endpoint", local(503, "no_healthy_upstream", false)),
        (
            "connect refused",
            local(
                503,
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
                true,
            ),
        ),
        (
            "circuit open",
            local(
                503,
                "upstream_reset_before_response_started{overflow}",
                true,
            ),
        ),
        (
            "connect timeout",
            local(
                503,
                "upstream_reset_before_response_started{connection_timeout}",
                true,
            ),
        ),
        (
            "refused by a later filter",
            local(403, "rbac_access_denied", false),
        ),
        (
            "the client left, connecting",
            local(0, "downstream_remote_disconnect", false),
        ),
    ] {
        assert_eq!(record.basis(), SettlementBasis::NeverSent, "{what}");
    }
}
