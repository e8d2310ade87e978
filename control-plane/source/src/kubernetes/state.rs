//! How the watches fare: what `status` says of the API server. It changes nothing of the world.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use super::watch::{Event, News};
use crate::access::Missing;
use crate::clock::unix_now;

/// The watches, by what they watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiState {
    /// By `pods`, `deployments.apps`, `deployments.apps in NAMESPACE`.
    pub watches: BTreeMap<String, WatchState>,
    /// Rights that are used and were not given.
    pub missing: BTreeSet<Missing>,
    /// The command that prints those that are used.
    pub grant: String,
}

/// How a watch fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// Whether it has told all there is at least once.
    pub synced: bool,
    /// Whether the API server has no such kind; it is asked again from time to time.
    pub absent: bool,
    /// The command that gives the API server the kind, where every one should have it.
    pub install: Option<&'static str>,
    /// Why the API server does not answer it, if so.
    pub lost: Option<Lost>,
}

/// The API server does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Since when, in Unix seconds.
    pub since: i64,
    /// What it said last, or what was seen last.
    pub message: String,
}

impl ApiState {
    /// Whether every watch has told all there is at least once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.watches.values().all(|watch| watch.synced)
    }

    /// The watch that the API server does not answer for the longest time, if there is one: the world may be older than it looks.
    #[must_use]
    pub fn lost(&self) -> Option<(&str, &Lost)> {
        let lost = self
            .watches
            .iter()
            .filter_map(|(name, watch)| Some((name.as_str(), watch.lost.as_ref()?)));
        lost.min_by_key(|(_, lost)| lost.since)
    }

    /// Kinds that the API server should have and has not, with the command that gives it each.
    pub fn undefined(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let absent = self.watches.iter().filter(|(_, watch)| watch.absent);
        absent.filter_map(|(name, watch)| Some((name.as_str(), watch.install?)))
    }
}

/// Where watches tell how they fare. Clones tell, and hear, the same.
#[derive(Debug, Clone, Default)]
pub struct States(watch::Sender<ApiState>);

impl States {
    /// How the watches fare, now and later.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<ApiState> {
        self.0.subscribe()
    }

    /// There will be a watch of this name.
    pub(crate) fn expect(&self, watch: String, install: Option<&'static str>) {
        self.0.send_modify(|states| {
            let state = WatchState {
                install,
                ..WatchState::default()
            };
            states.watches.insert(watch, state);
        });
    }

    /// These rights are missing, and no other; `grant` prints all that are used.
    pub(crate) fn missing(&self, missing: BTreeSet<Missing>, grant: &str) {
        self.0.send_if_modified(|states| {
            for new in missing.difference(&states.missing) {
                tracing::warn!(grant, "the Kubernetes API: {new}, but {}", new.why);
            }
            let changed = states.missing != missing;
            states.missing = missing;
            grant.clone_into(&mut states.grant);
            changed
        });
    }

    /// What a watch says of itself.
    pub(crate) fn hear<T>(&self, watch: &str, said: &News<T>) {
        match said {
            News::Event(Event::Done) => self.note(watch, |state| {
                (state.synced, state.absent) = (true, false);
            }),
            News::Event(Event::Absent) => self.note(watch, |state| {
                (state.synced, state.absent) = (true, true);
            }),
            News::Event(_) => {}
            News::Found => self.note(watch, |state| state.lost = None),
            News::Lost(message) => self.note(watch, |state| {
                let since = state.lost.as_ref().map_or_else(unix_now, |lost| lost.since);
                let message = message.clone();
                state.lost = Some(Lost { since, message });
            }),
        }
    }

    fn note(&self, watch: &str, change: impl FnOnce(&mut WatchState)) {
        self.0.send_if_modified(|states| {
            let state = states.watches.entry(watch.to_owned()).or_default();
            let before = state.clone();
            change(state);
            match (&before.lost, &state.lost) {
                (None, Some(lost)) => {
                    tracing::warn!(
                        watch,
                        why = lost.message,
                        "the Kubernetes API does not answer: what was seen last stays"
                    );
                }
                (Some(_), None) => tracing::info!(watch, "the Kubernetes API answers again"),
                _ => {}
            }
            if state.absent && !before.absent {
                match state.install {
                    Some(command) => tracing::warn!(
                        watch,
                        command,
                        "the Kubernetes API has no such kind: the command gives it one"
                    ),
                    None => tracing::info!(watch, "the Kubernetes API has no such kind"),
                }
            }
            *state != before
        });
    }
}
