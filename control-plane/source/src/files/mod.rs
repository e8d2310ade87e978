//! The file source: directories of manifests, in the format that `kubectl apply` accepts.
//!
//! ```text
//! inotify, poll ──▶ read schedule (is a file complete?) ──▶ document ──▶ manifest ──▶ reducer ──▶ watch channel
//! ```
//!
//! Invariant: only the worker uses files and clocks; everything behind it is a function of bytes and times. A file that is half-written
//! or invalid keeps its last valid content and is reported.

mod directories;
mod document;
mod manifest;
mod metadata;
mod models;
mod options;
mod pod_template;
mod read_schedule;
mod reducer;
mod remarks;
mod scan;
mod source_text;
mod state;
mod string_map;
mod template;
mod watcher;
mod worker;
mod yaml;

pub use options::{FilesError, Options};
pub use reducer::Reducer;
pub use remarks::{Remarks, remarks};
pub use scan::{LIMIT, ReadError, Stamp, manifests, read, stamp};
pub use state::keep as keep_state;
pub use watcher::Files;
