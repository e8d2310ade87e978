//! The request fields of interest: where they stand, what they are called, what they have to be.

use crate::BodyError;

/// A container of interest in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Outside the document.
    Root,
    Top,
    Messages,
    Message,
    Content,
    Part,
    Prompt,
    Tokens,
    Conversation,
    Metadata,
    /// A part's `image_url`, `input_audio`, `file`, …
    Media,
    StreamOptions,
    /// Any value whose bytes are priced as they stand.
    Priced,
}

/// What the value at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Document,
    Other,
    Model,
    MaxTokens,
    MaxCompletionTokens,
    N,
    BestOf,
    Temperature,
    Stream,
    Messages,
    Message,
    Role,
    Content,
    Part,
    PartText,
    Prompt,
    PromptItem,
    Token,
    PromptCacheKey,
    Conversation,
    ConversationId,
    User,
    SafetyIdentifier,
    Metadata,
    MetadataUserId,
    /// Read by the model beside the conversation's text: priced, and not looked into.
    Priced,
    /// A picture, a sound, a film or a file.
    Media,
    /// The same, if it is an object: text parts may have a source in words.
    Source,
    /// Its URL, its id or its data.
    MediaText,
    StreamOptions,
    IncludeUsage,
    /// Settles what a stream reports: the request is left alone.
    UsageOption,
}

/// Greatest `max_tokens`: above any context window.
pub(crate) const MAX_TOKENS: u64 = 10_000_000;
/// Greatest `n` and `best_of`.
pub(crate) const MAX_N: u64 = 1024;
/// Greatest `temperature`.
pub(crate) const MAX_TEMPERATURE: u64 = 10;
/// Tokens a picture, sound, film or file counts, by URL or inline: what OpenAI documents for an image of
/// 1024 × 1024 in high detail ("Images and vision", calculating costs: 85 + 4 tiles · 170). Its bytes say
/// nothing: a quarter of base64 would be hundreds of times too much, and a URL has none.
pub(crate) const MEDIA_TOKENS: u64 = 765;
/// Greatest token id.
pub(crate) const MAX_TOKEN_ID: u64 = u32::MAX as u64;

impl At {
    /// The keys of interest in this container, the most usual ones first. A table, for a `match` of strings
    /// compares byte by byte: six times the code.
    fn keys(self) -> &'static [(&'static str, Field)] {
        match self {
            Self::Top => &[
                ("model", Field::Model),
                ("messages", Field::Messages),
                ("prompt", Field::Prompt),
                ("max_tokens", Field::MaxTokens),
                ("max_completion_tokens", Field::MaxCompletionTokens),
                ("n", Field::N),
                ("best_of", Field::BestOf),
                ("temperature", Field::Temperature),
                ("stream", Field::Stream),
                ("stream_options", Field::StreamOptions),
                ("prompt_cache_key", Field::PromptCacheKey),
                ("conversation", Field::Conversation),
                ("user", Field::User),
                ("safety_identifier", Field::SafetyIdentifier),
                ("metadata", Field::Metadata),
                ("tools", Field::Priced),
                ("functions", Field::Priced),
                ("tool_choice", Field::Priced),
                ("function_call", Field::Priced),
                ("response_format", Field::Priced),
                ("prediction", Field::Priced),
                ("documents", Field::Priced),
                ("chat_template", Field::Priced),
                ("chat_template_kwargs", Field::Priced),
                ("suffix", Field::Priced),
            ],
            Self::Message => &[
                ("role", Field::Role),
                ("content", Field::Content),
                ("tool_calls", Field::Priced),
                ("tool_call_id", Field::Priced),
                ("name", Field::Priced),
                ("refusal", Field::Priced),
                ("reasoning_content", Field::Priced),
                ("reasoning", Field::Priced),
                ("function_call", Field::Priced),
                ("audio", Field::Media),
            ],
            Self::Part => &[
                ("text", Field::PartText),
                ("image_url", Field::Media),
                ("input_audio", Field::Media),
                ("file", Field::Media),
                ("image", Field::Media),
                ("source", Field::Source),
                ("video_url", Field::Media),
                ("audio_url", Field::Media),
                ("refusal", Field::Priced),
                ("thinking", Field::Priced),
            ],
            Self::Media => &[
                ("url", Field::MediaText),
                ("data", Field::MediaText),
                ("file_data", Field::MediaText),
                ("file_id", Field::MediaText),
            ],
            Self::StreamOptions => &[
                ("include_usage", Field::IncludeUsage),
                ("continuous_usage_stats", Field::UsageOption),
            ],
            Self::Conversation => &[("id", Field::ConversationId)],
            Self::Metadata => &[("user_id", Field::MetadataUserId)],
            _ => &[],
        }
    }
}

