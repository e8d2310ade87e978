//! Annotations → the `max_tokens` of a request that names none.
//!
//! Invariant: one value per model, that of the oldest carrier that says one. A value that cannot be read is as if it were
//! not there, so a slip of the pen never changes what a request reserves.

use headgate_contract::names::{ANNOTATION_CONTEXT_LENGTH, ANNOTATION_DEFAULT_MAX_TOKENS};
use headgate_contract::{DefaultMaxTokens, MAX_TOKENS, ModelId, ServedModelSpec};

use super::{Draft, about};
use crate::{Finding, Severity, reason};

/// The value that stands for the model's context window.
const CONTEXT: &str = "context";

/// What a carrier says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DeclaredMaxTokens {
    Tokens(u32),
    Context,
}

/// A carrier, what it says, and the context length that it says.
struct Reading<'d, 'a> {
    draft: &'d Draft<'a>,
    said: Option<DeclaredMaxTokens>,
    context: Option<u32>,
}

/// The default of a model. `drafts` come oldest first.
pub(super) fn of_model(
    model: &ModelId,
    drafts: &[Draft<'_>],
    spec: &ServedModelSpec,
    findings: &mut Vec<Finding>,
) -> DefaultMaxTokens {
    if let Some(said) = of_spec(spec) {
        return said;
    }
    let readings: Vec<_> = drafts.iter().map(|draft| read(draft, findings)).collect();
    let mut saying = readings
        .iter()
        .filter_map(|reading| Some((reading, reading.said?)));
    let Some((first, said)) = saying.next() else {
        return DefaultMaxTokens::default();
    };
    let context = match said {
        DeclaredMaxTokens::Tokens(_) => None,
        // The model's, its own, or else what another carrier knows of the same model.
        DeclaredMaxTokens::Context => spec
            .context_length
            .or(first.context)
            .or_else(|| readings.iter().find_map(|reading| reading.context)),
    };
    for (other, theirs) in saying {
        let as_long = other.context.is_none() || other.context == context;
        if theirs != said || (said == DeclaredMaxTokens::Context && !as_long) {
            findings.push(differs(model, other, first));
        }
    }
    match (said, context) {
        (DeclaredMaxTokens::Tokens(tokens), _) => DefaultMaxTokens::Tokens(tokens),
        (DeclaredMaxTokens::Context, Some(length)) => DefaultMaxTokens::Context(length),
        (DeclaredMaxTokens::Context, None) => {
            findings.push(no_length(model, first));
            DefaultMaxTokens::default()
        }
    }
}

/// What the `ServedModel` says; `None` where it says nothing that counts.
fn of_spec(spec: &ServedModelSpec) -> Option<DefaultMaxTokens> {
    match spec.default_max_tokens.as_deref()? {
        CONTEXT => spec.context_length.map(DefaultMaxTokens::Context),
        text => number(text).map(DefaultMaxTokens::Tokens),
    }
}

fn read<'d, 'a>(draft: &'d Draft<'a>, findings: &mut Vec<Finding>) -> Reading<'d, 'a> {
    let said = |text: &str| match text {
        CONTEXT => Some(DeclaredMaxTokens::Context),
        text => number(text).map(DeclaredMaxTokens::Tokens),
    };
    Reading {
        said: value(draft, ANNOTATION_DEFAULT_MAX_TOKENS, said, findings),
        context: value(draft, ANNOTATION_CONTEXT_LENGTH, number, findings),
        draft,
    }
}

fn value<T>(
    draft: &Draft<'_>,
    annotation: &str,
    read: impl Fn(&str) -> Option<T>,
    findings: &mut Vec<Finding>,
) -> Option<T> {
    let text = draft.carrier.annotations.get(annotation)?.trim();
    let value = read(text);
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
    let command = draft.carrier.key.annotate_command(annotation, example);
    let message = format!(
        "annotation `{annotation}: {shown:?}` is ignored: write a whole number from 1 to {MAX_TOKENS}{or}, such as: {command}"
    );
    about(
        draft.carrier,
        Severity::Warning,
        reason::INVALID_MAX_TOKENS,
        message,
    )
}

fn no_length(model: &ModelId, reading: &Reading<'_, '_>) -> Finding {
    let carrier = reading.draft.carrier;
    let command = carrier
        .key
        .annotate_command(ANNOTATION_CONTEXT_LENGTH, "TOKENS");
    let message = format!(
        "annotation `{ANNOTATION_DEFAULT_MAX_TOKENS}: {CONTEXT}`, but no carrier of model {model} says how long its context window is, \
         so a request without `max_tokens` reserves {}: {command}",
        DefaultMaxTokens::default().tokens()
    );
    about(
        carrier,
        Severity::Warning,
        reason::NO_CONTEXT_LENGTH,
        message,
    )
}

fn differs(model: &ModelId, other: &Reading<'_, '_>, first: &Reading<'_, '_>) -> Finding {
    let message = format!(
        "annotation `{ANNOTATION_DEFAULT_MAX_TOKENS}` has no effect: that of {} ({}), which is older, counts for model {model}. \
         Write the same on both, or remove one",
        first.draft.carrier.key, first.draft.carrier.origin
    );
    about(
        other.draft.carrier,
        Severity::Warning,
        reason::MAX_TOKENS_DIFFER,
        message,
    )
}
