//! Tasks of the writer: they start together and end in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::models::ModelObjects;
use headgate_kubernetes::policies::{Controller, PolicyCache};
use headgate_model::{LabelKeys, Planned, ReplicaCounts, RoutedVersions, policy_revision};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::counts::{
    CountsExchange, Peer, PeerCounts, Peers, PolicyRollup, ProxyProblems, WeightCounts, follow, sum,
};
use super::events::{EventRecorder, LogLimits};
use super::lease::{Election, LeaderElector, Times};
use crate::models::{ModelWriter, write_models};
use crate::policies::{PolicyState, PolicyStates, write_statuses};
use crate::state::ReplicaState;

/// Timeout of the shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);

/// Options of the writer.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the Lease that the replicas share.
    pub lease: String,
    /// Namespace of the Lease and of the counts; `None` for the namespace of the client.
    pub namespace: Option<String>,
    /// Name of this replica, unique at a time.
    pub replica: String,
    /// Its admin address, if other machines can reach it.
    pub admin: Option<SocketAddr>,
    /// Times of the leader election.
    pub times: Times,
    /// Label keys, for the commands in Events.
    pub keys: LabelKeys,
    /// Name of the installation, which owns a part of each status.
    pub controller: Controller,
}

/// Inputs of the writer.
#[derive(Debug)]
pub struct Sources {
    /// State of this replica; `None` before the first publication.
    pub state: watch::Receiver<Option<Arc<ReplicaState>>>,
    /// Each plan, as soon as it is published.
    pub plans: watch::Receiver<Option<Arc<Planned>>>,
    /// The stored policies, if they are objects of the API server.
    pub policies: Option<watch::Receiver<Option<Arc<PolicyCache>>>>,
    /// The `ServedModel`s.
    pub models: ModelObjects,
    /// The versions that have their routes in a mesh; `None` where they are not known yet.
    pub routed: watch::Receiver<Option<Arc<RoutedVersions>>>,
    /// True once the process is shutting down.
    pub shutting_down: watch::Receiver<bool>,
}

/// The running tasks. Dropping it aborts them.
#[derive(Debug)]
pub struct Writer {
    faults: Faults,
    /// Whether this replica leads. The elector sets it; the shutdown clears it. After a resignation, the replica still publishes counts.
    leading: watch::Sender<bool>,
    resign: watch::Sender<bool>,
    elector: JoinHandle<()>,
    exchange: CountsExchange,
    weights: watch::Receiver<Option<Arc<WeightCounts>>>,
    tasks: JoinSet<()>,
}

impl Writer {
    /// Starts the tasks on the current runtime. The API server need not be reachable yet. Once `sources.shutting_down` is true, this
    /// replica releases the Lease and only publishes its counts.
    #[must_use]
    pub fn start(client: &Client, options: &Options, sources: Sources) -> Self {
        let Sources {
            state,
            plans,
            policies,
            models,
            routed,
            mut shutting_down,
        } = sources;
        let (started, faults) = (Instant::now(), Faults::default());
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let (leading_sender, leading) = watch::channel(false);
        let (resign, resigns) = watch::channel(false);
        let elector = LeaderElector {
            api: Api::<Lease>::namespaced(client.clone(), &namespace),
            name: options.lease.clone(),
            election: Election::new(identity(&options.replica), options.times),
            leading: leading_sender.clone(),
            faults: faults.clone(),
            started,
        };
        let elector = tokio::spawn(elector.run(resigns));
        let exchange = CountsExchange {
            api: Api::<ConfigMap>::namespaced(client.clone(), &namespace),
            lease: options.lease.clone(),
            own: format!("{}-counts-{}", options.lease, options.replica),
            peer: Peer {
                replica: options.replica.clone(),
                admin: options.admin,
            },
            faults: faults.clone(),
            started,
            peer_counts: Arc::new(Mutex::new(PeerCounts::default())),
        };
        let recorder = EventRecorder {
            client: client.clone(),
            own: (
                Api::<Lease>::namespaced(client.clone(), &namespace),
                options.lease.clone(),
            ),
            replica: options.replica.clone(),
            keys: options.keys.clone(),
            faults: faults.clone(),
            started,
            limits: LogLimits::default(),
        };
        let mut tasks = JoinSet::new();
        let resign_now = resign.clone();
        tasks.spawn(async move {
            if shutting_down.wait_for(|down| *down).await.is_ok() {
                resign_now.send_replace(true);
            }
        });
        let (changed, peer_changes) = watch::channel(0);
        let (state_sender, states) = watch::channel(Arc::default());
        let (problem_sender, proxy_problems) = watch::channel(Arc::default());
        let (count_sender, own_counts) = watch::channel(Arc::default());
        let (weight_sender, weights) = watch::channel(None);
        tasks.spawn(follow(exchange.clone(), changed));
        tasks.spawn(recorder.run(state.clone(), proxy_problems, leading.clone()));
        let cache = policies.clone();
        let aggregator = Aggregator {
            exchange: exchange.clone(),
            states: state_sender,
            proxy_problems: problem_sender,
            own_counts: count_sender,
            weights: weight_sender,
        };
        tasks.spawn(write_models(ModelWriter {
            client: client.clone(),
            objects: models,
            plans,
            counts: weights.clone(),
            routed,
            leading: leading.clone(),
            faults: faults.clone(),
        }));
        tasks.spawn(publish(exchange.clone(), state.clone(), own_counts));
        tasks.spawn(aggregator.run(state, cache, peer_changes, leading.clone()));
        if let Some(cache) = policies {
            let (client, faults) = (client.clone(), faults.clone());
            let controller = options.controller.clone();
            let write = write_statuses(client, controller, states, cache, leading.clone(), faults);
            tasks.spawn(write);
        }
        Self {
            faults,
            leading: leading_sender,
            resign,
            elector,
            exchange,
            weights,
            tasks,
        }
    }

