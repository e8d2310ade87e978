//! The choice of a version: the pin of the request, or the pick of its session.

use std::cell::OnceCell;
use std::rc::Rc;

use headgate_contract::{SessionKey, UnknownVersion, names};

use super::unserved::not_ready;
use super::{Decider, Subject};
use crate::attributes::Attributes;
use crate::compiled::Model;
use crate::effects::Effect;
use crate::facts::single;
use crate::labels::Labels;
use crate::metrics;
use crate::pick::{Lane, Pinned, Version};
use crate::refusal::Refusal;
use crate::responses::Response;
use crate::session;
use crate::tag_rules::{Matched, Rule};
use crate::vm::Vm;

/// The knowledge about a request before its version is chosen.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'r> {
    /// Its tag rule.
    pub(super) rule: Option<&'r Rule>,
    /// Its session, if a rule needed it.
    pub(super) session: &'r OnceCell<Session>,
}

/// The key of a session, and whether it is the fingerprint of the conversation.
pub(super) type Session = (u64, bool);

impl<'a> Decider<'a> {
    /// The tag rule of a request.
    pub(super) fn matched(
        &self,
        subject: Subject<'a>,
        attributes: &Attributes<'_>,
        session: &OnceCell<Session>,
    ) -> Result<Option<Matched<'a>>, Box<Refusal>> {
        match &subject.rules.tag_rules {
            Some(rules) if self.tagging => rules.find(attributes, &|| {
                session.get_or_init(|| self.session(subject, attributes)).0
            }),
            _ => Ok(None),
        }
    }

    /// The session of a request; a random one if nothing names it.
    fn session(&self, subject: Subject<'_>, attributes: &Attributes<'_>) -> Session {
        let list = &subject.rules.tagging.session_keys;
        let (tenant, model) = (attributes.tenant, attributes.model);
        match session::key(list, attributes.headers, self.request.body, tenant, model) {
            Some((key, source)) => (key, *source == SessionKey::Fingerprint),
            None => (self.host.next(), false),
        }
    }

    /// The version, and the lane by which it was chosen; no lane if the previous hop chose it, no version if the proxy has no route for it.
    pub(super) fn version(
        &self,
        vm: &mut Vm,
        subject: Subject<'a>,
        chosen: Chosen<'_>,
        attributes: &Attributes<'_>,
        labels: Labels<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<(Option<&'a Rc<Version>>, &'static str), Box<Refusal>> {
        let headers = self.request.headers;
        let Some(model) = subject.model else {
            return Ok((None, ""));
        };
        if !self.tagging {
            let version = self.previous_hop_header(names::HEADER_VERSION);
            return Ok((version.and_then(|v| model.picker.known(v)), ""));
        }
        let tagging = &subject.rules.tagging;
        let in_body = self.request.body.and_then(|body| body.version.as_deref());
        let in_path = self.request.names.version.as_deref().or(in_body);
        let in_path = in_path.map(str::as_bytes);
        let in_header = single(headers, names::HEADER_VERSION)?;
        if let Some(pin) = in_path.or(in_header)
            && let Some(pinned) = pinned(model, pin, tagging.unknown_version)?
        {
            return Ok((Some(pinned), Lane::Pin.as_str()));
        }
        if let Some(version) = self.continued(model, labels.namespace) {
            return Ok((Some(version), Lane::Response.as_str()));
        }
        if let Some(version) = chosen.rule.and_then(|rule| rule.version.as_ref()) {
            if model.picker.pin(version.as_str()) == Pinned::Ready
                && let Some(version) = model.picker.known(version.as_str())
            {
                return Ok((Some(version), Lane::Rule.as_str()));
            }
            effects.push(not_ready_for_rule(&model.id, version.as_str()));
        }
        let session = chosen.session;
        let (session, fingerprint) = *session.get_or_init(|| self.session(subject, attributes));
        if fingerprint {
            let metric = vm.counters.fingerprint(model, &labels, session);
            effects.push(Effect::Count(metric, 1));
        }
        let Some((mut version, mut lane)) = model.picker.version(session) else {
            return Err(not_ready(model));
        };
        if vm.outages.any() && version.has_others {
            let names = (labels.namespace, &*model.id);
            let picked = (version, lane);
            (version, lane) = self.reachable(vm, &model.picker, (session, names), picked, effects);
        }
        Ok((
            Some(version).filter(|version| version.routed),
            lane.as_str(),
        ))
    }
}

impl<'a> Decider<'a> {
    /// The version that gave the response which the request continues, if it is known and ready.
    fn continued(&self, model: &'a Model, namespace: &str) -> Option<&'a Rc<Version>> {
        let id = self.request.body?.previous_response_id.as_deref()?;
        let response = Response {
            namespace,
            model: &model.id,
            id,
        };
        let version = response.version(self.host)?;
        match model.picker.pin(&version) {
            Pinned::Ready => model.picker.known(&version),
            _ => None,
        }
    }
}

/// The counter of a request whose rule names a version without a ready endpoint.
#[cold]
fn not_ready_for_rule(model: &str, version: &str) -> Effect {
    let metric = metrics::by_version("rule_versions_not_ready_total", model, version);
    Effect::Count(metric, 1)
}

/// The version that a request is pinned to; `None` if it is unknown and weights decide.
#[inline(never)]
fn pinned<'a>(
    model: &'a Model,
    pin: &[u8],
    unknown: UnknownVersion,
) -> Result<Option<&'a Rc<Version>>, Box<Refusal>> {
    let version = String::from_utf8_lossy(pin).into_owned();
    let id = || model.id.to_string();
    match (model.picker.pin(&version), model.picker.known(&version)) {
        (Pinned::Ready, known) => Ok(known),
        (Pinned::NotReady, _) => {
            let model = id();
            Err(Refusal::VersionNotReady { model, version }.into())
        }
        (Pinned::Unknown { near }, _) if unknown == UnknownVersion::Refuse => {
            let refusal = Refusal::VersionNotFound {
                model: id(),
                version,
                near,
            };
            Err(refusal.into())
        }
        (Pinned::Unknown { .. }, _) => Ok(None),
    }
}
