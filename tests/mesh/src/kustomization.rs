//! A kustomization of the user's own: a shipped overlay with components, arguments and patches.

use std::path::{Path, PathBuf};

use headgate_testkit::testbed::artifacts::checkout;

use crate::error::MeshTestbedError;

/// A kustomization of the user's own.
#[derive(Debug)]
pub(crate) struct Kustomization<'a> {
    /// The shipped overlay.
    pub(crate) overlay: &'a str,
    /// Shipped components.
    pub(crate) components: &'a [&'a str],
    /// Arguments added to those of `headgate serve`: at least one.
    pub(crate) args: &'a [String],
    /// Further patches, as elements of the list `patches`.
    pub(crate) patches: &'a str,
}

impl Kustomization<'_> {
    /// Writes it into a directory below this one, and returns that directory.
    ///
    /// # Errors
    /// A file cannot be written, or the checkout is not found.
    pub(crate) fn write(&self, below: &Path) -> Result<PathBuf, MeshTestbedError> {
        // Kustomize refers to bases by relative paths only.
        let directory = below.join(self.overlay);
        std::fs::create_dir_all(&directory)?;
        let depth = directory.components().count();
        let up = "../".repeat(depth - 1);
        let manifests = checkout()?.join("istio-manifests");
        let manifests: PathBuf = manifests.components().skip(1).collect();
        let manifests = format!("{up}{}", manifests.display());
        let components = self.components.iter();
        let components = components.map(|name| format!("{manifests}/components/{name}"));
        let args = self.args.iter().map(|arg| {
            format!("    - {{ op: add, path: /spec/template/spec/containers/0/args/-, value: '{arg}' }}\n")
        });
        let text = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{manifests}/overlays/{}]\n\
             components: [{}]\npatches:\n- target: {{ kind: Deployment, name: headgate }}\n  patch: |-\n{}{}",
            self.overlay,
            components.collect::<Vec<_>>().join(", "),
            args.collect::<String>(),
            self.patches,
        );
        std::fs::write(directory.join("kustomization.yaml"), text)?;
        Ok(directory)
    }
}
