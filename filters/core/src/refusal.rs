//! Every answer of the filter's own that says no: status, type, code, field at fault, and words with the fix.
//!
//! 400 is the request, 404 a name, 429 the client's quota, 503 our capacity. The body is in the inbound
//! dialect's shape (OpenAI's, the one there is); a gRPC request gets a gRPC status instead. Messages quote at
//! most 128 characters of what the client sent.

mod message;

use headgate_dialect::{self as dialect, BodyError};

use crate::effects::{Name, Reply};

/// Why a request is not sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The module has no configuration yet.
    NotConfigured,
    /// The proxy could not show the request's headers: what is not seen is not let through.
    HeadersUnread,
    /// Several namespaces, and the virtual host names none of them.
    NoNamespace,
    /// Nothing names the model. `in_body`: the endpoint has it in its body.
    ModelMissing {
        /// Where to put it.
        in_body: bool,
    },
    /// Body and header name different models.
    ModelDisagrees {
        /// As the body names it.
        body: String,
        /// As the header names it.
        header: String,
    },
    /// Nothing is served under this path, as far as is known, and no header names a model.
    PathUnknown {
        /// As it was sent.
        path: String,
    },
    /// The path is served, with other methods.
    MethodNotAllowed {
        /// The methods.
        allow: &'static str,
        /// The path, as it was sent.
        path: String,
    },
    /// A browser asked whether a page may call, and no policy allows its origin.
    OriginNotAllowed {
        /// The origin, as the browser sent it.
        origin: String,
    },
    /// The model is not in the plan.
    ModelNotFound {
        /// As the client wrote it.
        model: String,
    },
    /// The model is known and nothing of it is ready.
    ModelNotReady {
        /// Its id.
        model: String,
    },
    /// A pin to a version the model does not have.
    VersionNotFound {
        /// The model's id.
        model: String,
        /// As the client wrote it.
        version: String,
        /// The nearest versions.
        near: Vec<String>,
    },
    /// A pin to a version of which nothing is ready.
    VersionNotReady {
        /// The model's id.
        model: String,
        /// The version.
        version: String,
    },
    /// Something is wrong with the body.
    Body(BodyError),
    /// The body is over the limit.
    BodyTooLarge {
        /// The limit, bytes.
        max: u32,
    },
    /// The body is compressed: what cannot be read cannot be priced.
    BodyEncoded,
    /// A header is given more than once with different values.
    HeaderDisagrees {
        /// The header.
        name: String,
    },
    /// A header is not what it has to be.
    HeaderInvalid {
        /// The header.
        name: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// The bucket has not enough left.
    OverBudget(Box<Shortfall>),
    /// The cost is above the capacity at scale 1: it can never pass.
    CostExceedsCapacity(Box<Shortfall>),
    /// The cost is above the capacity only as it is scaled now.
    CapacityReduced(Box<Shortfall>),
    /// The shared cell stayed contended.
    Contended(Box<Shortfall>),
}

/// What a bucket lacks for a request. Amounts in thousandths of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The bucket's name.
    pub bucket: String,
    /// `tokens` or `requests`.
    pub kind: &'static str,
    /// What the request costs.
    pub cost: u64,
    /// What a full bucket holds, scale included.
    pub capacity: u64,
    /// What it has left.
    pub remaining: u64,
    /// When to ask again, seconds.
    pub retry_after: u64,
    /// That is later than a client is expected to wait for.
    pub exceeds_client_wait: bool,
    /// Limit headers to send along.
    pub headers: Vec<(Name, String)>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// Status, type, code, and what access logs read.
