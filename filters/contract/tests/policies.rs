//! The table of the kinds of policies, and specs of any kind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use headgate_contract::{
    AnyPolicySpec, AuthenticationPolicySpec, POLICY_DEFINITIONS, PolicyDefinition, PolicyKind,
    PolicySpec, PolicyStatus, Target, TokenBucketPolicySpec, TrafficTagPolicySpec,
};
use serde_json::json;

const BUCKETS: &str =
    r#"{"models":["llama"],"buckets":[{"name":"fair","key":["tenant"],"profile":"semantic"}]}"#;

fn parse(kind: &PolicyKind, json: &str) -> AnyPolicySpec {
    let definition = PolicyDefinition::find(kind.as_str()).unwrap();
    definition.parse(json.as_bytes()).unwrap()
}

#[test]
fn every_kind_has_a_row_in_the_order_of_names() {
    let kinds: Vec<&PolicyKind> = POLICY_DEFINITIONS.iter().map(|d| &d.kind).collect();
    assert!(kinds.is_sorted());
    assert_eq!(
        kinds,
        [
            &AuthenticationPolicySpec::KIND,
            &TokenBucketPolicySpec::KIND,
            &TrafficTagPolicySpec::KIND
        ]
    );
    for definition in &POLICY_DEFINITIONS {
        let kind = definition.kind.as_str().to_ascii_lowercase();
        assert_eq!(
            Some(definition.plural),
            kind.strip_suffix('y')
                .map(|stem| format!("{stem}ies"))
                .as_deref()
        );
        assert!(!definition.description.is_empty());
        assert!(!definition.spec_description.is_empty());
        let found = PolicyDefinition::find(definition.kind.as_str()).unwrap();
        assert_eq!(found.plural, definition.plural);
    }
    let short: BTreeSet<&str> = POLICY_DEFINITIONS.iter().map(|d| d.short_name).collect();
    assert_eq!(short.len(), POLICY_DEFINITIONS.len());
    assert!(PolicyDefinition::find("ServedModel").is_none());
}

#[test]
fn a_spec_of_any_kind_keeps_its_type() {
    let spec = parse(&TokenBucketPolicySpec::KIND, BUCKETS);
    assert_eq!(spec.kind(), TokenBucketPolicySpec::KIND);
    assert!(matches!(spec.target(), Target::Models(ids) if ids.len() == 1));
    assert!(!spec.overrides());
    let typed = spec.get::<TokenBucketPolicySpec>().unwrap();
    assert_eq!(typed.buckets[0].name.as_str(), "fair");
    assert!(spec.get::<TrafficTagPolicySpec>().is_none());
}

#[test]
fn specs_are_equal_if_kind_and_content_are() {
    let spec = parse(&TokenBucketPolicySpec::KIND, BUCKETS);
    assert_eq!(spec, spec.clone());
    assert_eq!(spec, parse(&TokenBucketPolicySpec::KIND, BUCKETS));
    let other = BUCKETS.replace("fair", "other");
    assert_ne!(spec, parse(&TokenBucketPolicySpec::KIND, &other));
    let tags = parse(&TrafficTagPolicySpec::KIND, r#"{"override":true}"#);
    assert!(tags.overrides());
    assert_ne!(spec, tags);
}

#[test]
fn an_error_names_the_path_within_the_spec() {
    let definition = PolicyDefinition::find("TokenBucketPolicy").unwrap();
    let error = definition.parse(br#"{"buckets":[{"name":"a b"}]}"#);
    assert_eq!(error.unwrap_err().path, "buckets[0].name");
}

#[test]
fn an_unknown_kind_is_read_and_written_unchanged() {
    let kind: PolicyKind = serde_json::from_str(r#""QueuePolicy""#).unwrap();
    assert_eq!(kind.as_str(), "QueuePolicy");
    assert_eq!(serde_json::to_string(&kind).unwrap(), r#""QueuePolicy""#);
    assert!(PolicyDefinition::find(kind.as_str()).is_none());
    let known: PolicyKind = serde_json::from_str(r#""TokenBucketPolicy""#).unwrap();
    assert_eq!(known, TokenBucketPolicySpec::KIND);
}

#[test]
fn a_status_has_the_form_of_the_kubernetes_api() {
    let condition = json!({
        "lastTransitionTime": "2026-01-02T03:04:05Z",
        "message": "applies to 1 model",
        "observedGeneration": 3,
        "reason": "Accepted",
        "status": "True",
        "type": "Accepted",
    });
    let status = json!({
        "conditions": [condition],
        "controllers": [{"controllerName": "a.example/b", "conditions": [condition]}],
    });
    let typed: PolicyStatus = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), status);
    let empty: PolicyStatus = serde_json::from_value(json!({})).unwrap();
    assert_eq!(empty, PolicyStatus::default());
}

#[cfg(feature = "schema")]
#[test]
fn a_definition_has_the_schemas_of_spec_and_status() {
    use schemars::generate::SchemaSettings;

    for definition in &POLICY_DEFINITIONS {
        let mut settings = SchemaSettings::openapi3();
        settings.inline_subschemas = true;
        let mut generator = settings.into_generator();
        let spec = definition.spec_schema(&mut generator);
        // Authentication comes before the model is known.
        let targets = definition.kind != AuthenticationPolicySpec::KIND;
        assert_eq!(spec.pointer("/properties/targetRefs").is_some(), targets);
        assert_eq!(spec.get("x-kubernetes-validations").is_some(), targets);
        assert!(spec.pointer("/properties").is_some());
        let status = definition.status_schema(&mut generator);
        assert!(status.pointer("/properties/conditions").is_some());
    }
}
