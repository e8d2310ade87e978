//! The access table: every resource of the Kubernetes API that the control plane watches or writes. The watches are started from it,
//! and the RBAC manifest is generated from it.
//!
//! ```text
//! table   ─┬▶ watches (crate `source`)
//! written ─┼▶ writers (crate `writer`)
//!          └▶ rights ──▶ manifest (RBAC, committed), review (missing rights)
//! ```
//!
//! Invariant: everything that is watched or written is a row, and every right is needed by a row.

mod account;
mod manifest;
mod qualified;
mod rights;
mod table;
mod write_permissions;

pub use self::account::Account;
pub use self::manifest::{mesh_rbac, rbac};
pub use self::rights::{MeshAccess, Missing, Needs, Right, Role};
pub use self::table::Watchable;
pub use self::table::{INSTALL_CRDS, carriers, istio, models, policies, policy};
pub use self::write_permissions::{
    COUNTS, DESTINATION_RULES, ENVOY_FILTERS, EVENTS, LEASES, MODEL_STATUS, MODELS, status_of,
};
