//! Snapshots by scope: the xDS server reads them here.
//!
//! The snapshot of a scope is built when its first proxy connects, and again with each publication. If a plan cannot be
//! translated, the last good snapshot stays, and `status` shows the reason.
//!
//! With thousands of models a build takes long. It holds a lock of its own, so readers do not wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use headgate_model::Plan;
use headgate_translate::{
    Cache, Code, ListenerCertificateSource, ListenerSecrets, Options, Rejected, ScopeSpec,
    TranslateError, Translated, snapshot_with,
};
use headgate_xds::{Peer, PeerIdentity, PermissionDenied, Scope, Snapshot, SnapshotProvider};
use tokio::sync::watch;

use crate::changes::ChangedResources;
use crate::scopes::{self, ScopeRules};

/// The snapshots of all scopes. Clones share them.
#[derive(Clone)]
pub struct SnapshotStore {
    rules: Arc<RwLock<Arc<ScopeRules>>>,
    /// Grows when the rules are replaced.
    rule_changes: watch::Sender<u64>,
    /// Held while snapshots are built. Locked before `state`, never after it.
    builder: Arc<Mutex<SnapshotBuilder>>,
    state: Arc<Mutex<State>>,
}

/// The inputs of snapshots.
struct SnapshotBuilder {
    options: Options,
    plan: Option<Arc<Plan>>,
    cache: Cache,
}

struct State {
    /// The namespaces that declare a model.
    declaring: Vec<String>,
    scopes: BTreeMap<Scope, Entry>,
}

struct Entry {
    spec: ScopeSpec,
    sender: watch::Sender<Option<Arc<Snapshot>>>,
    rejected: Vec<Rejected>,
    failure: Option<String>,
}

/// The state of a scope, for `status`.
#[derive(Debug, Clone)]
pub struct ScopeView {
    /// The snapshot that its proxies should run.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Models, buckets and hosts that are left out of it.
    pub rejected: Vec<Rejected>,
    /// Why the newest plan cannot be translated, if so.
    pub failure: Option<String>,
}

impl SnapshotStore {
    /// A store without scopes.
    pub fn new(rules: ScopeRules, options: Options) -> Self {
        Self {
            rules: Arc::new(RwLock::new(Arc::new(rules))),
            rule_changes: watch::Sender::default(),
            builder: Arc::new(Mutex::new(SnapshotBuilder {
                options,
                plan: None,
                cache: Cache::default(),
            })),
            state: Arc::new(Mutex::new(State {
                declaring: Vec::new(),
                scopes: BTreeMap::new(),
            })),
        }
    }

    /// Replaces the rules. Streams whose scope changes, or whose proxy may have nothing any more, end.
    pub fn set_rules(&self, rules: ScopeRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.rule_changes.send_modify(|changes| *changes += 1);
    }

    fn rules(&self) -> Arc<ScopeRules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Publishes a plan with this module to every scope, and returns the number of changed resources by type. Equal snapshots
    /// of the same objects wake no stream.
    pub fn publish(&self, plan: Arc<Plan>, module: &Code) -> ChangedResources {
        let mut builder = self.builder();
        builder.options.module.clone_from(module);
        self.lock().declaring = plan.namespaces.keys().cloned().collect();
        builder.plan = Some(plan);
        self.rebuild(&mut builder)
    }

    /// Builds the snapshot of every scope that has a proxy.
    fn rebuild(&self, builder: &mut SnapshotBuilder) -> ChangedResources {
        let mut changed = ChangedResources::default();
        let specs: Vec<(Scope, ScopeSpec)> = {
            let mut state = self.lock();
            let seen = |entry: &Entry| entry.sender.receiver_count() > 0;
            state.scopes.retain(|_, entry| seen(entry));
            let scopes = state.scopes.iter();
            scopes.map(|(s, e)| (s.clone(), e.spec.clone())).collect()
        };
        for (scope, spec) in specs {
            let Some(built) = builder.build(&spec) else {
                continue;
            };
            let mut state = self.lock();
            if let Some(entry) = state.scopes.get_mut(&scope) {
                changed.add(&entry.update(built));
            }
        }
        changed
    }

    /// Replaces the certificate of the listener and the bundles of its clients, and publishes them.
    pub fn set_listener_secrets(&self, secrets: Arc<ListenerSecrets>) -> ChangedResources {
        let mut builder = self.builder();
        if let Some(tls) = &mut builder.options.listener_tls {
            tls.trust_domains = secrets.bundles.keys().cloned().collect();
            tls.source = ListenerCertificateSource::Ads(secrets);
        }
        self.rebuild(&mut builder)
    }

    /// The namespaces that a scope's proxies are served.
    pub fn namespaces(&self, scope: &Scope) -> Option<BTreeSet<String>> {
        let state = self.lock();
        let spec = &state.scopes.get(scope)?.spec;
        let declaring = state
            .declaring
            .iter()
            .filter(|name| spec.reaches_in_mesh(name));
        Some(spec.namespaces.iter().chain(declaring).cloned().collect())
    }

    /// Whether proxies get a virtual host for this namespace, or a mesh has hosts for it.
    pub fn serves(&self, namespace: &str) -> bool {
        let rules = self.rules();
        rules.mesh || rules.namespaces.iter().any(|n| n == namespace)
    }

    /// Every scope that has a proxy.
    pub fn view(&self) -> BTreeMap<String, ScopeView> {
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

    fn builder(&self) -> MutexGuard<'_, SnapshotBuilder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not take the control plane's state with it: it is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotBuilder {
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

    /// Takes the result of a build, and returns the resources that changed.
    fn update(&mut self, built: Result<Translated, TranslateError>) -> ChangedResources {
        match built {
            Ok(Translated { snapshot, rejected }) => {
                self.failure = None;
                let new = Arc::new(snapshot);
                self.rejected = rejected;
                // Not inside of `send_if_modified`: streams that read the snapshot would wait for the comparison.
                let old = self.sender.borrow().clone();
                if old.as_ref().is_some_and(|old| old.same_origins(&new)) {
                    return ChangedResources::default();
                }
                let changes = ChangedResources::between(old.as_deref(), &new);
                self.sender.send_replace(Some(new));
                changes
            }
            Err(error) => {
                self.failure = Some(error.to_string());
                ChangedResources::default()
            }
        }
    }
}

impl SnapshotProvider for SnapshotStore {
    fn scope(&self, peer: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(scopes::key(&self.rules().scope(peer)?))
    }

    fn may_allow(&self, identity: &PeerIdentity) -> bool {
        self.rules().may_allow(identity)
    }

    fn node_metadata(&self) -> &'static [&'static str] {
        &scopes::NODE_METADATA
    }

    fn scope_changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.rule_changes.subscribe())
    }

    fn snapshots(
        &self,
        peer: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        let spec = self.rules().scope(peer)?;
        let scope = scopes::key(&spec);
        if let Some(entry) = self.lock().scopes.get(&scope) {
            return Ok(entry.sender.subscribe());
        }
        // Two proxies of a new scope may come at once: the second finds it made. No plan is published meanwhile, so the entry has
        // its first proxy before a publication drops entries without one.
        let mut builder = self.builder();
        if let Some(entry) = self.lock().scopes.get(&scope) {
            return Ok(entry.sender.subscribe());
        }
        let built = builder.build(&spec);
        let mut entry = Entry::new(spec);
        let snapshots = entry.sender.subscribe();
        let mut state = self.lock();
        if let Some(built) = built {
            entry.update(built);
        }
        state.scopes.insert(scope, entry);
        Ok(snapshots)
    }
}
