//! Request bodies → [`Body`].
//!
//! First stage of a request: fed with the body as it arrives, asked for the facts at its end. This
//! file turns JSON events into steps of [`Facts`]; what the steps mean is said there.
//!
//! # What counts as prompt
//!
//! Everything the model reads, so that no part of a prompt is free for a client that hangs up before usage
//! is known. An estimate: usage replaces it.
//!
//! ```text
//! bytes, decoded        messages[].content and the text of its parts, prompt;
//!                       any of the next line that is a string
//! bytes as sent         tools, functions, tool_choice, function_call, response_format, prediction,
//!                       documents, chat_template, chat_template_kwargs, suffix;
//!                       messages[].{tool_calls, function_call, tool_call_id, name, refusal,
//!                       reasoning_content, reasoning}; refusal and thinking of a part
//! tokens                ids in prompt, one each; 765 for each picture, sound, film, file (parts that
//!                       hold `image_url`, `image`, `input_audio`, `file`, `video_url`, `audio_url`, a
//!                       `source` that is an object, or nothing known here; messages[].audio)
//! nothing               what steers decoding and is not read (`stop`, `guided_json`, `logit_bias`, …)
//! ```
//!
//! *As sent*: the JSON of the value, keys, brackets and white space included, as templates show it to a
//! model much like that. It is not looked into, so repeats inside of it are all counted, and so are repeats
//! of such a key; never the fingerprint's business.

use super::Endpoint;
use super::ask::Splice;
use super::facts::{Facts, Reading};
use super::fields::{At, Field};
use crate::body::{Body, BodyError, Limits};
use crate::json::{Json, JsonError, Kind, Scalar, Sink, Want};

/// Reads one request body, in portions of any size.
///
/// ```
/// use headgate_dialect::{Endpoint, Limits, RequestScanner};
///
/// let mut scanner = RequestScanner::new(Endpoint::ChatCompletions, Limits::default());
/// scanner.push(br#"{"model": "gpt-4", "max_to"#);
/// scanner.push(br#"kens": 512, "temperature": 0.7}"#);
/// let body = scanner.finish()?;
/// assert_eq!(body.model.as_deref(), Some("gpt-4"));
/// assert_eq!((body.max_tokens, body.temperature), (Some(512), Some(700_000)));
/// # Ok::<(), headgate_dialect::BodyError>(())
/// ```
#[derive(Debug)]
pub struct RequestScanner {
    json: Json,
    facts: Facts,
    error: Option<BodyError>,
}

impl RequestScanner {
    /// A scanner at the start of a body.
    #[must_use]
    pub fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self {
            json: Json::new(limits.max_depth),
            facts: Facts::new(endpoint, limits),
            error: None,
        }
    }

    /// Reads the next bytes. After an error the rest is ignored.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.json.push(bytes, &mut self.facts).err();
        }
    }

    /// What is wrong so far: a bad body can be refused before its end.
    #[must_use]
    pub fn error(&self) -> Option<&BodyError> {
        self.error.as_ref()
    }

    /// The model, as far as the body was read: a body that is refused may have named it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.facts.model.get().map(String::as_str)
    }

    /// How the body that was read is made to ask for the usage of its stream; `None` if it is not streamed, asks already, or
    /// says something about usage that has to stand.
    #[must_use]
    pub fn ask_usage(&self) -> Option<Splice> {
        match self.facts.streamed {
            true => self.facts.stream_options.ask(),
            false => None,
        }
    }

    /// The facts of the complete body. Once: they are handed over.
    ///
    /// # Errors
    /// The first thing wrong with it, in the order of its bytes.
    pub fn finish(&mut self) -> Result<Body, BodyError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        self.json.finish(&mut self.facts)?;
        self.facts.body()
    }
}

impl From<JsonError> for BodyError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed { offset, what } => Self::Malformed { offset, what },
            JsonError::TooDeep { max } => Self::TooDeep { max },
        }
    }
}

impl Sink for Facts {
    type Error = BodyError;

