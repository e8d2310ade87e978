//! Tags as members of `baggage` (W3C Baggage): members of others stay, and those with our prefix are replaced.

use headgate_contract::names;

use super::{HEADER_TENANT, Sent, Tags, set};
use crate::effects::{Effect, Text};
use crate::endpoint::decode;
use crate::headers::Headers;

const BAGGAGE: &str = "baggage";

/// Most bytes of `baggage` that every reader has to keep, and most members (W3C Baggage, section "Limits").
const MAX_BAGGAGE: usize = 8192;
const MAX_MEMBERS: usize = 64;

/// `baggage` being written.
#[derive(Default)]
struct Baggage {
    list: String,
    members: usize,
    left_out: u64,
}

/// Replaces the members of `baggage` with our prefix by these tags. Members of others come first. Returns how many tags did not
/// fit.
pub(super) fn write_baggage(
    sent: Sent<'_>,
    tags: Option<&Tags<'_>>,
    effects: &mut Vec<Effect>,
) -> u64 {
    let mut baggage = Baggage {
        list: String::with_capacity(160),
        members: 0,
        left_out: 0,
    };
    let any = sent.headers.get(BAGGAGE).is_some();
    let forged = any && baggage.keep(sent.headers, ours);
    if tags.is_none() && !forged {
        return 0;
    }
    if let Some(tags) = tags {
        for (tag, text) in tags.fixed() {
            baggage.push(&[tag.member], text);
        }
        for (name, text) in &tags.own {
            baggage.push(&[names::BAGGAGE_PREFIX, name, "="], text);
        }
    }
    if !baggage.list.is_empty() {
        set(sent, BAGGAGE.into(), baggage.list.into(), effects);
    } else if any {
        effects.push(Effect::RemoveRequestHeader(BAGGAGE.into()));
    }
    baggage.left_out
}

impl Baggage {
    /// Copies the members, except for these. Returns whether there were any of these.
    #[inline(never)]
    fn keep(&mut self, headers: &Headers, except: fn(&[u8]) -> bool) -> bool {
        let mut forged = false;
        for header in headers.get_all(BAGGAGE) {
            for member in header.split(|b| *b == b',') {
                let trimmed = member.trim_ascii();
                if except(member) {
                    forged = true;
                } else if !trimmed.is_empty() {
                    self.separate();
                    self.list.push_str(&String::from_utf8_lossy(trimmed));
                }
            }
        }
        forged
    }

    /// Adds a tag, if it fits.
    fn push(&mut self, key: &[&str], value: &str) {
        if value.is_empty() {
            return;
        }
        let comma = usize::from(self.members > 0);
        let bytes: usize = key.iter().map(|piece| piece.len()).sum();
        if self.members >= MAX_MEMBERS
            || self.list.len() + comma + bytes + value.len() > MAX_BAGGAGE
        {
            self.left_out += 1;
            return;
        }
        self.separate();
        key.iter().for_each(|piece| self.list.push_str(piece));
        self.list.push_str(value);
    }

    fn separate(&mut self) {
        if self.members > 0 {
            self.list.push(',');
        }
        self.members += 1;
    }
}

/// Whether a `baggage` member has our prefix to the most liberal readers: several decode percent-encoding in keys, and some read
/// `+` as a space, which they strip.
fn ours(member: &[u8]) -> bool {
    let prefix = names::BAGGAGE_PREFIX;
    read_liberally(member)
        .get(..prefix.len())
        .is_some_and(|key| key.eq_ignore_ascii_case(prefix))
}

/// Whether the key of a `baggage` member is that of the tenant to the most liberal readers.
fn names_tenant(member: &[u8]) -> bool {
    let member = read_liberally(member);
    let key = member.split(['=', ';']).next().unwrap_or_default();
    let key = key.trim_end_matches(|c: char| !c.is_ascii_graphic());
    key.eq_ignore_ascii_case("headgate.tenant")
}

/// A `baggage` member decoded, without what stands before its key.
fn read_liberally(member: &[u8]) -> String {
    let spaced: Vec<u8> = member
        .iter()
        .map(|&b| if b == b'+' { b' ' } else { b })
        .collect();
    let decoded = decode(&spaced);
    let key = decoded.trim_start_matches(|c: char| !c.is_ascii_graphic());
    key.to_owned()
}

/// Whether a request has a tag of the tenant.
pub(crate) fn claims_tenant(headers: &Headers) -> bool {
    headers.get(HEADER_TENANT).is_some()
        || headers.get(BAGGAGE).is_some_and(|_| {
            let mut members = headers
                .get_all(BAGGAGE)
                .flat_map(|h| h.split(|b| *b == b','));
            members.any(names_tenant)
        })
}

/// Replaces the tags of the tenant that the hop before wrote, or removes them.
#[cold]
pub(crate) fn replace_tenant(headers: &Headers, tenant: Option<&str>, effects: &mut Vec<Effect>) {
    let sent = Sent {
        headers,
        current: false,
    };
    let tenant = tenant.unwrap_or_default();
    match tenant.is_empty() {
        false => set(
            sent,
            HEADER_TENANT.into(),
            Text::Own(tenant.to_owned()),
            effects,
        ),
        true => effects.push(Effect::RemoveRequestHeader(HEADER_TENANT.into())),
    }
    if headers.get(BAGGAGE).is_none() {
        return;
    }
    let mut baggage = Baggage::default();
    baggage.keep(headers, names_tenant);
    baggage.push(&[names::BAGGAGE_PREFIX, "tenant="], tenant);
    match baggage.list.is_empty() {
        false => set(sent, BAGGAGE.into(), baggage.list.into(), effects),
        true => effects.push(Effect::RemoveRequestHeader(BAGGAGE.into())),
    }
}
