//! The messages of refusals: the error, and the fix.

use super::Refusal;

impl Refusal {
    pub(super) fn message(&self) -> String {
        match self {
            Self::NotConfigured => "the traffic filter has no configuration yet; try again".into(),
            Self::HeadersUnread => {
                "the traffic filter could not read the headers; try again".into()
            }
            Self::NoNamespace => "no models are served on this host; check the host name".into(),
            Self::ModelMissing { in_body: true } => {
                "`model` is missing: name the model in the request body".into()
            }
            Self::ModelMissing { in_body: false } => {
                "the model is missing: name it in the header `x-model`".into()
            }
            Self::ModelDisagrees { body, header } => format!(
                "the request names the model `{}` and the header `x-model` names `{}`; leave the header out, or name the same model",
                excerpt(body),
                excerpt(header)
            ),
            Self::PathUnknown { path } => format!(
                "the path `{}` is not known here; check it. An operator serves further APIs and paths with `apis` in a TrafficTagPolicy for the whole namespace",
                excerpt(path)
            ),
            Self::OperationNotAllowed { operation } => format!(
                "`{operation}` changes the model server, and no policy allows it; an operator allows it with `apis.allow` of a TrafficTagPolicy for the whole namespace"
            ),
            Self::MethodNotAllowed { allow, path } => {
                format!(
                    "the path `{}` does not accept this method; use {allow}",
                    excerpt(path)
                )
            }
            Self::OriginNotAllowed { origin } => format!(
                "no policy allows pages of `{}` to call the models of this host: add the origin to `cors.allowOrigins` of a TrafficTagPolicy for the whole namespace",
                excerpt(origin)
            ),
            Self::ModelNotFound { model } => format!(
                "the model `{}` does not exist; GET /v1/models lists what is served",
                excerpt(model)
            ),
            Self::ModelNotReady { model } => {
                format!("the model `{model}` has no ready replica at the moment; try again later")
            }
            Self::VersionNotFound {
                model,
                version,
                near,
            } => format!(
                "the model `{model}` has no version `{}`; leave `x-model-version` out{}{}",
                excerpt(version),
                if near.is_empty() {
                    ""
                } else {
                    ", or name one of: "
                },
                near.join(", ")
            ),
            Self::VersionNotReady { model, version } => format!(
                "version `{version}` of `{model}` has no ready replica at the moment; try again later, or without `x-model-version`"
            ),
            Self::Body(error) => error.to_string(),
            Self::SchemaViolation { violation, model } => {
                format!("the schema for the model `{model}` refuses the request: {violation}")
            }
            Self::BodyTooLarge { max } => {
                format!("the request body is larger than {max} bytes (`maxBodyBytes`); send less")
            }
            Self::BodyEncoded => {
                "the request body is compressed (`content-encoding`); send it uncompressed".into()
            }
            Self::BodySigned { header } => format!(
                "the servers of this model know it by another name, and the body is signed (`{header}`); send it unsigned, or name the model as its servers do"
            ),
            Self::HeaderDisagrees { name } => format!(
                "the header `{name}` is given more than once with different values; give it once"
            ),
            Self::HeaderInvalid { name, expected } => {
                format!("the header `{name}` must be {expected}")
            }
            Self::Suspended { bucket, reason } => format!(
                "suspended by bucket `{bucket}`{}{}; ask the operator of this service",
                if reason.is_some() { ": " } else { "" },
                reason.as_deref().unwrap_or_default()
            ),
            Self::OverBudget(s) => format!(
                "over the budget of bucket `{}`: the request costs {} {}, {} of {} are left; try again in {} s",
                s.bucket,
                amount(s.cost),
                s.kind,
                amount(s.remaining),
                amount(s.capacity),
                s.retry_after.max(1)
            ),
            Self::CostExceedsCapacity(s) => format!(
                "the request costs {} {}, more than bucket `{}` ever holds ({}); {}",
                amount(s.cost),
                s.kind,
                s.bucket,
                amount(s.capacity),
                s.costs.fix
            ),
            Self::CapacityReduced(s) => format!(
                "the request costs {} {}, more than bucket `{}` holds while capacity is reduced ({}); try again in {} s, or {}",
                amount(s.cost),
                s.kind,
                s.bucket,
                amount(s.capacity),
                s.retry_after.max(1),
                s.costs.alternative
            ),
            Self::Contended(s) => format!(
                "other requests change bucket `{}` at the same time; try again in {} s",
                s.bucket,
                s.retry_after.max(1)
            ),
        }
    }
}

/// An amount in thousandths, as a decimal.
fn amount(milli: u64) -> String {
    let (whole, rest) = (milli / 1000, milli % 1000);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:03}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// At most 128 characters of a text that a client sent.
fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(128).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}
