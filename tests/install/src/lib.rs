//! Kubernetes objects of the shipped manifests, by what they are called.
//!
//! Place in the flow: the tests of the overlays and of the chart compare and inspect what `kubectl kustomize` and `helm template`
//! print.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cluster;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The overlays, each a complete installation.
pub const OVERLAYS: [&str; 5] = [
    "standalone",
    "standalone-mtls",
    "standalone-spire",
    "istio-sidecar",
    "istio-gateway",
];

/// The components that every overlay can have.
pub const COMPONENTS: [&str; 2] = ["hpa", "metrics"];

/// Statistics of Envoy itself that alerts name.
pub const ENVOY_STATISTICS: [&str; 2] = [
    "envoy_wasm_headgate_vm_reload_success",
    "envoy_wasm_headgate_vm_reload_failure",
];

/// A path in the repository.
///
/// # Panics
/// If cargo does not run the test.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let root = Path::new(&crate_dir).join("../..").canonicalize();
    root.expect("the repository").join(path)
}

/// The text of a file in the repository.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn text(path: &str) -> String {
    let path = repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The path of a program that a variable names.
///
/// # Panics
/// If it is not set.
#[must_use]
pub fn program(variable: &str, task: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None => panic!(
            "{variable} is not set: run `tools/setup {task}`, then this test with `tools/with`"
        ),
    }
}

/// The standard output of a command that succeeds.
///
/// # Panics
/// With its standard error, if it fails.
#[must_use]
pub fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// `kubectl`, in the version of the API server of the tests.
#[must_use]
pub fn kubectl() -> Command {
    Command::new(program("KUBEBUILDER_ASSETS", "kube").join("kubectl"))
}

/// What `kubectl kustomize` prints for a directory.
#[must_use]
pub fn kustomize(directory: &Path) -> String {
    output(kubectl().arg("kustomize").arg(directory))
}

/// The directory of an overlay.
#[must_use]
pub fn overlay(name: &str) -> PathBuf {
    repository("istio-manifests/overlays").join(name)
}

/// A temporary kustomization: an overlay with components.
///
/// # Panics
/// If it cannot be written.
#[must_use]
pub fn with_components(overlay: &str, components: &[&str]) -> tempfile::TempDir {
    // In the repository, because kustomize wants relative paths.
    let dir = tempfile::tempdir_in(repository("tests/install")).expect("a directory");
    let mut text =
        format!("resources: [../../../istio-manifests/overlays/{overlay}]\ncomponents:\n");
    for component in components {
        text += &format!("- ../../../istio-manifests/components/{component}\n");
    }
    std::fs::write(dir.path().join("kustomization.yaml"), text).expect("a file");
    dir
}

/// The documents of a YAML stream that are not empty.
///
/// # Panics
/// If it is not YAML.
#[must_use]
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    documents.into_iter().filter(|d| !d.is_null()).collect()
}

/// `Kind namespace/name`.
#[must_use]
pub fn object_key(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    format!(
        "{} {}/{}",
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"])
    )
}

/// Objects by [`object_key`].
///
/// # Panics
/// If two have the same.
#[must_use]
pub fn by_key(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let mut map = BTreeMap::new();
    for object in objects {
        let key = object_key(&object);
        assert!(!map.contains_key(&key), "{key} twice");
        map.insert(key, object);
    }
    map
}

/// The blocks of a language in a Markdown file.
///
/// # Panics
/// If the file cannot be read.
#[must_use]
pub fn blocks(path: &str, language: &str) -> Vec<String> {
    let text = text(path);
    let fences = text.split("```").skip(1).step_by(2);
    fences
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .map(str::to_owned)
        .collect()
}
