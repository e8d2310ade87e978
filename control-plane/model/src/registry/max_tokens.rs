//! Annotations → the `max_tokens` of a request that names none.
//!
//! Invariant: one value per model, that of the oldest carrier that gives one. A value that cannot be read has no effect, so a typing
//! error never changes what a request reserves.

use headgate_contract::names::{ANNOTATION_CONTEXT_LENGTH, ANNOTATION_DEFAULT_MAX_TOKENS};
use headgate_contract::{DefaultMaxTokens, MAX_TOKENS, ModelId, ServedModelSpec};

use super::draft::Draft;
use crate::{Finding, Severity, reason};

/// The value that stands for the model's context window.
const CONTEXT: &str = "context";

/// A default as a carrier declares it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declared {
    Tokens(u32),
    Context,
}

/// The annotations of a carrier: the default and the context length.
struct Annotations<'d, 'a> {
    draft: &'d Draft<'a>,
    default: Option<Declared>,
    context_length: Option<u32>,
}

/// The default of a model. `drafts` come oldest first.
pub(super) fn of_model(
    model: &ModelId,
    drafts: &[Draft<'_>],
    spec: &ServedModelSpec,
    findings: &mut Vec<Finding>,
) -> DefaultMaxTokens {
    if let Some(default) = of_spec(spec) {
        return default;
    }
    let all: Vec<_> = drafts.iter().map(|draft| read(draft, findings)).collect();
    let mut declaring = all
        .iter()
        .filter_map(|annotations| Some((annotations, annotations.default?)));
    let Some((first, default)) = declaring.next() else {
        return DefaultMaxTokens::default();
    };
    let context_length = match default {
        Declared::Tokens(_) => None,
        // The length from the `ServedModel`, from this carrier, or else from another carrier of the model.
        Declared::Context => spec.context_length.or(first.context_length).or_else(|| {
            all.iter()
                .find_map(|annotations| annotations.context_length)
        }),
    };
    for (other, declared) in declaring {
        let same_length = other.context_length.is_none() || other.context_length == context_length;
        if declared != default || (default == Declared::Context && !same_length) {
            findings.push(differs(model, other, first));
        }
    }
    match (default, context_length) {
        (Declared::Tokens(tokens), _) => DefaultMaxTokens::Tokens(tokens),
        (Declared::Context, Some(length)) => DefaultMaxTokens::Context(length),
        (Declared::Context, None) => {
            findings.push(no_length(model, first));
            DefaultMaxTokens::default()
        }
    }
}

/// The default in a `ServedModel`; `None` if it has none in effect.
fn of_spec(spec: &ServedModelSpec) -> Option<DefaultMaxTokens> {
    match spec.default_max_tokens.as_deref()? {
        CONTEXT => spec.context_length.map(DefaultMaxTokens::Context),
        text => number(text).map(DefaultMaxTokens::Tokens),
    }
}

fn read<'d, 'a>(draft: &'d Draft<'a>, findings: &mut Vec<Finding>) -> Annotations<'d, 'a> {
    let default = |text: &str| match text {
        CONTEXT => Some(Declared::Context),
        text => number(text).map(Declared::Tokens),
    };
    Annotations {
        default: value(draft, ANNOTATION_DEFAULT_MAX_TOKENS, default, findings),
        context_length: value(draft, ANNOTATION_CONTEXT_LENGTH, number, findings),
        draft,
    }
}

fn value<T>(
    draft: &Draft<'_>,
    annotation: &str,
    parse: impl Fn(&str) -> Option<T>,
    findings: &mut Vec<Finding>,
) -> Option<T> {
    let text = draft.carrier.annotations.get(annotation)?.trim();
    let value = parse(text);
    if value.is_none() {
        findings.push(invalid(draft, annotation, text));
    }
    value
}

/// 1 to [`MAX_TOKENS`] in decimal digits.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (1..=MAX_TOKENS).contains(&number).then_some(number)
}

fn invalid(draft: &Draft<'_>, annotation: &str, text: &str) -> Finding {
    let shown: String = text.chars().take(40).collect();
    let (or, example) = if annotation == ANNOTATION_DEFAULT_MAX_TOKENS {
        (" or `context`", "512")
    } else {
        ("", "8192")
    };
    let carrier = draft.carrier;
    let command = carrier.key.annotate_command(annotation, example);
    let message = format!(
        "annotation `{annotation}: {shown:?}` is ignored: write a whole number from 1 to {MAX_TOKENS}{or}, such as: {command}"
    );
    carrier.finding(Severity::Warning, reason::INVALID_MAX_TOKENS, message)
}

fn no_length(model: &ModelId, annotations: &Annotations<'_, '_>) -> Finding {
    let carrier = annotations.draft.carrier;
    let key = &carrier.key;
    let command = key.annotate_command(ANNOTATION_CONTEXT_LENGTH, "TOKENS");
    let message = format!(
        "annotation `{ANNOTATION_DEFAULT_MAX_TOKENS}: {CONTEXT}`, but no carrier of model {model} gives the length of its context \
         window, so a request without `max_tokens` reserves {}: {command}",
        DefaultMaxTokens::default().tokens()
    );
    carrier.finding(Severity::Warning, reason::NO_CONTEXT_LENGTH, message)
}

fn differs(model: &ModelId, other: &Annotations<'_, '_>, first: &Annotations<'_, '_>) -> Finding {
    let message = format!(
        "annotation `{ANNOTATION_DEFAULT_MAX_TOKENS}` has no effect: model {model} takes the one of {} ({}), which is older. Write the \
         same value on both, or remove one",
        first.draft.carrier.key, first.draft.carrier.origin
    );
    let carrier = other.draft.carrier;
    carrier.finding(Severity::Warning, reason::MAX_TOKENS_DIFFER, message)
}
