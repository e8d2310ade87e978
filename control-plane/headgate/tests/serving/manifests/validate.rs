//! `headgate validate` on manifests without effect, and on Services without pods.

use crate::common::headgate;

#[test]
fn validate_reports_ineffective_settings_before_they_are_applied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("models.yaml");
    std::fs::write(&file, include_str!("../inputs/no-effect.yaml")).unwrap();
    let out = headgate(&["validate", "-f", file.to_str().unwrap()]);
    let output =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let about = |words: &[&str]| {
        let found = output
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line has {words:?}: {output}");
    };
    about(&[
        "(document 1)",
        "`container-port` (8000)",
        "name it `http` or `grpc`",
    ]);
    about(&[
        "deployment default/typos",
        "`headgate.dev/ports` is unknown and has no effect",
        "`headgate.dev/port`?",
    ]);
    about(&[
        "deployment default/typos",
        "`headgate.dev/model-name` is unknown and has no effect",
        "`headgate.dev/model-names`?",
    ]);
    about(&[
        "deployment default/typos",
        "`headgate.dev/join: \"true\"` is ignored",
        "headgate.dev/join=share",
    ]);
    about(&[
        "(document 3)",
        "metadata.labels.model-version",
        "write \"1.10\", in quotes",
    ]);
    about(&[
        "(document 4)",
        "Deployment default/tmpl is ignored",
        "add the labels to `metadata.labels`",
    ]);
    assert_eq!(out.status.code(), Some(1), "{output}");
}

#[test]
fn a_service_without_pods_gets_advice_to_list_endpoints_and_not_about_pods() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let service = |name: &str, model: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, labels: {{model-name: {model}, model-version: v1}}}}, spec: \
             {{{spec}}}}}\n"
        )
    };
    let external = "type: ExternalName, externalName: api.x.example, selector: {app: a}";
    let both = service("a", "gpu", "ports: [{port: 80}]") + &service("b", "ext", external);
    let validate = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let out = headgate(&["validate", "-f", file.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let output = validate(&both);
    for part in ["spec: has no selector", "spec: is of type ExternalName"] {
        assert!(output.contains(part), "{part} in: {output}");
    }
    assert!(output.contains("0 errors, 2 other remarks"), "{output}");
    assert!(!output.contains("the pods are the endpoints"), "{output}");
    // With pods of another Service the model has both.
    let output = validate(&(both + &service("c", "gpu", "selector: {app: c}")));
    assert!(output.contains("info: model default/gpu"), "{output}");
    assert!(!output.contains("info: model default/ext"), "{output}");
}
