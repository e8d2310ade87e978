//! Tags on the way in: what the client sent is stripped, what was decided is written.
//!
//! Invariant: behind the deciding hop, every header, `baggage` member and filter state with a tag's name was
//! written by it. Values that come from clients are percent-encoded where they are not plain visible ASCII and
//! are at most 128 bytes long, so that they can break no header, no `baggage` and no access log.

use headgate_contract::{TagSource, Tagging, names};

use crate::effects::{Effect, Name};
use crate::endpoint::decode;
use crate::headers::Headers;

/// Greatest length of a tag's value, bytes.
pub const MAX_VALUE: usize = 128;

const BAGGAGE: &str = "baggage";

/// The tags of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a> {
    /// The model's id.
    pub model: &'a str,
    /// The version picked.
    pub version: &'a str,
    /// The tenant, clean.
    pub tenant: Option<&'a str>,
    /// `base`, `canary` or `pin`.
    pub lane: &'a str,
    /// Own tags: name and clean value.
    pub own: Vec<(&'a str, String)>,
}

impl Tags<'_> {
    /// What a header that is a tag's is going to hold, empty if the tag is not written; `None` if no tag has
    /// that header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match name {
            names::HEADER_MODEL => return Some(self.model),
            names::HEADER_VERSION => return Some(self.version),
            _ => {}
        }
        let tag = name.strip_prefix(names::TAG_HEADER_PREFIX)?;
        let mut all = self.all();
        Some(all.find(|(n, _)| *n == tag).map_or("", |(_, v)| v))
    }

    /// Names and values of all tags, as filter state and `baggage` have them.
    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let fixed = [
            ("model", self.model),
            ("version", self.version),
            ("lane", self.lane),
        ];
        fixed
            .into_iter()
            .chain(self.tenant.map(|t| ("tenant", t)))
            .chain(self.own.iter().map(|(n, v)| (*n, v.as_str())))
            .filter(|(_, value)| !value.is_empty())
    }
}

/// The own tags a request gets.
#[must_use]
pub fn own<'a>(tagging: &'a Tagging, headers: &Headers<'_>) -> Vec<(&'a str, String)> {
    tagging
        .tags
        .iter()
        .filter_map(|tag| {
            let value = match &tag.source {
                TagSource::Value(value) => value.clone(),
                TagSource::Header(name) => clean(headers.get(name.as_str())?),
            };
            (!value.is_empty()).then_some((tag.name.as_str(), value))
        })
        .collect()
}

/// Strips what the client sent and writes the tags.
#[must_use]
pub fn write(tags: &Tags<'_>, headers: &Headers<'_>, baggage: bool) -> Vec<Effect> {
    let mut effects = Vec::with_capacity(12);
    let mut written: Vec<(Name, &str)> = vec![
        (names::HEADER_MODEL.into(), tags.model),
        (names::HEADER_VERSION.into(), tags.version),
        ("x-headgate-lane".into(), tags.lane),
    ];
    written.extend(tags.tenant.map(|t| ("x-headgate-tenant".into(), t)));
    for (name, value) in &tags.own {
        written.push((format!("{}{name}", names::TAG_HEADER_PREFIX).into(), value));
    }
    for name in sent_tags(headers) {
        if !written.iter().any(|(w, _)| w.as_bytes() == name.as_bytes()) {
            effects.push(Effect::RemoveRequestHeader(name.into()));
        }
    }
    for (name, value) in written {
        effects.extend(set(headers, name, value));
    }
    let members: Vec<_> = if baggage {
        tags.all().collect()
    } else {
        Vec::new()
    };
    effects.extend(write_baggage(headers, &members));
    effects.extend(state(tags));
    effects
}

/// Strips what the client sent, where nothing is decided.
#[must_use]
pub fn strip(headers: &Headers<'_>) -> Vec<Effect> {
    let mut effects: Vec<_> = [names::HEADER_MODEL, names::HEADER_VERSION]
        .into_iter()
        .filter(|name| headers.get(name).is_some())
        .map(|name| Effect::RemoveRequestHeader(name.into()))
        .collect();
    effects.extend(
        sent_tags(headers)
            .into_iter()
            .map(|n| Effect::RemoveRequestHeader(n.into())),
    );
    effects.extend(write_baggage(headers, &[]));
    effects
}

