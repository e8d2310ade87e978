//! The tenant of a request: the tag of a trusted previous hop, else the first source in `tenantFrom` that the request has.
//!
//! Invariant: a hop that follows and does not trust the previous one replaces its tag.

use std::borrow::Cow;
use std::rc::Rc;

use headgate_contract::pattern::matches;
use headgate_contract::{Attribute, Role, Tagging, TrustedHop};
use sha2::{Digest, Sha256};

use super::Decider;
use crate::attributes::{Attributes, hexadecimal, spiffe_id};
use crate::facts::{invalid, single};
use crate::refusal::Refusal;
use crate::tags::{self, HEADER_TENANT};

impl Decider<'_> {
    /// The tenant, encoded.
    pub(super) fn tenant(
        &self,
        tagging: &Tagging,
        attributes: &Attributes<'_>,
    ) -> Result<Option<Rc<str>>, Box<Refusal>> {
        if self.claims_tenant() && self.trusts_hop(tagging) {
            let tenant = self.previous_hop_header(HEADER_TENANT);
            return Ok(tenant.map(Into::into));
        }
        for source in &tagging.tenant_from {
            if let Some(tenant) = tenant_of(source, attributes)? {
                return Ok(Some(tenant.as_ref().into()));
            }
        }
        Ok(None)
    }

    /// Whether this hop follows, and the request has a tenant's tag that it must not believe.
    pub(super) fn distrusts_tenant(&self, tagging: &Tagging) -> bool {
        self.config.role == Role::Follow
            && tags::claims_tenant(self.request.headers)
            && !self.trusts_hop(tagging)
    }

    /// Whether this hop follows, and the hop before names a tenant.
    fn claims_tenant(&self) -> bool {
        self.config.role == Role::Follow && self.request.headers.get(HEADER_TENANT).is_some()
    }

    fn trusts_hop(&self, tagging: &Tagging) -> bool {
        let hops = &tagging.trusted_hops;
        if hops.is_empty() || hops.contains(&TrustedHop::Any) {
            return !hops.is_empty();
        }
        let peer = spiffe_id(self.host);
        let trusts = |hop: &TrustedHop| match (hop, &peer) {
            (TrustedHop::SpiffeId(pattern), Some(id)) => matches(pattern, id),
            _ => false,
        };
        hops.iter().any(trusts)
    }
}

/// The tenant by one source. A header that is too long is refused, so that its client sees the error.
fn tenant_of<'a>(
    source: &Attribute,
    attributes: &Attributes<'a>,
) -> Result<Option<Cow<'a, str>>, Box<Refusal>> {
    if let Attribute::Header(name) = source {
        let name = name.as_str();
        let Some(tenant) = single(attributes.headers, name)?.map(tags::encoded) else {
            return Ok(None);
        };
        if tenant.len() > tags::MAX_VALUE {
            return Err(invalid(name, "at most 128 bytes long, percent-encoded"));
        }
        return Ok(Some(tenant));
    }
    Ok(attributes.value(source)?.map(bounded))
}

/// A value as a tenant. One that does not fit becomes its SHA-256: its owner cannot shorten it, and cut values collide.
#[inline(never)]
fn bounded(value: Cow<'_, str>) -> Cow<'static, str> {
    let encoded = tags::encoded(value.as_bytes());
    match encoded.len() > tags::MAX_VALUE {
        true => hexadecimal(&Sha256::digest(value.as_bytes())).into(),
        false => encoded.into_owned().into(),
    }
}
