//! Where the world comes from, as the flags say: files, or a Kubernetes API, with its policies or with files beside it.

use std::sync::Arc;
use std::time::Duration;

use headgate_kubernetes::access::Needs;
use headgate_kubernetes::health::ApiState;
use headgate_kubernetes::models::Writable;
use headgate_kubernetes::policies::{Controller, PolicyCache};
use headgate_kubernetes::review::keep_reviewing;
use headgate_kubernetes::{Access, Client};
use headgate_model::Observed;
use headgate_source::cluster::{self, Kubernetes};
use headgate_source::files::{self, Files};
use headgate_source::join::join;
use headgate_source::own_kinds::{self, Models, Policies};
use tokio::sync::watch;

use crate::cli::InputArgs;
use crate::settings::Failure;

/// How long a dry look tries again where the API does not answer, or refuses.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a dry look may take.
const DRY_LOOK: Duration = Duration::from_secs(30);

/// The policies that are objects, as they are stored; `None` until all of them are known.
pub(crate) type SeenPolicies = watch::Receiver<Option<Arc<PolicyCache>>>;

/// A running source.
// There is one in a process, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Source {
    /// A directory of manifests.
    Files(Files),
    /// A Kubernetes API, and policies of it or of a directory.
    Cluster {
        /// Whom the API is asked as.
        client: Client,
        /// Watches the API.
        kubernetes: Kubernetes,
        /// Watches the policies.
        policies: PolicySource,
        /// Watches what is remembered of models.
        models: Models,
    },
}

/// Where policies come from beside a Kubernetes API: a directory counts in place of the API's own.
pub(crate) enum PolicySource {
    /// A directory.
    Files(Files),
    /// The API itself.
    Objects(Policies),
}

impl Source {
    /// Starts it; of statuses the part of `controller` is read. A Kubernetes API need not answer yet.
    ///
    /// # Errors
    /// A directory that cannot be read, a kubeconfig that cannot be used.
    pub(crate) async fn start(args: &InputArgs, controller: &Controller) -> Result<Self, Failure> {
        if !args.on_cluster()? {
            return Ok(Self::Files(Files::watch(files_options(args))?));
        }
        let client = headgate_kubernetes::connect(&access(args)).await?;
        let kubernetes = Kubernetes::start(&client, cluster_options(args))?;
        let policies = if args.policies.is_some() {
            PolicySource::Files(Files::watch(files_options(args))?)
        } else {
            let options = own_kinds::Options {
                namespaces: policy_namespaces(args),
                controller: controller.clone(),
                ..own_kinds::Options::default()
            };
            PolicySource::Objects(Policies::start(&client, &options, kubernetes.health()))
        };
        let models = Models::start(
            &client,
            &model_options(args, controller),
            kubernetes.health(),
        );
        Ok(Self::Cluster {
            client,
            kubernetes,
            policies,
            models,
        })
    }

    /// The client that writes to a Kubernetes API, the policies if they are its objects, and the models.
    pub(crate) fn writes_to(&self) -> Option<(Client, Option<SeenPolicies>, Writable)> {
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
        Some((client.clone(), policies, models.writable()))
    }

    /// Goes on asking a Kubernetes API which of the rights that are used are missing; `own` is the namespace where the control
    /// plane runs.
    pub(crate) fn review(&self, args: &InputArgs, own: Option<&str>) {
        let Self::Cluster {
            client, kubernetes, ..
        } = self
        else {
            return;
        };
        let needs = Needs {
            kinds: args.cluster.kinds(),
            policies: args.policies.is_none(),
            namespaces: args.cluster.namespaces.clone(),
            root_namespace: args.root_namespace.clone(),
            own_namespace: own.unwrap_or_else(|| client.default_namespace()).to_owned(),
        };
        let states = kubernetes.health().clone();
        tokio::spawn(keep_reviewing(client.clone(), needs, states));
    }

    /// How the watches of a Kubernetes API fare.
    pub(crate) fn state(&self) -> Option<watch::Receiver<ApiState>> {
        match self {
            Self::Files(_) => None,
            Self::Cluster { kubernetes, .. } => Some(kubernetes.state()),
        }
    }

