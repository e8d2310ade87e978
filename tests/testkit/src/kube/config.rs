//! The configuration of one API: its directory, addresses and keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::credentials::{CertificateAuthority, Identity};
use super::programs::Programs;
use super::servers::{self, Addresses, Trust};
use super::{KubeError, KubeOptions};
use crate::ports::free_addr;
use crate::process::ProcessOptions;

/// Everything that its servers need to start.
#[derive(Debug)]
pub(super) struct ClusterConfig {
    pub(super) programs: Programs,
    pub(super) dir: PathBuf,
    pub(super) addresses: Addresses,
    pub(super) authority: CertificateAuthority,
    server: Identity,
    tokens: Identity,
    pub(super) admin: PathBuf,
    api_args: Vec<String>,
    pub(super) within: Duration,
}

impl ClusterConfig {
    /// Creates directory and keys, and chooses free addresses. Also returns the directory if it is a temporary one.
    pub(super) fn new(options: KubeOptions) -> Result<(Self, Option<TempDir>), KubeError> {
        let programs = Programs::find()?;
        let (dir, temporary) = directory(options.dir)?;
        let free = || free_addr().map_err(KubeError::Address);
        let addresses = Addresses {
            api: options.address.map_or_else(free, Ok)?,
            etcd: free()?,
            etcd_peer: free()?,
            controllers: free()?,
        };
        let authority = CertificateAuthority::new(&dir)?;
        let config = Self {
            server: authority.server("apiserver", addresses.api.ip())?,
            tokens: authority.token_keys()?,
            admin: authority.admin(&addresses.api_url())?,
            programs,
            dir,
            addresses,
            authority,
            api_args: options.api_args,
            within: options.within,
        };
        Ok((config, temporary))
    }

    pub(super) fn etcd(&self) -> ProcessOptions {
        servers::etcd(&self.programs, &self.addresses, &self.dir)
    }

    pub(super) fn apiserver(&self) -> ProcessOptions {
        let trust = Trust {
            authority: &self.authority.certificate(),
            server: &self.server,
            tokens: &self.tokens,
        };
        servers::apiserver(&self.programs, &self.addresses, &self.dir, &trust).args(&self.api_args)
    }

    pub(super) fn controllers(&self) -> ProcessOptions {
        servers::controllers(&self.programs, &self.addresses, &self.dir, &self.admin)
    }
}

/// The requested directory, or a temporary one. Earlier data is removed: its keys would not match.
fn directory(wanted: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>), KubeError> {
    let files = |path: &Path| {
        let path = path.to_owned();
        move |source| KubeError::Files { path, source }
    };
    let Some(dir) = wanted else {
        let made = tempfile::tempdir().map_err(files(&std::env::temp_dir()))?;
        return Ok((made.path().to_owned(), Some(made)));
    };
    std::fs::create_dir_all(&dir).map_err(files(&dir))?;
    // Kubeconfigs name files in it and are read from any working directory.
    let dir = dir.canonicalize().map_err(files(&dir))?;
    let data = dir.join("etcd");
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(files(&data))?;
    }
    Ok((dir, None))
}
