//! Outcome of a refused request: its metrics, its filter state and its response.
//!
//! Invariant: whatever was known of the request before the refusal (model, version, tenant, rule) is in the filter state, in the
//! metrics and in the headers of the response.

use std::rc::Rc;

use headgate_contract::{Tagging, names};
use headgate_dialect::Dialect;

use crate::decision::Decision;
use crate::effects::{Effect, Name, Text};
use crate::headers::Headers;
use crate::labels::{Labels, UNKNOWN};
use crate::limit::Denied;
use crate::metrics;
use crate::refusal::Refusal;
use crate::tags::{self, HEADER_TENANT};
use crate::tenants::{Counted, Tenants};

const HEADER_RULE: &str = "x-headgate-rule";
const HEADER_REASON: &str = "x-headgate-reason";
pub(crate) const STATE_RULE: &str = "headgate.rule";
pub(crate) const STATE_REASON: &str = "headgate.reason";

/// The known parts of a refused request.
#[derive(Debug, Default)]
pub(crate) struct RefusedRequest<'a> {
    pub(crate) labels: Labels<'a>,
    /// The namespace, if it is known.
    pub(crate) namespace: Option<&'a Rc<str>>,
    /// The model: its id, else the name that the client wrote.
    pub(crate) model: Option<&'a str>,
    pub(crate) tenant: Option<Rc<str>>,
    /// The tagging of the model, or of the namespace.
    pub(crate) tagging: Option<&'a Tagging>,
}

/// Refuses a request when only its headers are known.
#[cold]
pub(crate) fn refuse_unknown(
    refusal: Box<Refusal>,
    dialect: &Dialect,
    headers: &Headers,
    tenants: &mut Tenants,
) -> Decision {
    let denied: Box<Denied> = refusal.into();
    RefusedRequest::default().refuse(&denied, dialect, headers, tenants)
}

impl RefusedRequest<'_> {
    /// Refuses the request and counts it.
    #[cold]
    pub(crate) fn refuse(
        &self,
        denied: &Denied,
        dialect: &Dialect,
        headers: &Headers,
        tenants: &mut Tenants,
    ) -> Decision {
        let reason = denied.refusal.code();
        let rule = denied.limit.as_ref().map(|limit| limit.rule.id());
        let mut effects = vec![self.labels.count(reason)];
        if let Some(rule) = rule {
            let Labels { model, version, .. } = self.labels;
            let reserves = metrics::reserves(rule, model, version, reason);
            effects.push(Effect::Count(reserves, 1));
        }
        if let (Some(namespace), Some(metrics)) =
            (self.namespace, self.tagging.and_then(|t| t.tenant_metrics))
        {
            let (tenant, counted) = (self.tenant.as_deref(), Counted::Request(reason));
            let metric = tenants.metric(namespace, metrics.max_tenants, tenant, counted);
            effects.push(Effect::Count(metric, 1));
        }
        if self.tagging.is_none_or(|tagging| tagging.filter_state) {
            self.state(rule, reason, &mut effects);
        }
        let mut reply = denied.refusal.reply(dialect, is_grpc(headers));
        reply.headers.extend(self.headers(rule, reason));
        Decision::Reply(effects, reply.into())
    }

    fn state(&self, rule: Option<&str>, reason: &'static str, effects: &mut Vec<Effect>) {
        let model = self.model.map(|model| tags::clean(model.as_bytes()));
        let values: [(&'static str, Option<Text>); 6] = [
            ("headgate.model", model.map(Text::Own)),
            ("headgate.version", unless_empty(self.labels.version)),
            ("headgate.lane", unless_empty(self.labels.lane)),
            ("headgate.tenant", self.tenant.as_ref().map(Text::from)),
            (STATE_RULE, rule.and_then(unless_empty)),
            (STATE_REASON, Some(Text::Fixed(reason))),
        ];
        for (name, value) in values {
            effects.extend(value.map(|value| Effect::SetState(name.into(), value)));
        }
    }

    /// Only names of the plan and the tenant of the client are repeated to the client.
    fn headers(&self, rule: Option<&str>, reason: &str) -> Vec<(Name, String)> {
        let model = Some(self.labels.model).filter(|model| *model != UNKNOWN);
        let version = Some(self.labels.version).filter(|version| !version.is_empty());
        let values: [(&'static str, Option<&str>); 5] = [
            (names::HEADER_MODEL, model),
            (names::HEADER_VERSION, version),
            (HEADER_TENANT, self.tenant.as_deref()),
            (HEADER_RULE, rule),
            (HEADER_REASON, Some(reason)),
        ];
        let known = values.into_iter().filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((name.into(), value.to_owned()))
        });
        known.collect()
    }
}

fn unless_empty(value: &str) -> Option<Text> {
    (!value.is_empty()).then(|| Text::Own(value.to_owned()))
}

/// Whether it is a gRPC request.
pub(crate) fn is_grpc(headers: &Headers) -> bool {
    let content = headers.get("content-type").unwrap_or_default();
    content.starts_with(b"application/grpc")
}
