//! The manifests and commands in docs/install.md, on a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use headgate_testkit::kube::Kube;
use headgate_tests_install::cluster::start;
use headgate_tests_install::{blocks, documents, kustomize, output, program, repository};
use serde_json::Value;

const PAGE: &str = "docs/install.md";

/// The block of YAML that contains a text.
fn yaml(text: &str) -> String {
    let found = blocks(PAGE, "yaml");
    let found = found.into_iter().find(|block| block.contains(text));
    found.unwrap_or_else(|| panic!("{PAGE} has no block with {text}"))
}

/// The lines of a command, with continuation lines, that starts so.
fn command(start: &str) -> String {
    let blocks = blocks(PAGE, "console").join("\n");
    let lines: Vec<&str> = blocks.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.starts_with(&format!("$ {start}")));
    let first = first.unwrap_or_else(|| panic!("{PAGE} has no command {start}"));
    let more = lines[first..]
        .iter()
        .take_while(|line| line.ends_with('\\'))
        .count();
    lines[first..=first + more]
        .join("\n")
        .trim_start_matches("$ ")
        .to_owned()
}

/// Runs a command line of the page as a shell does.
fn shell(kube: &Kube, line: &str) -> String {
    let path = format!(
        "{}:{}:{}",
        program("KUBEBUILDER_ASSETS", "kube").display(),
        program("HELM", "helm").parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    output(
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", line])
            .current_dir(repository(""))
            .env("PATH", path)
            .env("KUBECONFIG", kube.kubeconfig())
            .env("HOME", kube.dir()),
    )
}

#[test]
fn the_kustomization_of_the_page_builds_with_its_settings() {
    let dir = tempfile::tempdir_in(repository("")).unwrap();
    let text = yaml("# kustomization.yaml").replace("- istio-manifests/", "- ../istio-manifests/");
    std::fs::write(dir.path().join("kustomization.yaml"), text).unwrap();
    let objects = documents(&kustomize(dir.path()));
    let named = |kind: &str, name: &str| {
        let mut all = objects.iter();
        all.find(|o| o["kind"] == kind && o["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let deployment = named("Deployment", "headgate");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "REGISTRY/headgate:0.1.0");
    let args = container["args"].as_array().unwrap();
    assert!(
        args.contains(&Value::from("--domain=models=ai.example.com")),
        "{args:?}"
    );
    named("PrometheusRule", "headgate");
    named("HorizontalPodAutoscaler", "headgate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_and_manifests_of_the_page_are_accepted() {
    let kube = start().await;
    let kubectl = kube.kubectl();
    shell(
        &kube,
        &command("kubectl apply -k istio-manifests/overlays/standalone"),
    );
    shell(&kube, &command("kubectl apply -f envoy-config/policies"));
    kubectl
        .run(["create", "deployment", "llama3-70b-v2", "--image=a"])
        .await
        .unwrap();
    shell(&kube, &command("kubectl label deploy/llama3-70b-v2"));

    // The module, as a file of sidecars.
    let wasm = program("HEADGATE_WASM", "wasm");
    let dist = |line: String| line.replace("dist/", &format!("{}/", wasm.display()));
    let lines = [
        dist(command("sha=")),
        dist(command("kubectl create configmap headgate-wasm")),
    ];
    let made = shell(&kube, &lines.join("\n").replace("NAMESPACE", "default"));
    assert!(
        made.contains("configmap/headgate-wasm serverside-applied"),
        "{made}"
    );
    let map = kubectl
        .run(["get", "cm", "headgate-wasm", "-o", "json"])
        .await
        .unwrap();
    let map: Value = serde_json::from_str(&map).unwrap();
    let files: Vec<&String> = map["binaryData"].as_object().unwrap().keys().collect();
    assert_eq!(files, [&module_name(&wasm)]);

    let plugin = yaml("kind: WasmPlugin")
        .replace("NAMESPACE", "default")
        .replace("HOST/PATH", "registry.example.com/models")
        .replace("DIGEST", &"0a".repeat(32));
    let strict = ["apply", "--validate=strict", "-f", "-"];
    kubectl.run_with_input(strict, &plugin).await.unwrap();

    shell(
        &kube,
        &command("kubectl delete -k istio-manifests/overlays/standalone"),
    );
    shell(&kube, &command("helm install"));
    shell(&kube, &command("kubectl label namespace headgate-system"));
    shell(&kube, &command("helm uninstall"));
}

/// The name that the control plane gives to the module of a directory.
fn module_name(wasm: &Path) -> String {
    let sha = output(Command::new("sha256sum").arg(wasm.join("headgate.wasm")));
    format!("headgate-{}.wasm", &sha[..64])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_upgrades_the_definitions_and_leaves_them_when_it_uninstalls() {
    let kube = start().await;
    let kubectl = kube.kubectl();
    // An older version of the chart, whose definitions have another column.
    let old = tempfile::tempdir().unwrap();
    let _ = output(
        Command::new("cp")
            .arg("-r")
            .arg(repository("charts/headgate"))
            .arg(old.path()),
    );
    let definitions = old.path().join("headgate/files/crds.yaml");
    let text = std::fs::read_to_string(&definitions).unwrap();
    assert!(text.contains("name: Accepted"));
    std::fs::write(&definitions, text.replace("name: Accepted", "name: Old")).unwrap();
    let install = command("helm install");
    let chart = old.path().join("headgate");
    shell(
        &kube,
        &install.replace("charts/headgate", chart.to_str().unwrap()),
    );
    let crd = ["crd", "tokenbucketpolicies.headgate.dev"];
    let columns = "-o=jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    let before = kubectl.run(["get", crd[0], crd[1], columns]).await.unwrap();
    assert!(before.contains("Old"), "{before}");
    shell(
        &kube,
        "helm upgrade headgate charts/headgate --namespace headgate-system --set identity.type=certManager",
    );
    let after = kubectl.run(["get", crd[0], crd[1], columns]).await.unwrap();
    assert!(
        after.contains("Accepted") && !after.contains("Old"),
        "{after}"
    );
    let certificates = ["get", "certificates", "-n", "headgate-system", "-o", "name"];
    assert_eq!(kubectl.run(certificates).await.unwrap().lines().count(), 3);
    shell(&kube, &command("helm uninstall"));
    kubectl.run(["get", crd[0], crd[1]]).await.unwrap();
    let rest = ["get", "deployments", "-n", "headgate-system", "-o", "name"];
    assert_eq!(kubectl.run(rest).await.unwrap(), "");
}
