//! Checks for annotations and labels without effect: unknown annotations, unknown values, and labels that require another one.
//!
//! Invariant: a function of one object, so that every source reports the same findings.

use std::collections::BTreeMap;

use headgate_contract::names;

use crate::near::nearest;
use crate::{CarrierKey, Finding, LabelKeys, Severity, reason};

type Texts = BTreeMap<String, String>;

/// Findings on the annotations of an object.
#[must_use]
pub fn annotation_findings(key: &CarrierKey, origin: &str, annotations: &Texts) -> Vec<Finding> {
    let report = |reason, message| warning(key, origin, reason, message);
    let mut findings: Vec<Finding> = unknown(annotations)
        .map(|name| {
            let message = format!(
                "annotation `{name}` is unknown and has no effect{} To remove it: {}",
                suggestion(name),
                key.remove_annotation_command(name)
            );
            report(reason::UNKNOWN_ANNOTATION, message)
        })
        .collect();
    let join = annotations.get(names::ANNOTATION_JOIN);
    if let Some(value) = join.filter(|value| *value != "share") {
        let message = format!(
            "annotation `{}: {value:?}` is ignored. The only valid value is `share`: {}",
            names::ANNOTATION_JOIN,
            key.annotate_command(names::ANNOTATION_JOIN, "share")
        );
        findings.push(report(reason::INVALID_JOIN, message));
    }
    let carrier = annotations.get(names::ANNOTATION_CARRIER);
    if let Some(value) = carrier.filter(|value| !is_owner(value)) {
        let message = format!(
            "annotation `{}: {value:?}` is ignored. Valid values are `owner` and `prefer owner`, which mean the same: {}",
            names::ANNOTATION_CARRIER,
            key.annotate_command(names::ANNOTATION_CARRIER, "owner")
        );
        findings.push(report(reason::INVALID_CARRIER, message));
    }
    findings
}

/// Whether the annotation `headgate.dev/carrier` of a Service makes the labelled owner of its pods the carrier instead.
#[must_use]
pub fn prefers_owner(annotations: &Texts) -> bool {
    let carrier = annotations.get(names::ANNOTATION_CARRIER);
    carrier.is_some_and(|value| is_owner(value))
}

fn is_owner(value: &str) -> bool {
    matches!(value.trim(), "owner" | "prefer owner")
}

/// Findings on the annotations in the pod template of an object.
#[must_use]
pub fn template_findings(key: &CarrierKey, origin: &str, annotations: &Texts) -> Vec<Finding> {
    let (object, namespace) = (key.identity(), &key.namespace);
    let finding = |name: &str| {
        let message = format!(
            "annotation `{name}` of its pods is unknown and has no effect{} To change it: kubectl edit {object} -n {namespace}",
            suggestion(name)
        );
        warning(key, origin, reason::UNKNOWN_ANNOTATION, message)
    };
    unknown(annotations).map(finding).collect()
}

/// The finding on labels that make no carrier because another label is missing: a version and a weight without a model; on a Service also
/// one of the two alone, and a model and a weight without a version.
#[must_use]
pub fn incomplete_labels(
    key: &CarrierKey,
    origin: &str,
    labels: &Texts,
    keys: &LabelKeys,
) -> Option<Finding> {
    let has = |label: &String| labels.contains_key(label);
    let service = key.kind == "service";
    let (version, weight) = (has(&keys.version), has(&keys.weight));
    let written: Vec<String> = [&keys.model, &keys.version, &keys.weight]
        .into_iter()
        .filter(|label| has(label))
        .map(|label| format!("`{label}`"))
        .collect();
    let written = match &written[..] {
        [one] => format!("the label {one}"),
        all => format!("the labels {}", all.join(" and ")),
    };
    if has(&keys.model) {
        if !service || version || !weight {
            return None;
        }
        let message = format!(
            "has {written} but no `{}`. A Service needs a model and a version to be a carrier: {}",
            keys.version,
            key.label_command(&keys.version, "VERSION")
        );
        return Some(warning(key, origin, reason::NO_VERSION, message));
    }
    let incomplete = if service {
        version || weight
    } else {
        version && weight
    };
    if !incomplete {
        return None;
    }
    let mut commands = vec![key.label_command(&keys.model, "MODEL")];
    if !version {
        commands.push(key.label_command(&keys.version, "VERSION"));
    }
    let message = format!(
        "has {written} but no `{}`, so it is not a carrier: {}",
        keys.model,
        commands.join(" && ")
    );
    Some(warning(key, origin, reason::NO_MODEL, message))
}

fn unknown(annotations: &Texts) -> impl Iterator<Item = &str> {
    let ours = annotations.keys().map(String::as_str);
    ours.filter(|name| name.starts_with(names::ANNOTATION_PREFIX))
        .filter(|name| !names::ANNOTATIONS.contains(name))
}

/// The end of a message: the known annotation that an unknown one resembles, else all known ones.
fn suggestion(name: &str) -> String {
    let short = |name: &'static str| name.trim_start_matches(names::ANNOTATION_PREFIX);
    let wanted = name.trim_start_matches(names::ANNOTATION_PREFIX);
    match nearest(wanted, names::ANNOTATIONS.map(short)) {
        Some(near) => format!(": did you mean `{}{near}`?", names::ANNOTATION_PREFIX),
        None => {
            let known = names::ANNOTATIONS.map(short).join(", ");
            format!(
                ". Known annotations: {known}, each with the prefix `{}`.",
                names::ANNOTATION_PREFIX
            )
        }
    }
}

