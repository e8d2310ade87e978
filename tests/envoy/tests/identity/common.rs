//! A control plane with options of its own, and Envoys on the output of `headgate bootstrap`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions, ReadyWhen};
use headgate_testkit::ports::free_addr;
use headgate_testkit::svid::{SecretVolume, TrustDomainAuthority};
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions, artifacts};
use serde_json::Value;

/// Deadline for most waits; generous, because other tests may load the machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Path of the SPIFFE id of the control plane.
pub(crate) const SERVER: &str = "/ns/headgate-system/sa/headgate";

/// A control plane without proxies and with model `m` in each of these namespaces.
pub(crate) async fn testbed(namespaces: &[&str], serve_args: &[String]) -> Testbed {
    testbed_of(None, namespaces, serve_args).await
}

/// The same with this `headgate` binary.
pub(crate) async fn testbed_of(
    binary: Option<PathBuf>,
    namespaces: &[&str],
    serve_args: &[String],
) -> Testbed {
    let mut args: Vec<String> = serve_args.to_vec();
    for namespace in namespaces {
        args.extend([
            "--domain".to_owned(),
            format!("{namespace}={namespace}.test"),
        ]);
    }
    let options = TestbedOptions {
        models: Seed::Empty,
        policies: Seed::Empty,
        envoys: 0,
        serve_args: args.into_iter().map(Into::into).collect(),
        binary,
        ..TestbedOptions::default()
    };
    let mut testbed = Testbed::start(options).await.unwrap();
    for namespace in namespaces {
        let mock = testbed.add_mock(namespace, "v1").await.unwrap();
        let manifest = Manifest::new("m", "v1")
            .namespace(namespace)
            .endpoints(&[mock]);
        let file = format!("{namespace}.yaml");
        testbed
            .files()
            .write_model(&file, &manifest.render())
            .unwrap();
    }
    testbed.wait_until_settled().await.unwrap();
    testbed
}

/// Runs `headgate bootstrap` and returns the bootstrap.
pub(crate) fn bootstrap(output: &Path, args: &[&str]) -> String {
    let binary = artifacts::headgate_binary().unwrap();
    let made = Command::new(binary)
        .arg("bootstrap")
        .arg("--output")
        .arg(output)
        .args(args)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    std::fs::read_to_string(output.join("bootstrap.yaml")).unwrap()
}

/// An Envoy and its traffic port.
pub(crate) struct Proxy {
    pub(crate) envoy: Envoy,
    pub(crate) url: String,
}

/// Starts an Envoy on a bootstrap. It need not be served.
pub(crate) async fn start(id: &str, bootstrap: String) -> Proxy {
    start_program(id, bootstrap, None).await
}

/// The same with this Envoy binary.
pub(crate) async fn start_program(id: &str, bootstrap: String, binary: Option<PathBuf>) -> Proxy {
    let traffic = free_addr().unwrap();
    let mut options = EnvoyOptions {
        name: id.to_owned(),
        node_id: Some(id.to_owned()),
        node_cluster: Some("test".to_owned()),
        ready: ReadyWhen::AdminAnswers,
        within: SOON,
        binary,
        ..EnvoyOptions::new(bootstrap)
    };
    let listen = traffic.to_string().into();
    options
        .node_metadata
        .insert("headgate.listen".to_owned(), listen);
    Proxy {
        envoy: Envoy::start(options).await.unwrap(),
        url: format!("http://{traffic}"),
    }
}

/// Starts an Envoy with the certificates of a directory.
pub(crate) async fn start_with_files(
    testbed: &Testbed,
    id: &str,
    certificates: &Path,
    server: &str,
    xds: SocketAddr,
) -> Proxy {
    let output = testbed.path(&format!("bootstrap-{id}"));
    let (certificates, xds) = (certificates.to_str().unwrap(), xds.to_string());
    let args = [
        "--identity",
        "files",
        "--certificates",
        certificates,
        "--server-id",
        server,
        "--xds",
        &xds,
    ];
    start(id, bootstrap(&output, &args)).await
}

/// A volume with a certificate for a path of a trust domain.
pub(crate) fn volume(
    at: &Path,
    name: &str,
    of: &TrustDomainAuthority,
    path: &str,
    trusted: &str,
) -> SecretVolume {
    let mut volume = SecretVolume::new(at.join(name)).unwrap();
    volume.write_tls(&of.issue(path).unwrap(), trusted).unwrap();
    volume
}

/// Waits until a proxy runs everything, and returns its row in the status.
pub(crate) async fn served(testbed: &Testbed, id: &str) -> Value {
    eventually(SOON, &format!("{id} to be served"), async || {
        let status = testbed.control_plane().get("/syncz").await;
        let status = status.map_err(|error| error.to_string())?;
        let rows = status["proxies"].as_array().cloned().unwrap_or_default();
        let row = rows
            .into_iter()
            .find(|p| p["id"] == id && p["current"] == true);
        let is_complete = |row: &Value| row["types"]["ecds"].is_object();
        row.filter(is_complete).ok_or_else(|| status.to_string())
    })
    .await
    .unwrap()
}

/// Waits for a line in the log of the control plane that has all of these parts.
pub(crate) async fn logged(testbed: &Testbed, parts: &[&str]) -> String {
    let log = testbed.control_plane().log();
    eventually(SOON, &format!("a log line with {parts:?}"), async || {
        let text = log.text();
        let mut lines = text
            .lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.next().map(str::to_owned).ok_or_else(|| log.tail(20))
    })
    .await
    .unwrap()
}

/// The number of refusals for a reason.
pub(crate) async fn refusals(testbed: &Testbed, reason: &str) -> u64 {
    let url = testbed.control_plane().url("/metrics");
    let request = headgate_testkit::client::HttpRequest::get(url);
    let text = testbed.client().send(request).await.unwrap().text();
    let name = format!("headgate_xds_refusals_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

/// Sends a chat to the model of a namespace.
pub(crate) async fn chat(testbed: &Testbed, url: &str, namespace: &str) -> u16 {
    let request = OpenAiRequest::chat("m")
        .to(url)
        .header("host", format!("{namespace}.test"));
    testbed.client().send(request).await.unwrap().status
}
