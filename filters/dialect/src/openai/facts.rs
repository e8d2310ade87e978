//! The facts of a request body while it is being read, and their conclusion as a [`Body`].
//!
//! A few numbers, a few bounded strings and a running hash. A key given twice is compared by the
//! facts it gives: whichever of the two the upstream takes, charge and session must be the same.

use super::Endpoint;
use super::ask::StreamOptions;
use super::fields::{At, Field, MAX_N, MAX_TEMPERATURE, MAX_TOKEN_ID, MAX_TOKENS, MEDIA_TOKENS};
use super::slot::Slot;
use crate::body::{Body, BodyError, Limits, SessionFields};
use crate::fingerprint::{Digest, Text};
use crate::json::{Decimal, Path, Unfit};

/// What `messages` or `prompt` says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Prompt {
    bytes: u64,
    /// Token ids and media.
    tokens: u64,
    /// Prompts in the list; 0 for messages.
    count: u64,
    first: Option<u64>,
}

/// What becomes of the string being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Text: counted and hashed.
    Text,
    /// The URL, id or data of a picture, sound, film or file: hashed where it may be the beginning of a conversation.
    Media,
    /// A short string: kept.
    Short,
    /// Only counted.
    Priced,
}

/// A message being read.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) is_user: Slot<bool>,
    pub(super) content: Slot<Digest>,
}

/// Everything read so far.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) chat: bool,
    pub(super) limits: Limits,
    pub(super) path: Path<At, 7>,
    /// The field the last key named.
    pub(super) field: Field,
    pub(super) reading: Reading,
    /// The short string, and whether it outgrew the limit.
    pub(super) short: Vec<u8>,
    pub(super) too_long: bool,

    /// The text being read, and what it was before the current part.
    pub(super) text: Text,
    pub(super) before_part: Text,
    pub(super) part: Slot<Text>,
    /// The media of the content being read.
    pub(super) media_text: Text,
    pub(super) message: Message,
    draft: Prompt,
    /// The part being read has a key that says what it holds.
    pub(super) part_told: bool,
    /// Where the container that is priced begins.
    pub(super) priced_from: u64,
    /// Bytes priced beside `messages` and `prompt`.
    beside: u64,
    /// `prompt` is a list of token ids.
    id_list: bool,
    /// The field of `conversation` or `metadata`, until that object ends.
    pub(super) inner_string: Slot<String>,

    pub(super) prompt: Slot<Prompt>,
    pub(super) model: Slot<String>,
    pub(super) max_tokens: Slot<u64>,
    pub(super) max_completion_tokens: Slot<u64>,
    pub(super) n: Slot<u64>,
    pub(super) best_of: Slot<u64>,
    pub(super) temperature: Slot<u64>,
    pub(super) stream: Slot<bool>,
    /// `stream` is true, once the body was read.
    pub(super) streamed: bool,
    pub(super) stream_options: StreamOptions,
    pub(super) prompt_cache_key: Slot<String>,
    pub(super) conversation: Slot<String>,
    pub(super) user: Slot<String>,
    pub(super) safety_identifier: Slot<String>,
    pub(super) metadata_user_id: Slot<String>,
}

impl Facts {
    pub(super) fn new(endpoint: Endpoint, limits: Limits) -> Self {
        Self {
            chat: endpoint == Endpoint::ChatCompletions,
            limits,
            path: Path::new(At::Root),
            field: Field::Other,
            reading: Reading::Text,
            short: Vec::new(),
            too_long: false,
            text: Text::new(0),
            before_part: Text::new(0),
            part: Slot::default(),
            media_text: Text::new(0),
            message: Message::default(),
            draft: Prompt::default(),
            part_told: false,
            priced_from: 0,
            beside: 0,
            id_list: false,
            inner_string: Slot::default(),
            prompt: Slot::default(),
            model: Slot::default(),
            max_tokens: Slot::default(),
            max_completion_tokens: Slot::default(),
            n: Slot::default(),
            best_of: Slot::default(),
            temperature: Slot::default(),
            stream: Slot::default(),
            streamed: false,
            stream_options: StreamOptions::default(),
            prompt_cache_key: Slot::default(),
            conversation: Slot::default(),
            user: Slot::default(),
            safety_identifier: Slot::default(),
            metadata_user_id: Slot::default(),
        }
    }

