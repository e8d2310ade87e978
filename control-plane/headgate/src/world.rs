//! The snapshots by scope: the port through which the xDS server sees the plan.
//!
//! A scope's snapshot is built once, when its first proxy appears and again with each published plan. A plan that
//! cannot be translated changes nothing: the last good snapshot stays, and the reason is kept for `status`.
//!
//! Building takes long with thousands of models, and so it holds a lock of its own: who only looks does not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headgate_model::{Objects, Plan};
use headgate_source::writes::{Editions, editions};
use headgate_translate::{
    Cache, Modules, Options, Rejected, ScopeSpec, TranslateError, Translated, snapshot_with,
};
use headgate_xds::{Peer, PermissionDenied, Scope, Snapshot, SnapshotProvider};
use tokio::sync::watch;

use crate::generations::Generations;
use crate::history::{History, PlanModels};
use crate::scopes::{self, ScopeRules};

/// Every scope's snapshot, now and later.
#[derive(Clone)]
pub(crate) struct Scopes {
    rules: Arc<ScopeRules>,
    /// Held while snapshots are built. Locked before `state`, never after it.
    workshop: Arc<Mutex<Workshop>>,
    state: Arc<Mutex<State>>,
}

/// What snapshots are built from.
struct Workshop {
    options: Options,
    plan: Option<Arc<Plan>>,
    cache: Cache,
}

struct State {
    memory: Memory,
    scopes: BTreeMap<Scope, Entry>,
}

/// What filter configurations were made of.
#[derive(Default)]
struct Memory {
    history: History,
    generations: Generations,
}

struct Entry {
    spec: ScopeSpec,
    sender: watch::Sender<Option<Arc<Snapshot>>>,
    rejected: Vec<Rejected>,
    failure: Option<String>,
}

/// A scope, as `status` shows it.
#[derive(Debug, Clone)]
pub(crate) struct ScopeView {
    /// The snapshot its proxies should run.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What was left out of it.
    pub rejected: Vec<Rejected>,
    /// Why the newest plan could not be translated at all, if so.
    pub failure: Option<String>,
}

impl Scopes {
    pub(crate) fn new(rules: ScopeRules, options: Options) -> Self {
        Self {
            rules: Arc::new(rules),
            workshop: Arc::new(Mutex::new(Workshop {
                options,
                plan: None,
                cache: Cache::default(),
            })),
            state: Arc::new(Mutex::new(State {
                memory: Memory::default(),
                scopes: BTreeMap::new(),
            })),
        }
    }

    /// Publishes a plan, to be run by these modules, to every scope. Equal snapshots wake nobody.
    pub(crate) fn publish(&self, plan: Arc<Plan>, objects: &Objects, modules: &Modules) {
        let mut workshop = self.workshop();
        workshop.options.modules.clone_from(modules);
        workshop.plan = Some(plan.clone());
        let specs: Vec<(Scope, ScopeSpec)> = {
            let mut state = self.lock();
            state.memory.history.begin(&plan);
            state.memory.generations.begin(editions(&plan, objects));
            let seen = |entry: &Entry| entry.sender.receiver_count() > 0;
            state.scopes.retain(|_, entry| seen(entry));
            let scopes = state.scopes.iter();
            scopes.map(|(s, e)| (s.clone(), e.spec.clone())).collect()
        };
        for (scope, spec) in specs {
            let Some(built) = workshop.build(&spec) else {
                continue;
            };
            let mut state = self.lock();
            let State { scopes, memory } = &mut *state;
            if let Some(entry) = scopes.get_mut(&scope) {
                entry.update(built, memory);
            }
        }
    }

    /// The models in a filter configuration or in routes that some proxy runs, by the version it acked. `None` for one that
    /// is older than the memory.
    pub(crate) fn told_by(&self, acked: &str) -> Option<PlanModels> {
        // An accepted retry is the same plan: `<hash>+r<n>`.
        let version = acked.split('+').next().unwrap_or(acked);
        self.lock().memory.history.get(version)
    }

