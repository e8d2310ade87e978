//! Key of a session: a 64-bit hash of the first value of a configurable list that the request has.
//!
//! The last entry needs nothing from the client: chat clients resend the whole conversation each turn, so the hash of tenant, model
//! and first user message is the same on every turn.

use std::hash::Hasher;

use headgate_contract::SessionKey;
use headgate_dialect::Body;
use siphasher::sip::SipHasher13;

use crate::headers::Headers;

/// Key of the hash: the bytes of `headgate` and `sessions`, little-endian. Fixed, so that every proxy agrees.
const KEY: (u64, u64) = (
    u64::from_le_bytes(*b"headgate"),
    u64::from_le_bytes(*b"sessions"),
);

/// The session's key, and what it was taken from; `None` if the request has nothing of the list, and so is
/// picked for at random.
#[must_use]
pub fn key<'l>(
    list: &'l [SessionKey],
    headers: &Headers,
    body: Option<&Body>,
    tenant: &str,
    model: &str,
) -> Option<(u64, &'l SessionKey)> {
    list.iter()
        .find_map(|source| Some((read(source, headers, body, tenant, model)?, source)))
}

fn read(
    source: &SessionKey,
    headers: &Headers,
    body: Option<&Body>,
    tenant: &str,
    model: &str,
) -> Option<u64> {
    let fields = body.map(|b| &b.session);
    let field = match source {
        SessionKey::Header(name) => return present(headers.get(name.as_str())?),
        SessionKey::Fingerprint => return fingerprint(body?, tenant, model),
        SessionKey::PromptCacheKey => fields?.prompt_cache_key.as_deref(),
        SessionKey::Conversation => fields?.conversation.as_deref(),
        SessionKey::User => fields?.user.as_deref(),
        SessionKey::SafetyIdentifier => fields?.safety_identifier.as_deref(),
        SessionKey::MetadataUserId => fields?.metadata_user_id.as_deref(),
    };
    present(field?.as_bytes())
}

/// Returns the hash of a value, or `None` if it is empty: otherwise all clients with an empty value would share one session.
fn present(value: &[u8]) -> Option<u64> {
    (!value.is_empty()).then(|| hash(&[value]))
}

fn fingerprint(body: &Body, tenant: &str, model: &str) -> Option<u64> {
    let message = body.first_user_message?.to_le_bytes();
    Some(hash(&[tenant.as_bytes(), model.as_bytes(), &message]))
}

/// Hashes the length of each part first, so (`ab`, `c`) and (`a`, `bc`) differ.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(KEY.0, KEY.1);
    for part in parts {
        hasher.write_u64(part.len() as u64);
        hasher.write(part);
    }
    hasher.finish()
}
