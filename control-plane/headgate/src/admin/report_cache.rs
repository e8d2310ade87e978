//! The documents as they are now: each is made when it is asked for, once for each change, and shared by all who ask.
//!
//! With thousands of models and many who follow a rollout, making the document for each of them, every time a pod changes, is
//! what the control plane would be busy with.
//!
//! Invariant: what is handed out was made of what was known when it was asked for, or has not changed since. At most [`KEPT`]
//! documents are kept, each until the next change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use headgate_kubernetes::faults::Failing;
use headgate_kubernetes::health::ApiState;
use headgate_writer::{Peer, Peers};
use headgate_xds::Loads;
use tokio::sync::{Mutex, watch};

use super::Admin;
use crate::writing::grown_old;
use headgate_publisher::Published;
use headgate_report::{Asked, fingerprint};

/// Documents kept: one for each model that is followed at the time.
const KEPT: usize = 64;

/// A document, ready to be sent.
#[derive(Debug)]
pub(super) struct Document {
    /// What tells it from others.
    pub tag: String,
    /// JSON.
    pub body: Bytes,
}

/// Where documents are made.
pub(super) struct ReportCache(Mutex<State>);

struct State {
    changes: Changes,
    /// The other replicas when the documents were made: one also goes by saying nothing for a while.
    peers: Vec<Peer>,
    made: BTreeMap<Asked, Arc<Document>>,
}

impl ReportCache {
    pub(super) fn of(admin: &Admin) -> Self {
        Self(Mutex::new(State {
            changes: Changes::of(admin),
            peers: Vec::new(),
            made: BTreeMap::new(),
        }))
    }

    /// The document of this moment. Who asks while it is made waits for it.
    ///
    /// # Errors
    /// Only if the document cannot be written as JSON.
    pub(super) async fn document(
        &self,
        admin: &Admin,
        asked: &Asked,
    ) -> Result<Arc<Document>, serde_json::Error> {
        let mut state = self.0.lock().await;
        let peers = admin.peers.as_ref().map(Peers::now).unwrap_or_default();
        if state.changes.happened() || state.peers != peers {
            state.made.clear();
            state.peers = peers;
        }
        if let Some(made) = state.made.get(asked) {
            return Ok(made.clone());
        }
        let report = admin.report(asked);
        let document = Arc::new(Document {
            tag: fingerprint(&report, asked)?,
            body: serde_json::to_vec(&report)?.into(),
        });
        if state.made.len() == KEPT {
            state.made.pop_first();
        }
        state.made.insert(asked.clone(), document.clone());
        Ok(document)
    }
}

/// What a change of the document can come from.
pub(super) struct Changes {
    published: watch::Receiver<Option<Arc<Published>>>,
    closing: watch::Receiver<bool>,
    api: Option<watch::Receiver<ApiState>>,
    fleet: watch::Receiver<u64>,
    /// What is reported grows old, too.
    loads: Loads,
    reports: watch::Receiver<u64>,
    faults: watch::Receiver<BTreeMap<String, Failing>>,
}

impl Changes {
    pub(super) fn of(admin: &Admin) -> Self {
        Self {
            published: admin.published.clone(),
            closing: admin.closing.clone(),
            api: admin.api.clone(),
            fleet: admin.fleet.changes(),
            loads: admin.loads.clone(),
            reports: admin.loads.changes(),
            faults: admin.faults.watch(),
        }
    }

    /// What happens from now on is a change.
    pub(super) fn begin(&mut self) {
        self.published.mark_unchanged();
        self.closing.mark_unchanged();
        self.fleet.mark_unchanged();
        self.reports.mark_unchanged();
        self.faults.mark_unchanged();
        if let Some(api) = &mut self.api {
            api.mark_unchanged();
        }
    }

    /// Whether there was one since this was asked last, or there will be none any more.
    fn happened(&mut self) -> bool {
        let api = self.api.as_ref().map_or(Ok(false), |api| api.has_changed());
        // Reading it expires what is too old.
        drop(self.loads.reporters(SystemTime::now()));
        let changed = [
            self.published.has_changed(),
            self.closing.has_changed(),
            self.fleet.has_changed(),
            self.reports.has_changed(),
            self.faults.has_changed(),
            api,
        ];
        self.begin();
        changed.into_iter().any(|changed| changed.unwrap_or(true))
    }

    /// Waits for one; true if there will be none any more.
    pub(super) async fn next(&mut self) -> bool {
        let Self {
            published,
            closing,
            api,
            fleet,
            loads,
            reports,
            faults,
        } = self;
        let api = async {
            match api {
                Some(api) => api.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let went_on = tokio::select! {
            changed = closing.changed() => changed.is_ok(),
            changed = published.changed() => changed.is_ok(),
            changed = fleet.changed() => changed.is_ok(),
            changed = reports.changed() => changed.is_ok(),
            () = grown_old(loads) => true,
            changed = faults.changed() => changed.is_ok(),
            changed = api => changed,
        };
        !went_on
    }
}
