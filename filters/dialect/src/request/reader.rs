//! The facts of a request body while it is being read, and their conclusion as a [`Body`].
//!
//! The reader holds a few numbers, a few short strings and a running hash. A key given twice must give the same facts
//! both times: whichever of the two the upstream takes, the charge and the session are then the same.

use super::field::{Container, Field, Name, Number};
use super::single_value::SingleValue;
use super::stream_options::StreamOptions;
use super::{Schema, Unlimited};
use crate::body::{Body, BodyError, Limits, SessionFields};
use crate::fingerprint::{Digest, Text};
use crate::json::{Decimal, DecimalError, Path};

/// Greatest `max_tokens`: above any context window.
const MAX_TOKENS: u64 = 10_000_000;
/// Greatest `n` and `best_of`.
const MAX_N: u64 = 1024;
/// Greatest `temperature`.
const MAX_TEMPERATURE: u64 = 10;
/// Tokens that a picture, sound, film or file counts, by URL or inline. It is what OpenAI documents for an image of
/// 1024 × 1024 in high detail ("Images and vision", calculating costs: 85 + 4 tiles · 170). The bytes are no measure: a
/// quarter of the base64 would be hundreds of times too much, and a URL has none.
const MEDIA_TOKENS: u64 = 765;
/// Greatest token id.
const MAX_TOKEN_ID: u64 = u32::MAX as u64;

/// The content of the messages or the prompts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Prompt {
    bytes: u64,
    /// Token ids and media.
    tokens: u64,
    /// The number of prompts in a list; 0 for messages.
    count: u64,
    first: Option<u64>,
}

/// The handling of the string being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Prompt text: counted, and hashed.
    Text,
    /// The URL, id or data of media: hashed while it may begin a conversation.
    Media,
    /// A short string: kept.
    Short,
    /// Counted only.
    Verbatim,
}

/// A picture, a sound, a film or a file being read.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// Bytes of its data as sent.
    pub(super) bytes: u64,
    /// It is text, as such or in base64.
    pub(super) is_text: bool,
    pub(super) is_base64: bool,
}

/// A message being read.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) is_user: SingleValue<bool>,
    pub(super) content: SingleValue<Digest>,
}

/// Everything read so far.
#[derive(Debug)]
pub(super) struct BodyReader {
    pub(super) schema: &'static Schema,
    pub(super) limits: Limits,
    pub(super) path: Path<Container, 10>,
    /// The field that the last key named.
    pub(super) field: Field,
    pub(super) reading: Reading,
    /// Where the current string begins, and the places of the model's name in the document.
    pub(super) string_at: u64,
    pub(super) model_places: Vec<(u64, u64)>,
    /// The short string, and whether it is longer than the limit.
    pub(super) short: Vec<u8>,
    pub(super) too_long: bool,
    /// Why a value was refused.
    pub(super) error: Option<BodyError>,

    /// The text being read, and what it was before the current part.
    pub(super) text: Text,
    pub(super) before_part: Text,
    pub(super) part: SingleValue<Text>,
    /// The media of the content being read.
    pub(super) media_text: Text,
    pub(super) media: Media,
    pub(super) message: Message,
    draft: Prompt,
    /// The part being read has a key that says what it holds.
    pub(super) part_known: bool,
    /// Where the container begins that counts as sent.
    pub(super) verbatim_from: u64,
    /// Messages or prompts are being read.
    in_prompt: bool,
    /// Bytes and tokens of prompt beside the messages or prompts.
    beside: u64,
    beside_tokens: u64,
    /// The last token ids stand in the list of prompts itself.
    id_list: bool,
    /// The list holds token ids: all of it is one prompt, which may have texts among the ids.
    one_prompt: bool,
    /// Options for each prompt are being read. Of each number, the greatest counts.
    pub(super) in_list: bool,
    /// The field of `conversation` or `metadata`, until that object ends.
    pub(super) inner_name: SingleValue<String>,

