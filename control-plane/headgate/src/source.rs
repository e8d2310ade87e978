//! The source of models and policies: files, or a Kubernetes API whose policies can be replaced by files.

use std::sync::Arc;
use std::time::Duration;

use headgate_istio::Stored;
use headgate_kubernetes::access::{MeshAccess, Needs};
use headgate_kubernetes::blocks::Blocks;
use headgate_kubernetes::health::{ApiState, WatchHealth};
use headgate_kubernetes::models::ModelObjects;
use headgate_kubernetes::policies::{Controller, PolicyCache};
use headgate_kubernetes::review::keep_reviewing;
use headgate_kubernetes::tokens::TokenReviewer;
use headgate_kubernetes::{Access, Client};
use headgate_model::Observed;
use headgate_source::cluster::{self, Kubernetes};
use headgate_source::files::{self, Files};
use headgate_source::join::join;
use headgate_source::own_kinds::{self, Models, Policies};
use tokio::sync::watch;

use crate::config::{ClusterConfig, Failure, InputConfig, IstioMode};
use headgate_report::output::print_error;

/// How long `translate` retries if the API server does not answer, or denies access.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of the first complete read of `translate`.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The stored policy objects; `None` until all of them are read.
pub(crate) type PolicyObjects = watch::Receiver<Option<Arc<PolicyCache>>>;

/// A running source.
// A process has one source, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Source {
    /// A directory of manifests.
    Files(Files),
    /// A Kubernetes API, and policies of it or of a directory.
    Cluster {
        /// The client of the API server.
        client: Client,
        /// Watches the API.
        kubernetes: Kubernetes,
        /// Watches the policies.
        policies: PolicySource,
        /// Watches the `ServedModel`s.
        models: Models,
    },
}

/// The source of policies next to a Kubernetes API. A directory replaces the policies of the API.
pub(crate) enum PolicySource {
    /// A directory.
    Files(Files),
    /// The API itself.
    Objects(Policies),
}

impl Source {
    /// Starts the source. Of each status, the part of `controller` is read. The API server need not be reachable yet.
    ///
    /// # Errors
    /// A directory that cannot be read, a kubeconfig that cannot be used.
    pub(crate) async fn start(
        input: &InputConfig,
        controller: &Controller,
    ) -> Result<Self, Failure> {
        let Some(cluster) = input.cluster() else {
            return Ok(Self::Files(Files::watch(files_options(input))?));
        };
        let client = headgate_kubernetes::connect(&access(cluster)).await?;
        let kubernetes = Kubernetes::start(&client, cluster_options(input, cluster))?;
        let policies = if input.policies.is_some() {
            PolicySource::Files(Files::watch(files_options(input))?)
        } else {
            let options = own_kinds::Options {
                namespaces: policy_namespaces(input, cluster),
                controller: controller.clone(),
                ..own_kinds::Options::default()
            };
            PolicySource::Objects(Policies::start(&client, &options, kubernetes.health()))
        };
        let models = Models::start(
            &client,
            &model_options(cluster, controller),
            kubernetes.health(),
        );
        Ok(Self::Cluster {
            client,
            kubernetes,
            policies,
            models,
        })
    }

    /// The inputs of the writer: the client of the API server, the policies if they are objects, and the `ServedModel`s. `None` for files.
    pub(crate) fn writer_inputs(&self) -> Option<(Client, Option<PolicyObjects>, ModelObjects)> {
        let Self::Cluster {
            client,
            policies,
            models,
            ..
        } = self
        else {
            return None;
        };
        let policies = match policies {
            PolicySource::Files(_) => None,
            PolicySource::Objects(policies) => Some(policies.seen()),
        };
        Some((client.clone(), policies, models.objects()))
    }

    /// Reviews periodically which used permissions are missing. `own` is the namespace of the control plane.
    pub(crate) fn review(&self, input: &InputConfig, own: Option<&str>, reviews_tokens: bool) {
        let (
            Self::Cluster {
                client, kubernetes, ..
            },
            Some(cluster),
        ) = (self, input.cluster())
        else {
            return;
        };
        let needs = Needs {
            kinds: cluster.kinds.clone(),
            policies: input.policies.is_none(),
            namespaces: cluster.namespaces.clone(),
            root_namespace: input.root_namespace.clone(),
            own_namespace: own.unwrap_or_else(|| client.default_namespace()).to_owned(),
            mesh: mesh_access(input),
            reviews_tokens,
        };
        let states = kubernetes.health().clone();
        tokio::spawn(keep_reviewing(client.clone(), needs, states));
    }