    /// The field whose value comes next.
    pub(super) fn target(&self) -> Field {
        match self.path.at() {
            Some(at) => Field::of_item(at).unwrap_or(self.field),
            None => Field::Other,
        }
    }

    /// `messages` or a list of prompts begins.
    pub(super) fn begin_prompt(&mut self) {
        self.draft = Prompt::default();
        self.id_list = false;
    }

    /// It ends.
    pub(super) fn end_prompt(&mut self, field: Field) -> Result<(), BodyError> {
        if self.id_list {
            self.end_prompt_item();
        }
        self.prompt
            .put(Some(std::mem::take(&mut self.draft)), field)
    }

    /// Text of a message or a prompt begins: hashed only while it may be the first user message.
    pub(super) fn begin_text(&mut self) {
        let other_role = self.message.is_user.get() == Some(&false);
        let hashed = self.draft.first.is_none() && !other_role;
        let room = if hashed {
            self.limits.fingerprint_bytes
        } else {
            0
        };
        self.text.restart(room);
        self.media_text.restart(room);
    }

    /// The content that was read: its text, or, where it has none, its media.
    pub(super) fn content_digest(&self) -> Digest {
        let text = self.text.digest();
        match text.is_empty() {
            true => self.media_text.digest().of_media(),
            false => text,
        }
    }

    /// A message ends.
    pub(super) fn end_message(&mut self) {
        let is_user = self.message.is_user.take() == Some(true);
        if let Some(text) = self.message.content.take() {
            self.draft.bytes += text.bytes;
            if is_user && self.draft.first.is_none() {
                self.draft.first = text.fingerprint();
            }
        }
    }

    /// Bytes the model reads beside the conversation's text. What is given twice is counted twice.
    pub(super) fn price(&mut self, bytes: u64) {
        match self.path.at() {
            Some(At::Top) => self.beside += bytes,
            _ => self.draft.bytes += bytes,
        }
    }

    /// A picture, a sound, a film or a file.
    pub(super) fn media(&mut self) {
        self.draft.tokens += MEDIA_TOKENS;
    }

    /// One prompt of the list, or the only one, ends.
    pub(super) fn end_prompt_item(&mut self) {
        let text = self.text.digest();
        self.draft.bytes += text.bytes;
        self.draft.tokens += text.ids;
        self.draft.count += 1;
        if self.draft.first.is_none() {
            self.draft.first = text.fingerprint();
        }
    }

    /// A token id in `prompt` itself: the whole list is one prompt.
    pub(super) fn id_in_list(&mut self, number: Decimal) -> Result<(), BodyError> {
        if !self.id_list {
            self.id_list = true;
            self.begin_text();
        }
        self.id(number)
    }

    /// A token id.
    pub(super) fn id(&mut self, number: Decimal) -> Result<(), BodyError> {
        self.text
            .add_id(whole(number, Field::Token, 0, MAX_TOKEN_ID)?);
        Ok(())
    }

    /// `max_tokens`. llama.cpp and its clients write -1 for "no limit", which is as if it were absent. Completions that
    /// generate nothing, and only score their prompt, say 0.
    fn limit(&self, number: Decimal, field: Field) -> Result<Option<u64>, BodyError> {
        if number.is_minus_one() {
            return Ok(None);
        }
        whole(number, field, u64::from(self.chat), MAX_TOKENS).map(Some)
    }