    /// The editions of policies in a filter configuration that some proxy runs, by the version it acked. `None` for one
    /// that is older than the memory.
    pub(crate) fn editions_in(&self, acked: &str) -> Option<Arc<Editions>> {
        let version = acked.split('+').next().unwrap_or(acked);
        self.lock().memory.generations.get(version)
    }

    /// The namespaces that a scope's proxies are served.
    pub(crate) fn namespaces(&self, scope: &Scope) -> Option<BTreeSet<String>> {
        let state = self.lock();
        let entry = state.scopes.get(scope)?;
        Some(entry.spec.namespaces.iter().cloned().collect())
    }

    /// Whether proxies get a virtual host for this namespace.
    pub(crate) fn serves(&self, namespace: &str) -> bool {
        self.rules.namespaces.iter().any(|n| n == namespace)
    }

    /// Every scope that has a proxy.
    pub(crate) fn view(&self) -> BTreeMap<String, ScopeView> {
        self.lock()
            .scopes
            .iter()
            .map(|(scope, entry)| {
                let view = ScopeView {
                    snapshot: entry.sender.borrow().clone(),
                    rejected: entry.rejected.clone(),
                    failure: entry.failure.clone(),
                };
                (scope.0.clone(), view)
            })
            .collect()
    }

    fn workshop(&self) -> MutexGuard<'_, Workshop> {
        self.workshop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not take the control plane's state with it: it is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workshop {
    /// The newest plan for a scope; `None` before the first.
    fn build(&mut self, spec: &ScopeSpec) -> Option<Result<Translated, TranslateError>> {
        let plan = self.plan.as_ref()?;
        Some(snapshot_with(&mut self.cache, plan, spec, &self.options))
    }
}

impl Entry {
    fn new(spec: ScopeSpec) -> Self {
        Self {
            spec,
            sender: watch::Sender::new(None),
            rejected: Vec::new(),
            failure: None,
        }
    }

    fn update(&mut self, built: Result<Translated, TranslateError>, memory: &mut Memory) {
        match built {
            Ok(Translated { snapshot, rejected }) => {
                self.failure = None;
                let new = Arc::new(snapshot);
                memory.history.remember(&new);
                memory.generations.remember(&new, &rejected);
                self.rejected = rejected;
                self.sender.send_if_modified(|old| {
                    let changed = old.as_ref().is_none_or(|old| !old.same_content(&new));
                    if changed {
                        *old = Some(new);
                    }
                    changed
                });
            }
            Err(error) => {
                tracing::error!(%error, "a plan cannot be translated: the last good snapshot stays");
                self.failure = Some(error.to_string());
                if let Some(served) = self.sender.borrow().as_deref() {
                    memory.generations.keep(served);
                }
            }
        }
    }
}

impl SnapshotProvider for Scopes {
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(scopes::key(&self.rules.scope(peer)?))
    }

    fn snapshots(
        &self,
        peer: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        let spec = self.rules.scope(peer)?;
        let scope = scopes::key(&spec);
        if let Some(entry) = self.lock().scopes.get(&scope) {
            return Ok(entry.sender.subscribe());
        }
        // Two proxies of a new scope may come at once: the second finds it made. No plan is published meanwhile, so the entry has
        // its first proxy before a publication drops entries without one.
        let mut workshop = self.workshop();
        if let Some(entry) = self.lock().scopes.get(&scope) {
            return Ok(entry.sender.subscribe());
        }
        let built = workshop.build(&spec);
        let mut entry = Entry::new(spec);
        let snapshots = entry.sender.subscribe();
        let mut state = self.lock();
        if let Some(built) = built {
            entry.update(built, &mut state.memory);
        }
        state.scopes.insert(scope, entry);
        Ok(snapshots)
    }
}