    pub(super) prompt: SingleValue<Prompt>,
    numbers: [SingleValue<u64>; Number::COUNT],
    names: [SingleValue<String>; Name::COUNT],
    pub(super) stream: SingleValue<bool>,
    pub(super) background: SingleValue<bool>,
    /// `stream` is true; known once the body is complete.
    pub(super) streamed: bool,
    pub(super) stream_options: StreamOptions,
}

impl BodyReader {
    pub(super) fn new(schema: &'static Schema, limits: Limits) -> Self {
        Self {
            schema,
            limits,
            path: Path::new(Container::Root),
            field: Field::Ignored,
            reading: Reading::Text,
            string_at: 0,
            model_places: Vec::new(),
            short: Vec::new(),
            too_long: false,
            error: None,
            text: Text::new(0),
            before_part: Text::new(0),
            part: SingleValue::default(),
            media_text: Text::new(0),
            media: Media::default(),
            message: Message::default(),
            draft: Prompt::default(),
            part_known: false,
            verbatim_from: 0,
            in_prompt: false,
            beside: 0,
            beside_tokens: 0,
            id_list: false,
            one_prompt: false,
            in_list: false,
            inner_name: SingleValue::default(),
            prompt: SingleValue::default(),
            numbers: Default::default(),
            names: Default::default(),
            stream: SingleValue::default(),
            background: SingleValue::default(),
            streamed: false,
            stream_options: StreamOptions::default(),
        }
    }

    /// The field whose value comes next.
    pub(super) fn target(&self) -> Field {
        match self.path.at() {
            Some(container) => Field::of_item(container).unwrap_or(self.field),
            None => Field::Ignored,
        }
    }

    /// The model, as far as the body was read.
    pub(super) fn model(&self) -> Option<&str> {
        let model = self.names.get(Name::Model as usize);
        model.and_then(SingleValue::get).map(String::as_str)
    }

    /// The error of a value of the wrong type.
    #[cold]
    pub(super) fn wrong_type(&self, field: Field) -> BodyError {
        let (name, expected) = (self.schema.describe)(field);
        match field {
            Field::Document => BodyError::NotAnObject,
            _ => BodyError::WrongType {
                field: name,
                expected,
            },
        }
    }

    /// An error, unless a field was given one value only.
    pub(super) fn agreed(&self, agrees: bool, field: Field) -> Result<(), BodyError> {
        match agrees {
            true => Ok(()),
            false => Err(BodyError::Disagree {
                field: (self.schema.describe)(field).0,
            }),
        }
    }

    /// A short string of the body.
    pub(super) fn set_name(
        &mut self,
        name: Name,
        value: Option<String>,
        field: Field,
    ) -> Result<(), BodyError> {
        let known = self.names.get_mut(name as usize);
        let agrees = known.is_none_or(|known| known.set(value));
        self.agreed(agrees, field)
    }

    /// A list of messages or of prompts begins.
    pub(super) fn begin_prompt(&mut self) {
        self.draft = Prompt::default();
        self.in_prompt = true;
        self.id_list = false;
        self.one_prompt = false;
    }

    /// It ends.
    pub(super) fn end_prompt(&mut self, field: Field) -> Result<(), BodyError> {
        self.end_id_list();
        self.in_prompt = false;
        if self.one_prompt {
            self.draft.count = 1;
        }
        let agrees = self.prompt.set(Some(std::mem::take(&mut self.draft)));
        self.agreed(agrees, field)
    }

    /// Text of a message or a prompt begins. It is hashed only while it may be the first user message.
    pub(super) fn begin_text(&mut self) {
        let other_role = self.message.is_user.get() == Some(&false);
        let hashed = self.draft.first.is_none() && !other_role;
        let most = if hashed {
            self.limits.fingerprint_bytes
        } else {
            0
        };
        self.text.restart(most);
        self.media_text.restart(most);
    }

    /// The content that was read: its text or, where there is none, its media.
    pub(super) fn content_digest(&self) -> Digest {
        let text = self.text.digest();
        match text.is_empty() {
            true => self.media_text.digest().of_media(),
            false => text,
        }
    }

