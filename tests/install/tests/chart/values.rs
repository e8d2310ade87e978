//! The values of the chart: wrong ones are refused with a message that names them, and each is documented.

use std::collections::BTreeSet;

use headgate_tests_install::text;
use serde_json::Value;

use super::template;

#[test]
fn wrong_values_are_refused_with_their_path() {
    for (value, path) in [
        ("mode=sidecar", "/mode"),
        ("replica=3", "replica"),
        ("identity.type=tls", "/identity/type"),
        ("istio.clients=default", "/istio/clients"),
        ("image.digest=abc", "/image/digest"),
        ("listenerTls.source=files", "/listenerTls/source"),
        ("adminTls.secret=x", "secret"),
    ] {
        let output = template("headgate", &[value]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} is accepted");
        assert!(stderr.contains(path), "{value}: {stderr}");
    }
    for (values, message) in [
        (
            ["mode=istio-sidecar", "identity.type=spire"],
            "identity.type must be `none`",
        ),
        (
            ["identity.type=spire", "allowNodes={edge-*}"],
            "use identity.allow",
        ),
        (
            ["identity.type=none", "listenerTls.source=secret"],
            "set identity.type",
        ),
        (
            ["identity.type=certManager", "listenerTls.source=spire"],
            "set identity.type=spire",
        ),
        (
            ["mode=istio-gateway", "listenerTls.source=spire"],
            "the mesh terminates TLS",
        ),
        (
            ["identity.type=spire", "listenerTls.http3=true"],
            "set listenerTls.source",
        ),
        (
            ["mode=standalone", "adminTls.identities={x}"],
            "set adminTls.secretName",
        ),
    ] {
        let refused = template("headgate", &values).output().unwrap();
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(
            !refused.status.success() && stderr.contains(message),
            "{stderr}"
        );
    }
}

/// The paths of all values. The content of a pod's fields is not ours.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let field = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(map)
            if !map.is_empty() && !["resources", "nodeSelector"].contains(&field) =>
        {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                paths(value, &path, found);
            }
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_value_is_in_the_schema_and_in_the_readme() {
    let values: Value = serde_saphyr::from_str(&text("charts/headgate/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&text("charts/headgate/values.schema.json")).unwrap();
    let readme = text("charts/headgate/README.md");
    let mut found = BTreeSet::new();
    paths(&values, "", &mut found);
    for path in &found {
        let pointer: String = path
            .split('.')
            .map(|key| format!("/properties/{key}"))
            .collect();
        assert!(
            schema.pointer(&pointer).is_some(),
            "{path} is not in values.schema.json"
        );
        assert!(
            readme.contains(&format!("| `{path}` |")),
            "{path} is not in README.md"
        );
    }
    let rows = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let known = |row: &&str| {
        let prefix = format!("{row}.");
        found.contains(*row) || found.iter().any(|path| path.starts_with(&prefix))
    };
    let (_, table) = readme.split_once("## Values").unwrap();
    let unknown: Vec<&str> = rows
        .filter(|row| table.contains(&format!("| `{row}` |")) && !known(row))
        .collect();
    assert!(
        unknown.is_empty(),
        "README.md has values that do not exist: {unknown:?}"
    );
}
