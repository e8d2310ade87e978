//! The `max_tokens` of a request that names none, from the annotations of a model's carriers.

use headgate_contract::DefaultMaxTokens::{self, Context, Tokens};
use headgate_contract::names::{ANNOTATION_CONTEXT_LENGTH, ANNOTATION_DEFAULT_MAX_TOKENS};
use headgate_model::{Carrier, reason};

use crate::fixtures::{Build, carrier, llama, objects, planned, reasons};

/// The carrier number `age`, oldest first, with these annotations.
fn annotated(age: i64, default: Option<&str>, context: Option<&str>) -> Carrier {
    let name = ["a", "b", "c"][usize::try_from(age).unwrap()];
    let mut carrier = carrier(name, &format!("v{age}")).created(age).joins();
    if let Some(text) = default {
        carrier = carrier.annotated(ANNOTATION_DEFAULT_MAX_TOKENS, text);
    }
    if let Some(text) = context {
        carrier = carrier.annotated(ANNOTATION_CONTEXT_LENGTH, text);
    }
    carrier
}

type Annotations = (Option<&'static str>, Option<&'static str>);

#[test]
fn the_oldest_carrier_with_a_default_decides_for_the_model() {
    let differ = reason::MAX_TOKENS_DIFFER;
    let rows: [(&[Annotations], DefaultMaxTokens, &[&str]); 10] = [
        (&[(None, None)], Tokens(512), &[]),
        (&[(Some("4096"), None)], Tokens(4096), &[]),
        (&[(Some("context"), Some("8192"))], Context(8192), &[]),
        (&[(None, Some("8192"))], Tokens(512), &[]),
        (
            &[(None, None), (Some("1024"), None), (Some("1024"), None)],
            Tokens(1024),
            &[],
        ),
        (
            &[(Some("1024"), None), (Some("2048"), None)],
            Tokens(1024),
            &[differ],
        ),
        // Another carrier of the model declares the length.
        (
            &[(Some("context"), None), (None, Some("8192"))],
            Context(8192),
            &[],
        ),
        (
            &[
                (Some("context"), Some("8192")),
                (Some("context"), Some("131072")),
            ],
            Context(8192),
            &[differ],
        ),
        (
            &[(Some("context"), None)],
            Tokens(512),
            &[reason::NO_CONTEXT_LENGTH],
        ),
        (
            &[(Some("context"), None), (Some("64"), None)],
            Tokens(512),
            &[differ, reason::NO_CONTEXT_LENGTH],
        ),
    ];
    for (annotations, expected, found) in rows {
        let carriers = (0..)
            .zip(annotations)
            .map(|(i, (d, c))| annotated(i, *d, *c));
        let plan = planned(&objects(carriers));
        assert_eq!(
            llama(&plan).plan.default_max_tokens,
            expected,
            "{annotations:?}"
        );
        let mut reasons = reasons(&plan);
        reasons.sort_unstable();
        let mut found = found.to_vec();
        found.sort_unstable();
        assert_eq!(reasons, found, "{annotations:?}");
    }
}

#[test]
fn an_invalid_number_of_tokens_is_ignored_and_reported_with_the_command() {
    for text in ["", "0", "10000001", "-1", "4k", "1e3", "Context"] {
        let plan = planned(&objects([
            annotated(0, Some(text), None),
            annotated(1, Some("64"), None),
        ]));
        assert_eq!(llama(&plan).plan.default_max_tokens, Tokens(64), "{text:?}");
        let [finding] = plan.findings.as_slice() else {
            panic!("{:?}", plan.findings)
        };
        assert_eq!(finding.reason, reason::INVALID_MAX_TOKENS);
        let command = "kubectl annotate deployment/a -n default headgate.dev/default-max-tokens=";
        assert!(finding.message.contains(command), "{}", finding.message);
    }
    for text in ["", "context", "8k"] {
        let plan = planned(&objects([annotated(0, Some("context"), Some(text))]));
        assert_eq!(llama(&plan).plan.default_max_tokens, Tokens(512));
        let invalid = plan
            .findings
            .iter()
            .find(|f| f.reason == reason::INVALID_MAX_TOKENS);
        assert!(
            invalid.unwrap().message.contains("context-length"),
            "{text:?}"
        );
        let none = plan
            .findings
            .iter()
            .find(|f| f.reason == reason::NO_CONTEXT_LENGTH);
        let command = "kubectl annotate deployment/a -n default headgate.dev/context-length=TOKENS";
        assert!(none.unwrap().message.contains(command));
    }
}
