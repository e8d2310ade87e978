//! The vocabulary of answers: the containers and fields that the reader knows.
//!
//! The names belong to no API. The [`Schema`](super::Schema) of an endpoint maps its keys to them.

use super::report::Count;
use super::text::TextKind;
use crate::json::Kind;

/// A container that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// Outside the document.
    Root,
    /// A document that is a list of answers or errors.
    List,
    /// A document that is an object.
    Top,
    /// An answer inside of another object.
    Envelope,
    /// The results of a request that generates nothing. They are not read.
    Vectors,
    /// The list of generated pictures.
    Pictures,
    Picture,
    Choices,
    Choice,
    Delta,
    /// One token of a stream. The index of its document is that of the token.
    Token,
    Message,
    /// A list of content blocks. Their text is of this kind.
    Blocks(TextKind),
    Block(TextKind),
    /// A list of reasoning details.
    Details,
    Detail,
    Audio,
    ToolCalls,
    ToolCall,
    Function,
    FunctionCall,
    /// A value that counts by its bytes as sent. Its contents are not read.
    Verbatim,
    Usage,
    /// A usage report under another name.
    TokenUsage,
    /// A list that holds one usage report.
    Reports,
    InputDetails,
    OutputDetails,
    /// The parts of the prompt, each of one modality: Gemini's `promptTokensDetails`.
    InputModalities,
    InputModality,
    /// The parts of the output.
    OutputModalities,
    OutputModality,
    /// llama.cpp's `timings`.
    Timings,
    /// An object of a host, with usage inside.
    Vendor,
    Error,
    /// A list of errors.
    Errors,
    Status,
}

/// The meaning of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Ignored,
    /// A container of this kind.
    Inside(Container, Kind),
    /// Generated text: a string, a block or a list of blocks.
    Text(TextKind),
    /// The whole text of a sequence, which is complete with it.
    WholeText,
    /// Generated text, if it is a string.
    String(TextKind),
    /// Generated text if it is a string, an answer if it is an object.
    Answer(Container),
    /// Generated text: a string, or a value that counts as sent.
    Verbatim(TextKind),
    /// Generated text, if it is a string of a choice: text counts under any name.
    Unknown,
    /// Base64 of a sound or of a picture.
    Base64,
    Count(Count),
    /// The index of a choice, of a tool call, or of the sequence that a document is about.
    Index,
    /// The id of the response, which later requests can name.
    ResponseId,
    /// True: the sequence is complete.
    Done,
    Keyword(Keyword),
    /// A statement of a host about itself or about the request. It is no part of the answer.
    Metadata,
    /// A sign of an error in a document that has nothing else.
    ErrorSign(ErrorSign),
    /// An error, unless it is null, false, zero or empty.
    Error,
    /// An error, if it is false.
    Success,
}

/// A sign of an error, where nothing is called `error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorSign {
    /// Enough by itself.
    Detail,
    /// Together with a code.
    Message,
    Code,
}

/// A string whose value is compared with a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    /// The kind or the status of the document.
    Kind,
    /// The reason why a choice ended.
    FinishReason,
    /// The modality of a part of a count.
    Modality,
}

impl Container {
    /// The meaning of an item of this array; `None` for an object.
    pub(super) fn item(self) -> Option<Field> {
        let inside = |container| Some(Field::Inside(container, Kind::Object));
        match self {
            Self::List => inside(Self::Top),
            Self::Reports => inside(Self::TokenUsage),
            Self::Choices => inside(Self::Choice),
            Self::Pictures => inside(Self::Picture),
            Self::ToolCalls => inside(Self::ToolCall),
            Self::Details => inside(Self::Detail),
            Self::InputModalities => inside(Self::InputModality),
            Self::OutputModalities => inside(Self::OutputModality),
            Self::Blocks(kind) => Some(Field::Text(kind)),
            _ => None,
        }
    }
}
