//! A directory of manifests as the source of the world: the very files that `kubectl apply` can take.
//!
//! ```text
//! inotify, poll ──▶ settle (when is a file whole?) ──▶ document ──▶ manifest ──▶ reducer ──▶ watch channel
//! ```
//!
//! Invariant: only the watcher touches files and clocks; everything behind it is a function of bytes and of the
//! times it is told. A file that is half-written or invalid keeps its last good content and is reported.

mod directories;
mod document;
mod manifest;
mod metadata;
mod models;
mod pod_template;
mod reducer;
mod remarks;
mod scan;
mod settle;
mod state;
mod template;
mod watcher;
mod world;
mod written;

pub use reducer::Reducer;
pub use remarks::{Remarks, remarks};
pub use scan::{LIMIT, Refused, manifests, read};
pub use state::keep as keep_state;
pub use watcher::{Files, FilesError, Options};
