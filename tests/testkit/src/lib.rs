//! Tools of the end-to-end tests, the demo and the bench: launchers of real programs, scripted counterparts, and measurements.
//!
//! Place in the flow: outside of it. Nothing that ships depends on this crate. It depends on no Headgate crate either, so a test
//! sees the product only through its network interfaces, its files and its command line.
//!
//! | to get | use | module |
//! |---|---|---|
//! | the whole product, ready: mock models, files or a Kubernetes API, `headgate serve`, Envoys | `Testbed::start` | [`testbed`] |
//! | the `headgate` process alone, its status page, its files | `ControlPlane`, `Status`, `Files` | [`testbed`] |
//! | the paths of the binary, the wasm module and the checkout | `headgate_binary`, `wasm_module` | [`testbed::artifacts`] |
//! | a real Envoy with its admin interface, statistics and CPU time | `Envoy::start` | [`envoy`] |
//! | a real Kubernetes API server with etcd, controllers and `kubectl` | `Kube::start`, `Kubectl` | [`kube`] |
//! | pods that run, with or without a model server in them | `Kube::kubelet`, `ModelServers`, `EmptyRuntime` | [`kube`] |
//! | pods that something else runs | `Kube::kubelet_with`, `PodRunner` | [`kube`] |
//! | faults between a client and the API server | `Kube::fault_proxy` | [`kube`] |
//! | a model server that responds, streams, stalls, aborts and misreports on demand | `MockModel::start` | [`mock_model`] |
//! | an xDS client, step by step, delta or state of the world | `DeltaProxy`, `SotwProxy` | [`xds_client`] |
//! | an xDS client that accepts everything in the background | `AutoAckProxy::connect` | [`xds_client`] |
//! | load reports (LRS) of a proxy | `LoadReports::start` | [`xds_client`] |
//! | OpenAI-style requests, complete and streamed responses | `OpenAiRequest`, `HttpClient` | [`client`] |
//! | closed-loop load with a record of every response | `Load::start` | [`client`] |
//! | shares of versions with 4-sigma bounds, and sessions that moved | `share_of`, `SessionMoves` | [`share`] |
//! | TLS in front of a server, with a certificate for any name | `CertificateAuthority::terminate_tls` | [`tls`] |
//! | TLS in front of a client, with its certificate | `TlsOriginator::start` | [`tls_client`] |
//! | X.509-SVIDs of a trust domain, in files as kubelet mounts them | `TrustDomainAuthority`, `SecretVolume` | [`svid`] |
//! | JSON Web Tokens, and a server with the keys of their issuer | `TokenIssuer`, `KeyServer` | [`jwt`] |
//! | any other child process, with its log | `Process::start` | [`process`] |
//! | polling for a condition with a deadline | `eventually` | [`deadline`] |
//! | free loopback ports; named pipes | `free_addr`; `make` | [`ports`], [`fifo`] |
//! | a figure in the output of a passing test | `measured!` | this one |
//!
//! Two programs come with it: `mock-model` (the model server) and `testbed` (for tests in other languages).

use std::fmt::Arguments;
use std::io::Write;

pub mod client;
pub mod deadline;
pub mod envoy;
pub mod fifo;
pub mod jwt;
pub mod kube;
pub mod mock_model;
pub mod ports;
pub mod process;
pub mod share;
pub mod svid;
pub mod testbed;
pub mod tls;
pub mod tls_client;
pub mod xds_client;

/// Prints what a test measured, as `println!` does, but also when the test passes: of those the harness keeps to itself
/// what the print macros write.
#[macro_export]
macro_rules! measured {
    ($($line:tt)*) => { $crate::print_measured(format_args!($($line)*)) };
}

#[doc(hidden)]
pub fn print_measured(line: Arguments<'_>) {
    // Output that nobody reads may be lost.
    let _ = writeln!(std::io::stdout().lock(), "measured: {line}");
}
