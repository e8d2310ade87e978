//! Paths of the four programs, in the directory that envtest's variable names.

use std::path::{Path, PathBuf};

use super::KubeError;

/// The variable of envtest; `tools/with` sets it.
const VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The programs of one Kubernetes API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) etcd: PathBuf,
    pub(super) apiserver: PathBuf,
    pub(super) controllers: PathBuf,
    pub(super) kubectl: PathBuf,
}

impl Programs {
    /// The programs in `KUBEBUILDER_ASSETS`. `PATH` is not searched: a machine's own kubectl may be years older.
    pub(super) fn find() -> Result<Self, KubeError> {
        match std::env::var_os(VARIABLE) {
            Some(dir) => Self::find_in(Path::new(&dir)),
            None => Err(KubeError::Programs {
                missing: "a Kubernetes API server".into(),
                looked: format!("the directory named by {VARIABLE} (it is not set)"),
            }),
        }
    }

    fn find_in(dir: &Path) -> Result<Self, KubeError> {
        let programs = Self {
            etcd: dir.join("etcd"),
            apiserver: dir.join("kube-apiserver"),
            controllers: dir.join("kube-controller-manager"),
            kubectl: dir.join("kubectl"),
        };
        let missing: Vec<_> = [
            &programs.etcd,
            &programs.apiserver,
            &programs.controllers,
            &programs.kubectl,
        ]
        .into_iter()
        .filter(|program| !program.is_file())
        .filter_map(|program| program.file_name()?.to_str())
        .collect();
        if missing.is_empty() {
            return Ok(programs);
        }
        Err(KubeError::Programs {
            missing: missing.join(", "),
            looked: dir.display().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_error_for_a_missing_program_names_the_program_and_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        for program in ["etcd", "kube-apiserver", "kubectl"] {
            std::fs::write(dir.path().join(program), "").unwrap();
        }
        let error = Programs::find_in(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("missing: kube-controller-manager, "));
        assert!(error.contains("tools/setup kube"));
        std::fs::write(dir.path().join("kube-controller-manager"), "").unwrap();
        Programs::find_in(dir.path()).unwrap();
    }
}
