//! The driver of the core: performs its effects over two small traits, [`Actions`] and [`Stats`].
//!
//! Place in the flow: between [`headgate_core`], which decides, and the crates that name a proxy's ABI. Such a crate implements
//! [`Host`](headgate_core::host::Host) and the two traits for one callback of its proxy, and calls [`Root`] and [`Exchange`]
//! from its hooks. The driver knows no ABI and makes no decision.
//!
//! Invariants: effects are performed in their order, each at most once; bytes that a stream does not need are not requested from
//! the proxy; a refusal that cannot be sent never becomes an admission.
//!
//! | module | contents |
//! |---|---|
//! | [`actions`] | what a proxy does to the request and the response at hand |
//! | [`stats`] | the statistics of a proxy, and the counts that it does not know yet |
//! | [`worker`] | the state of one worker thread, shared by its filters |
//! | [`root`] | the configuration of one filter |
//! | [`exchange`] | one request and its response |

pub mod actions;
pub mod exchange;
mod perform;
pub mod root;
pub mod stats;
pub mod worker;

pub use actions::{Actions, Message, Refused, Severity};
pub use exchange::Exchange;
pub use perform::Next;
pub use root::Root;
pub use stats::Stats;
pub use worker::{SharedVm, Worker};

/// A proxy as one of its callbacks sees it.
pub trait Proxy: headgate_core::host::Host + Actions + Stats {}

impl<P: headgate_core::host::Host + Actions + Stats> Proxy for P {}
