//! The keys of answers. `cachedContentTokenCount` is a part of the prompt; thoughts are beside the candidates, and the results of tools
//! beside the prompt.

use crate::answer::Schema;
use crate::answer::field::{Container, Field, Keyword};
use crate::answer::report::Count;
use crate::answer::text::TextKind;
use crate::json::{Kind, lookup};
use crate::openai::answer as openai;

/// Generated content. Each chunk of a stream reports cumulative usage.
pub(super) const GENERATE: Schema = Schema {
    field,
    ..openai::GENERATED
};

/// Embeddings.
pub(super) const EMBED: Schema = Schema {
    field,
    generates: false,
    ..openai::GENERATED
};

fn field(container: Container, key: &[u8]) -> Field {
    lookup(keys(container), key).unwrap_or(Field::Ignored)
}

fn keys(container: Container) -> &'static [(&'static str, Field)] {
    use Field::{Count as Number, Inside, Text, Verbatim};
    use Kind::{Array, Object};
    match container {
        Container::Top => &[
            ("candidates", Inside(Container::Choices, Array)),
            ("usageMetadata", Inside(Container::Usage, Object)),
            ("error", Field::Error),
            ("embedding", Inside(Container::Vectors, Object)),
            ("embeddings", Inside(Container::Vectors, Array)),
            ("promptFeedback", Field::Metadata),
        ],
        Container::Choice => &[
            ("content", Inside(Container::Message, Object)),
            ("finishReason", Field::Keyword(Keyword::FinishReason)),
            ("index", Field::Index),
        ],
        Container::Message => &[("parts", Text(TextKind::Content))],
        Container::Block(_) => &[
            ("text", Text(TextKind::Content)),
            ("functionCall", Verbatim(TextKind::CallArguments)),
            ("executableCode", Verbatim(TextKind::CallArguments)),
        ],
        Container::Usage => &[
            ("promptTokenCount", Number(Count::Input)),
            ("candidatesTokenCount", Number(Count::Output)),
            ("totalTokenCount", Number(Count::Total)),
            ("cachedContentTokenCount", Number(Count::Cached)),
            ("thoughtsTokenCount", Number(Count::ReasoningBeside)),
            ("toolUsePromptTokenCount", Number(Count::InputBeside)),
            (
                "promptTokensDetails",
                Inside(Container::InputModalities, Array),
            ),
            (
                "candidatesTokensDetails",
                Inside(Container::OutputModalities, Array),
            ),
        ],
        Container::InputModality | Container::OutputModality => &[
            ("modality", Field::Keyword(Keyword::Modality)),
            ("tokenCount", Number(Count::OfModality)),
        ],
        _ => &[],
    }
}