impl Field {
    /// The field a key names. `messages` is a field of chats, `prompt` of completions.
    pub(crate) fn of_key(at: At, key: &[u8], chat: bool) -> Self {
        let named = at.keys().iter().find(|(name, _)| name.as_bytes() == key);
        match named.map(|(_, field)| *field) {
            Some(Self::Messages) if !chat => Self::Other,
            Some(Self::Prompt) if chat => Self::Other,
            field => field.unwrap_or(Self::Other),
        }
    }

    /// What an item of an array is; `None` for containers that are objects.
    pub(crate) fn of_item(at: At) -> Option<Self> {
        match at {
            At::Root => Some(Self::Document),
            At::Messages => Some(Self::Message),
            At::Content => Some(Self::Part),
            At::Prompt => Some(Self::PromptItem),
            At::Tokens => Some(Self::Token),
            At::Priced => Some(Self::Other),
            _ => None,
        }
    }

    /// Name and type, as told to a client.
    fn name_and_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Document
            | Self::Other
            | Self::Priced
            | Self::Media
            | Self::Source
            | Self::MediaText
            | Self::StreamOptions
            | Self::IncludeUsage
            | Self::UsageOption => ("", "a JSON value"),
            Self::Model => ("model", "a string"),
            Self::MaxTokens => ("max_tokens", "a whole number"),
            Self::MaxCompletionTokens => ("max_completion_tokens", "a whole number"),
            Self::N => ("n", "a whole number"),
            Self::BestOf => ("best_of", "a whole number"),
            Self::Temperature => ("temperature", "a number"),
            Self::Stream => ("stream", "true or false"),
            Self::Messages => ("messages", "an array of messages"),
            Self::Message => ("messages[]", "an object with `role` and `content`"),
            Self::Role => ("messages[].role", "a string"),
            Self::Content => ("messages[].content", "a string or an array of parts"),
            Self::Part => ("messages[].content[]", "an object with a `type`"),
            Self::PartText => ("messages[].content[].text", "a string"),
            Self::Prompt | Self::PromptItem => {
                ("prompt", "a string, or an array of strings or token ids")
            }
            Self::Token => ("prompt", "an array of token ids (whole numbers)"),
            Self::PromptCacheKey => ("prompt_cache_key", "a string"),
            Self::Conversation => ("conversation", "a string or an object with an `id`"),
            Self::ConversationId => ("conversation.id", "a string"),
            Self::User => ("user", "a string"),
            Self::SafetyIdentifier => ("safety_identifier", "a string"),
            Self::Metadata => ("metadata", "an object"),
            Self::MetadataUserId => ("metadata.user_id", "a string"),
        }
    }

    /// Name, as told to a client.
    pub(crate) fn name(self) -> &'static str {
        self.name_and_type().0
    }

    /// Whether it is a string that is kept, as against text that is counted and hashed.
    pub(crate) fn is_short_string(self) -> bool {
        matches!(
            self,
            Self::Model
                | Self::Role
                | Self::PromptCacheKey
                | Self::Conversation
                | Self::ConversationId
                | Self::User
                | Self::SafetyIdentifier
                | Self::MetadataUserId
        )
    }

    /// The error of a value of the wrong type.
    pub(crate) fn wrong_type(self) -> BodyError {
        let (field, expected) = self.name_and_type();
        match self {
            Self::Document => BodyError::NotAnObject,
            _ => BodyError::WrongType { field, expected },
        }
    }
}
