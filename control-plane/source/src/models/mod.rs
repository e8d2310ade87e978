//! `ServedModel`: one object for each model. It stores the model's base, and shows whether proxies have its weights.
//!
//! ```text
//! watch ──▶ seen (reducer) ──▶ Objects.served_models ──▶ plan ─┬▶ memory ─────────────┐
//!                                                              └▶ weights, counts ──▶ status, desk ──▶ write
//! ```
//!
//! Invariant: people write `spec`, the control plane writes `status`. Memory is read from the object and nowhere else, so every
//! replica plans the same; the one that holds the Lease writes.

mod desk;
mod memory;
mod naming;
mod resource;
mod seen;
mod status;
mod stored;
mod watch;
mod write;

pub use headgate_model::ModelKey;

pub(crate) use self::desk::UNCARRIED;
pub use self::memory::{base_of, memory_of};
pub(crate) use self::memory::{remember_in, set_carriers_gone, time};
pub use self::naming::object_name;
pub use self::resource::{
    Base, Change, Name, Percent, Proxies, Served, ServedModel, ServedModelStatus, Shown,
};
pub use self::seen::SeenModels;
pub use self::stored::StoredModel;
pub use self::watch::{Models, Options, Writable};
pub use self::write::Planned;
pub(crate) use self::write::{ModelWriter, write_models};