    fn open(&mut self, kind: Kind, offset: u64) -> Result<(), BodyError> {
        let field = self.target();
        let at = match (field, kind) {
            (Field::Source, Kind::Object) => {
                self.part_told = true;
                self.media();
                At::Media
            }
            (Field::Other | Field::Source, _) => {
                self.path.skip();
                return Ok(());
            }
            (Field::Media, kind) => {
                self.media();
                match (kind, self.path.at()) {
                    (Kind::Object, Some(At::Part)) => At::Media,
                    _ => {
                        self.path.skip();
                        return Ok(());
                    }
                }
            }
            (Field::StreamOptions, Kind::Object) => {
                self.stream_options.open(offset);
                At::StreamOptions
            }
            (Field::StreamOptions | Field::IncludeUsage | Field::UsageOption, _) => {
                self.stream_options.leave();
                self.path.skip();
                return Ok(());
            }
            (Field::MediaText, _) => {
                self.path.skip();
                return Ok(());
            }
            (Field::Priced, _) => {
                self.priced_from = offset;
                At::Priced
            }
            (Field::Document, Kind::Object) => {
                self.stream_options.open_document(offset);
                At::Top
            }
            (Field::Messages, Kind::Array) => {
                self.begin_prompt();
                At::Messages
            }
            (Field::Message, Kind::Object) => At::Message,
            (Field::Content, Kind::Array) => {
                self.begin_text();
                At::Content
            }
            (Field::Part, Kind::Object) => {
                self.before_part = self.text;
                self.part_told = false;
                At::Part
            }
            (Field::Prompt, Kind::Array) => {
                self.begin_prompt();
                At::Prompt
            }
            (Field::PromptItem, Kind::Array) => {
                self.begin_text();
                At::Tokens
            }
            (Field::Conversation, Kind::Object) => At::Conversation,
            (Field::Metadata, Kind::Object) => At::Metadata,
            _ => return Err(field.wrong_type()),
        };
        self.path.enter(at);
        Ok(())
    }

