//! Headgate's claims as functions. Each drives a running [`Testbed`](headgate_testkit::testbed::Testbed) and returns the measured
//! figures, or an `Err` that names the claim if it does not hold.
//!
//! Place in the flow: outside of it. The demo prints the returned figures; the end-to-end tests call the same functions, each on
//! its own testbed. No function panics to assert, and no figure comes from an earlier run.
//!
//! | module | claims |
//! |---|---|
//! | [`tags`] | the tag reaches the model server, the access log and the client |
//! | [`canary`] | the label splits sessions, sessions keep their version, and an edit moves them one way |
//! | [`versions`] | a new version is held; pins reach it; unknown pins are refused |
//! | [`budget`] | a tenant without budget gets a 429, and other tenants are served |
//! | [`settlement`] | streams are charged what they used, also when the client disconnects |
//! | [`outage`] | traffic continues without the control plane |
//! | [`duration`] | the demo is short |
//! | [`objects`] | on Kubernetes: refused labels, Events and the status of policies |
//! | [`workloads`] | on Kubernetes: rollouts, scaling, and an outage of the API |
//! | [`walkthrough`] | on Kubernetes: each command of `docs/walkthrough.md` prints what the page shows |
//!
//! All but the last three work with files and with a Kubernetes API alike. With Kubernetes the demo has more sections and starts more
//! servers; its duration is shown but is not a claim.

pub mod budget;
pub mod canary;
mod claim;
pub mod duration;
pub mod objects;
pub mod outage;
mod printer;
pub mod sessions;
pub mod settlement;
pub mod tags;
pub mod versions;
pub mod walkthrough;
pub mod workloads;

pub use self::claim::{BrokenClaim, Claim, ClaimResult};
pub use self::printer::Printer;
