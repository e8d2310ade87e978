//! When the first world may be published: slow kinds are waited for, unreadable ones are not.
//!
//! Pure: moments are arguments. Invariant: Pods and Services are always waited for; an optional kind is until it is listed, or
//! refused, or fails for as long as it may.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::store::WatchId;
use headgate_kubernetes::WatchedKind;
use headgate_kubernetes::fault::Cause;
use headgate_kubernetes::update::{Event, News};

/// How long an operator's kind may fail once Pods and Services are known: its webhook may be down for days.
const FAILING: Duration = Duration::from_secs(2);
/// How long one may say nothing at all.
const SILENT: Duration = Duration::from_secs(3);
/// The same for kinds that the API server has of itself: they fail when it is busy, and that passes.
const BUILT_IN: Duration = Duration::from_secs(15);

/// How far an optional kind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was asked for.
    Asked,
    /// Its list is being told.
    Telling,
    /// It fails, and may be read later.
    Failing,
    /// All of it is known, or it is refused.
    Over,
}

/// The optional kinds before the first world.
#[derive(Debug)]
pub(super) struct InitialSync {
    stages: BTreeMap<WatchId, Stage>,
    /// Kinds of the API server itself.
    built_in: Vec<WatchedKind>,
    /// Since when the rest is known.
    since: Option<Instant>,
}

impl InitialSync {
    pub(super) fn of<'a>(
        ids: impl Iterator<Item = &'a WatchId>,
        built_in: Vec<WatchedKind>,
    ) -> Self {
        let optional = ids.filter(|id| id.what.is_optional());
        Self {
            stages: optional.map(|id| (id.clone(), Stage::Asked)).collect(),
            built_in,
            since: None,
        }
    }

    /// Takes in what a watch told.
    pub(super) fn hear<T>(&mut self, id: &WatchId, said: &News<T>) {
        let Some(stage) = self.stages.get_mut(id) else {
            return;
        };
        let now = match said {
            News::Event(Event::Listed(_)) => Stage::Telling,
            News::Event(Event::Done | Event::Absent) => Stage::Over,
            News::Lost(loss) if loss.cause == Cause::Refused => Stage::Over,
            News::Lost(_) => Stage::Failing,
            _ => return,
        };
        if *stage != Stage::Over {
            *stage = now;
        }
    }

    /// When the first world may be published, as far as is known; `known` is whether Pods and Services are.
    pub(super) fn due(&mut self, known: bool, now: Instant) -> Option<Instant> {
        if !known {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let waits = self.stages.iter().map(|(id, stage)| {
            let built_in = self.built_in.contains(&id.what);
            match stage {
                Stage::Over => Some(Duration::ZERO),
                // It goes on, or fails.
                Stage::Telling => None,
                _ if built_in => Some(BUILT_IN),
                Stage::Failing => Some(FAILING),
                Stage::Asked => Some(SILENT),
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
    use headgate_kubernetes::fault::Loss;

    fn id(what: WatchedKind) -> WatchId {
        WatchId {
            what,
            namespace: None,
        }
    }

    fn lost(cause: Cause) -> News<()> {
        let message = String::new();
        News::Lost(Loss {
            message,
            cause,
            code: 0,
        })
    }

    #[test]
    fn a_kind_that_fails_is_waited_for_a_little_and_one_that_is_refused_not_at_all() {
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
        initial_sync.hear(&deployments, &News::Event(Event::Listed(())));
        assert_eq!(initial_sync.due(true, now), None, "it is being told");
        initial_sync.hear(&deployments, &lost(Cause::Unanswered));
        assert_eq!(initial_sync.due(true, now), Some(now + BUILT_IN));
        initial_sync.hear(&deployments, &News::<()>::Event(Event::Done));
        let later = now + FAILING;
        assert_eq!(
            initial_sync.due(true, later),
            Some(now + SILENT),
            "from the first"
        );
        initial_sync.hear(&sets, &lost(Cause::Unanswered));
        initial_sync.hear(&pools, &lost(Cause::Refused));
        assert_eq!(initial_sync.due(true, later), Some(now + FAILING));
        initial_sync.hear(&sets, &News::<()>::Event(Event::Absent));
        assert_eq!(initial_sync.due(true, later), Some(now));
    }
}