fn warning(key: &CarrierKey, origin: &str, reason: &'static str, message: String) -> Finding {
    Finding::on_carrier(key, origin, Severity::Warning, reason, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn key() -> CarrierKey {
        CarrierKey {
            namespace: "default".to_owned(),
            kind: "deployment".to_owned(),
            name: "a".to_owned(),
        }
    }

    #[test]
    fn an_unknown_annotation_is_reported_with_the_nearest_known_one() {
        for (written, expected) in [
            ("headgate.dev/ports", "did you mean `headgate.dev/port`?"),
            (
                "headgate.dev/model-name",
                "did you mean `headgate.dev/model-names`?",
            ),
            (
                "headgate.dev/endpoint",
                "did you mean `headgate.dev/endpoints`?",
            ),
            (
                "headgate.dev/max-tokens",
                "did you mean `headgate.dev/default-max-tokens`?",
            ),
            (
                "headgate.dev/context-lenght",
                "did you mean `headgate.dev/context-length`?",
            ),
            (
                "headgate.dev/zone",
                "Known annotations: model-names, endpoints, port",
            ),
        ] {
            let found = annotation_findings(&key(), "o", &texts(&[(written, "x")]));
            assert_eq!(found[0].reason, reason::UNKNOWN_ANNOTATION);
            let message = &found[0].message;
            assert!(message.contains(expected), "{written}: {message}");
            let command = format!("kubectl annotate deployment/a -n default {written}-");
            assert!(message.ends_with(&command), "{message}");
        }
        let others = texts(&[("example.com/ports", "1"), ("headgate.dev/port", "1")]);
        assert!(annotation_findings(&key(), "o", &others).is_empty());
    }

    #[test]
    fn every_known_annotation_has_the_prefix_and_is_listed_once() {
        let mut all = names::ANNOTATIONS;
        all.sort_unstable();
        assert!(
            all.iter()
                .all(|name| name.starts_with(names::ANNOTATION_PREFIX))
        );
        assert!(all.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn join_has_one_valid_value() {
        let join =
            |value| annotation_findings(&key(), "o", &texts(&[(names::ANNOTATION_JOIN, value)]));
        assert!(join("share").is_empty());
        for value in ["true", "", "Share"] {
            let found = join(value);
            assert_eq!(found[0].reason, reason::INVALID_JOIN);
            assert!(found[0].message.contains(&format!("{value:?}")));
            assert!(
                found[0]
                    .message
                    .contains("headgate.dev/join=share --overwrite")
            );
        }
    }

    #[test]
    fn a_version_with_a_weight_and_without_a_model_reports_the_missing_label() {
        let keys = LabelKeys::default();
        let of = |labels: &[(&str, &str)]| incomplete_labels(&key(), "o", &texts(labels), &keys);
        let version = ("model-version", "v");
        let weight = ("canary-weight", "10");
        let found = of(&[version, weight]).map(|finding| finding.message);
        let command = "kubectl label deployment/a -n default model-name=MODEL --overwrite";
        assert!(found.is_some_and(|message| message.ends_with(command)));
        for labels in [
            vec![version],
            vec![weight],
            vec![version, weight, ("model-name", "m")],
        ] {
            assert_eq!(of(&labels), None, "{labels:?}");
        }
    }

    #[test]
    fn a_service_reports_the_label_that_it_needs_to_be_a_carrier() {
        let keys = LabelKeys::default();
        let service = CarrierKey {
            kind: "service".to_owned(),
            ..key()
        };
        let (model, version, weight) = (
            ("model-name", "m"),
            ("model-version", "v"),
            ("canary-weight", "10"),
        );
        let label = |label: &str| format!("kubectl label service/a -n default {label} --overwrite");
        let (name, number) = (label("model-name=MODEL"), label("model-version=VERSION"));
        let both = format!("{name} && {number}");
        for (labels, expected, end) in [
            (vec![model, weight], reason::NO_VERSION, &number),
            (vec![version], reason::NO_MODEL, &name),
            (vec![version, weight], reason::NO_MODEL, &name),
            (vec![weight], reason::NO_MODEL, &both),
        ] {
            let found = incomplete_labels(&service, "o", &texts(&labels), &keys).unwrap();
            assert_eq!(found.reason, expected, "{labels:?}");
            assert!(found.message.ends_with(end.as_str()), "{}", found.message);
        }
        for labels in [
            vec![],
            // A model name alone may be a common label of a chart whose workloads are the carriers.
            vec![model],
            vec![model, version],
            vec![model, version, weight],
        ] {
            assert_eq!(
                incomplete_labels(&service, "o", &texts(&labels), &keys),
                None,
                "{labels:?}"
            );
        }
    }

    #[test]
    fn the_carrier_annotation_has_two_valid_values() {
        let carrier =
            |value| annotation_findings(&key(), "o", &texts(&[(names::ANNOTATION_CARRIER, value)]));
        for value in ["owner", "prefer owner", " owner "] {
            assert!(carrier(value).is_empty(), "{value}");
        }
        for value in ["", "service", "Owner", "true"] {
            let found = carrier(value);
            assert_eq!(found[0].reason, reason::INVALID_CARRIER, "{value}");
            let message = &found[0].message;
            assert!(message.contains("`owner` and `prefer owner`"), "{message}");
            assert!(
                message.ends_with("headgate.dev/carrier=owner --overwrite"),
                "{message}"
            );
        }
    }
}
