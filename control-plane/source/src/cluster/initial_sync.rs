//! The initial sync: decides when the first observation is published. It waits for slow kinds, but not for kinds that cannot be read.
//!
//! Pure: times are arguments. Invariant: Pods and Services are required. An optional kind is waited for until it is listed or refused, or
//! its timeout passes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::identity::WatchId;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::fault::Cause;
use headgate_kubernetes::update::{Event, WatchUpdate};

/// Timeout of an operator's kind that fails, once Pods and Services are known: its webhook may be down for days.
const FAILING: Duration = Duration::from_secs(2);
/// Timeout of an operator's kind without any answer.
const SILENT: Duration = Duration::from_secs(3);
/// Timeout of a built-in kind: it fails only while the API server is busy.
const BUILT_IN: Duration = Duration::from_secs(15);

/// State of an optional kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was requested.
    Requested,
    /// Its list is under way.
    Listing,
    /// The last request failed.
    Failing,
    /// It is listed, absent or refused.
    Done,
}

/// The optional kinds before the first observation.
#[derive(Debug)]
pub(super) struct InitialSync {
    stages: BTreeMap<WatchId, Stage>,
    /// Built-in kinds.
    built_in: Vec<WatchedKind>,
    /// Since when Pods and Services are known.
    since: Option<Instant>,
}

impl InitialSync {
    pub(super) fn of<'a>(
        ids: impl Iterator<Item = &'a WatchId>,
        built_in: Vec<WatchedKind>,
    ) -> Self {
        let optional = ids.filter(|id| id.kind.is_optional());
        Self {
            stages: optional.map(|id| (id.clone(), Stage::Requested)).collect(),
            built_in,
            since: None,
        }
    }

    /// Takes in an update of a watch.
    pub(super) fn report<T>(&mut self, id: &WatchId, update: &WatchUpdate<T>) {
        let Some(stage) = self.stages.get_mut(id) else {
            return;
        };
        let now = match update {
            WatchUpdate::Event(Event::InitApply(_)) => Stage::Listing,
            WatchUpdate::Event(Event::InitDone | Event::Absent) => Stage::Done,
            WatchUpdate::Lost(failure) if failure.cause == Cause::Refused => Stage::Done,
            WatchUpdate::Lost(_) => Stage::Failing,
            _ => return,
        };
        if *stage != Stage::Done {
            *stage = now;
        }
    }

    /// When the first observation may be published, if that is known. `known`: whether Pods and Services are known.
    pub(super) fn due(&mut self, known: bool, now: Instant) -> Option<Instant> {
        if !known {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let waits = self.stages.iter().map(|(id, stage)| {
            let built_in = self.built_in.contains(&id.kind);
            match stage {
                Stage::Done => Some(Duration::ZERO),
                // The list completes or fails.
                Stage::Listing => None,
                _ if built_in => Some(BUILT_IN),
                Stage::Failing => Some(FAILING),
                Stage::Requested => Some(SILENT),
            }
        });
        let longest: Option<Vec<Duration>> = waits.collect();
        longest.map(|all| since + all.into_iter().max().unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use headgate_kubernetes::fault::Failure;

    fn id(what: WatchedKind) -> WatchId {
        WatchId {
            kind: what,
            namespace: None,
        }
    }

    fn lost(cause: Cause) -> WatchUpdate<()> {
        let message = String::new();
        WatchUpdate::Lost(Failure {
            message,
            cause,
            code: 0,
        })
    }

    #[test]
    fn a_failing_kind_is_awaited_briefly_and_a_refused_one_not_at_all() {
        let [deployments, sets, pools] = [
            WatchedKind::Owners(0),
            WatchedKind::Owners(1),
            WatchedKind::Pools,
        ]
        .map(id);
        let ids = [
            id(WatchedKind::Pods),
            deployments.clone(),
            sets.clone(),
            pools.clone(),
        ];
        let mut initial_sync = InitialSync::of(ids.iter(), vec![WatchedKind::Owners(0)]);
        let now = Instant::now();
        assert_eq!(initial_sync.due(false, now), None);
        assert_eq!(initial_sync.due(true, now), Some(now + BUILT_IN));
        initial_sync.report(&deployments, &WatchUpdate::Event(Event::InitApply(())));
        assert_eq!(initial_sync.due(true, now), None, "it is being listed");
        initial_sync.report(&deployments, &lost(Cause::Unanswered));
        assert_eq!(initial_sync.due(true, now), Some(now + BUILT_IN));
        initial_sync.report(&deployments, &WatchUpdate::<()>::Event(Event::InitDone));
        let later = now + FAILING;
        assert_eq!(
            initial_sync.due(true, later),
            Some(now + SILENT),
            "from the first"
        );
        initial_sync.report(&sets, &lost(Cause::Unanswered));
        initial_sync.report(&pools, &lost(Cause::Refused));
        assert_eq!(initial_sync.due(true, later), Some(now + FAILING));
        initial_sync.report(&sets, &WatchUpdate::<()>::Event(Event::Absent));
        assert_eq!(initial_sync.due(true, later), Some(now));
    }
}
