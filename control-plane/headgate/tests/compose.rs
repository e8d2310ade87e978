//! The containers. No Docker engine runs where the tests do, so the tests check the rest: each program accepts its
//! command line, every file exists, and the mock models are where the manifests say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory, Parser};
use headgate_testkit::envoy::find_envoy;
use headgate_testkit::mock_model::MockArgs;
use serde_json::Value;

/// The path of `envoy-config/…` in the repository.
fn shipped(path: &str) -> PathBuf {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    Path::new(&crate_dir).join("../../envoy-config").join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The services, by name.
fn services() -> BTreeMap<String, Value> {
    let compose = yaml(&shipped("docker-compose.yaml"));
    serde_json::from_value(compose["services"].clone()).unwrap()
}

fn command(service: &Value) -> Vec<String> {
    serde_json::from_value(service["command"].clone()).unwrap()
}

/// Where files of the checkout are in a service's container.
fn mounts(service: &Value) -> Vec<(PathBuf, String)> {
    let volumes = service["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| {
            let mut parts = volume.as_str().unwrap().split(':');
            let from = parts.next()?.strip_prefix("./")?;
            Some((shipped(from), parts.next()?.to_owned()))
        })
        .collect()
}

#[test]
fn the_control_plane_accepts_its_command_line_and_its_ports_are_published() {
    let services = services();
    let flags = command(&services["control-plane"]);
    assert_eq!(flags[0], "serve");
    let help = Command::new(env!("CARGO_BIN_EXE_headgate"))
        .args(["serve", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let published: Vec<String> =
        serde_json::from_value(services["envoy"]["ports"].clone()).unwrap();
    for flag in &flags[1..] {
        let (name, value) = flag.split_once('=').unwrap();
        assert!(help.contains(name), "{name}");
        // The addresses of Envoy and of the admin port outside the containers.
        if let Some(port) = value.strip_prefix("0.0.0.0:") {
            let line = format!("127.0.0.1:{port}:{port}");
            assert!(published.contains(&line), "{flag}: {published:?}");
        }
    }
    for (name, service) in &services {
        for (file, _) in mounts(service) {
            assert!(file.exists(), "{name} mounts {}", file.display());
        }
    }
}

#[test]
fn envoy_accepts_its_command_line() {
    let service = &services()["envoy"];
    let line = command(service);
    assert_eq!(line[0], "envoy");
    let mounts = mounts(service);
    let outside = |argument: &String| {
        let mount = mounts.iter().find(|(_, inside)| inside == argument);
        mount.map_or(PathBuf::from(argument), |(file, _)| file.clone())
    };
    let output = Command::new(find_envoy().unwrap())
        .args(["--mode", "validate"])
        .args(line[1..].iter().map(outside))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

#[test]
fn each_manifest_of_the_demo_has_a_mock_model_at_its_address() {
    let mut mocks = BTreeSet::new();
    for (name, service) in &services() {
        if service["build"]["target"] != "mock-model" {
            continue;
        }
        let line = [vec!["mock-model".to_owned()], command(service)].concat();
        let args = MockArgs::try_parse_from(line).unwrap_or_else(|e| panic!("{name}: {e}"));
        mocks.insert((args.model, args.version, args.listen.to_string()));
    }
    let mut wanted = BTreeSet::new();
    for entry in std::fs::read_dir(shipped("models")).unwrap() {
        let metadata = &yaml(&entry.unwrap().path())["metadata"];
        let text = |of: &str, key: &str| metadata[of][key].as_str().unwrap().to_owned();
        wanted.insert((
            text("labels", "model-name"),
            text("labels", "model-version"),
            text("annotations", "headgate.dev/endpoints"),
        ));
    }
    assert_eq!(mocks, wanted);
}

#[test]
fn the_dockerfile_has_every_stage_that_is_built_with_its_program() {
    let dockerfile = read(&shipped("../Dockerfile"));
    // By stage: what is copied into it from the build, and its entry point.
    let mut stages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut stage = "";
    for line in dockerfile.lines() {
        if line.starts_with("FROM ") {
            (_, stage) = line.split_once(" AS ").unwrap();
        }
        stages.entry(stage).or_default().push(line);
    }
    let programs = [
        "headgate".to_owned(),
        MockArgs::command().get_name().to_owned(),
    ];
    for (name, service) in &services() {
        let Some(target) = service["build"]["target"].as_str() else {
            assert!(service["image"].is_string(), "{name}");
            continue;
        };
        let lines = stages
            .get(target)
            .unwrap_or_else(|| panic!("{name}: no stage {target}"));
        let entry = format!("ENTRYPOINT [\"{target}\"]");
        assert!(lines.contains(&entry.as_str()), "{target}: {lines:?}");
        let copied = format!("COPY --from=build /out/{target} /usr/local/bin/");
        assert!(lines.contains(&copied.as_str()), "{target}: {lines:?}");
        assert!(programs.contains(&target.to_owned()), "{target}");
    }
}
