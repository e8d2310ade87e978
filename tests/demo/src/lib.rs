//! What Headgate claims, as functions: each drives a running [`Stage`](headgate_testkit::stage::Stage), returns what it
//! measured, and is an `Err` that names the claim when the claim does not hold.
//!
//! Place in the flow: outside of it. The demo prints what these functions return; the end-to-end tests call the very
//! same functions, each on a stage of its own. Nothing here asserts by panicking and nothing is remembered from an earlier run.
//!
//! | module | claims |
//! |---|---|
//! | [`tags`] | the tag reaches the model server, the access log and the client |
//! | [`canary`] | sessions split by the label, stay where they are, and an edit moves them one way |
//! | [`versions`] | a new version is held; pins reach it; unknown pins are refused |
//! | [`budget`] | a tenant out of budget is told so, and nobody else is |
//! | [`settlement`] | streams are charged what they used, also when the client hangs up |
//! | [`outage`] | traffic survives the control plane |
//! | [`pace`] | the story is short |
//! | [`objects`] | on Kubernetes: refused labels, Events and the status of policies |
//! | [`workloads`] | on Kubernetes: rollouts, scaling, and an API that is away |
//! | [`walkthrough`] | on Kubernetes: each command of `docs/walkthrough.md` prints what the page says |
//!
//! All but the last three are about models in files and on a Kubernetes API alike: the stage is one or the other. (The story on
//! an API has more chapters and starts more servers; how long it takes is shown, not judged.)

pub mod budget;
pub mod canary;
mod claim;
pub mod objects;
pub mod outage;
pub mod pace;
pub mod settlement;
pub mod tags;
pub mod traffic;
pub mod versions;
pub mod walkthrough;
pub mod workloads;

pub use self::claim::{Broken, Claim, Claimed};