    /// The replicas that share the Lease.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.exchange.peers()
    }

    /// Whether this replica leads, now and later.
    #[must_use]
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// The proxies of all replicas by the weights that they have; `None` before the first publication.
    #[must_use]
    pub fn weights(&self) -> watch::Receiver<Option<Arc<WeightCounts>>> {
        self.weights.clone()
    }

    /// Failing writes, now and later.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Shuts down: releases the Lease, ends the tasks, and deletes the published counts.
    pub async fn end(mut self) {
        self.resign.send_replace(true);
        let ended = async {
            // The elector ends by itself. If it panicked, nothing is written either.
            let _ = (&mut self.elector).await;
            self.leading.send_replace(false);
            self.tasks.shutdown().await;
            self.exchange.withdraw().await;
        };
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            tracing::warn!(
                "the Kubernetes API does not answer; the Lease and the counts of this replica stay until they expire"
            );
            self.elector.abort();
        }
    }
}

/// The identity of a candidate. A restarted process with the same replica name is another candidate and waits for the Lease.
fn identity(replica: &str) -> String {
    use std::hash::BuildHasher as _;
    let random = std::hash::RandomState::new().hash_one(std::process::id());
    format!("{replica}_{random:016x}")
}

/// Publishes counts after the first publication. Before it, the proxies are connected to other replicas.
async fn publish(
    exchange: CountsExchange,
    mut state: watch::Receiver<Option<Arc<ReplicaState>>>,
    own_counts: watch::Receiver<Arc<ReplicaCounts>>,
) {
    if state.wait_for(Option::is_some).await.is_ok() {
        exchange.publish(own_counts).await;
    }
}

/// Aggregates the counts of all replicas to the state of every policy and model.
struct Aggregator {
    exchange: CountsExchange,
    states: watch::Sender<Arc<PolicyStates>>,
    proxy_problems: watch::Sender<Arc<ProxyProblems>>,
    own_counts: watch::Sender<Arc<ReplicaCounts>>,
    weights: watch::Sender<Option<Arc<WeightCounts>>>,
}

impl Aggregator {
    async fn run(
        self,
        mut state: watch::Receiver<Option<Arc<ReplicaState>>>,
        cache: Option<watch::Receiver<Option<Arc<PolicyCache>>>>,
        mut peer_changes: watch::Receiver<u64>,
        mut leading: watch::Receiver<bool>,
    ) {
        state.mark_changed();
        loop {
            let next = self.exchange.next(*leading.borrow());
            let expiry = async {
                match next {
                    Some(at) => tokio::time::sleep_until((self.exchange.started + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            let changed = tokio::select! {
                changed = state.changed() => changed,
                changed = peer_changes.changed() => changed,
                // A new leader deletes the counts of expired replicas.
                changed = leading.changed() => changed,
                () = expiry => Ok(()),
            };
            if changed.is_err() {
                return;
            }
            let Some(now) = state.borrow_and_update().clone() else {
                continue;
            };
            let cache = cache.as_ref().and_then(|cache| cache.borrow().clone());
            self.aggregate(&now, cache.as_deref());
            let leads = *leading.borrow_and_update();
            self.exchange.delete_expired(leads).await;
        }
    }

    fn aggregate(&self, now: &ReplicaState, cache: Option<&PolicyCache>) {
        self.own_counts.send_if_modified(|own| {
            let changed = **own != *now.counts;
            own.clone_from(&now.counts);
            changed
        });
        let peer_counts = self.exchange.peer_counts();
        let others = || peer_counts.current(self.exchange.started.elapsed());
        let all = || others().chain([now.counts.as_ref()]);
        let planned = now.plan.policies.iter().map(|(id, outcome)| {
            let revision = policy_revision(id, outcome, &now.observed.objects);
            let counts = sum(all(), id, &revision, |group| group.runs(outcome));
            let state = PolicyState {
                uid: revision.uid,
                outcome: outcome.clone(),
                counts,
            };
            (id.clone(), state)
        });
        let invalid = cache.into_iter().flat_map(|cache| {
            cache.invalid.iter().filter_map(|(id, outcome)| {
                let state = PolicyState {
                    uid: cache.stored.get(id)?.uid.clone(),
                    outcome: outcome.clone(),
                    counts: PolicyRollup::default(),
                };
                Some((id.clone(), state))
            })
        });
        let states: PolicyStates = planned.chain(invalid).collect();
        let proxy_problems = ProxyProblems::of(all());
        let weights = WeightCounts::of(all());
        drop(peer_counts);
        self.weights.send_if_modified(|before| {
            let changed = before.as_deref() != Some(&weights);
            if changed {
                *before = Some(Arc::new(weights));
            }
            changed
        });
        self.states.send_if_modified(|before| {
            let changed = **before != states;
            if changed {
                *before = Arc::new(states);
            }
            changed
        });
        self.proxy_problems.send_if_modified(|before| {
            let changed = **before != proxy_problems;
            if changed {
                *before = Arc::new(proxy_problems);
            }
            changed
        });
    }
}
