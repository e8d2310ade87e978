//! Wiring of Istio: the settings of its objects, and the task that decides and writes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use headgate_istio::{
    MeshState, Mode, Options, ProxyNamespaces, StoredObjects, Writer, watch, write,
};
use headgate_kubernetes::Client;
use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::health::WatchHealth;
use headgate_model::{HostRules, ModelKey, Plan, RoutedVersions, weights_revision};
use headgate_publisher::{Offered, ScopeRules};
use headgate_translate::Code;
use headgate_writer::WeightCounts;
use tokio::sync::watch::{Receiver, Sender};

use crate::config::{InputConfig, IstioConfig, IstioMode, ServeConfig};
use crate::domains::given_domains;
use crate::replica_writer::Plans;
use crate::source::mesh_namespaces;

/// The rules of hosts. Without `--istio` there are none, because a filter with hosts ignores every other virtual host.
///
/// # Errors
/// Two namespaces have the same domain.
pub(crate) fn host_rules(input: &InputConfig) -> Result<HostRules, String> {
    if input.istio.mode.is_none() {
        return Ok(HostRules::default());
    }
    Ok(HostRules {
        cluster_domain: Some(input.istio.cluster_domain.clone()),
        // Of gateways, the catch-all virtual host belongs to nobody unless a flag says so.
        domains: given_domains(input)?,
    })
}

/// Settings of the objects. `controller` is the name of the installation.
///
/// # Errors
/// As [`host_rules`].
pub(crate) fn options(
    input: &InputConfig,
    module: &Code,
    controller: &str,
    rules: &ScopeRules,
) -> Result<Options, String> {
    let IstioConfig {
        clients,
        gateways,
        client_labels,
        gateway_labels,
        xds_service,
        ..
    } = &input.istio;
    let audience = |namespaces: &[String]| -> ProxyNamespaces {
        let namespaces = namespaces.iter().map(|namespace| {
            // Objects of the root namespace apply to proxies of all namespaces.
            let of = Some(namespace.as_str()).filter(|_| *namespace != input.istio.root_namespace);
            (namespace.clone(), rules.seen_in_mesh(of))
        });
        namespaces.collect()
    };
    Ok(Options {
        clients: audience(clients),
        gateways: audience(gateways),
        root_namespace: input.istio.root_namespace.clone(),
        client_labels: client_labels.clone(),
        gateway_labels: gateway_labels.clone(),
        hosts: host_rules(input)?,
        xds: xds_service.clone(),
        module: match module {
            Code::File(path) => Some(path.clone()),
            Code::Inline(_) => None,
        },
        max_body_bytes: input.max_body_bytes,
        keys: input.labels.clone(),
        controller: controller.to_owned(),
    })
}

/// What the settings of the objects depend on, and what changes while the process runs.
#[derive(Debug, Clone)]
pub(crate) struct MeshInputs {
    /// The module.
    pub(crate) modules: Receiver<Offered>,
    /// What proxies may see.
    pub(crate) rules: Receiver<ScopeRules>,
}

impl MeshInputs {
    /// Waits for a change.
    async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.modules) => {}
            () = changed(&mut self.rules) => {}
        }
    }
}

