//! Capture: the values of the JSON fields that a policy names.
//!
//! The reader of a dialect skips what it does not know. So chosen fields are read by a second pass, only where a policy names some.
//!
//! Memory is bounded: 64 values of at most 256 bytes, and eight open containers. How the body is cut changes nothing.

use std::rc::Rc;

use crate::json::{Json, JsonError, Kind, Scalar, Sink, WantedPart};

/// Most fields.
pub const MAX_FIELDS: usize = 64;
/// Longest value, in UTF-8 bytes. A longer one is absent.
const MAX_VALUE: usize = 256;
/// Deepest nesting that is read, as deep as a dialect reads.
const MAX_DEPTH: u8 = 128;

/// A step to a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldStep {
    /// The member of an object with this key. A key longer than 64 bytes is never found.
    Key(String),
    /// The element of a list with this index.
    Index(u32),
}

/// The steps to a field, from the outermost object on. Not empty.
pub type FieldPath = Vec<FieldStep>;

/// Reads the values of fields of one body.
#[derive(Debug)]
pub struct Capture {
    /// `None` after an error: the body's own reader refuses the request.
    json: Option<Json>,
    fields: Fields,
}

/// Receives the events of the body.
#[derive(Debug)]
struct Fields {
    paths: Rc<[FieldPath]>,
    values: Vec<Option<String>>,
    open: Vec<Open>,
    /// A container that is not entered is open.
    skipping: bool,
    /// The fields whose value is the current string.
    wanted: u64,
    text: Vec<u8>,
    too_long: bool,
}

/// An open container on the way to some field.
#[derive(Debug)]
struct Open {
    kind: Kind,
    /// The fields inside of it, a bit each.
    inside: u64,
    /// Of an object: the fields of its current member, or inside of that.
    member: u64,
    /// Of a list: the index of the next element.
    index: u32,
}

impl Capture {
    /// A reader of these fields, at most 64; more are absent.
    #[must_use]
    pub fn new(paths: &Rc<[FieldPath]>) -> Self {
        Self {
            json: Some(Json::new(MAX_DEPTH)),
            fields: Fields {
                paths: Rc::clone(paths),
                values: vec![None; paths.len()],
                open: Vec::new(),
                skipping: false,
                wanted: 0,
                text: Vec::new(),
                too_long: false,
            },
        }
    }

    /// Consumes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(json) = &mut self.json
            && json.push(bytes, &mut self.fields).is_err()
        {
            self.json = None;
        }
    }

    /// The value of each field, in the order of the paths: text, `true`, `false`, or a number with at most six digits after the point.
    /// `None` for a field that is absent, `null`, an object, a list, or longer than 256 bytes. Of a key that is given more than once, the
    /// last value counts, as for most servers.
    #[must_use]
    pub fn values(self) -> Vec<Option<String>> {
        self.fields.values
    }
}

impl Fields {
    /// The fields at or inside the value that begins.
    fn begins(&mut self) -> u64 {
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else {
            return u64::MAX;
        };
        match open.kind {
            Kind::Object => open.member,
            Kind::Array => {
                let index = open.index;
                open.index = index.saturating_add(1);
                let is = |step: &FieldStep| *step == FieldStep::Index(index);
                next(&self.paths, open.inside, depth, is)
            }
        }
    }

    /// Of these fields, those that are the value that begins.
    fn ending(&self, fields: u64) -> u64 {
        let depth = self.open.len();
        self.those(fields, |path| path.len() == depth)
    }

    fn those(&self, fields: u64, are: impl Fn(&FieldPath) -> bool) -> u64 {
        let paths = self.paths.iter().take(MAX_FIELDS).enumerate();
        let bit = |(i, path): (usize, &FieldPath)| u64::from(are(path)) << i;
        fields & paths.map(bit).fold(0, |all, bit| all | bit)
    }

    fn set(&mut self, fields: u64, value: Option<&str>) {
        for (i, known) in self.values.iter_mut().take(MAX_FIELDS).enumerate() {
            if fields >> i & 1 == 1 {
                *known = value.map(str::to_owned);
            }
        }
    }
}

/// Of these fields, those whose path has this step at this depth.
fn next(paths: &[FieldPath], fields: u64, depth: usize, is: impl Fn(&FieldStep) -> bool) -> u64 {
    let mut found = 0;
    for (i, path) in paths.iter().take(MAX_FIELDS).enumerate() {
        let step = path.get(depth.saturating_sub(1));
        if fields >> i & 1 == 1 && step.is_some_and(&is) {
            found |= 1 << i;
        }
    }
    found
}

impl Sink for Fields {
    fn open(&mut self, kind: Kind, _: u64) -> Result<bool, JsonError> {
        let fields = self.begins();
        let depth = self.open.len();
        let ending = self.ending(fields);
        self.set(ending, None);
        let inside = self.those(fields, |path| path.len() > depth);
        if inside == 0 {
            self.skipping = true;
            return Ok(false);
        }
        // Another value of the same key was read before: this one replaces it.
        self.set(inside, None);
        self.open.push(Open {
            kind,
            inside,
            member: 0,
            index: 0,
        });
        Ok(true)
    }