    /// The client of the API server and the health of the watches; `None` for files.
    pub(crate) fn api(&self) -> Option<(&Client, &WatchHealth)> {
        match self {
            Self::Files(_) => None,
            Self::Cluster {
                client, kubernetes, ..
            } => Some((client, kubernetes.health())),
        }
    }

    /// Asks the API server about the tokens of clients; `None` for files.
    pub(crate) fn token_reviewer(&self) -> Option<Arc<TokenReviewer>> {
        let (client, _) = self.api()?;
        Some(Arc::new(TokenReviewer::new(client)))
    }

    /// State of the watches; `None` for files.
    pub(crate) fn state(&self) -> Option<watch::Receiver<ApiState>> {
        match self {
            Self::Files(_) => None,
            Self::Cluster { kubernetes, .. } => Some(kubernetes.state()),
        }
    }

    /// The observed objects, after the first complete read.
    pub(crate) async fn synced(&self) -> watch::Receiver<Arc<Observed>> {
        match self {
            Self::Files(files) => files.observed(),
            Self::Cluster {
                kubernetes,
                policies,
                models,
                ..
            } => {
                let carriers = kubernetes.synced().await;
                let policies = match policies {
                    PolicySource::Files(files) => files.observed(),
                    PolicySource::Objects(objects) => {
                        let (observed, task) = objects.observed().await;
                        tokio::spawn(task);
                        observed
                    }
                };
                let (served_models, task) = models.observed().await;
                tokio::spawn(task);
                let (joined, task) = join(carriers, policies, served_models);
                tokio::spawn(task);
                joined
            }
        }
    }
}

/// Options of the file source. Next to a Kubernetes API it reads policies only.
fn files_options(input: &InputConfig) -> files::Options {
    let models = input.model_directory();
    files::Options {
        default_namespace: input.default_namespace.clone(),
        keys: input.labels.clone(),
        recursive: input.recursive,
        state: input.state().cloned(),
        ..files::Options::new(models.into_iter().chain(&input.policies))
    }
}

/// The namespaces of models, and the root namespace.
fn policy_namespaces(input: &InputConfig, cluster: &ClusterConfig) -> Vec<String> {
    let mut namespaces = cluster.namespaces.clone();
    if !namespaces.is_empty() {
        namespaces.extend(input.root_namespace.clone());
        namespaces.sort();
        namespaces.dedup();
    }
    namespaces
}

fn model_options(cluster: &ClusterConfig, controller: &Controller) -> own_kinds::Options {
    own_kinds::Options {
        namespaces: cluster.namespaces.clone(),
        controller: controller.clone(),
        ..own_kinds::Options::default()
    }
}

/// The use of Istio's objects.
fn mesh_access(input: &InputConfig) -> MeshAccess {
    let istio = &input.istio;
    match istio.mode {
        None => MeshAccess::None,
        Some(IstioMode::Watch) => MeshAccess::Read,
        Some(IstioMode::Write) => MeshAccess::Write(
            istio
                .clients
                .iter()
                .chain(&istio.gateways)
                .cloned()
                .collect(),
        ),
    }
}

fn access(cluster: &ClusterConfig) -> Access {
    Access {
        kubeconfig: cluster.kubeconfig.clone(),
        context: cluster.context.clone(),
    }
}

fn cluster_options(input: &InputConfig, cluster: &ClusterConfig) -> cluster::Options {
    cluster::Options {
        kinds: cluster.kinds.clone(),
        namespaces: cluster.namespaces.clone(),
        keys: input.labels.clone(),
        allowed_endpoints: cluster.allowed_endpoints.clone(),
        ..cluster::Options::default()
    }
}