struct Shape(u16, &'static str, &'static str, &'static str);

impl Refusal {
    /// The code a client reads, also the outcome that metrics are labelled with.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.shape().2
    }

    /// The whole answer. `grpc`: the request is a gRPC one.
    #[must_use]
    pub fn reply(&self, grpc: bool) -> Reply {
        let Shape(status, kind, code, details) = self.shape();
        let message = self.message();
        let mut headers: Vec<(Name, String)> = Vec::new();
        if let Some(seconds) = self.retry_after() {
            headers.push(("retry-after".into(), seconds.to_string()));
        }
        if let Self::MethodNotAllowed { allow, .. } = self {
            headers.push(("allow".into(), (*allow).to_owned()));
        }
        if let Some(shortfall) = self.shortfall() {
            // openai-node sleeps through a Retry-After of any length unless it is told not to.
            if shortfall.exceeds_client_wait {
                headers.push(("x-should-retry".into(), "false".into()));
            }
            headers.extend(shortfall.headers.iter().cloned());
        }
        let mut body = Vec::new();
        if !grpc {
            headers.push(("content-type".into(), "application/json".into()));
            body = dialect::openai_error_body(&dialect::Refusal {
                status,
                kind,
                code,
                message: &message,
                param: self.param(),
            });
        }
        Reply {
            status,
            headers,
            body,
            details,
            grpc: grpc.then(|| grpc_status(status)),
            message,
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Self::NotConfigured => Shape(503, SERVER, "not_configured", "headgate_not_configured"),
            Self::HeadersUnread => Shape(503, SERVER, "headers_unread", "headgate_headers_unread"),
            Self::NoNamespace => Shape(404, INVALID, "model_not_found", "headgate_no_namespace"),
            Self::ModelMissing { .. } => Shape(
                400,
                INVALID,
                "missing_required_parameter",
                "headgate_model_missing",
            ),
            Self::ModelDisagrees { .. } => {
                Shape(400, INVALID, "model_mismatch", "headgate_model_mismatch")
            }
            Self::PathUnknown { .. } => {
                Shape(404, INVALID, "unknown_path", "headgate_unknown_path")
            }
            Self::MethodNotAllowed { .. } => Shape(
                405,
                INVALID,
                "method_not_allowed",
                "headgate_method_not_allowed",
            ),
            Self::OriginNotAllowed { .. } => Shape(
                403,
                INVALID,
                "origin_not_allowed",
                "headgate_origin_not_allowed",
            ),
            Self::ModelNotFound { .. } => {
                Shape(404, INVALID, "model_not_found", "headgate_model_not_found")
            }
            Self::ModelNotReady { .. } => {
                Shape(503, SERVER, "model_not_ready", "headgate_model_not_ready")
            }
            Self::VersionNotFound { .. } => Shape(
                404,
                INVALID,
                "version_not_found",
                "headgate_version_not_found",
            ),
            Self::VersionNotReady { .. } => Shape(
                503,
                SERVER,
                "version_not_ready",
                "headgate_version_not_ready",
            ),
            Self::Body(error) => Shape(400, INVALID, body_code(error), "headgate_bad_body"),
            Self::BodyTooLarge { .. } => {
                Shape(413, INVALID, "request_too_large", "headgate_body_too_large")
            }
            Self::BodyEncoded => Shape(
                415,
                INVALID,
                "unsupported_content_encoding",
                "headgate_body_encoded",
            ),
            Self::HeaderDisagrees { .. } => {
                Shape(400, INVALID, "duplicate_header", "headgate_bad_header")
            }
            Self::HeaderInvalid { .. } => {
                Shape(400, INVALID, "invalid_header", "headgate_bad_header")
            }
            Self::OverBudget(s) => {
                Shape(429, s.kind, "rate_limit_exceeded", "headgate_over_budget")
            }
            Self::CostExceedsCapacity(_) => Shape(
                400,
                INVALID,
                "cost_exceeds_capacity",
                "headgate_cost_exceeds_capacity",
            ),
            Self::CapacityReduced(_) => {
                Shape(503, SERVER, "capacity_reduced", "headgate_capacity_reduced")
            }
            Self::Contended(_) => {
                Shape(503, SERVER, "bucket_contended", "headgate_bucket_contended")
            }
        }
    }

    fn shortfall(&self) -> Option<&Shortfall> {
        match self {
            Self::OverBudget(s)
            | Self::CostExceedsCapacity(s)
            | Self::CapacityReduced(s)
            | Self::Contended(s) => Some(s),
            _ => None,
        }
    }

    /// Seconds; none where asking again is useless.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::OverBudget(s) | Self::CapacityReduced(s) | Self::Contended(s) => {
                Some(s.retry_after.max(1))
            }
            Self::NotConfigured
            | Self::HeadersUnread
            | Self::ModelNotReady { .. }
            | Self::VersionNotReady { .. } => Some(1),
            _ => None,
        }
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::ModelMissing { in_body: true }
            | Self::ModelNotFound { .. }
            | Self::ModelDisagrees { .. } => Some("model"),
            Self::ModelMissing { in_body: false } => Some("x-model"),
            Self::VersionNotFound { .. } | Self::VersionNotReady { .. } => Some("x-model-version"),
            Self::Body(error) => error.field(),
            Self::BodyEncoded => Some("content-encoding"),
            Self::HeaderDisagrees { name } | Self::HeaderInvalid { name, .. } => Some(name),
            Self::CostExceedsCapacity(_) => Some("max_tokens"),
            _ => None,
        }
    }
}

fn body_code(error: &BodyError) -> &'static str {
    match error {
        BodyError::Malformed { .. } | BodyError::NotAnObject | BodyError::TooDeep { .. } => {
            "invalid_json"
        }
        BodyError::WrongType { .. } => "invalid_type",
        BodyError::OutOfRange { .. } => "invalid_value",
        BodyError::Disagree { .. } | BodyError::Conflict { .. } => "duplicate_parameter",
        BodyError::TooLong { .. } => "string_above_max_length",
    }
}

/// The gRPC status that means the same.
fn grpc_status(http: u16) -> u8 {
    match http {
        403 => 7,
        404 => 5,
        405 => 12,
        429 => 8,
        503 => 14,
        _ => 3,
    }
}
