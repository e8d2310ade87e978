//! Tags of a request: those that the client sent are stripped, and those that this hop decided are written.
//!
//! Invariant: after the hop that decides, every header, `baggage` member and filter state with the name of a tag was written by that
//! hop. Values from clients are percent-encoded except for plain visible ASCII, and at most 128 bytes long, so they cannot break a
//! header, `baggage` or an access log.

mod baggage;

use std::borrow::Cow;
use std::ops::Deref;
use std::rc::Rc;

use headgate_contract::{OwnTag, TagSource, Tagging, names};

use crate::effects::{Effect, Name, Text};
use crate::headers::Headers;

use baggage::write_baggage;
pub(crate) use baggage::{claims_tenant, replace_tenant};

/// Greatest length of a tag's value, bytes.
pub const MAX_VALUE: usize = 128;

/// Header with the tenant, for later hops.
pub(crate) const HEADER_TENANT: &str = "x-headgate-tenant";
/// Header with the lane (`base`, `canary`, `pin`, `response` or `rule`), for later hops.
pub(crate) const HEADER_LANE: &str = "x-headgate-lane";

/// A tag of Headgate, and where it is written.
struct BuiltInTag {
    header: &'static str,
    /// The start of its member of `baggage`, up to the value.
    member: &'static str,
    state: &'static str,
}

const BUILT_IN: [BuiltInTag; 4] = [
    BuiltInTag {
        header: names::HEADER_MODEL,
        member: "headgate.model=",
        state: "headgate.model",
    },
    BuiltInTag {
        header: names::HEADER_VERSION,
        member: "headgate.version=",
        state: "headgate.version",
    },
    BuiltInTag {
        header: HEADER_LANE,
        member: "headgate.lane=",
        state: "headgate.lane",
    },
    BuiltInTag {
        header: HEADER_TENANT,
        member: "headgate.tenant=",
        state: "headgate.tenant",
    },
];

/// The value of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A constant of the code.
    Fixed(&'static str),
    /// A value that is shared, as of the configuration.
    Shared(&'a Rc<str>),
    /// A borrowed value, copied when it is written.
    Copied(&'a str),
}

impl Value<'_> {
    fn text(self) -> Text {
        match self {
            Self::Fixed(text) => Text::Fixed(text),
            Self::Shared(text) => text.into(),
            Self::Copied(text) => Text::Own(text.to_owned()),
        }
    }
}

impl Deref for Value<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Copied(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// The tags of one request. An empty one is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a> {
    /// The model's id, the version picked, the lane (`base`, `canary`, `pin`, `response` or `rule`), and the tenant, clean.
    pub fixed: [Value<'a>; 4],
    /// Own tags: name and clean value.
    pub own: Vec<(&'a str, Text)>,
}

impl Tags<'_> {
    /// The value that this hop writes to the header of a tag, empty if it does not write the tag; `None` if no tag has that header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        if let Some((_, value)) = self.fixed().find(|(tag, _)| tag.header == name) {
            return Some(value);
        }
        let tag = name.strip_prefix(names::TAG_HEADER_PREFIX)?;
        Some(self.own(tag).map_or("", |value| &**value))
    }

    fn fixed(&self) -> impl Iterator<Item = (&'static BuiltInTag, &Value<'_>)> {
        BUILT_IN.iter().zip(&self.fixed)
    }

    fn own(&self, name: &str) -> Option<&Text> {
        self.own.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

/// The own tags of a request.
#[must_use]
pub fn own<'a>(tagging: &'a Tagging, headers: &Headers) -> Vec<(&'a str, Text)> {
    match tagging.tags.is_empty() {
        true => Vec::new(),
        false => values(&tagging.tags, headers),
    }
}

#[inline(never)]
fn values<'a>(tags: &'a [OwnTag], headers: &Headers) -> Vec<(&'a str, Text)> {
    let value = |tag: &'a OwnTag| {
        let value = match &tag.source {
            TagSource::Value(value) => value.clone(),
            TagSource::Header(name) => clean(headers.get(name.as_str())?),
        };
        (!value.is_empty()).then_some((tag.name.as_str(), value.into()))
    };
    tags.iter().filter_map(value).collect()
}

/// The headers that the client sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// As they were read.
    pub headers: &'a Headers,
    /// Whether they are still the headers of the request.
    pub current: bool,
}

/// Strips the tags that the client sent and writes ours. Returns how many did not fit into `baggage`.
pub fn write(tags: &Tags<'_>, sent: Sent<'_>, tagging: &Tagging, effects: &mut Vec<Effect>) -> u64 {
    let alike = sent_tags(sent.headers);
    if !alike.is_empty() {
        remove(&alike, tags, effects);
    }
    for (tag, value) in tags.fixed() {
        if !value.is_empty() {
            set(sent, tag.header.into(), value.text(), effects);
        }
    }
    if !tags.own.is_empty() {
        set_own(&tags.own, sent, effects);
    }
    let left_out = write_baggage(sent, tagging.baggage.then_some(tags), effects);
    if tagging.filter_state {
        state(tags, effects);
    }
    left_out
}

