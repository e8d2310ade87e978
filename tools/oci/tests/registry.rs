//! Artifacts in a layout and in a real registry on loopback, as others read them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use headgate_oci::{Artifact, Description, MODULE_FILE, artifact, push, sbom, write_layout};
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::Value;

/// A module that no wasm compiler is needed for.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// The layer that Istio looks for.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn workspace() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..")
}

fn packed(module: &[u8]) -> Artifact {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(workspace())
        .other_options(["--locked", "--filter-platform", "wasm32-wasip1"].map(str::to_owned))
        .exec()
        .unwrap();
    let description = Description {
        name: "headgate".to_owned(),
        version: "0.1.0".to_owned(),
        revision: "0123abc".to_owned(),
        licences: "Apache-2.0".to_owned(),
        source: "https://example.com/headgate".to_owned(),
    };
    artifact(
        module,
        sbom(&metadata, "headgate", module).unwrap(),
        &description,
    )
    .unwrap()
}

/// A registry with its storage in a directory.
async fn registry(dir: &Path) -> (Process, SocketAddr) {
    let program = std::env::var_os("REGISTRY").expect(
        "REGISTRY is not set: run `tools/setup registry`, then this test with `tools/with`",
    );
    let address = free_addr().unwrap();
    let config = dir.join("config.yaml");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
        dir.join("storage").display()
    );
    std::fs::write(&config, text).unwrap();
    let options = ProcessOptions::new(program).arg("serve").arg(&config);
    let mut process = Process::start(options).unwrap();
    let url = format!("http://{address}/v2/");
    process
        .wait_for_http(&url, Duration::from_secs(20))
        .await
        .unwrap();
    (process, address)
}

fn client() -> Client {
    Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    })
}

/// The files of a layer.
fn files(layer: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(layer));
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (path, bytes)
        })
        .collect()
}

#[tokio::test]
async fn a_module_comes_back_from_a_registry_as_it_was_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let (_registry, address) = registry(dir.path()).await;
    let artifact = packed(MODULE);
    let repository = format!("{address}/models");
    let pushed = push(&repository, std::slice::from_ref(&artifact), None)
        .await
        .unwrap();
    assert_eq!(pushed[0].reference, format!("{repository}/headgate:0.1.0"));
    assert_eq!(pushed[0].digest, artifact.manifest.digest);

    let reference: Reference = pushed[0].reference.parse().unwrap();
    let image = client()
        .pull(&reference, &RegistryAuth::Anonymous, vec![LAYER])
        .await
        .unwrap();
    assert_eq!(image.digest.as_ref(), Some(&artifact.manifest.digest));
    assert_eq!(image.layers.len(), 1);
    let module = (MODULE_FILE.to_owned(), MODULE.to_vec());
    assert_eq!(files(&image.layers[0].data), [module]);
    let manifest: Value = serde_json::from_slice(&artifact.manifest.bytes).unwrap();
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.version"], "0.1.0");
    assert_eq!(annotations["org.opencontainers.image.revision"], "0123abc");
    assert_eq!(
        annotations["org.opencontainers.image.licenses"],
        "Apache-2.0"
    );
    // sha256 of the eight bytes.
    let sha = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";
    assert_eq!(annotations["dev.headgate.module.sha256"], sha);

    // Again: nothing changes, and nothing is refused.
    push(&repository, &[artifact], None).await.unwrap();
}

#[tokio::test]
async fn the_sbom_is_found_from_the_module() {
    let dir = tempfile::tempdir().unwrap();
    let (_registry, address) = registry(dir.path()).await;
    let artifact = packed(MODULE);
    push(&address.to_string(), std::slice::from_ref(&artifact), None)
        .await
        .unwrap();
    let tag = artifact.manifest.digest.replace(':', "-");
    let index: Reference = format!("{address}/headgate:{tag}").parse().unwrap();
    let accepted = ["application/vnd.oci.image.index.v1+json"];
    let (index, _) = client()
        .pull_manifest_raw(&index, &RegistryAuth::Anonymous, &accepted)
        .await
        .unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entry = &index["manifests"][0];
    assert_eq!(entry["artifactType"], "application/vnd.cyclonedx+json");
    let digest = entry["digest"].as_str().unwrap();
    let reference: Reference = format!("{address}/headgate@{digest}").parse().unwrap();
    let image = client()
        .pull(
            &reference,
            &RegistryAuth::Anonymous,
            vec!["application/vnd.cyclonedx+json"],
        )
        .await
        .unwrap();
    let sbom: Value = serde_json::from_slice(&image.layers[0].data).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["metadata"]["component"]["name"], "headgate");
    let names: Vec<&str> = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for linked in ["governor", "proxy-wasm", "headgate-core"] {
        assert!(names.contains(&linked), "{linked}: {names:?}");
    }
    // Only what is linked into a module.
    for other in ["kube", "tokio", "proptest", "headgate-translate"] {
        assert!(!names.contains(&other), "{other}: {names:?}");
    }
}

#[test]
fn the_sbom_is_valid() {
    use cyclonedx_bom::prelude::{Bom, Validate as _};
    let artifact = packed(MODULE);
    let sbom = &artifact.content[2].bytes;
    let bom = Bom::parse_from_json(sbom.as_slice()).unwrap();
    let result = bom.validate();
    assert!(result.passed(), "{result:?}");
}

#[test]
fn equal_modules_give_equal_bytes_and_other_modules_other_digests() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &two] {
        write_layout(&dir.path().join("oci"), &[packed(MODULE)]).unwrap();
    }
    let index = |dir: &tempfile::TempDir| std::fs::read(dir.path().join("oci/index.json")).unwrap();
    assert_eq!(index(&one), index(&two));
    let other = packed(b"\0asm\x02\0\0\0");
    assert_ne!(other.manifest.digest, packed(MODULE).manifest.digest);
}

/// Every descriptor of the layout leads to a blob of its size and digest.
#[test]
fn a_layout_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("oci");
    // A second run replaces the first.
    for _ in 0..2 {
        write_layout(&layout, &[packed(MODULE)]).unwrap();
    }
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let index = json(&std::fs::read(layout.join("index.json")).unwrap());
    assert_eq!(
        json(&std::fs::read(layout.join("oci-layout")).unwrap())["imageLayoutVersion"],
        "1.0.0"
    );
    let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(name, "headgate:0.1.0");
    let mut open: Vec<Value> = index["manifests"].as_array().unwrap().clone();
    let mut seen = 0;
    while let Some(descriptor) = open.pop() {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = std::fs::read(layout.join("blobs/sha256").join(&digest[7..])).unwrap();
        assert_eq!(descriptor["size"], bytes.len(), "{digest}");
        seen += 1;
        if descriptor["mediaType"] == "application/vnd.oci.image.manifest.v1+json" {
            let manifest = json(&bytes);
            open.push(manifest["config"].clone());
            open.extend(manifest["layers"].as_array().unwrap().clone());
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let description = Description {
        name: "headgate".to_owned(),
        version: String::new(),
        revision: String::new(),
        licences: String::new(),
        source: String::new(),
    };
    let error = artifact(b"<html>", Vec::new(), &description).unwrap_err();
    assert_eq!(error.to_string(), "headgate: not a WebAssembly module");
}
