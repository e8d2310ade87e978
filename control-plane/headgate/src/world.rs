//! The snapshots by scope: the port through which the xDS server sees the plan.
//!
//! A scope's snapshot is built once, when its first proxy appears and again with each published plan. A plan that
//! cannot be translated changes nothing: the last good snapshot stays, and the reason is kept for `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headgate_model::Plan;
use headgate_translate::{Modules, Options, Rejected, ScopeSpec, Translated, snapshot};
use headgate_xds::{Peer, Refused, Scope, Snapshot, World};
use tokio::sync::watch;

use crate::history::{History, Told};
use crate::scopes::{self, ScopeRules};

/// Every scope's snapshot, now and later.
#[derive(Clone)]
pub(crate) struct Scopes {
    rules: Arc<ScopeRules>,
    state: Arc<Mutex<State>>,
}

struct State {
    options: Options,
    plan: Option<Arc<Plan>>,
    history: History,
    scopes: BTreeMap<Scope, Entry>,
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
            state: Arc::new(Mutex::new(State {
                options,
                plan: None,
                history: History::default(),
                scopes: BTreeMap::new(),
            })),
        }
    }

    /// Publishes a plan, to be run by these modules, to every scope. Equal snapshots wake nobody.
    pub(crate) fn publish(&self, plan: Arc<Plan>, modules: &Modules) {
        let mut state = self.lock();
        let state = &mut *state;
        state.options.modules.clone_from(modules);
        state.history.begin(&plan);
        state
            .scopes
            .retain(|_, entry| entry.sender.receiver_count() > 0);
        for entry in state.scopes.values_mut() {
            entry.update(&plan, &state.options, &mut state.history);
        }
        state.plan = Some(plan);
    }

    /// The models in a filter configuration that some proxy runs, by the version it acked. `None` for one that
    /// is older than the memory.
    pub(crate) fn told_by(&self, acked: &str) -> Option<Arc<Told>> {
        // An accepted retry is the same plan: `<hash>+r<n>`.
        let version = acked.split('+').next().unwrap_or(acked);
        self.lock().history.get(version)
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

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not take the control plane's state with it: it is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn update(&mut self, plan: &Plan, options: &Options, history: &mut History) {
        match snapshot(plan, &self.spec, options) {
            Ok(Translated { snapshot, rejected }) => {
                self.rejected = rejected;
                self.failure = None;
                let new = Arc::new(snapshot);
                history.remember(&new);
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
            }
        }
    }
}

impl World for Scopes {
    fn scope(&self, peer: &Peer) -> Result<Scope, Refused> {
        let spec = self.rules.scope(peer)?;
        let scope = scopes::key(&spec);
        let mut state = self.lock();
        let state = &mut *state;
        if !state.scopes.contains_key(&scope) {
            let mut entry = Entry::new(spec);
            if let Some(plan) = &state.plan {
                entry.update(plan, &state.options, &mut state.history);
            }
            state.scopes.insert(scope.clone(), entry);
        }
        Ok(scope)
    }

    fn snapshots(&self, scope: &Scope) -> watch::Receiver<Option<Arc<Snapshot>>> {
        match self.lock().scopes.get(scope) {
            Some(entry) => entry.sender.subscribe(),
            // Swept between the two calls: not synced, so the proxy comes again.
            None => watch::channel(None).1,
        }
    }
}
