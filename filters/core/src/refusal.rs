//! The refusals of the filter: status, code, field at fault, and a message with the fix.
//!
//! 400 means the request, 403 the tenant, 404 a name, 429 the client's quota, 503 the capacity of this service. The dialect of the request
//! words the body. A gRPC request gets a gRPC status instead. Messages quote at most 128 characters that the client sent.

mod message;

use headgate_dialect::{self as dialect, BodyError, Costs, Dialect, Violation};

use crate::effects::{Name, Reply};

/// The reason why a request is not forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The module has no configuration yet.
    NotConfigured,
    /// The proxy could not give the request's headers, so nothing is known about the request.
    HeadersUnread,
    /// There are several namespaces, and the virtual host names none of them.
    NoNamespace,
    /// Nothing names the model.
    ModelMissing {
        /// The endpoint has it in the body. Otherwise it belongs in the header `x-model`.
        in_body: bool,
    },
    /// The path or the body names another model than the header.
    ModelDisagrees {
        /// The name in the path or in the body.
        body: String,
        /// The name in the header.
        header: String,
    },
    /// The operation changes the server, and no policy allows it.
    OperationNotAllowed {
        /// Its name.
        operation: &'static str,
    },
    /// No API knows this path.
    PathUnknown {
        /// The path as it was sent.
        path: String,
    },
    /// The path accepts other methods.
    MethodNotAllowed {
        /// The methods.
        allow: &'static str,
        /// The path as it was sent.
        path: String,
    },
    /// A browser sent a CORS preflight, and no policy allows its origin.
    OriginNotAllowed {
        /// The origin as the browser sent it.
        origin: String,
    },
    /// The model is not in the plan.
    ModelNotFound {
        /// The name as the client wrote it.
        model: String,
    },
    /// No replica of the model is ready.
    ModelNotReady {
        /// The model's id.
        model: String,
    },
    /// The request is pinned to a version that the model does not have.
    VersionNotFound {
        /// The model's id.
        model: String,
        /// The version as the client wrote it.
        version: String,
        /// Versions with similar names.
        near: Vec<String>,
    },
    /// The request is pinned to a version without a ready replica.
    VersionNotReady {
        /// The model's id.
        model: String,
        /// The version.
        version: String,
    },
    /// The body has an error.
    Body(BodyError),
    /// The body does not meet the schema that a policy has for it.
    SchemaViolation {
        /// The field and the rule.
        violation: Violation,
        /// The model's id.
        model: String,
    },
    /// The body is larger than the limit.
    BodyTooLarge {
        /// The limit, in bytes.
        max: u32,
    },
    /// The body is compressed, so it cannot be read and priced.
    BodyEncoded,
    /// The request has to be rewritten, and its body is signed.
    BodySigned {
        /// The header with the signature.
        header: &'static str,
    },
    /// A header is given more than once with different values.
    HeaderDisagrees {
        /// The header.
        name: String,
    },
    /// A header has an invalid value.
    HeaderInvalid {
        /// The header.
        name: String,
        /// The value that it must have.
        expected: &'static str,
    },
    /// The bucket does not have enough left.
    OverBudget(Box<Shortfall>),
    /// An override suspends the tenant, or another key of a bucket.
    Suspended {
        /// The bucket's name.
        bucket: String,
        /// The reason that the policy gives.
        reason: Option<String>,
    },
    /// The cost is above the capacity at scale 1, so the request can never pass.
    CostExceedsCapacity(Box<Shortfall>),
    /// The cost is above the capacity at the current scale.
    CapacityReduced(Box<Shortfall>),
    /// Every attempt to update the shared cell lost against another worker.
    Contended(Box<Shortfall>),
}

/// The state of a bucket that refuses a request. Amounts are in thousandths of its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// The bucket's name.
    pub bucket: String,
    /// `tokens` or `requests`.
    pub kind: &'static str,
    /// The cost of the request.
    pub cost: u64,
    /// The capacity, including the scale.
    pub capacity: u64,
    /// The amount that is left.
    pub remaining: u64,
    /// Seconds until a retry can succeed.
    pub retry_after: u64,
    /// Clients are not expected to wait that long.
    pub exceeds_client_wait: bool,
    /// The part of the request that decides its cost.
    pub costs: Costs,
    /// Rate limit headers for the answer.
    pub headers: Vec<(Name, String)>,
}

/// The HTTP status, the code, and the response code details of a refusal.
struct Outcome(u16, &'static str, &'static str);