    fn close(&mut self, _: u64) -> Result<(), JsonError> {
        if !std::mem::take(&mut self.skipping) {
            self.open.pop();
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) {
        let depth = self.open.len();
        if let Some(open) = self.open.last_mut() {
            let is = |step: &FieldStep| matches!(step, FieldStep::Key(k) if k.as_bytes() == key);
            open.member = next(&self.paths, open.inside, depth, is);
        }
    }

    fn begin_string(&mut self, _: u64) -> Result<WantedPart, JsonError> {
        let fields = self.begins();
        self.set(fields, None);
        self.wanted = self.ending(fields);
        self.text.clear();
        self.too_long = false;
        Ok(match self.wanted {
            0 => WantedPart::Nothing,
            _ => WantedPart::Text,
        })
    }

    fn length(&mut self, _: u64) {}

    fn text(&mut self, text: &[u8]) {
        self.too_long |= self.text.len() + text.len() > MAX_VALUE;
        if !self.too_long {
            self.text.extend_from_slice(text);
        }
    }

    fn end_string(&mut self, _: u64) -> Result<(), JsonError> {
        if !self.too_long {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            self.set(self.wanted, Some(&text));
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar, _: u64) -> Result<(), JsonError> {
        let fields = self.begins();
        self.set(fields, None);
        let ending = self.ending(fields);
        if ending != 0 {
            let text = match scalar {
                Scalar::Null => None,
                Scalar::Bool(value) => Some(value.to_string()),
                Scalar::Number(number) => number.text(),
            };
            self.set(ending, text.as_deref());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Rc<[FieldPath]> {
        let step = |text: &str| match text.parse() {
            Ok(index) => FieldStep::Index(index),
            Err(_) => FieldStep::Key(text.to_owned()),
        };
        let path = |text: &&str| text.split('.').map(step).collect();
        texts.iter().map(path).collect()
    }

    /// Reads the body in one piece and cut in two at every byte.
    fn captured(body: &str, texts: &[&str]) -> Vec<Option<String>> {
        let paths = paths(texts);
        let read = |parts: [&[u8]; 2]| {
            let mut capture = Capture::new(&paths);
            parts.iter().for_each(|part| capture.push(part));
            capture.values()
        };
        let whole = read([body.as_bytes(), b""]);
        for at in 0..body.len() {
            let cut = body.as_bytes().split_at(at);
            assert_eq!(read([cut.0, cut.1]), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn values_are_text_numbers_and_booleans() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true,"t":0.70,"n":-2,"big":1e30,
            "metadata":{"tier":"g\u006fld","none":null,"more":{"a":1}},"tools":[[1],{"name":"x"},{"name":"\ud83d\ude00"}]}"#;
        for (path, value) in [
            ("model", Some("m")),
            ("stream", Some("true")),
            ("t", Some("0.7")),
            ("n", Some("-2")),
            ("big", None),
            ("metadata.tier", Some("gold")),
            ("metadata.none", None),
            ("metadata.more", None),
            ("metadata.more.a", Some("1")),
            ("metadata", None),
            ("messages.0.role", Some("user")),
            ("messages.1.role", None),
            ("tools.0.0", Some("1")),
            ("tools.0.name", None),
            ("tools.1.name", Some("x")),
            ("tools.2.name", Some("😀")),
            ("tier", None),
            ("model.x", None),
        ] {
            let found = captured(body, &[path, "other"]);
            assert_eq!(found, [value.map(str::to_owned), None], "{path}");
        }
        let both = captured(body, &["metadata.tier", "stream", "metadata.tier"]);
        let texts: Vec<_> = both.iter().map(|v| v.as_deref().unwrap_or("-")).collect();
        assert_eq!(texts, ["gold", "true", "gold"]);
    }

    #[test]
    fn the_last_of_several_values_counts() {
        for (body, value) in [
            (r#"{"a":{"b":"1"},"a":{"b":"2"}}"#, Some("2")),
            (r#"{"a":{"b":"1"},"a":{"c":"2"}}"#, None),
            (r#"{"a":{"b":"1"},"a":"2"}"#, None),
            (r#"{"a":{"b":"1"},"a":3}"#, None),
            (r#"{"a":{"b":"1","b":null}}"#, None),
            (r#"{"a":{"b":"1","b":[]}}"#, None),
            (r#"{"a":{"b":[],"b":"2"}}"#, Some("2")),
        ] {
            let found = captured(body, &["a.b"]);
            assert_eq!(found, [value.map(str::to_owned)], "{body}");
        }
    }

    #[test]
    fn a_value_of_more_than_256_bytes_is_absent() {
        for (length, present) in [(256, true), (257, false)] {
            let body = format!(
                r#"{{"a":"{}","b":"x"}}"#,
                "é".repeat(length / 2) + &"x".repeat(length % 2)
            );
            let found = captured(&body, &["a", "b"]);
            assert_eq!((found[0].is_some(), found[1].is_some()), (present, true));
        }
    }

    #[test]
    fn what_is_no_json_gives_nothing() {
        for body in ["", "[", "\u{1}", "grpc", "[1,2]", "\"a\"", "3"] {
            assert_eq!(captured(body, &["a", "0"]).first(), Some(&None), "{body}");
        }
    }
}
