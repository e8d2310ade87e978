//! How a stream ended → what it is settled on.

use headgate_core::settle::{Answered, Ending, Seen};
use headgate_dialect::{Observed, Usage};

fn usage(input: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        ..Usage::default()
    })
}

fn answered(status: u16) -> Seen {
    Seen {
        answered: Answered::Upstream,
        status,
        complete: true,
        readable: true,
        ..Seen::default()
    }
}

fn local(status: u16, details: &str, upstream: bool) -> Seen {
    Seen {
        answered: if status == 0 {
            Answered::Nobody
        } else {
            Answered::Locally
        },
        status,
        details: Some(details.into()),
        upstream,
        ..Seen::default()
    }
}

fn used(input: Option<u64>, output: u64, text_bytes: u64, reported: bool) -> Ending {
    Ending::Used {
        input,
        output,
        text_bytes,
        reported,
    }
}

#[test]
fn every_ending_is_settled_as_declared() {
    let flowing = |deltas, text_bytes, bytes| Observed {
        deltas,
        text_bytes,
        bytes,
    };
    let rows = [
        (
            "reported",
            Seen {
                usage: usage(9, 5),
                ..answered(200)
            },
            used(Some(9), 5, 0, true),
        ),
        (
            "reported, complete: the report counts though more deltas flowed",
            Seen {
                usage: usage(9, 5),
                streamed: true,
                observed: flowing(7, 30, 99),
                ..answered(200)
            },
            used(Some(9), 5, 0, true),
        ),
        (
            "cut short: the larger",
            Seen {
                usage: usage(9, 5),
                streamed: true,
                complete: false,
                observed: flowing(7, 30, 99),
                ..answered(200)
            },
            used(Some(9), 7, 30, true),
        ),
        (
            "a whole answer cut short behind its report",
            Seen {
                usage: usage(9, 5),
                complete: false,
                observed: flowing(7, 30, 99),
                ..answered(200)
            },
            used(Some(9), 5, 0, true),
        ),
        (
            "cut short without a report",
            Seen {
                streamed: true,
                complete: false,
                observed: flowing(7, 30, 99),
                ..answered(200)
            },
            used(None, 7, 30, false),
        ),
        (
            "a stream that never reports",
            Seen {
                streamed: true,
                observed: flowing(7, 30, 99),
                ..answered(200)
            },
            used(None, 7, 30, false),
        ),
        (
            "whole without a report",
            Seen {
                observed: flowing(1, 30, 99),
                ..answered(200)
            },
            used(None, 0, 30, false),
        ),
        (
            "nothing generated",
            Seen {
                observed: flowing(0, 0, 99),
                ..answered(200)
            },
            Ending::Unobserved,
        ),
        (
            "unreadable",
            Seen {
                readable: false,
                observed: flowing(0, 0, 99),
                ..answered(200)
            },
            Ending::Unreadable {
                bytes: 99,
                complete: true,
            },
        ),
        (
            "unreadable and cut short",
            Seen {
                readable: false,
                complete: false,
                observed: flowing(0, 0, 99),
                ..answered(200)
            },
            Ending::Unreadable {
                bytes: 99,
                complete: false,
            },
        ),
        (
            "unreadable and empty",
            Seen {
                readable: false,
                ..answered(200)
            },
            Ending::Unobserved,
        ),
        (
            "a status that could not be read",
            Seen {
                streamed: true,
                observed: flowing(7, 30, 99),
                ..answered(0)
            },
            used(None, 7, 30, false),
        ),
        (
            "an error of the upstream",
            Seen {
                observed: flowing(0, 0, 99),
                ..answered(500)
            },
            Ending::Unobserved,
        ),
        (
            "an error page",
            Seen {
                readable: false,
                observed: flowing(0, 0, 99),
                ..answered(502)
            },
            Ending::Unobserved,
        ),
        (
            "an error with usage",
            Seen {
                usage: usage(9, 5),
                ..answered(500)
            },
            used(Some(9), 5, 0, true),
        ),
        ("an upstream's 504", answered(504), Ending::Kept),
        (
            "a route timeout",
            local(504, "response_timeout", true),
            Ending::Kept,
        ),
        (
            "a try timeout",
            local(504, "upstream_per_try_timeout", true),
            Ending::Kept,
        ),
        (
            "a timeout whose status nobody read",
            local(0, "response_timeout", false),
            Ending::Kept,
        ),
        (
            "a direct response",
            local(200, "direct_response", false),
            Ending::NeverSent,
        ),
        (
            "no route",
            local(404, "route_not_found", false),
            Ending::NeverSent,
        ),
        (
            "no cluster",
            local(503, "cluster_not_found", false),
            Ending::NeverSent,
        ),
        (
            "no endpoint",
            local(503, "no_healthy_upstream", false),
            Ending::NeverSent,
        ),
        (
            "connect refused",
            local(
                503,
                "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}",
                true,
            ),
            Ending::NeverSent,
        ),
        (
            "circuit open",
            local(
                503,
                "upstream_reset_before_response_started{overflow}",
                true,
            ),
            Ending::NeverSent,
        ),
        (
            "connect timeout",
            local(
                503,
                "upstream_reset_before_response_started{connection_timeout}",
                true,
            ),
            Ending::NeverSent,
        ),
        (
            "reset after it was sent",
            local(
                503,
                "upstream_reset_before_response_started{connection_termination}",
                true,
            ),
            Ending::Unobserved,
        ),
        (
            "refused by a later filter",
            local(403, "rbac_access_denied", false),
            Ending::NeverSent,
        ),
        (
            "the client left, connecting",
            local(0, "downstream_remote_disconnect", false),
            Ending::NeverSent,
        ),
        (
            "the client left, sent",
            local(0, "downstream_remote_disconnect", true),
            Ending::Unobserved,
        ),
        ("drained, sent", local(0, "", true), Ending::Unobserved),
    ];
    for (what, seen, expected) in rows {
        assert_eq!(seen.ending(), expected, "{what}");
    }
}
