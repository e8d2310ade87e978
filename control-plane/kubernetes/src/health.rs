//! Health of the watches, as `headgate status` reports it. It has no effect on what is served.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::access::{Missing, Role};
use crate::blocks::Blocks;
use crate::clock::unix_now;
use crate::fault::{Cause, Failure};
use crate::probe::{ApiServerProbe, Reachability};
use crate::update::{Event, WatchUpdate};

/// State of the API server as the watches see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiState {
    /// State of each watch by name: `pods`, `deployments.apps`, `deployments.apps in NAMESPACE`.
    pub watches: BTreeMap<String, WatchState>,
    /// Whether the API server can be reached; probed while a watch is lost.
    pub reach: Reachability,
    /// Rights that the control plane uses and does not have.
    pub missing: BTreeSet<Missing>,
    /// The command that prints each role of a missing right.
    pub grants: BTreeMap<Role, String>,
}

/// State of one watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// The part of the traffic that is not served until the kind has been listed.
    pub blocks: Blocks,
    /// Whether the kind was listed at least once.
    pub synced: bool,
    /// Since when, in Unix seconds, the API server no longer serves the kind.
    pub removed: Option<i64>,
    /// Whether the API server does not serve the kind; the watch asks again periodically.
    pub absent: bool,
    /// The command that installs the kind, where every API server should have it.
    pub install: Option<&'static str>,
    /// The remedy for a kind that was removed: a command or a flag.
    pub restore: Option<String>,
    /// Since when and why the API server does not answer the watch.
    pub lost: Option<LostWatch>,
}

/// A watch that the API server does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostWatch {
    /// Since when, in Unix seconds.
    pub since: i64,
    /// The last error.
    pub message: String,
    /// Whether the API server refuses the request or does not answer.
    pub cause: Cause,
}

/// A kind that the API server does not serve, although it should or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingKind<'a> {
    /// Name of the watch.
    pub kind: &'a str,
    /// The command that installs the kind, where it is Headgate's own.
    pub install: Option<&'static str>,
    /// The remedy where it is not.
    pub restore: Option<&'a str>,
    /// Since when the kind is gone, in Unix seconds, if it was served before.
    pub since: Option<i64>,
    /// Whether its objects still count, because the kind may come back soon.
    pub keeps_objects: bool,
}

impl WatchState {
    /// Whether the rest is served while this kind is not listed.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.blocks != Blocks::Everything
    }

    /// The effect of a kind that cannot be read, for messages.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        match self.blocks {
            _ if self.synced => "its objects count as last seen",
            Blocks::Everything => "nothing is served until it is read",
            Blocks::OwnedPods => "pods that it may own are not served, everything else is",
            Blocks::MeshRoutes => {
                "everything is served, but proxies of the mesh get no new versions"
            }
            Blocks::Nothing => {
                "all pods are served, but the ports that it names are not known, and policies that target it have no effect"
            }
        }
    }
}

impl ApiState {
    /// Whether every kind that is required for serving was listed at least once.
    #[must_use]
    pub fn synced(&self) -> bool {
        let mut needed = self.watches.values().filter(|watch| !watch.is_optional());
        needed.all(|watch| watch.synced)
    }

    /// The watch that has been lost for the longest time.
    #[must_use]
    pub fn lost(&self) -> Option<(&str, &LostWatch)> {
        self.all_lost()
            .min_by_key(|(_, _, lost)| lost.since)
            .map(|(name, _, lost)| (name, lost))
    }

    /// The watch that has been lost for the longest time, if the API server itself does not answer.
    #[must_use]
    pub fn unreachable(&self) -> Option<(&str, &LostWatch)> {
        let mut watches = self.watches.values();
        let unreachable = match self.reach {
            Reachability::Unreachable => true,
            Reachability::NotReady => watches.all(|watch| watch.lost.is_some() || watch.absent),
            Reachability::Unknown | Reachability::Ready => false,
        };
        let unanswered = self
            .all_lost()
            .filter(|(_, _, lost)| lost.cause == Cause::Unanswered);
        unanswered
            .min_by_key(|(_, _, lost)| lost.since)
            .filter(|_| unreachable)
            .map(|(name, _, lost)| (name, lost))
    }

    /// The kinds that cannot be read while others can: name and state of their watch.
    pub fn unread(&self) -> impl Iterator<Item = (&str, &WatchState, &LostWatch)> {
        let probed = self.reach != Reachability::Unknown && self.unreachable().is_none();
        self.all_lost()
            .filter(move |(_, _, lost)| probed || lost.cause == Cause::Refused)
    }

    /// The kinds that the API server does not serve, although it should or did.
    pub fn missing_kinds(&self) -> impl Iterator<Item = MissingKind<'_>> {
        let gone = |watch: &&WatchState| {
            watch.removed.is_some() || (watch.absent && watch.install.is_some())
        };
        let gone = self.watches.iter().filter(move |(_, watch)| gone(watch));
        gone.map(|(kind, watch)| MissingKind {
            kind,
            install: watch.install,
            restore: watch.restore.as_deref(),
            since: watch.removed,
            keeps_objects: !watch.absent,
        })
    }

    fn all_lost(&self) -> impl Iterator<Item = (&str, &WatchState, &LostWatch)> {
        self.watches
            .iter()
            .filter_map(|(name, watch)| Some((name.as_str(), watch, watch.lost.as_ref()?)))
    }
}