/// Reads the current objects once, for `translate`; with `--istio`, also those of Istio and the routes of gateways. A kind of the mesh that
/// cannot be read is reported and left out.
///
/// # Errors
/// As [`Source::start`], and if the API server does not list all objects within [`READ_TIMEOUT`].
pub(crate) fn read(input: &InputConfig) -> Result<(Observed, Stored), Failure> {
    if input.cluster().is_none() {
        let observed = Files::read(files_options(input))?;
        return Ok((observed, Stored::default()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let source = Source::start(input, &Controller::default()).await?;
        let both = async {
            let observed = source.synced().await;
            let observed = observed.borrow().as_ref().clone();
            (observed, mesh_objects(&source, input).await)
        };
        tokio::select! {
            read = both => {
                report_unread(&source);
                Ok(read)
            }
            () = tokio::time::sleep(READ_TIMEOUT) => Err(unread_error(&source).into()),
            () = lost(&source) => Err(unread_error(&source).into()),
        }
    })
}

/// The objects of the mesh, with `--istio`.
async fn mesh_objects(source: &Source, input: &InputConfig) -> Stored {
    let Some((client, health)) = source.api().filter(|_| input.istio.mode.is_some()) else {
        return Stored::default();
    };
    headgate_istio::read(client, &mesh_namespaces(input), health, RETRY_TIMEOUT).await
}

/// The namespaces whose objects of Istio are read; empty for all.
pub(crate) fn mesh_namespaces(input: &InputConfig) -> Vec<String> {
    let models = input.cluster().map(|cluster| cluster.namespaces.clone());
    let mut namespaces = models.unwrap_or_default();
    if !namespaces.is_empty() {
        namespaces.extend(input.istio.clients.iter().cloned());
        namespaces.extend(input.istio.gateways.iter().cloned());
    }
    namespaces
}

/// Prints the kinds that cannot be read, and those of the mesh that the API server does not serve.
fn report_unread(source: &Source) {
    let Some(state) = source.state() else { return };
    for (kind, watch) in &state.borrow().watches {
        let is_mesh = watch.blocks == Blocks::MeshRoutes;
        if let Some(lost) = &watch.lost {
            let effect = match watch.blocks {
                Blocks::MeshRoutes => {
                    "the output takes none of its objects into account, and findings on them are missing. Grant the right to list and watch it"
                }
                Blocks::Nothing => "ports that it names are not known",
                Blocks::Everything | Blocks::OwnedPods => "pods that it may own are not shown",
            };
            print_error(&format!(
                "warning: {kind} cannot be read, so {effect}: {}",
                lost.message
            ));
        } else if watch.absent && is_mesh {
            print_error(&format!(
                "info: the Kubernetes API does not serve {kind}, so there are no objects of it and no findings on them"
            ));
        }
    }
}

/// Waits until the API server, or a required kind, has not answered for [`RETRY_TIMEOUT`].
async fn lost(source: &Source) {
    let Some(mut state) = source.state() else {
        return std::future::pending().await;
    };
    while state
        .wait_for(|state| failed_watch(state).is_some())
        .await
        .is_ok()
    {
        let recovered = state.wait_for(|state| failed_watch(state).is_none());
        if tokio::time::timeout(RETRY_TIMEOUT, recovered)
            .await
            .is_err()
        {
            return;
        }
    }
    std::future::pending().await
}

/// A watch that fails and that everything depends on, with its error.
fn failed_watch(state: &ApiState) -> Option<(String, String)> {
    let required = state
        .watches
        .iter()
        .filter(|(_, watch)| !watch.is_optional());
    let mut lost = required.filter_map(|(name, watch)| Some((name.as_str(), watch.lost.as_ref()?)));
    let (name, lost) = lost.next().or_else(|| state.unreachable())?;
    Some((name.to_owned(), lost.message.clone()))
}

fn unread_error(source: &Source) -> String {
    let state = source
        .state()
        .map(|state| state.borrow().clone())
        .unwrap_or_default();
    match failed_watch(&state) {
        Some((watch, why)) => format!(
            "the Kubernetes API does not list {watch}: {why}. Check that --kubeconfig and --context name the right cluster, and that you have permission to list and watch this kind"
        ),
        None => format!("the Kubernetes API did not list all objects within {READ_TIMEOUT:?}"),
    }
}
