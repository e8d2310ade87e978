//! What `headgate validate` says of manifests that have no effect.

use crate::common::headgate;

#[test]
fn what_has_no_effect_in_a_manifest_is_said_before_it_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("models.yaml");
    std::fs::write(&file, include_str!("../inputs/no-effect.yaml")).unwrap();
    let out = headgate(&["validate", "-f", file.to_str().unwrap()]);
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let about = |words: &[&str]| {
        let found = said
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line has {words:?}: {said}");
    };
    about(&[
        "(document 1)",
        "`container-port` (8000)",
        "name it `http` or `grpc`",
    ]);
    about(&[
        "deployment default/typos",
        "`headgate.dev/ports` is not known",
        "`headgate.dev/port`?",
    ]);
    about(&[
        "deployment default/typos",
        "`headgate.dev/model-name` is not known",
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
    assert_eq!(out.status.code(), Some(1), "{said}");
}
