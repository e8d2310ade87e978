//! The tasks that write, started together and ended in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headgate_kubernetes::faults::Faults;
use headgate_kubernetes::models::Writable;
use headgate_kubernetes::policies::{Controller, PolicyCache};
use headgate_model::{LabelKeys, Observed, Plan, Planned, ReplicaCounts, policy_revision};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::counts::{
    Complaints, Peer, PeerCounts, Peers, PolicyRollup, Share, WeightCounts, follow, sum,
};
use super::events::EventRecorder;
use super::lease::{Election, LeaderElector, Times};
use crate::models::{ModelWriter, write_models};
use crate::policies::{Standing, Standings, write_statuses};

/// How long ending may take.
const END: Duration = Duration::from_secs(3);

/// Who writes, and where what it needs for that lies.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the Lease that the replicas share.
    pub lease: String,
    /// Namespace of the Lease and of the counts; the client's own if none.
    pub namespace: Option<String>,
    /// The name of this replica, which no other one has at the time.
    pub replica: String,
    /// Where it answers people, if that can be reached.
    pub admin: Option<SocketAddr>,
    /// The times of the election.
    pub times: Times,
    /// Keys of the three labels, for the commands in Events.
    pub keys: LabelKeys,
    /// The installation, which owns a part of each status.
    pub controller: Controller,
}

/// What this replica knows: what it serves, and what its proxies have of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// What is served.
    pub plan: Arc<Plan>,
    /// What it was made from.
    pub observed: Arc<Observed>,
    /// The proxies of this replica.
    pub tally: Arc<ReplicaCounts>,
}

/// Inputs of the writer.
#[derive(Debug)]
pub struct Sources {
    /// PolicyRollup of this replica's proxies.
    pub known: watch::Receiver<Option<Arc<Known>>>,
    /// Each plan as soon as it is published.
    pub plans: watch::Receiver<Option<Arc<Planned>>>,
    /// The stored policies, if they are objects of the API.
    pub policies: Option<watch::Receiver<Option<Arc<PolicyCache>>>>,
    /// The `ServedModel`s.
    pub models: Writable,
    /// True once the process is asked to end.
    pub ending: watch::Receiver<bool>,
}

/// The running writers. Dropping it stops them where they are.
#[derive(Debug)]
pub struct Writer {
    faults: Faults,
    /// Whether this replica leads: told by the campaign, and taken back when all ends. Who resigned goes on counting.
    leading: watch::Sender<bool>,
    resign: watch::Sender<bool>,
    campaign: JoinHandle<()>,
    share: Share,
    tasks: JoinSet<()>,
}

impl Writer {
    /// Starts writing on the current runtime. The API server need not answer yet. Once `sources.ending` is true, this replica gives up
    /// the Lease and only counts its proxies.
    #[must_use]
    pub fn start(client: &Client, options: &Options, sources: Sources) -> Self {
        let Sources {
            known,
            plans,
            policies,
            models,
            mut ending,
        } = sources;
        let (begun, faults) = (Instant::now(), Faults::default());
        let namespace = options.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let (lead, leading) = watch::channel(false);
        let (resign, resigns) = watch::channel(false);
        let campaign = LeaderElector {
            api: Api::<Lease>::namespaced(client.clone(), &namespace),
            name: options.lease.clone(),
            election: Election::new(identity(&options.replica), options.times),
            leading: lead.clone(),
            faults: faults.clone(),
            begun,
        };
        let campaign = tokio::spawn(campaign.run(resigns));
        let share = Share {
            api: Api::<ConfigMap>::namespaced(client.clone(), &namespace),
            lease: options.lease.clone(),
            own: format!("{}-counts-{}", options.lease, options.replica),
            peer: Peer {
                replica: options.replica.clone(),
                admin: options.admin,
            },
            faults: faults.clone(),
            begun,
            board: Arc::new(Mutex::new(PeerCounts::default())),
        };
        let teller = EventRecorder {
            client: client.clone(),
            own: (
                Api::<Lease>::namespaced(client.clone(), &namespace),
                options.lease.clone(),
            ),
            replica: options.replica.clone(),
            keys: options.keys.clone(),
            faults: faults.clone(),
            begun,
        };
        let mut tasks = JoinSet::new();
        let ends = resign.clone();
        tasks.spawn(async move {
            if ending.wait_for(|ending| *ending).await.is_ok() {
                ends.send_replace(true);
            }
        });
        let (changed, news) = watch::channel(0);
        let (tell, standings) = watch::channel(Arc::default());
        let (complain, complaints) = watch::channel(Arc::default());
        let (count, own) = watch::channel(Arc::default());
        let (weigh, weights) = watch::channel(None);
        tasks.spawn(follow(share.clone(), changed));
        tasks.spawn(teller.run(known.clone(), complaints, leading.clone()));
        let seen = policies.clone();
        let summing = Summing {
            share: share.clone(),
            standings: tell,
            complaints: complain,
            own: count,
            weights: weigh,
        };
        tasks.spawn(write_models(ModelWriter {
            client: client.clone(),
            objects: models,
            plans,
            counts: weights,
            leading: leading.clone(),
            faults: faults.clone(),
        }));
        tasks.spawn(publish(share.clone(), known.clone(), own));
        tasks.spawn(summing.run(known, seen, news, leading.clone()));
        if let Some(seen) = policies {
            let (client, faults) = (client.clone(), faults.clone());
            let controller = options.controller.clone();
            let write =
                write_statuses(client, controller, standings, seen, leading.clone(), faults);
            tasks.spawn(write);
        }
        Self {
            faults,
            leading: lead,
            resign,
            campaign,
            share,
            tasks,
        }
    }