/// Waits for a change; forever if the sender is gone.
async fn changed<T>(receiver: &mut Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The running watch and writer of Istio's objects.
pub(crate) struct Mesh {
    mode: Mode,
    input: InputConfig,
    controller: String,
    inputs: MeshInputs,
    client: Client,
    stored: StoredObjects,
    state: Sender<MeshState>,
}

impl Mesh {
    /// Starts the watch; `None` without `--istio`.
    ///
    /// # Errors
    /// As [`host_rules`].
    pub(crate) fn start(
        config: &ServeConfig,
        inputs: MeshInputs,
        client: &Client,
        health: &WatchHealth,
    ) -> Result<Option<Self>, String> {
        let input = &config.input;
        let mode = match input.istio.mode {
            None => return Ok(None),
            Some(IstioMode::Write) => Mode::Write,
            Some(IstioMode::Watch) => Mode::Watch,
        };
        let mesh = Self {
            mode,
            input: input.clone(),
            controller: config.writer.controller.to_string(),
            inputs,
            client: client.clone(),
            // Proxies may be in any namespace, so their objects are too.
            stored: watch(client, &mesh_namespaces(input), health),
            state: Sender::default(),
        };
        mesh.options()?;
        Ok(Some(mesh))
    }

    /// The settings of the objects now.
    fn options(&self) -> Result<Options, String> {
        let module = self.inputs.modules.borrow().module.clone();
        let rules = self.inputs.rules.borrow();
        options(&self.input, &module, &self.controller, &rules)
    }

    /// The routed versions and the findings.
    pub(crate) fn state(&self) -> Receiver<MeshState> {
        self.state.subscribe()
    }

    /// The routed versions; `None` where they are not known yet. Without a mesh no version has a route.
    pub(crate) fn routed(mesh: Option<&Self>) -> Receiver<Option<Arc<RoutedVersions>>> {
        let Some(mesh) = mesh else {
            return Sender::new(Some(Arc::default())).subscribe();
        };
        let mut state = mesh.state();
        let (sender, routed) = tokio::sync::watch::channel(None);
        tokio::spawn(async move {
            while state.changed().await.is_ok() {
                let routed = state.borrow_and_update().routed.clone();
                sender.send_if_modified(|before| {
                    let changed = *before != routed;
                    *before = routed;
                    changed
                });
            }
        });
        routed
    }

    /// Decides and writes until the process ends. A changed module, or changed rules, start the decisions again with the stored objects:
    /// what proxies use stays.
    pub(crate) async fn run(
        mut self,
        plans: Plans,
        weights: Receiver<Option<Arc<WeightCounts>>>,
        leading: Receiver<bool>,
        linger: std::time::Duration,
        faults: Faults,
    ) {
        let unacknowledged = unacknowledged(plans.clone(), weights);
        loop {
            // Both fit since the start: only their content changes.
            let Ok(options) = self.options() else { return };
            let writer = Writer {
                client: self.client.clone(),
                options: options.clone(),
                mode: self.mode,
                linger,
                unacknowledged: unacknowledged.clone(),
                plans: plans.clone(),
                stored: self.stored.stored(),
                leading: leading.clone(),
                faults: faults.clone(),
                state: self.state.clone(),
            };
            let differ = async {
                self.inputs.changed().await;
                while self.options().is_ok_and(|now| now == options) {
                    self.inputs.changed().await;
                }
            };
            tokio::select! {
                () = write(writer) => return,
                () = differ => {}
            }
        }
    }
}
/// The models whose weights some proxies of any replica do not have as they are in the plan.
fn unacknowledged(
    mut plans: Plans,
    mut weights: Receiver<Option<Arc<WeightCounts>>>,
) -> Receiver<Arc<BTreeSet<ModelKey>>> {
    let (sender, models) = tokio::sync::watch::channel(Arc::default());
    tokio::spawn(async move {
        loop {
            let plan = plans.borrow_and_update().clone();
            let counts = weights.borrow_and_update().clone();
            if let (Some(planned), Some(counts)) = (plan, counts) {
                let lagging = lagging(&planned.plan, &counts);
                sender.send_if_modified(|before| {
                    let changed = **before != lagging;
                    if changed {
                        *before = Arc::new(lagging);
                    }
                    changed
                });
            }
            let changed = tokio::select! {
                changed = plans.changed() => changed,
                changed = weights.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    });
    models
}

fn lagging(plan: &Plan, counts: &WeightCounts) -> BTreeSet<ModelKey> {
    let models = plan.namespaces.iter().flat_map(|(namespace, planned)| {
        let models = planned.models.iter();
        models.map(move |(id, model)| ((namespace.clone(), id.clone()), model))
    });
    let lagging = models.filter(|(key, model)| {
        let (held, connected) = counts.proxies(key, &weights_revision(model));
        held < connected
    });
    lagging.map(|(key, _)| key).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_contract::ModelId;
    use headgate_model::{NamespacePlan, PlannedModel, ProxyGroup, ReplicaCounts};

    use super::*;

    #[test]
    fn a_model_is_unacknowledged_while_a_proxy_of_any_replica_has_other_weights() {
        let key: ModelKey = (
            "models".to_owned(),
            ModelId::try_from("llama".to_owned()).unwrap(),
        );
        let planned = PlannedModel::default();
        let revision = weights_revision(&planned);
        let models = [(key.1.clone(), planned)].into();
        let namespace = NamespacePlan {
            models,
            ..NamespacePlan::default()
        };
        let plan = Plan {
            namespaces: [(key.0.clone(), namespace)].into(),
            ..Plan::default()
        };
        let replica = |connected: u32, held: u32| {
            let group = ProxyGroup {
                namespaces: ["models".to_owned()].into(),
                ..ProxyGroup::default()
            };
            ReplicaCounts {
                proxies: [(group, connected)].into(),
                models: [(key.clone(), [(revision.clone(), held)].into())].into(),
                ..ReplicaCounts::default()
            }
        };
        for (replicas, expected) in [
            (vec![], false),
            (vec![replica(2, 2)], false),
            (vec![replica(2, 2), replica(3, 3)], false),
            (vec![replica(2, 2), replica(3, 2)], true),
            (vec![replica(1, 0)], true),
        ] {
            let lagging = lagging(&plan, &WeightCounts::of(&replicas));
            assert_eq!(lagging.contains(&key), expected, "{replicas:?}");
        }
    }
}
