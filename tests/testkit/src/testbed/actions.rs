//! User actions on a testbed, on files or on a Kubernetes API alike.

use super::{LabelledBy, Manifest, Testbed, TestbedError};
use crate::mock_model::StatsSnapshot;

impl Testbed {
    /// Sets a label of the Deployment `workload` as users do: in its file, or with `kubectl label`. `None` removes the label. Returns
    /// how it was set.
    ///
    /// # Errors
    /// As [`super::Files::label`]; [`TestbedError::Kube`] when the API server refuses.
    pub async fn label(
        &self,
        workload: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<LabelledBy, TestbedError> {
        let Some(cluster) = self.cluster() else {
            return self.files().label(&format!("{workload}.yaml"), key, value);
        };
        let change = value.map_or_else(|| format!("{key}-"), |value| format!("{key}={value}"));
        let line = format!("kubectl label deploy/{workload} {change} --overwrite");
        Ok(LabelledBy::Kubectl(cluster.kubectl(&line).await?.line))
    }

    /// Declares a new version with a mock model that serves it, and waits until that runs. Endpoints in the manifest are replaced.
    ///
    /// # Errors
    /// [`TestbedError::Files`]; [`TestbedError::Kube`] when the API server refuses.
    pub async fn join(&mut self, manifest: Manifest) -> Result<(), TestbedError> {
        if let Some(cluster) = self.cluster() {
            cluster.apply(&manifest.render()).await?;
            let line = format!(
                "kubectl rollout status deploy/{} --timeout=60s",
                manifest.name()
            );
            cluster.kubectl(&line).await?;
            return Ok(());
        }
        let addr = self.add_mock(manifest.model(), manifest.version()).await?;
        let file = format!("{}.yaml", manifest.name());
        self.files()
            .write_model(&file, &manifest.endpoints(&[addr]).render())
    }

    /// The counters of the running servers of a workload: the Deployment of this name, which serves this model and version.
    #[must_use]
    pub fn stats_of(&self, workload: &str, model: &str, version: &str) -> Option<StatsSnapshot> {
        match self.cluster() {
            Some(cluster) => Some(cluster.stats_of(workload)),
            None => Some(self.mock(model, version)?.stats()),
        }
    }
}