impl Refusal {
    /// The code for clients, which is also the outcome in metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.outcome().1
    }

    /// The complete answer, in the dialect of the request. `grpc`: it is a gRPC request.
    #[must_use]
    pub fn reply(&self, dialect: &Dialect, grpc: bool) -> Reply {
        let Outcome(status, code, details) = self.outcome();
        let message = self.message();
        let mut headers: Vec<(Name, String)> = Vec::new();
        if let Some(seconds) = self.retry_after() {
            headers.push(("retry-after".into(), seconds.to_string()));
        }
        if let Self::MethodNotAllowed { allow, .. } = self {
            headers.push(("allow".into(), (*allow).to_owned()));
        }
        if let Some(shortfall) = self.shortfall() {
            // openai-node waits for a Retry-After of any length, unless this header forbids the retry.
            if shortfall.exceeds_client_wait {
                headers.push(("x-should-retry".into(), "false".into()));
            }
            headers.extend(shortfall.headers.iter().cloned());
        }
        let mut body = Vec::new();
        if !grpc {
            headers.push(("content-type".into(), "application/json".into()));
            body = dialect.error_body(&dialect::Refusal {
                status,
                code,
                message: &message,
                param: self.param(),
                unit: self.shortfall().map(|shortfall| shortfall.kind),
            });
        }
        let code = grpc_status(status);
        if grpc && let Some(field) = self.param() {
            let details = dialect::grpc_status_details(code, &message, field);
            headers.push(("grpc-status-details-bin".into(), details));
        }
        Reply {
            status,
            headers,
            body,
            details,
            grpc: grpc.then_some(code),
            message,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::NotConfigured => Outcome(503, "not_configured", "headgate_not_configured"),
            Self::HeadersUnread => Outcome(503, "headers_unread", "headgate_headers_unread"),
            Self::NoNamespace => Outcome(404, "model_not_found", "headgate_no_namespace"),
            Self::ModelMissing { .. } => {
                Outcome(400, "missing_required_parameter", "headgate_model_missing")
            }
            Self::ModelDisagrees { .. } => {
                Outcome(400, "model_mismatch", "headgate_model_mismatch")
            }
            Self::PathUnknown { .. } => Outcome(404, "unknown_path", "headgate_unknown_path"),
            Self::OperationNotAllowed { .. } => Outcome(
                404,
                "operation_not_allowed",
                "headgate_operation_not_allowed",
            ),
            Self::MethodNotAllowed { .. } => {
                Outcome(405, "method_not_allowed", "headgate_method_not_allowed")
            }
            Self::OriginNotAllowed { .. } => {
                Outcome(403, "origin_not_allowed", "headgate_origin_not_allowed")
            }
            Self::ModelNotFound { .. } => {
                Outcome(404, "model_not_found", "headgate_model_not_found")
            }
            Self::ModelNotReady { .. } => {
                Outcome(503, "model_not_ready", "headgate_model_not_ready")
            }
            Self::VersionNotFound { .. } => {
                Outcome(404, "version_not_found", "headgate_version_not_found")
            }
            Self::VersionNotReady { .. } => {
                Outcome(503, "version_not_ready", "headgate_version_not_ready")
            }
            Self::Body(error) => Outcome(400, body_code(error), "headgate_bad_body"),
            Self::SchemaViolation { .. } => {
                Outcome(400, "schema_violation", "headgate_schema_violation")
            }
            Self::BodyTooLarge { .. } => {
                Outcome(413, "request_too_large", "headgate_body_too_large")
            }
            Self::BodyEncoded => {
                Outcome(415, "unsupported_content_encoding", "headgate_body_encoded")
            }
            Self::BodySigned { .. } => Outcome(400, "signed_body", "headgate_signed_body"),
            Self::HeaderDisagrees { .. } => Outcome(400, "duplicate_header", "headgate_bad_header"),
            Self::HeaderInvalid { .. } => Outcome(400, "invalid_header", "headgate_bad_header"),
            Self::Suspended { .. } => Outcome(403, "tenant_suspended", "headgate_tenant_suspended"),
            Self::OverBudget(_) => Outcome(429, "rate_limit_exceeded", "headgate_over_budget"),
            Self::CostExceedsCapacity(_) => Outcome(
                400,
                "cost_exceeds_capacity",
                "headgate_cost_exceeds_capacity",
            ),
            Self::CapacityReduced(_) => {
                Outcome(503, "capacity_reduced", "headgate_capacity_reduced")
            }
            Self::Contended(_) => Outcome(503, "bucket_contended", "headgate_bucket_contended"),
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

    /// Seconds; `None` if a retry is useless.
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
            Self::SchemaViolation { violation, .. } => {
                Some(violation.path.as_str()).filter(|path| !path.is_empty())
            }
            Self::BodyEncoded => Some("content-encoding"),
            Self::BodySigned { header } => Some(header),
            Self::HeaderDisagrees { name } | Self::HeaderInvalid { name, .. } => Some(name),
            Self::CostExceedsCapacity(shortfall) => Some(shortfall.costs.param),
            _ => None,
        }
    }
}

fn body_code(error: &BodyError) -> &'static str {
    match error {
        BodyError::Malformed { .. } | BodyError::NotAnObject | BodyError::TooDeep { .. } => {
            "invalid_json"
        }
        BodyError::NotMultipart { .. } => "invalid_multipart",
        BodyError::NotProtobuf { .. } => "invalid_protobuf",
        BodyError::WrongType { .. } => "invalid_type",
        BodyError::OutOfRange { .. } => "invalid_value",
        BodyError::Disagree { .. } | BodyError::Conflict { .. } => "duplicate_parameter",
        BodyError::TooLong { .. } => "string_above_max_length",
    }
}

/// The gRPC status with the same meaning.
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
