//! The clusters that proxies cannot reach, from the load reports (LRS) that they send.
//!
//! ```text
//! report of a proxy ──▶ Loads: unreached or not, by stream and cluster ──▶ status, metrics, Events
//! ```
//!
//! For reporting only: no snapshot depends on it. Invariant: memory is bounded, by the number of open streams and a fixed number
//! of closed ones.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use self::state::State;
pub use self::state::{ClusterLoad, Reporter};
use crate::provider::Scope;

/// The reports of all proxies. Clones share their state and are cheap.
#[derive(Clone, Debug)]
pub struct Loads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

impl Default for Loads {
    fn default() -> Self {
        let inner = Inner {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Loads {
    /// The proxies that report, each with the clusters that it cannot reach. Expires what is too old at `now`.
    #[must_use]
    pub fn reporters(&self, now: SystemTime) -> Vec<Reporter> {
        self.change(|state| state.expire(now));
        self.lock().reporters().collect()
    }

    /// A number that grows with every change of [`Loads::reporters`]. Expiry happens only when they are read: see
    /// [`Loads::expires_in`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Time from `now` until something expires, if no report comes. `None`: nothing will.
    #[must_use]
    pub fn expires_in(&self, now: SystemTime) -> Option<Duration> {
        let at = self.lock().expires_at()?;
        Some(at.duration_since(now).unwrap_or_default())
    }

    /// Opens the report stream of a proxy. Dropping the membership closes it.
    pub(crate) fn join(&self, node: &str, scope: &Scope) -> Membership {
        let mut stream = 0;
        self.change(|state| {
            stream = state.join(node, scope, SystemTime::now());
            true
        });
        Membership {
            loads: self.clone(),
            stream,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        if change(&mut self.lock()) {
            self.inner.changes.send_modify(|n| *n += 1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.inner.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of reports.
#[derive(Debug)]
pub(crate) struct Membership {
    loads: Loads,
    stream: u64,
}

impl Membership {
    /// Records a report.
    pub(crate) fn report(&self, loads: impl IntoIterator<Item = (String, ClusterLoad)>) {
        let change = |state: &mut State| state.report(self.stream, loads, SystemTime::now());
        self.loads.change(change);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.loads.change(|state| state.leave(self.stream));
    }
}
