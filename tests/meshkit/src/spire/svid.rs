//! An X.509-SVID with its bundles, as the agent's client writes them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::SpireError;
use super::error::files;

/// An X.509-SVID as PEM files.
#[derive(Debug)]
pub struct Svid {
    dir: TempDir,
}

impl Svid {
    pub(super) fn new(dir: TempDir) -> Self {
        Self { dir }
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The certificate chain, leaf first, as PEM.
    #[must_use]
    pub fn chain(&self) -> PathBuf {
        self.dir.path().join("svid.0.pem")
    }

    /// The private key, as PEM.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("svid.0.key")
    }

    /// The bundle of the own trust domain, as PEM.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle.0.pem")
    }

    /// The bundles of the foreign trust domains, as PEM.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn federated_bundles(&self) -> Result<Vec<PathBuf>, SpireError> {
        let dir = self.dir.path();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(files(dir))? {
            let path = entry.map_err(files(dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("federated_bundle.") {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}