    /// The replicas that share the Lease.
    #[must_use]
    pub fn peers(&self) -> Peers {
        self.share.peers()
    }

    /// What cannot be written, now and later.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Ends: another replica leads, and the proxies of this one count no more.
    pub async fn end(mut self) {
        self.resign.send_replace(true);
        let ended = async {
            // It ends by itself, and fails only if the runtime does. Whatever became of it, nothing is written any more.
            let _ = (&mut self.campaign).await;
            self.leading.send_replace(false);
            self.tasks.shutdown().await;
            self.share.withdraw().await;
        };
        if tokio::time::timeout(END, ended).await.is_err() {
            tracing::warn!("the Kubernetes API does not answer: what this replica wrote stays");
            self.campaign.abort();
        }
    }
}

/// A candidate is a process, not a name: one that was killed and started again under its name waits like any other.
fn identity(replica: &str) -> String {
    use std::hash::BuildHasher as _;
    let random = std::hash::RandomState::new().hash_one(std::process::id());
    format!("{replica}_{random:016x}")
}

/// Publishes nothing before there is something to know: a replica that starts has proxies elsewhere.
async fn publish(
    share: Share,
    mut known: watch::Receiver<Option<Arc<Known>>>,
    own: watch::Receiver<Arc<ReplicaCounts>>,
) {
    if known.wait_for(Option::is_some).await.is_ok() {
        share.publish(own).await;
    }
}

/// The replicas of all replicas → what every status should say.
struct Summing {
    share: Share,
    standings: watch::Sender<Arc<Standings>>,
    complaints: watch::Sender<Arc<Complaints>>,
    own: watch::Sender<Arc<ReplicaCounts>>,
    weights: watch::Sender<Option<Arc<WeightCounts>>>,
}

impl Summing {
    async fn run(
        self,
        mut known: watch::Receiver<Option<Arc<Known>>>,
        seen: Option<watch::Receiver<Option<Arc<PolicyCache>>>>,
        mut news: watch::Receiver<u64>,
        mut leading: watch::Receiver<bool>,
    ) {
        known.mark_changed();
        loop {
            let next = self.share.next(*leading.borrow());
            let silence = async {
                match next {
                    Some(at) => tokio::time::sleep_until((self.share.begun + at).into()).await,
                    None => std::future::pending().await,
                }
            };
            let heard = tokio::select! {
                heard = known.changed() => heard,
                heard = news.changed() => heard,
                // Who begins to lead removes what the dead left.
                heard = leading.changed() => heard,
                () = silence => Ok(()),
            };
            if heard.is_err() {
                return;
            }
            let Some(now) = known.borrow_and_update().clone() else {
                continue;
            };
            let seen = seen.as_ref().and_then(|seen| seen.borrow().clone());
            self.sum(&now, seen.as_deref());
            let leads = *leading.borrow_and_update();
            self.share.sweep(leads).await;
        }
    }

    fn sum(&self, now: &Known, seen: Option<&PolicyCache>) {
        self.own.send_if_modified(|own| {
            let changed = **own != *now.tally;
            own.clone_from(&now.tally);
            changed
        });
        let board = self.share.board();
        let others = || board.live(self.share.begun.elapsed());
        let all = || others().chain([now.tally.as_ref()]);
        let planned = now.plan.policies.iter().map(|(id, outcome)| {
            let revision = policy_revision(id, outcome, &now.observed.objects);
            let counts = sum(all(), id, &revision, &outcome.namespaces);
            let standing = Standing {
                uid: revision.uid,
                outcome: outcome.clone(),
                counts,
            };
            (id.clone(), standing)
        });
        let invalid = seen.into_iter().flat_map(|seen| {
            seen.invalid.iter().filter_map(|(id, outcome)| {
                let standing = Standing {
                    uid: seen.stored.get(id)?.uid.clone(),
                    outcome: outcome.clone(),
                    counts: PolicyRollup::default(),
                };
                Some((id.clone(), standing))
            })
        });
        let standings: Standings = planned.chain(invalid).collect();
        let complaints = Complaints::of(all());
        let weights = WeightCounts::of(all());
        drop(board);
        self.weights.send_if_modified(|before| {
            let changed = before.as_deref() != Some(&weights);
            if changed {
                *before = Some(Arc::new(weights));
            }
            changed
        });
        self.standings.send_if_modified(|before| {
            let changed = **before != standings;
            if changed {
                *before = Arc::new(standings);
            }
            changed
        });
        self.complaints.send_if_modified(|before| {
            let changed = **before != complaints;
            if changed {
                *before = Arc::new(complaints);
            }
            changed
        });
    }
}
