//! What a stage is set up with.

use std::ffi::OsString;

use super::{Addresses, Seed};

/// A model that the repository ships a manifest for.
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

/// Where the control plane of a stage finds models and policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// In the stage's own copies of the shipped files.
    #[default]
    Files,
    /// On a real Kubernetes API, to which the shipped files are applied; the models run in pods.
    Kubernetes,
}

/// What to set up.
#[derive(Debug, Clone)]
pub struct StageOptions {
    /// Where it listens; free ports if none.
    pub addresses: Option<Addresses>,
    /// Where models and policies are.
    pub source: Source,
    /// Manifests to begin with; the shipped ones come with their mock models.
    pub models: Seed,
    /// Policies to begin with.
    pub policies: Seed,
    /// Policies written before the control plane starts, by file name.
    pub write_policies: Vec<(String, String)>,
    /// How many Envoys.
    pub envoys: usize,
    /// Worker threads of each.
    pub workers: u32,
    /// Further arguments of `headgate serve`.
    pub serve_args: Vec<OsString>,
}

impl Default for StageOptions {
    /// All that is shipped, on free ports, with one Envoy of two workers.
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
        }
    }
}

impl StageOptions {
    /// No manifests and no policies.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            models: Seed::Empty,
            policies: Seed::Empty,
            ..Self::default()
        }
    }

    /// All that is shipped, on a Kubernetes API.
    #[must_use]
    pub fn on_kubernetes() -> Self {
        Self {
            source: Source::Kubernetes,
            ..Self::empty()
        }
    }

    /// With this policy instead of the shipped ones.
    #[must_use]
    pub fn policy(mut self, yaml: &str) -> Self {
        self.policies = Seed::Empty;
        let file = format!("policy-{}.yaml", self.write_policies.len());
        self.write_policies.push((file, yaml.to_owned()));
        self
    }

    /// With so many Envoys.
    #[must_use]
    pub fn envoys(mut self, envoys: usize) -> Self {
        self.envoys = envoys;
        self
    }
}
