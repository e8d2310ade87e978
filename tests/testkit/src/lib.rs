//! What every end-to-end test, the demo and the bench stand on: things that start, drive and watch the
//! real parts, and the few statistics that judge what they did.
//!
//! Place in the flow: outside of it. Nothing that ships depends on this crate; it knows no Headgate crate
//! either, so a test sees the product only through its wire, its files and its command line.
//!
//! | module | what it is |
//! |---|---|
//! | [`mock_model`] | a model server that answers, streams, stalls, aborts and misreports on demand |
//! | [`envoy`] | a real Envoy with its admin interface |
//! | [`kube`] | a real Kubernetes API, and the kubelet that a test plays |
//! | [`process`] | any other child process, with its log |
//! | [`client`] | OpenAI-style traffic: whole, streamed, cut, and as closed-loop load |
//! | [`xds_client`] | a scripted proxy that speaks delta and state-of-the-world xDS |
//! | [`share`] | shares, their 4-sigma bounds, and who moved where |
//! | [`stage`] | all of it at once: mock models, files, the control plane and Envoys, for one test |
//! | [`tls`] | TLS in front of a server, with a certificate for any name |
//! | [`deadline`], [`ports`] | waiting for an event; free loopback ports |

use std::fmt::Arguments;
use std::io::Write;

pub mod client;
pub mod deadline;
pub mod envoy;
pub mod fifo;
pub mod kube;
pub mod mock_model;
pub mod ports;
pub mod process;
pub mod share;
pub mod stage;
pub mod tls;
pub mod xds_client;

/// Prints what a test measured, as `println!` does, but also when the test passes: of those the harness keeps to itself
/// what the print macros write.
#[macro_export]
macro_rules! measured {
    ($($line:tt)*) => { $crate::print_measured(format_args!($($line)*)) };
}

#[doc(hidden)]
pub fn print_measured(line: Arguments<'_>) {
    // Nobody reads it: nothing is lost.
    let _ = writeln!(std::io::stdout().lock(), "measured: {line}");
}
