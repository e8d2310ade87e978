//! What people do to a stage, whichever way its models are declared: the same act on a file and on a Kubernetes API.

use super::{LabelledBy, Manifest, Stage, StageError};
use crate::mock_model::StatsSnapshot;

impl Stage {
    /// Sets a label of a workload, named as its Deployment, as people do: in its file, or with `kubectl label`. `None`
    /// takes the label away. Says how it was done.
    ///
    /// # Errors
    /// As [`super::Files::label`]; [`StageError::Kube`] with what was refused.
    pub async fn label(
        &self,
        workload: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<LabelledBy, StageError> {
        let Some(cluster) = self.cluster() else {
            return self.files().label(&format!("{workload}.yaml"), key, value);
        };
        let change = value.map_or_else(|| format!("{key}-"), |value| format!("{key}={value}"));
        let line = format!("kubectl label deploy/{workload} {change} --overwrite");
        Ok(LabelledBy::Kubectl(cluster.kubectl(&line).await?.line))
    }

    /// Declares a new version, with a mock model that serves it, and waits until that runs. What the manifest says of
    /// endpoints is replaced.
    ///
    /// # Errors
    /// [`StageError::Files`]; [`StageError::Kube`] with what was refused.
    pub async fn join(&mut self, manifest: Manifest) -> Result<(), StageError> {
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

    /// The counters of the servers of a workload that run now: the Deployment of this name, which serves this model and
    /// version.
    #[must_use]
    pub fn stats_of(&self, workload: &str, model: &str, version: &str) -> Option<StatsSnapshot> {
        match self.cluster() {
            Some(cluster) => Some(cluster.stats_of(workload)),
            None => Some(self.mock(model, version)?.stats()),
        }
    }
}
