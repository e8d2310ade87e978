//! Options of a testbed.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Addresses, Seed};

/// A model with a shipped manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// The manifest in `envoy-config/models`.
    pub file: &'static str,
    /// The model's id.
    pub model: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The port in the manifest.
    pub port: u16,
}

const fn shipped(
    file: &'static str,
    model: &'static str,
    version: &'static str,
    port: u16,
) -> Shipped {
    Shipped {
        file,
        model,
        version,
        port,
    }
}

/// The models of the demo.
pub const SHIPPED: [Shipped; 4] = [
    shipped("llama3-70b-v1.yaml", "llama3-70b", "v1", 8101),
    shipped("llama3-70b-v2.yaml", "llama3-70b", "v2", 8102),
    shipped("gpt-4.yaml", "gpt-4", "2024-08-06", 8103),
    shipped("phi-3.yaml", "phi-3", "mini-4k", 8104),
];

/// The source of models and policies for the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// The testbed's own copies of the shipped files.
    #[default]
    Files,
    /// A real Kubernetes API with the shipped files applied; the models run in pods.
    Kubernetes,
}

/// Options of a testbed.
#[derive(Debug, Clone)]
pub struct TestbedOptions {
    /// The addresses; free ports by default.
    pub addresses: Option<Addresses>,
    /// The source of models and policies.
    pub source: Source,
    /// Initial manifests; the shipped ones come with their mock models.
    pub models: Seed,
    /// Initial policies.
    pub policies: Seed,
    /// Policies to write before the control plane starts, by file name.
    pub write_policies: Vec<(String, String)>,
    /// Number of Envoys.
    pub envoys: usize,
    /// Worker threads of each Envoy.
    pub workers: u32,
    /// Additional arguments of `headgate serve`.
    pub serve_args: Vec<OsString>,
    /// The `headgate` binary; by default the one of [`super::artifacts::headgate_binary`].
    pub binary: Option<PathBuf>,
}

impl Default for TestbedOptions {
    /// The shipped files on free ports, with one Envoy of two workers.
    fn default() -> Self {
        Self {
            addresses: None,
            source: Source::Files,
            models: Seed::Shipped,
            policies: Seed::Shipped,
            write_policies: Vec::new(),
            envoys: 1,
            workers: 2,
            serve_args: Vec::new(),
            binary: None,
        }
    }
}

impl TestbedOptions {
    /// No manifests and no policies.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            models: Seed::Empty,
            policies: Seed::Empty,
            ..Self::default()
        }
    }

    /// The shipped files on a Kubernetes API.
    #[must_use]
    pub fn on_kubernetes() -> Self {
        Self {
            source: Source::Kubernetes,
            ..Self::empty()
        }
    }

    /// Uses this policy instead of the shipped ones.
    #[must_use]
    pub fn policy(mut self, yaml: &str) -> Self {
        self.policies = Seed::Empty;
        let file = format!("policy-{}.yaml", self.write_policies.len());
        self.write_policies.push((file, yaml.to_owned()));
        self
    }

    /// Sets the number of Envoys.
    #[must_use]
    pub fn envoys(mut self, envoys: usize) -> Self {
        self.envoys = envoys;
        self
    }
}
