//! The choice of a version: the pin of the request, or the pick of its session.

use std::rc::Rc;

use headgate_contract::{SessionKey, UnknownVersion, names};

use super::unserved::not_ready;
use super::{Decider, Subject};
use crate::compiled::Model;
use crate::effects::Effect;
use crate::facts::single;
use crate::labels::Labels;
use crate::pick::{Lane, Pinned, Version};
use crate::refusal::Refusal;
use crate::responses::Response;
use crate::session;
use crate::vm::Vm;

impl<'a> Decider<'a> {
    /// The version, and the lane by which it was chosen; no lane if the previous hop chose it, no version if the proxy has no route for it.
    pub(super) fn version(
        &self,
        vm: &mut Vm,
        subject: Subject<'a>,
        tenant: Option<&str>,
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
        let tenant = tenant.unwrap_or_default();
        let list = &tagging.session_keys;
        let session = match session::key(list, headers, self.request.body, tenant, &model.id) {
            Some((key, SessionKey::Fingerprint)) => {
                effects.push(Effect::Count(
                    vm.counters.fingerprint(model, &labels, key),
                    1,
                ));
                key
            }
            Some((key, _)) => key,
            None => self.host.next(),
        };
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
