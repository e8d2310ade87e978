//! Request bodies → [`Body`].
//!
//! The first stage of a request. The scanner reads the body as it arrives and gives the facts at its end.
//!
//! `field` has the vocabulary, `sink` turns JSON events into steps of the `reader`. Nothing here knows the keys of an API:
//! the [`Schema`] of an endpoint, which stands in the dialect's own module, maps them to the vocabulary.
//!
//! # What counts as prompt
//!
//! Everything that the model reads, so that no part of a prompt is free for a client that disconnects before usage is
//! known. It is an estimate, and reported usage replaces it. The dialect's module lists the keys.
//!
//! - Text counts by its decoded bytes.
//! - *Verbatim* values, such as tools, count by their bytes as sent, with keys, brackets and white space, because templates
//!   show them to a model in much the same form. The reader does not look into them.
//! - A token id counts one token. A picture, a sound, a film or a file counts a fixed number of tokens.
//! - What steers decoding and is not read by the model counts nothing.

pub(crate) mod field;
mod reader;
mod single_value;
mod sink;
mod stream_options;

use crate::body::{Body, BodyError, Limits};
use crate::json::{Json, lookup, push_string};
use field::{Container, Field};
use reader::BodyReader;
pub use stream_options::Splice;

/// The format of an endpoint's request bodies. It is data: one reader serves every endpoint.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The keys that are read at the top of the document, in tables that endpoints share, the most frequent ones first.
    pub(crate) top: &'static [&'static [(&'static str, Field)]],
    /// The keys that are read in any other container.
    pub(crate) keys: fn(Container) -> &'static [(&'static str, Field)],
    /// The name and the type of a field, for error messages.
    pub(crate) describe: fn(Field) -> (&'static str, &'static str),
    /// Least value of `max_tokens`.
    pub(crate) least_max_tokens: u64,
    /// Whether each prompt of a list generates its own sequences.
    pub(crate) prompts_multiply: bool,
    /// Whether a message without a role is the user's.
    pub(crate) messages_are_users: bool,
    /// Whether an answer is streamed unless the request says otherwise.
    pub(crate) streams: bool,
    /// The values of `max_tokens` that mean no limit.
    pub(crate) unlimited: Unlimited,
    /// Whether a prompt may be an object, and token ids may have texts among them.
    pub(crate) mixed_prompts: bool,
    /// The meaning of a key at the top that is in no table.
    pub(crate) others: Field,
    /// Whether numbers may be strings, as in the JSON of Protocol Buffers.
    pub(crate) numbers_are_strings: bool,
    /// Whether a stream reports usage only if `stream_options.include_usage` is true.
    pub(crate) usage_is_optional: bool,
}

/// The values of `max_tokens` that mean no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unlimited {
    /// −1: llama.cpp and its clients write that, also to other servers.
    MinusOne,
    /// Every value below 0.
    Negative,
    /// Every value below 1.
    NotPositive,
}

impl Schema {
    /// The field that a key names.
    fn field(&self, container: Container, key: &[u8]) -> Field {
        let other = [(self.keys)(container)];
        let tables = match container {
            Container::Top => self.top,
            _ => &other,
        };
        let mut found = tables.iter().filter_map(|table| lookup(table, key));
        let others = match container {
            Container::Top => self.others,
            _ => Field::Ignored,
        };
        found.next().unwrap_or(others)
    }

    /// Whether any key of a container is read.
    fn reads(&self, container: Container) -> bool {
        !(self.keys)(container).is_empty()
    }
}

/// Reads one request body that is a JSON object, in portions of any size. See [`BodyScanner`](crate::BodyScanner).
#[derive(Debug)]
pub(crate) struct RequestScanner {
    json: Json,
    reader: BodyReader,
    error: Option<BodyError>,
}

impl RequestScanner {
    /// A scanner at the start of a body.
    pub(crate) fn new(schema: &'static Schema, limits: Limits) -> Self {
        Self {
            json: Json::new(limits.max_depth),
            reader: BodyReader::new(schema, limits),
            error: None,
        }
    }

    /// Reads the next bytes. After an error the rest is ignored.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none()
            && let Err(error) = self.json.push(bytes, &mut self.reader)
        {
            self.error = Some(BodyError::of(error, &mut self.reader.error));
        }
    }

    /// The first error so far: a bad body can be refused before its end.
    pub(crate) fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    /// The model, if the part of the body that was read names it. A refused body may have named it.
    pub(crate) fn model(&self) -> Option<&str> {
        self.reader.model()
    }

    /// The change that makes a complete body ask for the usage of its stream; `None` if it is not streamed, if the endpoint
    /// needs no such option, or if the body already says something about usage.
    pub(crate) fn usage_option(&self) -> Option<Splice> {
        match self.reader.schema.usage_is_optional && self.reader.streamed {
            true => self.reader.stream_options.splice(),
            false => None,
        }
    }

    /// The changes that replace the model name; none if the body does not name the model.
    pub(crate) fn renaming(&self, name: &str) -> Vec<Splice> {
        let mut quoted = Vec::with_capacity(name.len() + 2);
        push_string(&mut quoted, name);
        let quoted = String::from_utf8_lossy(&quoted).into_owned();
        let places = self.reader.model_places.iter();
        let splice = |(from, to): &(u64, u64)| Splice {
            at: *from,
            remove: to - from,
            insert: quoted.clone().into(),
        };
        places.map(splice).collect()
    }

    /// The facts of the complete body. They are handed over, so call it once.
    ///
    /// # Errors
    /// The first error in the body, in the order of its bytes.
    pub(crate) fn finish(&mut self) -> Result<Body, BodyError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if let Err(error) = self.json.finish(&mut self.reader) {
            return Err(BodyError::of(error, &mut self.reader.error));
        }
        self.reader.body()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Limits, RequestScanner};
    use crate::form::Form;
    use crate::openai;

    /// The only heap memory that a scanner holds while it reads.
    fn held(scanner: &RequestScanner) -> usize {
        scanner.reader.short.capacity()
    }

    #[test]
    fn a_body_of_any_size_is_read_within_the_limits() {
        let limits = Limits::default();
        for (before, unit) in [
            ("{\"model\":\"", "m"),
            ("{\"user\":\"", "\\u6771"),
            ("{\"messages\":[{\"role\":\"", "user"),
            ("{\"messages\":[{\"content\":\"", "text "),
            ("{\"messages\":[{\"content\":[\"\"", ",{\"text\":\"part\"}"),
            (
                "{\"messages\":[{}",
                ",{\"role\":\"user\",\"content\":\"x\"}",
            ),
            ("{\"n\":1", "0"),
            ("{\"", "a key of any length "),
            ("{\"x\":[0", ",{\"y\":[\"z\"]}"),
            ("{\"tools\":[0", ",{\"y\":[\"z\"]}"),
            ("{\"suffix\":\"", "any text "),
            ("{\"x\":0", ",\"user\":\"ada\""),
            ("{\"input\":[0", ",1"),
            ("{\"input\":[\"\"", ",\"text\",[1,2],{\"text\":\"x\"}"),
        ] {
            for endpoint in [&openai::CHAT_COMPLETIONS, &openai::EMBEDDINGS] {
                let Form::Json(schema) = endpoint.request else {
                    panic!("not JSON")
                };
                let mut scanner = RequestScanner::new(schema, limits);
                scanner.push(before.as_bytes());
                for _ in 0..100_000 {
                    scanner.push(unit.as_bytes());
                }
                assert_eq!(scanner.error(), None, "{before}");
                assert!(held(&scanner) <= 2 * limits.max_string, "{before}");
            }
        }
    }
}