    /// A message ends.
    pub(super) fn end_message(&mut self) {
        let is_user = self
            .message
            .is_user
            .take()
            .unwrap_or(self.schema.messages_are_users);
        if let Some(text) = self.message.content.take() {
            self.draft.bytes += text.bytes;
            if is_user && self.draft.first.is_none() {
                self.draft.first = text.fingerprint();
            }
        }
    }

    /// Adds bytes that the model reads beside the text of the messages. What is given twice counts twice.
    pub(super) fn add_verbatim(&mut self, bytes: u64) {
        match self.in_prompt {
            true => self.draft.bytes += bytes,
            false => self.beside += bytes,
        }
    }

    /// Adds a picture, a sound, a film or a file.
    pub(super) fn add_media(&mut self) {
        match self.in_prompt {
            true => self.draft.tokens += MEDIA_TOKENS,
            false => self.beside_tokens += MEDIA_TOKENS,
        }
    }

    /// The media that [`Self::add_media`] added are complete. A file with text is priced as text: it may be a whole book.
    pub(super) fn end_media(&mut self) {
        let media = std::mem::take(&mut self.media);
        if media.is_text {
            let tokens = match self.in_prompt {
                true => &mut self.draft.tokens,
                false => &mut self.beside_tokens,
            };
            *tokens = tokens.saturating_sub(MEDIA_TOKENS);
            self.add_verbatim(match media.is_base64 {
                true => media.bytes / 4 * 3,
                false => media.bytes,
            });
        }
    }

    /// A prompt of a list begins that is no id of the list itself.
    pub(super) fn begin_prompt_item(&mut self) {
        self.end_id_list();
        self.begin_text();
    }

    /// A prompt of a list ends, or the only one.
    pub(super) fn end_prompt_item(&mut self) {
        let text = self.content_digest();
        self.draft.bytes += text.bytes;
        self.draft.tokens += text.ids;
        self.draft.count += 1;
        if self.draft.first.is_none() {
            self.draft.first = text.fingerprint();
        }
    }

    /// Ends the prompt that consists of the ids in the list itself, if there is one.
    fn end_id_list(&mut self) {
        if std::mem::take(&mut self.id_list) {
            self.end_prompt_item();
        }
    }

    /// The number of a field.
    pub(super) fn number(&mut self, field: Field, number: Decimal) -> Result<(), BodyError> {
        match field {
            Field::Number(name) => {
                let value = self.number_value(name, number)?;
                let known = self.numbers.get_mut(name as usize);
                if self.in_list {
                    known.into_iter().for_each(|known| known.raise(value));
                    return Ok(());
                }
                let agrees = known.is_none_or(|known| known.set(value));
                self.agreed(agrees, field)
            }
            Field::PromptItem | Field::Token => {
                if field == Field::PromptItem && !self.id_list {
                    self.begin_text();
                    self.id_list = true;
                    self.one_prompt = true;
                }
                let id = self.whole(number, Field::Token, 0..=MAX_TOKEN_ID)?;
                self.text.add_id(id);
                Ok(())
            }
            Field::Ignored
            | Field::Verbatim
            | Field::Media
            | Field::MediaList
            | Field::MediaSource
            | Field::MediaReference
            | Field::MediaKind => Ok(()),
            _ => Err(self.wrong_type(field)),
        }
    }

    /// The value of a number; `None` for a limit that means no limit.
    fn number_value(&self, name: Number, number: Decimal) -> Result<Option<u64>, BodyError> {
        let field = Field::Number(name);
        match name {
            Number::MaxTokens | Number::MaxCompletionTokens => {
                let unlimited = match self.schema.unlimited {
                    Unlimited::MinusOne => number.is_minus_one(),
                    Unlimited::Negative => number.is_negative(),
                    Unlimited::NotPositive => number.is_negative() || number.whole() == Ok(0),
                };
                if unlimited {
                    return Ok(None);
                }
                let range = self.schema.least_max_tokens..=MAX_TOKENS;
                self.whole(number, field, range).map(Some)
            }
            Number::N | Number::BestOf => self.whole(number, field, 1..=MAX_N).map(Some),
            Number::Temperature => match number.millionths() {
                Ok(millionths) if millionths <= MAX_TEMPERATURE * 1_000_000 => Ok(Some(millionths)),
                _ => Err(self.out_of_range(field, 0..=MAX_TEMPERATURE)),
            },
        }
    }

