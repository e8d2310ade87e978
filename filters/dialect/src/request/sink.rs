//! JSON events → steps of the [`BodyReader`].

use super::field::{Container, Field, Name};
use super::reader::{BodyReader, Reading};

/// Most places of the model's name that are kept.
const MAX_PLACES: usize = 8;
use crate::body::BodyError;
use crate::json::{Decimal, JsonError, Kind, Scalar, Sink, WantedPart};

impl Sink for BodyReader {
    fn open(&mut self, kind: Kind, at: u64) -> Result<bool, JsonError> {
        let opened = self.open_container(kind, at);
        self.accepted(opened)?;
        let container = self.path.at();
        Ok(container.is_some_and(|container| container != Container::Verbatim))
    }

    fn close(&mut self, at: u64) -> Result<(), JsonError> {
        let closed = self.close_container(at);
        self.accepted(closed)
    }

    fn key(&mut self, key: &[u8]) {
        if let Some(container) = self.path.at() {
            if container == Container::StreamOptions {
                self.stream_options.member();
            }
            self.field = self.schema.field(container, key);
            self.part_known |= !matches!(self.field, Field::Ignored | Field::MediaSource);
        }
    }

    fn begin_string(&mut self, at: u64) -> Result<WantedPart, JsonError> {
        self.string_at = at;
        let wanted = self.string_begins();
        self.accepted(wanted)
    }

    fn length(&mut self, bytes: u64) {
        match self.reading {
            Reading::Text => self.text.pass(bytes),
            Reading::Media => {
                self.media.bytes += bytes;
                self.media_text.pass(bytes);
            }
            Reading::Verbatim => self.add_verbatim(bytes),
            // Its text is wanted, not its length.
            Reading::Short => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        match self.reading {
            Reading::Text => self.text.add(text),
            Reading::Media => {
                self.media.bytes += text.len() as u64;
                self.media_text.add(text);
            }
            Reading::Verbatim => self.add_verbatim(text.len() as u64),
            Reading::Short if self.short.len() + text.len() <= self.limits.max_string => {
                self.short.extend_from_slice(text);
            }
            Reading::Short => self.too_long = true,
        }
    }

    fn end_string(&mut self, end: u64) -> Result<(), JsonError> {
        // A key that is given more often is sent on as it is there.
        if self.target() == Field::Name(Name::Model) && self.model_places.len() < MAX_PLACES {
            self.model_places.push((self.string_at, end));
        }
        let ended = self.string_ends();
        self.accepted(ended)
    }

    fn scalar(&mut self, scalar: Scalar, end: u64) -> Result<(), JsonError> {
        let field = self.target();
        let read = match (scalar, field) {
            (Scalar::Null, Field::StreamOptions) => {
                self.stream_options.null(end);
                Ok(())
            }
            (Scalar::Null, Field::IncludeUsage) => {
                self.stream_options.include_usage(None, end);
                Ok(())
            }
            (Scalar::Bool(value), Field::IncludeUsage) => {
                self.stream_options.include_usage(Some(value), end);
                Ok(())
            }
            (_, Field::StreamOptions | Field::IncludeUsage | Field::UsageOption) => {
                self.stream_options.keep_unchanged();
                Ok(())
            }
            (Scalar::Null, _) => self.null(field),
            (Scalar::Number(number), _) => self.number(field, number),
            (Scalar::Bool(value), Field::Stream | Field::Background) => {
                let known = match field {
                    Field::Stream => &mut self.stream,
                    _ => &mut self.background,
                };
                let agrees = known.set(Some(value));
                self.agreed(agrees, field)
            }
            (
                Scalar::Bool(_),
                Field::Ignored
                | Field::Verbatim
                | Field::Media
                | Field::MediaList
                | Field::MediaSource
                | Field::MediaReference
                | Field::MediaKind,
            ) => Ok(()),
            (Scalar::Bool(_), _) => Err(self.wrong_type(field)),
        };
        self.accepted(read)
    }
}

impl BodyReader {
    /// Keeps the reason of a refusal.
    fn accepted<T>(&mut self, result: Result<T, BodyError>) -> Result<T, JsonError> {
        result.map_err(|error| {
            self.error = Some(error);
            JsonError::Refused
        })
    }