/// Removes these headers that the client sent, except those that will be set.
#[inline(never)]
fn remove(sent: &[&[u8]], tags: &Tags<'_>, effects: &mut Vec<Effect>) {
    for name in sent {
        if !writes(tags, name) {
            effects.push(Effect::RemoveRequestHeader(lossy(name).into()));
        }
    }
}

#[inline(never)]
fn set_own(own: &[(&str, Text)], sent: Sent<'_>, effects: &mut Vec<Effect>) {
    for (name, value) in own {
        let name = format!("{}{name}", names::TAG_HEADER_PREFIX);
        set(sent, name.into(), value.clone(), effects);
    }
}

/// Whether a header that the client sent will be set.
fn writes(tags: &Tags<'_>, name: &[u8]) -> bool {
    let fixed = |(tag, value): (&BuiltInTag, &Value<'_>)| {
        tag.header.as_bytes() == name && !value.is_empty()
    };
    let own = |name: &[u8]| tags.own.iter().any(|(n, _)| n.as_bytes() == name);
    tags.fixed().any(fixed)
        || name
            .strip_prefix(names::TAG_HEADER_PREFIX.as_bytes())
            .is_some_and(own)
}

/// Strips the tags that the client sent, for a request that is not tagged.
#[must_use]
pub fn strip(headers: &Headers) -> Vec<Effect> {
    let plain = [names::HEADER_MODEL, names::HEADER_VERSION];
    let sent = plain.into_iter().filter(|name| headers.get(name).is_some());
    let mut effects: Vec<_> = sent
        .map(|name| Effect::RemoveRequestHeader(name.into()))
        .collect();
    let alike = sent_tags(headers).into_iter();
    effects.extend(alike.map(|n| Effect::RemoveRequestHeader(lossy(n).into())));
    let sent = Sent {
        headers,
        current: true,
    };
    write_baggage(sent, None, &mut effects);
    effects
}

/// The tags as filter state, for access logs.
pub fn state(tags: &Tags<'_>, effects: &mut Vec<Effect>) {
    for (tag, value) in tags.fixed() {
        if !value.is_empty() {
            effects.push(Effect::SetState(tag.state.into(), value.text()));
        }
    }
    let own = tags.own.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in own {
        let path = format!("{}{name}", names::FILTER_STATE_PREFIX);
        effects.push(Effect::SetState(path.into(), value.clone()));
    }
}

/// Headers that are tags, or that a server could read as one, each once. `x-model` and `x-model-version` themselves are not among
/// them.
fn sent_tags(headers: &Headers) -> Vec<&[u8]> {
    let mut sent = Vec::new();
    for (name, _) in headers.iter().filter(|(name, _)| alike_tag(name)) {
        if !sent.contains(&name) {
            sent.push(name);
        }
    }
    sent
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Servers that pass headers on as variables (CGI, WSGI) read `_` as `-`.
fn alike_tag(name: &[u8]) -> bool {
    let alike = |name: &[u8], tag: &str| {
        let same = |(n, t): (&u8, u8)| *n == t || (*n == b'_' && t == b'-');
        name.len() == tag.len() && name.iter().zip(tag.bytes()).all(same)
    };
    let prefix = names::TAG_HEADER_PREFIX;
    let odd = |tag: &str| name != tag.as_bytes() && alike(name, tag);
    name.first() == Some(&b'x')
        && (name.get(..prefix.len()).is_some_and(|n| alike(n, prefix))
            || odd(names::HEADER_MODEL)
            || odd(names::HEADER_VERSION))
}

/// Sets a header. No effect if it has the value already; removed first if it is there several times.
fn set(sent: Sent<'_>, name: Name, value: Text, effects: &mut Vec<Effect>) {
    match sent.headers.get(&name) {
        None if sent.current => effects.push(Effect::AddRequestHeader(name, value)),
        first => replace(sent.headers, first, name, value, effects),
    }
}

#[inline(never)]
fn replace(
    headers: &Headers,
    first: Option<&[u8]>,
    name: Name,
    value: Text,
    effects: &mut Vec<Effect>,
) {
    let more = headers.get_all(&name).nth(1).is_some();
    if first == Some(value.as_bytes()) && !more {
        return;
    }
    if more {
        effects.push(Effect::RemoveRequestHeader(name.clone()));
    }
    effects.push(Effect::SetRequestHeader(name, value));
}

/// A value of a client, percent-encoded except for plain characters, cut to 128 bytes.
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

/// A value of a client, percent-encoded except for plain characters, not cut: equal only for equal values.
#[must_use]
pub fn encoded(value: &[u8]) -> Cow<'_, str> {
    let text = std::str::from_utf8(value);
    if let Some(text) = text.ok().filter(|text| text.bytes().all(plain)) {
        return text.into();
    }
    let mut out = String::with_capacity(value.len());
    value.iter().for_each(|&byte| push(&mut out, byte));
    out.into()
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

/// Whether it is visible ASCII without a meaning in a header, in `baggage` or in an encoded value.
fn plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\' | b'%')
}
