//! The vocabulary of request bodies: the containers and fields that the reader knows.
//!
//! The names belong to no API. The [`Schema`](super::Schema) of an endpoint maps its keys to them.

/// A container that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// Outside the document.
    Root,
    /// The document.
    Top,
    /// The list of messages.
    Messages,
    Message,
    /// The list of parts of a message's content.
    Content,
    /// A part of a message's content.
    Part,
    /// A list of prompts, or of the token ids of one prompt.
    Prompts,
    /// A prompt that is an object, read as a message's part is.
    PromptPart,
    /// A prompt as token ids.
    Tokens,
    Conversation,
    Metadata,
    /// The object of a picture, a sound, a film or a file.
    Media,
    /// A list of them.
    MediaList,
    StreamOptions,
    /// An object whose members count like those at the top: Gemini's `generationConfig`, Ollama's `options`.
    Options,
    /// A list of such objects, one for each prompt.
    OptionsList,
    /// The list of blocks inside of a part, such as the result of a tool.
    InnerContent,
    InnerPart,
    /// A value that counts as it was sent. Its contents are not read.
    Verbatim,
}

/// The meaning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Document,
    Ignored,
    Number(Number),
    /// A short string that is kept.
    Name(Name),
    Stream,
    Messages,
    /// The same, or one message as a string.
    Input,
    Message,
    Role,
    Content,
    Part,
    PartText,
    /// A prompt, or a list of prompts.
    Prompt,
    PromptItem,
    Token,
    Metadata,
    /// See [`Container::Options`].
    Options,
    /// True: the request is worked on after its answer.
    Background,
    /// A string that counts, or a list of blocks.
    InnerContent,
    InnerPart,
    /// A short string in an object that stands for it: in `Container::Conversation` or `Container::Metadata`.
    InnerName(Name),
    /// Prompt beside the messages: a string counts by its decoded length, any other value by its bytes as sent.
    Verbatim,
    /// A picture, a sound, a film or a file.
    Media,
    /// The same, or a list of them.
    MediaList,
    /// The same if it is an object. Otherwise it names the source of a text.
    MediaSource,
    /// The URL, the id or the data of a picture, a sound, a film or a file.
    MediaReference,
    /// The kind of the data. `text`, `content` and media types of text mean text, which is priced as text.
    MediaKind,
    StreamOptions,
    IncludeUsage,
    /// Another option about usage. A request that has it is sent on unchanged.
    UsageOption,
}

/// A number that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    MaxTokens,
    /// The newer name of `MaxTokens`.
    MaxCompletionTokens,
    N,
    BestOf,
    Temperature,
}

impl Number {
    pub(super) const COUNT: usize = Self::Temperature as usize + 1;
}

/// A short string that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Model,
    /// The older name of `Model`. It counts where that one is absent or empty.
    FormerModel,
    PromptCacheKey,
    /// As a string, or as an object that has it.
    Conversation,
    User,
    SafetyIdentifier,
    /// In an object, `metadata`.
    MetadataUserId,
    /// The response that the request continues.
    PreviousResponse,
}

impl Name {
    pub(super) const COUNT: usize = Self::PreviousResponse as usize + 1;
}

impl Field {
    /// The meaning of an item of an array; `None` for a container that is an object.
    pub(super) fn of_item(container: Container) -> Option<Self> {
        match container {
            Container::Root => Some(Self::Document),
            Container::Messages => Some(Self::Message),
            Container::Content => Some(Self::Part),
            Container::InnerContent => Some(Self::InnerPart),
            Container::Prompts => Some(Self::PromptItem),
            Container::Tokens => Some(Self::Token),
            Container::MediaList => Some(Self::MediaList),
            Container::OptionsList => Some(Self::Options),
            _ => None,
        }
    }
}