    /// The number of a field.
    pub(super) fn number(&mut self, field: Field, number: Decimal) -> Result<(), BodyError> {
        match field {
            Field::Other | Field::Priced | Field::Media | Field::Source | Field::MediaText => {
                Ok(())
            }
            Field::MaxTokens => {
                let value = self.limit(number, field)?;
                self.max_tokens.put(value, field)
            }
            Field::MaxCompletionTokens => {
                let value = self.limit(number, field)?;
                self.max_completion_tokens.put(value, field)
            }
            Field::N => self.n.put(Some(whole(number, field, 1, MAX_N)?), field),
            Field::BestOf => {
                let value = whole(number, field, 1, MAX_N)?;
                self.best_of.put(Some(value), field)
            }
            Field::Temperature => self.temperature.put(Some(temperature(number)?), field),
            Field::PromptItem => self.id_in_list(number),
            Field::Token => self.id(number),
            _ => Err(field.wrong_type()),
        }
    }

    /// The `null` of a field: as if it were absent, where it may be.
    pub(super) fn null(&mut self, field: Field) -> Result<(), BodyError> {
        match field {
            Field::Other | Field::Priced | Field::Media | Field::Source => Ok(()),
            Field::Model => self.model.put(None, field),
            Field::MaxTokens => self.max_tokens.put(None, field),
            Field::MaxCompletionTokens => self.max_completion_tokens.put(None, field),
            Field::N => self.n.put(None, field),
            Field::BestOf => self.best_of.put(None, field),
            Field::Temperature => self.temperature.put(None, field),
            Field::Stream => self.stream.put(None, field),
            Field::Messages | Field::Prompt => self.prompt.put(None, field),
            Field::Role => self.message.is_user.put(None, field),
            Field::Content => self.message.content.put(None, field),
            Field::PartText => self.part.put(None, field),
            Field::PromptCacheKey => self.prompt_cache_key.put(None, field),
            Field::Conversation => self.conversation.put(None, field),
            Field::ConversationId | Field::MetadataUserId => self.inner_string.put(None, field),
            Field::User => self.user.put(None, field),
            Field::SafetyIdentifier => self.safety_identifier.put(None, field),
            Field::Metadata => self.metadata_user_id.put(None, field),
            _ => Err(field.wrong_type()),
        }
    }

    /// The facts of a document that ended.
    pub(super) fn body(&mut self) -> Result<Body, BodyError> {
        let (current, former) = (self.max_completion_tokens.take(), self.max_tokens.take());
        if current.is_some() && former.is_some() && current != former {
            return Err(BodyError::Conflict {
                field: Field::MaxCompletionTokens.name(),
                other: Field::MaxTokens.name(),
            });
        }
        let prompt = self.prompt.take().unwrap_or_default();
        let stream = self.stream.take();
        self.streamed = stream == Some(true);
        let asked = self.n.take().max(self.best_of.take());
        let several = (prompt.count > 1).then_some(prompt.count);
        Ok(Body {
            model: self.model.take(),
            max_tokens: current.or(former),
            n: match (asked, several) {
                (None, several) => several,
                (asked, None) => asked,
                (Some(asked), Some(several)) => Some(asked.saturating_mul(several)),
            },
            temperature: self.temperature.take(),
            stream,
            prompt_bytes: prompt.bytes + self.beside,
            prompt_tokens: prompt.tokens,
            session: SessionFields {
                prompt_cache_key: self.prompt_cache_key.take(),
                conversation: self.conversation.take(),
                user: self.user.take(),
                safety_identifier: self.safety_identifier.take(),
                metadata_user_id: self.metadata_user_id.take(),
            },
            first_user_message: prompt.first,
        })
    }
}

fn whole(number: Decimal, field: Field, min: u64, max: u64) -> Result<u64, BodyError> {
    match number.whole() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        Err(Unfit::Fractional) => Err(field.wrong_type()),
        _ => Err(BodyError::OutOfRange {
            field: field.name(),
            min,
            max,
        }),
    }
}

fn temperature(number: Decimal) -> Result<u64, BodyError> {
    match number.millionths() {
        Ok(millionths) if millionths <= MAX_TEMPERATURE * 1_000_000 => Ok(millionths),
        _ => Err(BodyError::OutOfRange {
            field: Field::Temperature.name(),
            min: 0,
            max: MAX_TEMPERATURE,
        }),
    }
}