    fn close(&mut self, offset: u64) -> Result<(), BodyError> {
        match self.path.leave() {
            None | Some(At::Root | At::Top | At::Media | At::StreamOptions) => {}
            Some(At::Messages) => self.end_prompt(Field::Messages)?,
            Some(At::Message) => self.end_message(),
            Some(At::Content) => {
                let digest = self.content_digest();
                self.message.content.put(Some(digest), Field::Content)?;
            }
            Some(At::Part) => {
                self.text = self.part.take().unwrap_or(self.before_part);
                // Of a kind not known here, so no text.
                if !self.part_told {
                    self.media();
                }
            }
            Some(At::Priced) => self.price(offset + 1 - self.priced_from),
            Some(At::Prompt) => self.end_prompt(Field::Prompt)?,
            Some(At::Tokens) => self.end_prompt_item(),
            Some(At::Conversation) => {
                let id = self.inner_string.take();
                self.conversation.put(id, Field::Conversation)?;
            }
            Some(At::Metadata) => {
                let user = self.inner_string.take();
                self.metadata_user_id.put(user, Field::Metadata)?;
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8]) {
        if let Some(at) = self.path.at() {
            if at == At::StreamOptions {
                self.stream_options.member();
            }
            self.field = Field::of_key(at, key, self.chat);
            self.part_told |= !matches!(self.field, Field::Other | Field::Source);
        }
    }

    fn begin_string(&mut self) -> Result<Want, BodyError> {
        let field = self.target();
        self.reading = Reading::Text;
        match field {
            Field::Other | Field::Source => return Ok(Want::Nothing),
            Field::StreamOptions | Field::IncludeUsage | Field::UsageOption => {
                self.stream_options.leave();
                return Ok(Want::Nothing);
            }
            Field::Media => {
                self.media();
                match self.path.at() {
                    Some(At::Part) => self.reading = Reading::Media,
                    _ => return Ok(Want::Nothing),
                }
            }
            Field::MediaText => self.reading = Reading::Media,
            Field::Priced => self.reading = Reading::Priced,
            Field::Content | Field::PromptItem => self.begin_text(),
            Field::Prompt => {
                self.begin_prompt();
                self.begin_text();
            }
            // A part's text continues the content; a second one of the same part replaces it.
            Field::PartText => self.text = self.before_part,
            // Servers take a bare string for a part.
            Field::Part => {}
            _ if field.is_short_string() => {
                self.reading = Reading::Short;
                self.short.clear();
                self.too_long = false;
            }
            _ => return Err(field.wrong_type()),
        }
        Ok(match self.reading {
            Reading::Short => Want::Text,
            Reading::Text if self.text.hashes() => Want::Text,
            Reading::Media if self.media_text.hashes() => Want::Text,
            Reading::Text | Reading::Media | Reading::Priced => Want::Length,
        })
    }

    fn length(&mut self, bytes: u64) {
        match self.reading {
            Reading::Text => self.text.pass(bytes),
            Reading::Media => self.media_text.pass(bytes),
            Reading::Priced => self.price(bytes),
            // It is kept, never only counted.
            Reading::Short => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        match self.reading {
            Reading::Text => self.text.add(text),
            Reading::Media => self.media_text.add(text),
            Reading::Priced => self.price(text.len() as u64),
            Reading::Short if self.short.len() + text.len() <= self.limits.max_string => {
                self.short.extend_from_slice(text);
            }
            Reading::Short => self.too_long = true,
        }
    }

    fn end_string(&mut self) -> Result<(), BodyError> {
        let field = self.target();
        match field {
            Field::Content => {
                let text = self.text.digest();
                return self.message.content.put(Some(text), field);
            }
            Field::PartText => return self.part.put(Some(self.text), field),
            Field::PromptItem => {
                self.end_prompt_item();
                return Ok(());
            }
            Field::Prompt => {
                self.end_prompt_item();
                return self.end_prompt(field);
            }
            Field::Role => {
                let is_user = !self.too_long && self.short == b"user";
                return self.message.is_user.put(Some(is_user), field);
            }
            Field::Other
            | Field::Source
            | Field::Part
            | Field::Priced
            | Field::Media
            | Field::MediaText
            | Field::StreamOptions
            | Field::IncludeUsage
            | Field::UsageOption => return Ok(()),
            _ => {}
        }
        if self.too_long {
            return Err(BodyError::TooLong {
                field: field.name(),
                max: self.limits.max_string,
            });
        }
        let value = Some(String::from_utf8_lossy(&self.short).into_owned());
        match field {
            Field::Model => self.model.put(value, field),
            Field::PromptCacheKey => self.prompt_cache_key.put(value, field),
            Field::Conversation => self.conversation.put(value, field),
            Field::ConversationId | Field::MetadataUserId => self.inner_string.put(value, field),
            Field::User => self.user.put(value, field),
            Field::SafetyIdentifier => self.safety_identifier.put(value, field),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, scalar: Scalar, end: u64) -> Result<(), BodyError> {
        let field = self.target();
        match (scalar, field) {
            (Scalar::Null, Field::StreamOptions) => self.stream_options.null(end),
            (Scalar::Null, Field::IncludeUsage) => self.stream_options.include_usage(None, end),
            (Scalar::Bool(value), Field::IncludeUsage) => {
                self.stream_options.include_usage(Some(value), end);
            }
            (_, Field::StreamOptions | Field::IncludeUsage | Field::UsageOption) => {
                self.stream_options.leave();
            }
            (_, Field::MediaText) => {}
            _ => return self.value(scalar, field),
        }
        Ok(())
    }
}

impl Facts {
    /// A value of a field that is neither text nor a container.
    fn value(&mut self, scalar: Scalar, field: Field) -> Result<(), BodyError> {
        match (scalar, field) {
            (Scalar::Null, _) => self.null(field),
            (Scalar::Number(number), _) => self.number(field, number),
            (Scalar::Bool(value), Field::Stream) => self.stream.put(Some(value), field),
            (Scalar::Bool(_), Field::Other | Field::Priced | Field::Media | Field::Source) => {
                Ok(())
            }
            (Scalar::Bool(_), _) => Err(field.wrong_type()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, Limits, RequestScanner};

    /// The only memory a scanner holds on the heap while it reads.
    fn held(scanner: &RequestScanner) -> usize {
        scanner.facts.short.capacity()
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
        ] {
            let mut scanner = RequestScanner::new(Endpoint::ChatCompletions, limits);
            scanner.push(before.as_bytes());
            for _ in 0..100_000 {
                scanner.push(unit.as_bytes());
            }
            assert_eq!(scanner.error(), None, "{before}");
            assert!(held(&scanner) <= 2 * limits.max_string, "{before}");
        }
    }
}
