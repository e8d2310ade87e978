//! The testbed's own copies of manifests and policies, edited as users edit them.
//!
//! Invariant: a file appears in a watched directory complete or not at all. It is written to another directory and renamed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SHIPPED, TestbedError, artifacts};

/// The directories that a control plane watches.
#[derive(Debug, Clone)]
pub struct Files {
    root: PathBuf,
}

/// The initial content of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seed {
    /// The files in `envoy-config`.
    #[default]
    Shipped,
    /// Empty; the test writes the files that it needs.
    Empty,
}

impl Files {
    /// Creates the directories below `root`.
    pub(super) fn create(root: &Path) -> Result<Self, TestbedError> {
        let files = Self {
            root: root.to_owned(),
        };
        for dir in [
            files.models(),
            files.policies(),
            files.wasm(),
            files.drafts(),
        ] {
            std::fs::create_dir_all(&dir)
                .map_err(|source| TestbedError::files(dir.display(), source))?;
        }
        Ok(files)
    }

    /// The directory of manifests.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// The directory of policies.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// The directory of the wasm module: a copy, so that a test can replace it.
    #[must_use]
    pub fn wasm(&self) -> PathBuf {
        self.root.join("wasm")
    }

    fn drafts(&self) -> PathBuf {
        self.root.join("drafts")
    }

    /// Copies the wasm module.
    pub(super) fn copy_module(&self) -> Result<(), TestbedError> {
        let module = artifacts::wasm_module()?;
        let name = module.file_name().unwrap_or_default();
        std::fs::copy(&module, self.wasm().join(name))
            .map_err(|source| TestbedError::files(module.display(), source))?;
        Ok(())
    }

    /// Copies the shipped manifests, with the endpoints at `addresses` (in the order of [`SHIPPED`]).
    pub(super) fn copy_models(&self, addresses: &[SocketAddr]) -> Result<(), TestbedError> {
        let from = artifacts::checkout()?.join("envoy-config/models");
        for (served, address) in SHIPPED.iter().zip(addresses) {
            let text = read(&from.join(served.file))?;
            let shipped = format!("127.0.0.1:{}", served.port);
            self.write_model(served.file, &text.replace(&shipped, &address.to_string()))?;
        }
        Ok(())
    }

    /// Copies the shipped policies.
    pub(super) fn copy_policies(&self) -> Result<(), TestbedError> {
        let from = artifacts::checkout()?.join("envoy-config/policies");
        let entries =
            std::fs::read_dir(&from).map_err(|e| TestbedError::files(from.display(), e))?;
        for entry in entries.filter_map(Result::ok) {
            let text = read(&entry.path())?;
            self.write_policy(&entry.file_name().to_string_lossy(), &text)?;
        }
        Ok(())
    }

    /// Writes or replaces a manifest.
    ///
    /// # Errors
    /// [`TestbedError::Files`].
    pub fn write_model(&self, file: &str, text: &str) -> Result<(), TestbedError> {
        self.put(&self.models().join(file), text)
    }

    /// Writes or replaces a policy.
    ///
    /// # Errors
    /// [`TestbedError::Files`].
    pub fn write_policy(&self, file: &str, text: &str) -> Result<(), TestbedError> {
        self.put(&self.policies().join(file), text)
    }

    /// Removes a manifest.
    ///
    /// # Errors
    /// [`TestbedError::Files`].
    pub fn remove_model(&self, file: &str) -> Result<(), TestbedError> {
        remove(&self.models().join(file))
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// [`TestbedError::Files`].
    pub fn remove_policy(&self, file: &str) -> Result<(), TestbedError> {
        remove(&self.policies().join(file))
    }

    /// Sets a label of a manifest as users do: with `kubectl label --local` if kubectl is installed, else by editing the file. `None`
    /// removes the label. Returns how it was set.
    ///
    /// # Errors
    /// [`TestbedError::Files`], or [`TestbedError::Label`] when the file has no labels.
    pub fn label(
        &self,
        file: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<LabelledBy, TestbedError> {
        let path = self.models().join(file);
        if let Some((text, command)) = kubectl_label(&path, key, value) {
            self.put(&path, &text)?;
            return Ok(LabelledBy::Kubectl(command));
        }
        let text = read(&path)?;
        let edited = edit_label(&text, key, value)
            .ok_or_else(|| TestbedError::Label(path.display().to_string()))?;
        self.put(&path, &edited)?;
        Ok(LabelledBy::Edit)
    }

    fn put(&self, path: &Path, text: &str) -> Result<(), TestbedError> {
        let name = path.file_name().unwrap_or_default();
        let draft = self.drafts().join(name);
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, path))
            .map_err(|source| TestbedError::files(path.display(), source))
    }
}

