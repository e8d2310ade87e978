//! The admin port with an X.509-SVID of a real SPIRE: the agent gives it, and `headgate status` verifies it by its SPIFFE id.

use std::process::{Command, Output};

use headgate_meshkit::spire::{Spire, SpireOptions, Workload};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::testbed::artifacts;

use crate::common::{SERVER, SOON};

const OPERATOR: &str = "/ns/ops/sa/admin";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_verifies_the_svid_of_the_admin_port_and_presents_its_own() {
    let spire = Spire::start(SpireOptions::new("cluster.example")).await;
    let spire = spire.unwrap();
    let binary = artifacts::headgate_binary().unwrap();
    let program = spire.register(&Workload::new(SERVER), &binary).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let module = artifacts::wasm_module().unwrap();
    std::fs::create_dir(path("models")).unwrap();
    let (xds, admin) = (free_addr().unwrap(), free_addr().unwrap());
    let socket = spire.endpoint();
    let options = ProcessOptions::new(program.unwrap())
        .args(["serve", "--admin-spiffe", "--spiffe-socket", &socket])
        .args(["--admin-identity", "spiffe://cluster.example/ns/ops/sa/*"])
        .args(["--xds-address", &xds.to_string()])
        .args(["--admin-address", &admin.to_string()])
        .arg("--models")
        .arg(path("models"))
        .arg("--wasm")
        .arg(module.parent().unwrap());
    let server = Process::start(options).unwrap();

    let svid = spire.fetch(&Workload::new(OPERATOR)).await.unwrap();
    std::fs::create_dir(path("operator")).unwrap();
    std::fs::copy(svid.chain(), path("operator/tls.crt")).unwrap();
    std::fs::copy(svid.key(), path("operator/tls.key")).unwrap();
    std::fs::write(path("ca.pem"), spire.bundle().await.unwrap()).unwrap();
    let status = |id: &str| -> Output {
        let mut command = Command::new(&binary);
        command
            .args(["status", "--admin-address", &admin.to_string()])
            .args(["--admin-server-name", id, "--admin-ca"])
            .arg(path("ca.pem"))
            .arg("--client-cert")
            .arg(path("operator"));
        command.output().unwrap()
    };
    eventually(SOON, "the status over TLS", async || {
        let out = status(&spire.id(SERVER));
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        out.status.success().then_some(()).ok_or(error)
    })
    .await
    .unwrap();
    let other = status(&spire.id("/ns/x/sa/x"));
    let error = String::from_utf8_lossy(&other.stderr);
    assert!(error.contains("none of the expected names"), "{error}");
    let log = server.log().text();
    let line = log
        .lines()
        .find(|line| line.contains("certificate of a port is in effect") && line.contains("admin"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(&spire.id(SERVER)), "{line}");
}
