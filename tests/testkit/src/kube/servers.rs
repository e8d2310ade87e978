//! The command lines of the three servers, as pure functions of addresses and files.
//!
//! Invariant: loopback only; no server chooses a port itself.

use std::net::SocketAddr;
use std::path::Path;

use super::credentials::Identity;
use super::programs::Programs;
use crate::process::ProcessOptions;

/// The addresses of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) api: SocketAddr,
    pub(super) etcd: SocketAddr,
    pub(super) etcd_peer: SocketAddr,
    pub(super) controllers: SocketAddr,
}

impl Addresses {
    /// The URL of the API.
    pub(super) fn api_url(&self) -> String {
        format!("https://{}", self.api)
    }

    /// The URL of etcd.
    pub(super) fn etcd_url(&self) -> String {
        format!("http://{}", self.etcd)
    }
}

/// Controllers that make the pods of workloads and clean up after them, without those for EndpointSlices: these reject loopback
/// addresses and would retry each pod again and again.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,\
     namespace-controller,garbage-collector-controller";

/// etcd with its data in `dir/etcd`. No fsync: test data need not survive a crash of the machine.
pub(super) fn etcd(programs: &Programs, addresses: &Addresses, dir: &Path) -> ProcessOptions {
    let (client, peer) = (
        addresses.etcd_url(),
        format!("http://{}", addresses.etcd_peer),
    );
    logged(ProcessOptions::new(&programs.etcd), dir)
        .arg("--data-dir")
        .arg(dir.join("etcd"))
        .args(["--listen-client-urls", client.as_str()])
        .args(["--advertise-client-urls", client.as_str()])
        .args(["--listen-peer-urls", peer.as_str()])
        .args(["--initial-advertise-peer-urls", peer.as_str()])
        .arg(format!("--initial-cluster=default={peer}"))
        .args(["--unsafe-no-fsync", "--log-level=warn"])
}

/// The API server's certificates and keys.
#[derive(Debug)]
pub(super) struct Trust<'a> {
    pub(super) authority: &'a Path,
    pub(super) server: &'a Identity,
    pub(super) tokens: &'a Identity,
}

/// The API server: RBAC enforced, no ServiceAccounts added to pods (no controller makes the default ones). It advertises a
/// loopback address, so it needs no other network.
pub(super) fn apiserver(
    programs: &Programs,
    addresses: &Addresses,
    dir: &Path,
    trust: &Trust<'_>,
) -> ProcessOptions {
    let file = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    logged(ProcessOptions::new(&programs.apiserver), dir)
        .arg(format!("--etcd-servers={}", addresses.etcd_url()))
        .arg(format!("--bind-address={}", addresses.api.ip()))
        .arg(format!("--advertise-address={}", addresses.api.ip()))
        .arg(format!("--secure-port={}", addresses.api.port()))
        .arg(file("tls-cert-file", &trust.server.certificate))
        .arg(file("tls-private-key-file", &trust.server.key))
        .arg(file("client-ca-file", trust.authority))
        .arg(file("service-account-key-file", &trust.tokens.certificate))
        .arg(file("service-account-signing-key-file", &trust.tokens.key))
        .arg(format!("--service-account-issuer={}/", addresses.api_url()))
        .args([
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--profiling=false",
        ])
}

/// The controllers, with the permissions of `kubeconfig`. Their rate limits allow thousands of pods.
pub(super) fn controllers(
    programs: &Programs,
    addresses: &Addresses,
    dir: &Path,
    kubeconfig: &Path,
) -> ProcessOptions {
    logged(ProcessOptions::new(&programs.controllers), dir)
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--controllers={CONTROLLERS}"))
        .arg(format!("--bind-address={}", addresses.controllers.ip()))
        .arg(format!("--secure-port={}", addresses.controllers.port()))
        .args([
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ])
}

/// Writes the log to the directory of the server.
fn logged(mut options: ProcessOptions, dir: &Path) -> ProcessOptions {
    options.log = Some(dir.join(format!("{}.log", options.name)));
    options
}