/// How a label was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelledBy {
    /// With this command, whose output replaced the file.
    Kubectl(String),
    /// By editing the file, because no usable kubectl is installed.
    Edit,
}

fn read(path: &Path) -> Result<String, TestbedError> {
    std::fs::read_to_string(path).map_err(|source| TestbedError::files(path.display(), source))
}

fn remove(path: &Path) -> Result<(), TestbedError> {
    std::fs::remove_file(path).map_err(|source| TestbedError::files(path.display(), source))
}

/// The manifest with the label, and the command that made it; `None` if kubectl is missing or fails.
fn kubectl_label(path: &Path, key: &str, value: Option<&str>) -> Option<(String, String)> {
    let change = match value {
        Some(value) => format!("{key}={value}"),
        None => format!("{key}-"),
    };
    let args = ["label", "--local", "--overwrite", "-o", "yaml", "-f"];
    let output = Command::new("kubectl")
        .args(args)
        .arg(path)
        .arg(&change)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let command = format!("kubectl label --local -f {name} {change} --overwrite -o yaml");
    Some((String::from_utf8(output.stdout).ok()?, command))
}

/// Edits the first block of labels, which belongs to the workload: manifests have `metadata` before `spec`.
fn edit_label(text: &str, key: &str, value: Option<&str>) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let start = lines
        .iter()
        .position(|line| line.trim_end().ends_with("labels:"))?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(&lines[start]);
    let end = lines[start + 1..]
        .iter()
        .position(|line| indent(line) <= depth)
        .map_or(lines.len(), |at| start + 1 + at);
    let mine = |line: &String| {
        line.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(':'))
    };
    let block: Vec<String> = lines
        .drain(start + 1..end)
        .filter(|line| !mine(line))
        .collect();
    let added = value.map(|value| format!("{}{key}: \"{value}\"", " ".repeat(depth + 2)));
    lines.splice(start + 1..start + 1, block.into_iter().chain(added));
    Some(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MANIFEST: &str = "metadata:\n  labels:\n    model-name: m\n    canary-weight: \"10\"\n  name: d\nspec:\n  template:\n    metadata:\n      labels:\n        app: d\n";

    #[test]
    fn a_label_is_set_changed_and_removed_on_the_workload_only() {
        let set = edit_label(MANIFEST, "canary-weight", Some("30")).unwrap();
        assert_eq!(set.matches("canary-weight: \"30\"").count(), 1);
        assert!(!set.contains("\"10\""));
        assert!(set.contains("model-name: m\n    canary-weight") && set.contains("  name: d\n"));
        let gone = edit_label(&set, "canary-weight", None).unwrap();
        assert!(!gone.contains("canary-weight"));
        let added = edit_label(&gone, "canary-weight", Some("0")).unwrap();
        assert!(added.contains("    canary-weight: \"0\"\n  name: d"));
        assert_eq!(edit_label("kind: Service\n", "a", None), None);
    }

    #[test]
    fn a_file_is_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::create(dir.path()).unwrap();
        files.write_model("a.yaml", MANIFEST).unwrap();
        files.label("a.yaml", "canary-weight", Some("55")).unwrap();
        let text = std::fs::read_to_string(files.models().join("a.yaml")).unwrap();
        assert!(text.contains("55") && text.contains("app: d"), "{text}");
        files.remove_model("a.yaml").unwrap();
        assert_eq!(std::fs::read_dir(files.models()).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(files.drafts()).unwrap().count(), 0);
    }
}
