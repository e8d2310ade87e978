//! The filter modules as OCI artifacts, in the layout that Istio, Envoy Gateway and containers' tools accept ("compat"): one gzip tar
//! layer with the file `plugin.wasm`. A CycloneDX SBOM refers to each.
//!
//! Invariant: equal modules and settings give equal bytes, so a digest identifies what was built. Nothing has a time, a user or a
//! path of the machine in it.

mod artifact;
mod blob;
mod layout;
mod push;
mod sbom;

pub use self::artifact::{Artifact, Description, MODULE_FILE, artifact};
pub use self::blob::Blob;
pub use self::layout::write_layout;
pub use self::push::{Credentials, Pushed, push};
pub use self::sbom::sbom;

/// An error that ends the program: one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
