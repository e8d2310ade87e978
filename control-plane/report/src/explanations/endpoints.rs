//! Endpoints, ports and protocols.

use headgate_model::reason;

use super::{ERROR, Explanation, INFO, WARNING, row};

/// The rows.
pub(super) const ROWS: &[Explanation] = &[
    row(
        reason::INVALID_ENDPOINT,
        ERROR,
        "An entry of `headgate.dev/endpoints` is not HOST:PORT.",
        "Correct the annotation.",
    ),
    row(
        reason::ENDPOINT_REFUSED,
        ERROR,
        "An endpoint is not allowed: DNS names and local addresses are rejected by default.",
        "Allow it with `--allow-endpoint`, or use another address.",
    ),
    row(
        reason::ENDPOINTS_IGNORED,
        WARNING,
        "`headgate.dev/endpoints` is set on an object whose pods are the endpoints.",
        "Remove the annotation, or set it on a Service without a selector.",
    ),
    row(
        reason::NO_SELECTOR,
        WARNING,
        "A labelled Service has neither a selector nor the annotation `headgate.dev/endpoints`.",
        "Set one of them.",
    ),
    row(
        reason::INVALID_PORT,
        WARNING,
        "The annotation `headgate.dev/port` is not a port of the pods.",
        "Correct the annotation.",
    ),
    row(
        reason::NO_PORT,
        WARNING,
        "Some pods have no port that can be inferred, so they are not endpoints.",
        "Name a port `http` or `grpc`, or set `headgate.dev/port`.",
    ),
    row(
        reason::AMBIGUOUS_PORT,
        WARNING,
        "Some pods have several ports that may serve.",
        "Set `headgate.dev/port`.",
    ),
    row(
        reason::TLS_PORT,
        WARNING,
        "A port seems to use TLS, and no annotation says how to connect.",
        "Set `headgate.dev/tls` to `true` or `false`.",
    ),
    row(
        reason::INVALID_UPSTREAM,
        WARNING,
        "An annotation about connections to endpoints is invalid or has no effect.",
        "Correct or remove it as the message says.",
    ),
    row(
        reason::INVALID_SERVICE,
        WARNING,
        "The annotation `headgate.dev/service` names no Service of the pods.",
        "Correct the annotation.",
    ),
    row(
        reason::INVALID_PROTOCOL,
        WARNING,
        "The annotation `headgate.dev/protocol` is unknown.",
        "Use `http1`, `http2`, `grpc` or `client`.",
    ),
    row(
        reason::PROTOCOLS_DIFFER,
        INFO,
        "Endpoints of one version, or versions of one model, use different protocols.",
        "Set `headgate.dev/protocol` to the same value on all carriers.",
    ),
    row(
        reason::ROLES_UNCLEAR,
        WARNING,
        "An object owns different kinds of pods, and no rule says which of them serve.",
        "Label the Service of the serving pods, or mark them as the message says.",
    ),
    row(
        reason::POOLS_UNREAD,
        WARNING,
        "InferencePools cannot be read, so the chosen port may differ from that of a pool.",
        "Grant the permission in the message.",
    ),
];