    fn open_container(&mut self, kind: Kind, offset: u64) -> Result<(), BodyError> {
        let field = self.target();
        let container = match (field, kind) {
            (Field::MediaSource, Kind::Object) => {
                self.part_known = true;
                self.add_media();
                Container::Media
            }
            (Field::Media, kind) => {
                self.add_media();
                match (kind, self.path.at()) {
                    (
                        Kind::Object,
                        Some(Container::Part | Container::PromptPart | Container::InnerPart),
                    ) => Container::Media,
                    _ => return self.skip(),
                }
            }
            (Field::MediaList, Kind::Array) => Container::MediaList,
            (Field::MediaList, Kind::Object) => {
                self.add_media();
                return self.skip();
            }
            (Field::Ignored | Field::MediaSource | Field::MediaReference | Field::MediaKind, _) => {
                return self.skip();
            }
            (Field::StreamOptions, Kind::Object) => {
                self.stream_options.open(offset);
                Container::StreamOptions
            }
            (Field::StreamOptions | Field::IncludeUsage | Field::UsageOption, _) => {
                self.stream_options.keep_unchanged();
                return self.skip();
            }
            (Field::Verbatim, _) => {
                self.verbatim_from = offset;
                Container::Verbatim
            }
            (Field::Document, Kind::Object) => {
                self.stream_options.open_document(offset);
                Container::Top
            }
            (Field::Messages | Field::Input, Kind::Array) => {
                self.begin_prompt();
                Container::Messages
            }
            (Field::Message, Kind::Object) => Container::Message,
            (Field::Content, Kind::Array) => {
                self.begin_text();
                Container::Content
            }
            (Field::Part, Kind::Object) => {
                self.begin_part();
                Container::Part
            }
            (Field::Options, Kind::Object) => Container::Options,
            (Field::Options, Kind::Array) if self.schema.prompts_multiply && !self.in_list => {
                self.in_list = true;
                Container::OptionsList
            }
            (Field::InnerContent, Kind::Array) => Container::InnerContent,
            // One block in place of a list.
            (Field::InnerContent | Field::InnerPart, Kind::Object) => {
                self.verbatim_from = offset;
                self.part_known = false;
                Container::InnerPart
            }
            (Field::InnerPart, _) => {
                self.verbatim_from = offset;
                Container::Verbatim
            }
            (Field::Prompt, Kind::Array) => {
                self.begin_prompt();
                Container::Prompts
            }
            (Field::PromptItem, Kind::Array) => {
                self.begin_prompt_item();
                Container::Tokens
            }
            (Field::Prompt | Field::PromptItem, Kind::Object)
                if self.schema.mixed_prompts
                    || field == Field::PromptItem && self.schema.reads(Container::PromptPart) =>
            {
                if field == Field::Prompt {
                    self.begin_prompt();
                }
                self.begin_prompt_item();
                self.begin_part();
                Container::PromptPart
            }
            (Field::Name(Name::Conversation), Kind::Object) => Container::Conversation,
            (Field::Metadata, Kind::Object) => Container::Metadata,
            _ => return Err(self.wrong_type(field)),
        };
        self.path.enter(container);
        Ok(())
    }

    fn skip(&mut self) -> Result<(), BodyError> {
        self.path.skip();
        Ok(())
    }

    fn begin_part(&mut self) {
        self.before_part = self.text;
        self.part_known = false;
    }

    fn end_part(&mut self) {
        self.text = self.part.take().unwrap_or(self.before_part);
        // A kind of part that is not known, so it is not text.
        if !self.part_known {
            self.add_media();
        }
    }

    fn close_container(&mut self, offset: u64) -> Result<(), BodyError> {
        match self.path.leave() {
            Some(Container::Messages) => self.end_prompt(Field::Messages)?,
            Some(Container::Message) => self.end_message(),
            Some(Container::Content) => {
                let digest = self.content_digest();
                let agrees = self.message.content.set(Some(digest));
                self.agreed(agrees, Field::Content)?;
            }
            Some(Container::Part) => self.end_part(),
            Some(Container::Media) => self.end_media(),
            Some(Container::PromptPart) => {
                self.end_part();
                self.end_prompt_item();
                if self.path.at() == Some(Container::Top) {
                    self.end_prompt(Field::Prompt)?;
                }
            }
            Some(Container::OptionsList) => self.in_list = false,
            Some(Container::InnerPart) => {
                // A kind of block that is not known counts as it was sent. The part around it has a known key.
                if !std::mem::replace(&mut self.part_known, true) {
                    self.add_verbatim(offset + 1 - self.verbatim_from);
                }
            }
            Some(Container::Verbatim) => self.add_verbatim(offset + 1 - self.verbatim_from),
            Some(Container::Prompts) => self.end_prompt(Field::Prompt)?,
            Some(Container::Tokens) => self.end_prompt_item(),
            Some(Container::Conversation) => {
                let id = self.inner_name.take();
                self.set_name(Name::Conversation, id, Field::Name(Name::Conversation))?;
            }
            Some(Container::Metadata) => {
                let user = self.inner_name.take();
                self.set_name(Name::MetadataUserId, user, Field::Metadata)?;
            }
            None
            | Some(
                Container::Root
                | Container::Top
                | Container::MediaList
                | Container::StreamOptions
                | Container::Options
                | Container::InnerContent,
            ) => {}
        }
        Ok(())
    }

