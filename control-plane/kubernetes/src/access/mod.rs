//! What the control plane does at a Kubernetes API: the one table that its watches are started from and that its rights
//! are generated from.
//!
//! ```text
//! table   ─┬▶ watches (kubernetes, policies, models)
//! written ─┼▶ writers (writes, policies, models)
//!          └▶ rights ──▶ manifest (RBAC, committed), review (what of it is missing)
//! ```
//!
//! Invariant: nothing is watched or written that is not a row, and nothing is asked for that no row needs.

mod manifest;
mod rights;
mod table;
mod written;

pub use self::manifest::{Account, rbac};
pub use self::rights::{Missing, Needs, Right};
pub use self::table::Watchable;
pub use self::table::{DEFINE, carriers, models, policies};
pub use self::written::{COUNTS, EVENTS, LEASES, MODEL_STATUS, MODELS, status_of};
