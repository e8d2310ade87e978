//! Values that lack quotes: values that kubectl refuses are errors with the fix, and values that it reads as text are text.

use headgate_contract::TokenBucketPolicySpec;
use headgate_model::LabelKeys;
use headgate_source::files::remarks;

use super::{observe, problems};

/// Errors of the reducer, and the remarks of `validate`.
fn check(text: &str) -> (String, usize) {
    let files = [("m.yaml".to_owned(), text.as_bytes().to_vec())];
    let remarks = remarks(&files, "default", &LabelKeys::default()).problems;
    (
        problems(&observe(&[("m.yaml", text)])).join("\n"),
        remarks.len(),
    )
}

fn workload(labels: &str, template: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a, {labels}}}\nspec:\n  template:\n    metadata: {{{template}}}\n    \
         spec: {{containers: [{{name: s, ports: [{{name: metrics, containerPort: 9090}}]}}]}}\n"
    )
}

const LABELS: &str = "labels: {model-name: a, model-version: v1}";

#[test]
fn a_number_in_the_metadata_of_a_pod_template_is_an_error_without_remarks_on_its_ports() {
    let at = "spec.template.metadata";
    for (labels, template, expected) in [
        (
            LABELS,
            "annotations: {headgate.dev/port: 8000}",
            vec![format!(
                "{at}.annotations[\"headgate.dev/port\"]: must be text: write \"8000\", in quotes"
            )],
        ),
        (
            LABELS,
            "labels: {other: yes}",
            vec![format!("{at}.labels.other: must be text: write \"yes\"")],
        ),
        (
            "",
            "labels: {model-name: 7, canary-weight: 10}",
            vec![
                format!("{at}.labels.model-name: must be text: write \"7\", in quotes"),
                format!("{at}.labels.canary-weight: must be text: write \"10\", in quotes"),
            ],
        ),
        (
            "",
            "labels: {model-name: m, model-version: 1.10}",
            vec![format!(
                "{at}.labels.model-version: must be text: write \"1.10\", in quotes"
            )],
        ),
    ] {
        let (errors, remarks) = check(&workload(labels, template));
        for expected in expected {
            assert!(errors.contains(&expected), "{expected} in: {errors}");
        }
        assert_eq!(remarks, 0, "{template}");
    }
    let quoted = workload(LABELS, "annotations: {headgate.dev/port: '9090'}");
    assert_eq!(check(&quoted), (String::new(), 0));
}

#[test]
fn every_template_of_a_leader_worker_set_is_checked() {
    let set = |leader: &str, worker: &str| {
        format!(
            "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {{name: a, {LABELS}}}\nspec: {{leaderWorkerTemplate: \
             {{leaderTemplate: {{metadata: {{labels: {{x: {leader}}}}}}}, workerTemplate: {{metadata: {{labels: {{x: {worker}}}}}}}}}}}\n"
        )
    };
    for (text, part) in [
        (
            set("1", "a"),
            "leaderTemplate.metadata.labels.x: must be text: write \"1\"",
        ),
        (
            set("a", "1.0"),
            "workerTemplate.metadata.labels.x: must be text: write \"1.0\"",
        ),
    ] {
        let (errors, _) = check(&text);
        let expected = format!("spec.leaderWorkerTemplate.{part}");
        assert!(errors.contains(&expected), "{expected} in: {errors}");
    }
}

#[test]
fn a_number_that_is_not_finite_is_reported_as_it_is_written() {
    let text = |name: &str, version: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {{model-name: m, model-version: {version}}}}}\n"
        )
    };
    for written in [".Inf", "+.inf", ".NaN"] {
        let expected =
            format!("metadata.labels.model-version: must be text: write \"{written}\", in quotes");
        let (errors, _) = check(&text("a", written));
        assert!(errors.contains(&expected), "{expected} in: {errors}");
    }
    // A commit hash that is out of the range of floats is text for kubectl.
    for written in ["12e4567", "'12e4567'"] {
        let observed = observe(&[("m.yaml", &text(written, written))]);
        assert_eq!(problems(&observed), [""; 0]);
        let carrier = observed.objects.carriers.values().next().unwrap();
        assert_eq!(
            (
                carrier.key.name.as_str(),
                carrier.labels["model-version"].as_str()
            ),
            ("12e4567", "12e4567")
        );
    }
}

#[test]
fn words_that_only_the_parser_reads_as_floats_are_text() {
    let text = "apiVersion: v1\nkind: List\nitems:\n\
                - {apiVersion: v1, kind: Pod, metadata: {name: infinity, namespace: nan, labels: {model-name: inf, model-version: nan, x: NaN}}}\n\
                ---\n# nothing\n---\n\
                apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: inf}\n\
                spec: {models: [inf, Nan], buckets: [{name: nan, key: [], profile: semantic}]}\n";
    let observed = observe(&[("m.yaml", text)]);
    assert_eq!(problems(&observed), [""; 0]);
    let carrier = observed.objects.carriers.values().next().unwrap();
    assert_eq!(
        (carrier.key.namespace.as_str(), carrier.key.name.as_str()),
        ("nan", "infinity")
    );
    let labels = ["model-name", "model-version", "x"].map(|key| carrier.labels[key].as_str());
    assert_eq!(labels, ["inf", "nan", "NaN"]);
    let (id, policy) = observed.objects.policies.first_key_value().unwrap();
    assert_eq!(id.name, "inf");
    let spec = policy.spec.get::<TokenBucketPolicySpec>().unwrap();
    assert_eq!(spec.buckets[0].name.as_str(), "nan");
    let headgate_contract::Target::Models(models) = &spec.target else {
        panic!("{:?}", spec.target);
    };
    let models: Vec<&str> = models.iter().map(|model| model.as_str()).collect();
    assert_eq!(models, ["inf", "Nan"]);
}