/// The tags as filter state, for access logs.
#[must_use]
pub fn state(tags: &Tags<'_>) -> Vec<Effect> {
    let path = |name: &str| -> Name {
        match name {
            "model" => "headgate.model".into(),
            "version" => "headgate.version".into(),
            "lane" => "headgate.lane".into(),
            "tenant" => "headgate.tenant".into(),
            own => format!("{}{own}", names::FILTER_STATE_PREFIX).into(),
        }
    };
    tags.all()
        .map(|(name, value)| Effect::SetState(path(name), value.to_owned()))
        .collect()
}

/// Headers that are tags or could be taken for one, each once; the two without the prefix only if they are
/// not spelt as they are.
fn sent_tags(headers: &Headers<'_>) -> Vec<String> {
    let mut sent: Vec<String> = Vec::new();
    for (name, _) in headers.iter().filter(|(name, _)| alike_tag(name)) {
        if !sent.iter().any(|known| known.as_bytes() == name) {
            sent.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    sent
}

/// Servers that hand headers on as variables (CGI, WSGI) read `_` as `-`.
fn alike_tag(name: &[u8]) -> bool {
    let alike = |name: &[u8], tag: &str| {
        let same = |(n, t): (&u8, u8)| *n == t || (*n == b'_' && t == b'-');
        name.len() == tag.len() && name.iter().zip(tag.bytes()).all(same)
    };
    let prefix = names::TAG_HEADER_PREFIX;
    let odd = |tag: &str| name != tag.as_bytes() && alike(name, tag);
    name.get(..prefix.len()).is_some_and(|n| alike(n, prefix))
        || odd(names::HEADER_MODEL)
        || odd(names::HEADER_VERSION)
}

/// Sets a header: nothing if it stands so already, removed first if it is there more than once.
fn set(headers: &Headers<'_>, name: Name, value: &str) -> Vec<Effect> {
    let (first, more) = {
        let mut values = headers.get_all(&name);
        (values.next(), values.next().is_some())
    };
    if first == Some(value.as_bytes()) && !more {
        return Vec::new();
    }
    let set = Effect::SetRequestHeader(name.clone(), value.to_owned());
    if more {
        vec![Effect::RemoveRequestHeader(name), set]
    } else {
        vec![set]
    }
}

/// `baggage` without members of ours that the client sent, with these instead.
fn write_baggage(headers: &Headers<'_>, members: &[(&str, &str)]) -> Vec<Effect> {
    let sent: Vec<_> = headers.get_all(BAGGAGE).collect();
    let all: Vec<_> = sent.iter().flat_map(|v| v.split(|b| *b == b',')).collect();
    let kept: Vec<_> = all.iter().filter(|m| !ours(m)).collect();
    if members.is_empty() && kept.len() == all.len() {
        return Vec::new();
    }
    let kept = kept
        .into_iter()
        .map(|m| String::from_utf8_lossy(m.trim_ascii()).into_owned())
        .filter(|m| !m.is_empty());
    let own = members
        .iter()
        .map(|(n, v)| format!("{}{n}={v}", names::BAGGAGE_PREFIX));
    let value = kept.chain(own).collect::<Vec<_>>().join(",");
    if value.is_empty() {
        return vec![Effect::RemoveRequestHeader(BAGGAGE.into())];
    }
    set(headers, BAGGAGE.into(), &value)
}

/// Whether a `baggage` member has a key of ours, as the most liberal of its readers see it: several undo
/// percent-encoding in keys, some read `+` as a space, and strip what looks like one.
fn ours(member: &[u8]) -> bool {
    let spaced: Vec<u8> = member
        .iter()
        .map(|&b| if b == b'+' { b' ' } else { b })
        .collect();
    let prefix = names::BAGGAGE_PREFIX;
    decode(&spaced)
        .trim_start_matches(|c: char| !c.is_ascii_graphic())
        .get(..prefix.len())
        .is_some_and(|key| key.eq_ignore_ascii_case(prefix))
}

/// A client's value, percent-encoded where it is not plain, of at most 128 bytes.
#[must_use]
pub fn clean(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len().min(MAX_VALUE));
    for &byte in value {
        if out.len() + if plain(byte) { 1 } else { 3 } > MAX_VALUE {
            break;
        }
        push(&mut out, byte);
    }
    out
}

/// A client's value, percent-encoded where it is not plain, whole: equal only for equal values.
#[must_use]
pub fn encoded(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for &byte in value {
        push(&mut out, byte);
    }
    out
}

fn push(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if plain(byte) {
        out.push(char::from(byte));
    } else {
        let digit = |d: u8| char::from(HEX[usize::from(d & 15)]);
        out.extend(['%', digit(byte >> 4), digit(byte)]);
    }
}

/// Visible ASCII that means nothing in a header, in `baggage` or in an encoded value.
fn plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\' | b'%')
}
