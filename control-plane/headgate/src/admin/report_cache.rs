//! Cache of status documents. Each document is built at most once per change, and shared by all clients with the same query.
//!
//! Without the cache, many clients that follow a rollout of thousands of pods would occupy the control plane.
//!
//! Invariant: a returned document reflects the state at the time of the request. The cache holds at most [`MAX_DOCUMENTS`]
//! documents, each until the next change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use headgate_istio::MeshState;
use headgate_kubernetes::faults::Failing;
use headgate_kubernetes::health::ApiState;
use headgate_writer::{Peer, Peers};
use headgate_xds::Loads;
use tokio::sync::{Mutex, watch};

use super::Admin;
use crate::replica_writer::report_expired;
use headgate_publisher::Published;
use headgate_report::{Query, fingerprint};

/// Largest number of cached documents.
const MAX_DOCUMENTS: usize = 64;

/// A serialized document.
#[derive(Debug)]
pub(super) struct Document {
    /// Its `ETag`.
    pub tag: String,
    /// JSON.
    pub body: Bytes,
}

/// The cache.
pub(super) struct ReportCache(Mutex<State>);

struct State {
    changes: Changes,
    /// The other replicas when the documents were built. A replica also disappears without an event, by its age.
    peers: Vec<Peer>,
    documents: BTreeMap<Query, Arc<Document>>,
}

impl ReportCache {
    pub(super) fn new(admin: &Admin) -> Self {
        Self(Mutex::new(State {
            changes: Changes::new(admin),
            peers: Vec::new(),
            documents: BTreeMap::new(),
        }))
    }

    /// The current document. Concurrent requests wait until it is built.
    ///
    /// # Errors
    /// The document cannot be serialized to JSON.
    pub(super) async fn document(
        &self,
        admin: &Admin,
        query: &Query,
    ) -> Result<Arc<Document>, serde_json::Error> {
        let mut state = self.0.lock().await;
        let peers = admin.peers.as_ref().map(Peers::now).unwrap_or_default();
        if state.changes.happened() || state.peers != peers {
            state.documents.clear();
            state.peers = peers;
        }
        if let Some(document) = state.documents.get(query) {
            return Ok(document.clone());
        }
        let report = admin.report(query);
        let document = Arc::new(Document {
            tag: fingerprint(&report, query)?,
            body: serde_json::to_vec(&report)?.into(),
        });
        if state.documents.len() == MAX_DOCUMENTS {
            state.documents.pop_first();
        }
        state.documents.insert(query.clone(), document.clone());
        Ok(document)
    }
}

/// Everything that changes the document.
pub(super) struct Changes {
    published: watch::Receiver<Option<Arc<Published>>>,
    shutting_down: watch::Receiver<bool>,
    api: Option<watch::Receiver<ApiState>>,
    fleet: watch::Receiver<u64>,
    /// Load reports also expire.
    loads: Loads,
    reports: watch::Receiver<u64>,
    faults: watch::Receiver<BTreeMap<String, Failing>>,
    mesh: Option<watch::Receiver<MeshState>>,
}

impl Changes {
    pub(super) fn new(admin: &Admin) -> Self {
        Self {
            published: admin.published.clone(),
            shutting_down: admin.shutting_down.clone(),
            api: admin.api.clone(),
            fleet: admin.fleet.changes(),
            loads: admin.loads.clone(),
            reports: admin.loads.changes(),
            faults: admin.faults.watch(),
            mesh: admin.mesh.clone(),
        }
    }

    /// Marks the current state as known.
    pub(super) fn mark_known(&mut self) {
        self.published.mark_unchanged();
        self.shutting_down.mark_unchanged();
        self.fleet.mark_unchanged();
        self.reports.mark_unchanged();
        self.faults.mark_unchanged();
        if let Some(api) = &mut self.api {
            api.mark_unchanged();
        }
        if let Some(mesh) = &mut self.mesh {
            mesh.mark_unchanged();
        }
    }

    /// Whether anything changed since the last call, or a sender was dropped.
    fn happened(&mut self) -> bool {
        let api = self.api.as_ref().map_or(Ok(false), |api| api.has_changed());
        let mesh = self
            .mesh
            .as_ref()
            .map_or(Ok(false), |mesh| mesh.has_changed());
        // Reading the reports removes expired ones.
        drop(self.loads.reporters(SystemTime::now()));
        let changed = [
            self.published.has_changed(),
            self.shutting_down.has_changed(),
            self.fleet.has_changed(),
            self.reports.has_changed(),
            self.faults.has_changed(),
            api,
            mesh,
        ];
        self.mark_known();
        changed.into_iter().any(|changed| changed.unwrap_or(true))
    }

    /// Waits for a change. Returns true if a sender was dropped, so that no change follows.
    pub(super) async fn wait(&mut self) -> bool {
        let Self {
            published,
            shutting_down,
            api,
            fleet,
            loads,
            reports,
            faults,
            mesh,
        } = self;
        let mesh = async {
            match mesh {
                Some(mesh) => mesh.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let api = async {
            match api {
                Some(api) => api.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let is_open = tokio::select! {
            changed = shutting_down.changed() => changed.is_ok(),
            changed = published.changed() => changed.is_ok(),
            changed = fleet.changed() => changed.is_ok(),
            changed = reports.changed() => changed.is_ok(),
            () = report_expired(loads) => true,
            changed = faults.changed() => changed.is_ok(),
            changed = api => changed,
            changed = mesh => changed,
        };
        !is_open
    }
}