    fn whole(
        &self,
        number: Decimal,
        field: Field,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, BodyError> {
        match number.whole() {
            Ok(value) if range.contains(&value) => Ok(value),
            Err(DecimalError::Fractional) => Err(self.wrong_type(field)),
            _ => Err(self.out_of_range(field, range)),
        }
    }

    #[cold]
    fn out_of_range(&self, field: Field, range: std::ops::RangeInclusive<u64>) -> BodyError {
        BodyError::OutOfRange {
            field: (self.schema.describe)(field).0,
            min: *range.start(),
            max: *range.end(),
        }
    }

    /// The `null` of a field: as if the field were absent, where it may be.
    pub(super) fn null(&mut self, field: Field) -> Result<(), BodyError> {
        let agrees = match field {
            Field::Ignored
            | Field::Verbatim
            | Field::Media
            | Field::MediaList
            | Field::MediaSource
            | Field::MediaReference
            | Field::MediaKind => true,
            Field::Number(name) => {
                let known = self.numbers.get_mut(name as usize);
                known.is_none_or(|known| known.set(None))
            }
            Field::Name(name) => return self.set_name(name, None, field),
            Field::Metadata => return self.set_name(Name::MetadataUserId, None, field),
            Field::InnerName(_) => self.inner_name.set(None),
            Field::Stream => self.stream.set(None),
            Field::Background => self.background.set(None),
            Field::Options | Field::InnerContent => true,
            Field::Messages | Field::Input | Field::Prompt => self.prompt.set(None),
            Field::Role => self.message.is_user.set(None),
            Field::Content => self.message.content.set(None),
            Field::PartText => self.part.set(None),
            _ => return Err(self.wrong_type(field)),
        };
        self.agreed(agrees, field)
    }

    /// The facts of the document, which is complete.
    pub(super) fn body(&mut self) -> Result<Body, BodyError> {
        let [former, current, n, best_of, temperature] =
            self.numbers.each_mut().map(SingleValue::take);
        if current.is_some() && former.is_some() && current != former {
            let name = |number| (self.schema.describe)(Field::Number(number)).0;
            return Err(BodyError::Conflict {
                field: name(Number::MaxCompletionTokens),
                other: name(Number::MaxTokens),
            });
        }
        let [
            model,
            former_model,
            prompt_cache_key,
            conversation,
            user,
            safety_identifier,
            metadata_user_id,
            previous_response_id,
        ] = self.names.each_mut().map(SingleValue::take);
        let prompt = self.prompt.take().unwrap_or_default();
        let stream = self.stream.take().or(self.schema.streams.then_some(true));
        self.streamed = stream == Some(true);
        let several = self.schema.prompts_multiply && prompt.count > 1;
        let several = several.then_some(prompt.count);
        Ok(Body {
            model: model
                .filter(|model| former_model.is_none() || !model.is_empty())
                .or(former_model),
            version: None,
            prompts: several,
            max_tokens: current.or(former),
            n: match (n.max(best_of), several) {
                (None, several) => several,
                (n, None) => n,
                (Some(n), Some(several)) => Some(n.saturating_mul(several)),
            },
            temperature,
            stream,
            prompt_bytes: prompt.bytes + self.beside,
            prompt_tokens: prompt.tokens + self.beside_tokens,
            background: self.background.take() == Some(true),
            previous_response_id,
            session: SessionFields {
                prompt_cache_key,
                conversation,
                user,
                safety_identifier,
                metadata_user_id,
            },
            first_user_message: prompt.first,
        })
    }
}
