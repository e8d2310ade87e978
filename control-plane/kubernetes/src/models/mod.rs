//! `ServedModel`: its CustomResourceDefinition's type, its form in JSON, and the cache of stored objects.
//!
//! Invariant: people write `spec`, the control plane writes `status`. Memory is read from the object and nowhere else, so every
//! replica plans the same.

use std::sync::Arc;

use tokio::sync::watch;

mod cache;
mod findings;
pub mod memory;
pub mod naming;
mod resource;
mod stored;

pub use self::cache::ModelCache;
pub use self::findings::findings;
pub use self::memory::{base_of, memory_of, set_carriers_gone, store_memory, time};
pub use self::naming::object_name;
pub use self::resource::{
    Base, Change, Name, Percent, PrinterColumns, Proxies, Served, ServedModel, ServedModelStatus,
};
pub use self::stored::{ModelShape, StoredModel};

/// Field manager of `ServedModel`s.
pub const MANAGER: &str = "headgate-models";
/// Time, in seconds, that the object of a model is kept after its last carrier is gone.
pub const UNCARRIED: i64 = 3600;

/// The interface between the watch of `ServedModel`s and their writer: the cache, and the channel for write failures.
#[derive(Debug, Clone)]
pub struct ModelObjects {
    /// The stored objects; `None` until all are known.
    pub cache: watch::Receiver<Option<Arc<ModelCache>>>,
    /// The reason why objects cannot be written; `None` while they can.
    pub write_failure: watch::Sender<Option<String>>,
    /// The controller name of this installation.
    pub controller: String,
}