    fn string_begins(&mut self) -> Result<WantedPart, BodyError> {
        let field = self.target();
        self.reading = Reading::Text;
        match field {
            Field::Ignored | Field::MediaSource => return Ok(WantedPart::Nothing),
            Field::StreamOptions | Field::IncludeUsage | Field::UsageOption => {
                self.stream_options.keep_unchanged();
                return Ok(WantedPart::Nothing);
            }
            Field::Media => {
                self.add_media();
                match self.path.at() {
                    Some(Container::Part | Container::PromptPart) => self.reading = Reading::Media,
                    _ => return Ok(WantedPart::Nothing),
                }
            }
            Field::MediaList => {
                self.add_media();
                return Ok(WantedPart::Nothing);
            }
            Field::MediaReference => self.reading = Reading::Media,
            Field::Verbatim | Field::InnerContent | Field::InnerPart => {
                self.reading = Reading::Verbatim
            }
            Field::Content => self.begin_text(),
            Field::PromptItem => self.begin_prompt_item(),
            Field::Prompt | Field::Input => {
                self.begin_prompt();
                self.begin_text();
            }
            // The text of a part continues the content. A second text in one part replaces the first.
            Field::PartText => self.text = self.before_part,
            // Servers accept a string in place of a part.
            Field::Part => {}
            Field::Token if self.schema.mixed_prompts => {}
            Field::Number(_) if self.schema.numbers_are_strings => {
                self.reading = Reading::Short;
                self.short.clear();
                self.too_long = false;
            }
            Field::Name(_) | Field::InnerName(_) | Field::Role | Field::MediaKind => {
                self.reading = Reading::Short;
                self.short.clear();
                self.too_long = false;
            }
            _ => return Err(self.wrong_type(field)),
        }
        Ok(match self.reading {
            Reading::Short => WantedPart::Text,
            Reading::Text if self.text.hashes() => WantedPart::Text,
            Reading::Media if self.media_text.hashes() => WantedPart::Text,
            Reading::Text | Reading::Media | Reading::Verbatim => WantedPart::Length,
        })
    }

    fn string_ends(&mut self) -> Result<(), BodyError> {
        let field = self.target();
        let agrees = match field {
            Field::Content => {
                let text = self.text.digest();
                self.message.content.set(Some(text))
            }
            Field::PartText => self.part.set(Some(self.text)),
            Field::PromptItem => {
                self.end_prompt_item();
                true
            }
            Field::Prompt | Field::Input => {
                self.end_prompt_item();
                return self.end_prompt(field);
            }
            Field::Number(_) => {
                let number = Decimal::parse(&self.short).filter(|_| !self.too_long);
                let number = number.ok_or_else(|| self.wrong_type(field))?;
                return self.number(field, number);
            }
            Field::Role => {
                let is_user = !self.too_long && self.short == b"user";
                self.message.is_user.set(Some(is_user))
            }
            Field::MediaKind => {
                // Of a kind beyond the limit, the kept beginning would depend on how the body is split.
                let kind: &[u8] = if self.too_long { b"" } else { &self.short };
                self.media.is_text |= kind.starts_with(b"text") || kind == b"content";
                self.media.is_base64 |= kind.contains(&b'/');
                true
            }
            _ if self.reading == Reading::Short => return self.short_string_ends(field),
            _ => true,
        };
        self.agreed(agrees, field)
    }

    fn short_string_ends(&mut self, field: Field) -> Result<(), BodyError> {
        if self.too_long {
            return Err(BodyError::TooLong {
                field: (self.schema.describe)(field).0,
                max: self.limits.max_string,
            });
        }
        let value = Some(String::from_utf8_lossy(&self.short).into_owned());
        match field {
            Field::Name(name) => self.set_name(name, value, field),
            _ => {
                let agrees = self.inner_name.set(value);
                self.agreed(agrees, field)
            }
        }
    }
}