/// The state of all watches of one API server, and the probe that they share. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct WatchHealth {
    state: watch::Sender<ApiState>,
    probe: ApiServerProbe,
}

impl WatchHealth {
    /// A receiver of the state.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ApiState> {
        self.state.subscribe()
    }

    /// The probe that the watches share.
    pub fn probe(&self) -> &ApiServerProbe {
        &self.probe
    }

    /// Reports whether the API server can be reached.
    pub fn report_reachability(&self, reach: Reachability) {
        self.state.send_if_modified(|state| {
            // All watches may have recovered in the meantime.
            let reach = state.lost().map_or(Reachability::Unknown, |_| reach);
            std::mem::replace(&mut state.reach, reach) != reach
        });
    }

    /// Whether a watch is lost or has not listed its kind yet.
    pub fn is_unread(&self, watch: &str) -> bool {
        let state = self.state.borrow();
        let watch = state.watches.get(watch);
        watch.is_some_and(|watch| watch.lost.is_some() || !watch.synced)
    }

    /// Adds a watch: its name, the command that installs its kind, and what is not served until the kind has been listed.
    pub fn register(&self, watch: String, install: Option<&'static str>, blocks: Blocks) {
        self.state.send_modify(|state| {
            let added = WatchState {
                install,
                blocks,
                ..WatchState::default()
            };
            state.watches.insert(watch, added);
        });
    }

    /// Sets the remedy for a kind that was removed.
    pub fn set_remedy(&self, watch: &str, restore: String) {
        self.state.send_modify(|state| {
            let watch = state.watches.entry(watch.to_owned()).or_default();
            watch.restore = Some(restore);
        });
    }

    /// Replaces the missing rights; `grants` has the command that prints each of their roles.
    pub fn set_missing_rights(&self, missing: BTreeSet<Missing>, grants: BTreeMap<Role, String>) {
        self.state.send_if_modified(|state| {
            let changed = state.missing != missing;
            state.missing = missing;
            state.grants = grants;
            changed
        });
    }

    /// Marks a watch as synced although its kind cannot be read.
    pub fn waive(&self, watch: &str) {
        self.change(watch, |state| state.synced = true);
    }

    /// Takes in an update of a watch.
    pub fn report<T>(&self, watch: &str, update: &WatchUpdate<T>) {
        match update {
            WatchUpdate::Event(Event::InitDone) => self.change(watch, |state| {
                (state.synced, state.absent, state.removed) = (true, false, None);
            }),
            WatchUpdate::Event(Event::Absent) => self.change(watch, |state| {
                (state.synced, state.absent) = (true, true);
            }),
            WatchUpdate::Event(_) | WatchUpdate::Version(_) => {}
            WatchUpdate::Answered => self.change(watch, |state| state.lost = None),
            WatchUpdate::Lost(Failure { message, cause, .. }) => self.change(watch, |state| {
                state.lost = Some(LostWatch {
                    since: state.lost.as_ref().map_or_else(unix_now, |lost| lost.since),
                    message: message.clone(),
                    cause: *cause,
                });
            }),
            WatchUpdate::KindMissing => self.change(watch, |state| {
                state.lost = None;
                state.removed.get_or_insert_with(unix_now);
            }),
        }
    }

    fn change(&self, watch: &str, change: impl FnOnce(&mut WatchState)) {
        self.state.send_if_modified(|all| {
            let state = all.watches.entry(watch.to_owned()).or_default();
            let before = state.clone();
            change(state);
            log(watch, &before, state);
            let changed = *state != before;
            if all.lost().is_none() {
                all.reach = Reachability::Unknown;
            }
            changed
        });
    }
}

/// Logs once that a kind which need not exist does not. Everything else about a watch is a problem, which `headgate` logs.
fn log(watch: &str, before: &WatchState, now: &WatchState) {
    if now.absent && !before.absent && now.install.is_none() {
        tracing::info!(
            kube_resource = watch,
            "the Kubernetes API does not serve the kind"
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::watched_kind::WatchedKind;

    #[test]
    fn the_effect_of_a_kind_that_is_not_read_depends_on_what_it_blocks() {
        let health = WatchHealth::default();
        let effect = |kind: WatchedKind| {
            health.register("it".to_owned(), None, kind.blocks());
            health.subscribe().borrow().watches["it"].effect()
        };
        assert_eq!(
            effect(WatchedKind::Services),
            "nothing is served until it is read"
        );
        assert!(effect(WatchedKind::Owners(0)).starts_with("pods that it may own are not served"));
        let pools = effect(WatchedKind::Pools);
        assert!(pools.starts_with("all pods are served"), "{pools}");
        health.report("it", &WatchUpdate::<()>::Event(Event::InitDone));
        let state = health.subscribe().borrow().clone();
        assert_eq!(
            state.watches["it"].effect(),
            "its objects count as last seen"
        );
    }
}