    /// The world, once it is whole.
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
                let (remembered, task) = models.observed().await;
                tokio::spawn(task);
                let (joined, task) = join(carriers, policies, remembered);
                tokio::spawn(task);
                joined
            }
        }
    }
}

/// What the file source is told: beside a Kubernetes API it is there for the policies alone.
pub(crate) fn files_options(args: &InputArgs) -> files::Options {
    let models = args.models.iter().filter(|_| !args.cluster.wanted());
    files::Options {
        default_namespace: args.default_namespace().to_owned(),
        keys: args.labels.keys(),
        recursive: args.recursive,
        state: args.state.clone(),
        ..files::Options::new(models.chain(&args.policies))
    }
}

/// Where models are, and where the policies for all of them are.
fn policy_namespaces(args: &InputArgs) -> Vec<String> {
    let mut namespaces = args.cluster.namespaces.clone();
    if !namespaces.is_empty() {
        namespaces.extend(args.root_namespace.clone());
        namespaces.sort();
        namespaces.dedup();
    }
    namespaces
}

fn model_options(args: &InputArgs, controller: &Controller) -> own_kinds::Options {
    own_kinds::Options {
        namespaces: args.cluster.namespaces.clone(),
        controller: controller.clone(),
        ..own_kinds::Options::default()
    }
}

fn access(args: &InputArgs) -> Access {
    Access {
        kubeconfig: args.cluster.kubeconfig.clone(),
        context: args.cluster.context.clone(),
    }
}

fn cluster_options(args: &InputArgs) -> cluster::Options {
    cluster::Options {
        kinds: args.cluster.kinds(),
        namespaces: args.cluster.namespaces.clone(),
        keys: args.labels.keys(),
        allowed_endpoints: args.cluster.allowed_endpoints.clone(),
        ..cluster::Options::default()
    }
}

/// The world as it is now, for a dry look.
///
/// # Errors
/// As [`Source::start`], and a Kubernetes API that does not tell it all within [`DRY_LOOK`].
pub(crate) fn read(args: &InputArgs) -> Result<Observed, Failure> {
    if !args.on_cluster()? {
        return Ok(Files::read(files_options(args))?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let source = Source::start(args, &Controller::default()).await?;
        tokio::select! {
            observed = source.synced() => {
                tell_unread(&source);
                Ok(observed.borrow().as_ref().clone())
            }
            () = tokio::time::sleep(DRY_LOOK) => Err(unread(&source).into()),
            () = lost(&source) => Err(unread(&source).into()),
        }
    })
}

/// Logs the kinds whose pods are not shown.
#[allow(clippy::print_stderr)]
fn tell_unread(source: &Source) {
    let Some(state) = source.state() else { return };
    for (kind, _, lost) in state.borrow().unread() {
        eprintln!(
            "{kind} cannot be read, so pods that it may own are not shown: {}",
            lost.message
        );
    }
}

/// Waits until the API, or a kind without which nothing is served, has not answered for [`PATIENCE`].
async fn lost(source: &Source) {
    let Some(mut state) = source.state() else {
        return std::future::pending().await;
    };
    while state
        .wait_for(|state| missed(state).is_some())
        .await
        .is_ok()
    {
        let back = state.wait_for(|state| missed(state).is_none());
        if tokio::time::timeout(PATIENCE, back).await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

/// What does not answer, and without which nothing can be shown.
fn missed(state: &ApiState) -> Option<(String, String)> {
    let needed = state
        .watches
        .iter()
        .filter(|(_, watch)| !watch.is_optional());
    let mut lost = needed.filter_map(|(name, watch)| Some((name.as_str(), watch.lost.as_ref()?)));
    let (name, lost) = lost.next().or_else(|| state.away())?;
    Some((name.to_owned(), lost.message.clone()))
}

fn unread(source: &Source) -> String {
    let state = source
        .state()
        .map(|state| state.borrow().clone())
        .unwrap_or_default();
    match missed(&state) {
        Some((watch, why)) => format!(
            "the Kubernetes API does not list {watch}: {why}. Check that --kubeconfig and --context name the right cluster, and that you may list and watch this kind"
        ),
        None => format!("the Kubernetes API did not tell all within {DRY_LOOK:?}"),
    }
}
