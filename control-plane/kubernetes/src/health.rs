//! How the watches fare: what `status` says of the API server. It changes nothing of the world.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::access::Missing;
use crate::clock::unix_now;
use crate::fault::{Cause, Loss};
use crate::probe::{ApiServerProbe, Reach};
use crate::update::{Event, News};

/// The watches, by what they watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiState {
    /// By `pods`, `deployments.apps`, `deployments.apps in NAMESPACE`.
    pub watches: BTreeMap<String, WatchState>,
    /// Whether the API server itself can be reached, asked while a watch misses it.
    pub reach: Reach,
    /// Rights that are used and were not given.
    pub missing: BTreeSet<Missing>,
    /// The command that prints those that are used.
    pub grant: String,
}

/// What is not served before a kind is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepsBack {
    /// Nothing is.
    #[default]
    Everything,
    /// The pods that its objects may own are not.
    OwnedPods,
    /// All is; its objects say ports, and policies target them.
    Nothing,
}

/// How a watch fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchState {
    /// What is not served before this kind is read.
    pub keeps_back: KeepsBack,
    /// Whether it has told all there is at least once.
    pub synced: bool,
    /// Since when the API server does not serve the kind any more, in Unix seconds, though it did.
    pub removed: Option<i64>,
    /// Whether the API server has no such kind; it is asked again from time to time.
    pub absent: bool,
    /// The command that gives the API server the kind, where every one should have it.
    pub install: Option<&'static str>,
    /// How its absence is mended where it was there: in words, with the flag or the command.
    pub restore: Option<String>,
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
    /// Whether it refuses, or does not answer.
    pub cause: Cause,
}

/// A kind that the API server should have, or had, and has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undefined<'a> {
    /// As its watch is called.
    pub kind: &'a str,
    /// The command that gives it, where it is Headgate's own.
    pub install: Option<&'static str>,
    /// How it is mended otherwise.
    pub restore: Option<&'a str>,
    /// Since when it is gone, in Unix seconds, if it was there.
    pub since: Option<i64>,
    /// Whether its objects still count, as it may come back at once.
    pub counts: bool,
}

impl WatchState {
    /// Whether the rest is served while this kind is not read.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.keeps_back != KeepsBack::Everything
    }

    /// What it means that the kind is not read.
    #[must_use]
    pub fn effect(&self) -> &'static str {
        match self.keeps_back {
            _ if self.synced => "its objects count as last seen",
            KeepsBack::Everything => "nothing is served until it is read",
            KeepsBack::OwnedPods => "pods that it may own are not served, everything else is",
            KeepsBack::Nothing => {
                "all pods are served, but the ports that it names are not known, and policies that target it have no effect"
            }
        }
    }
}

impl ApiState {
    /// Whether every watch that is waited for has told all there is at least once.
    #[must_use]
    pub fn synced(&self) -> bool {
        let mut needed = self.watches.values().filter(|watch| !watch.is_optional());
        needed.all(|watch| watch.synced)
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

    /// The same, where it is the API server itself that does not answer, and not one kind of it.
    #[must_use]
    pub fn away(&self) -> Option<(&str, &Lost)> {
        let mut there = self.watches.values();
        let away = match self.reach {
            Reach::Unreachable => true,
            Reach::Unready => there.all(|watch| watch.lost.is_some() || watch.absent),
            Reach::Unasked | Reach::Ready => false,
        };
        let lost = self
            .watches
            .iter()
            .filter_map(|(name, watch)| Some((name.as_str(), watch.lost.as_ref()?)));
        let unanswered = lost.filter(|(_, lost)| lost.cause == Cause::Unanswered);
        unanswered
            .min_by_key(|(_, lost)| lost.since)
            .filter(|_| away)
    }

    /// Kinds that are not read, while others are: by name, with how their watch fares.
    pub fn unread(&self) -> impl Iterator<Item = (&str, &WatchState, &Lost)> {
        let told = self.reach != Reach::Unasked && self.away().is_none();
        let lost = self
            .watches
            .iter()
            .filter_map(|(name, watch)| Some((name.as_str(), watch, watch.lost.as_ref()?)));
        lost.filter(move |(_, _, lost)| told || lost.cause == Cause::Refused)
    }

    /// Kinds that the API server should have, or had, and has not.
    pub fn undefined(&self) -> impl Iterator<Item = Undefined<'_>> {
        let gone = |watch: &&WatchState| {
            watch.removed.is_some() || (watch.absent && watch.install.is_some())
        };
        let gone = self.watches.iter().filter(move |(_, watch)| gone(watch));
        gone.map(|(kind, watch)| Undefined {
            kind,
            install: watch.install,
            restore: watch.restore.as_deref(),
            since: watch.removed,
            counts: !watch.absent,
        })
    }
}

/// Where watches tell how they fare, and hear when the API server is back. Clones tell, and hear, the same.
#[derive(Debug, Clone, Default)]
pub struct WatchHealth {
    told: watch::Sender<ApiState>,
    pulse: ApiServerProbe,
}

impl WatchHealth {
    /// How the watches fare, now and later.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<ApiState> {
        self.told.subscribe()
    }

    /// Whether the API server is back, while somebody asks.
    pub fn pulse(&self) -> &ApiServerProbe {
        &self.pulse
    }

    /// Whether the API server can be reached.
    pub fn reached(&self, reach: Reach) {
        self.told.send_if_modified(|states| {
            // It was found meanwhile by all who missed it.
            let reach = states.lost().map_or(Reach::Unasked, |_| reach);
            std::mem::replace(&mut states.reach, reach) != reach
        });
    }

    /// Whether a watch is lost, or has not told all there is.
    pub fn is_unread(&self, watch: &str) -> bool {
        let states = self.told.borrow();
        let state = states.watches.get(watch);
        state.is_some_and(|state| state.lost.is_some() || !state.synced)
    }

    /// There will be a watch of this name, and what is not served before it has listed its kind.
    pub fn expect(&self, watch: String, install: Option<&'static str>, keeps_back: KeepsBack) {
        self.told.send_modify(|states| {
            let state = WatchState {
                install,
                keeps_back,
                ..WatchState::default()
            };
            states.watches.insert(watch, state);
        });
    }

    /// How the absence of a kind that was there is mended.
    pub fn restored_by(&self, watch: &str, restore: String) {
        self.told.send_modify(|states| {
            let state = states.watches.entry(watch.to_owned()).or_default();
            state.restore = Some(restore);
        });
    }

    /// These rights are missing, and no other; `grant` prints all that are used.
    pub fn missing(&self, missing: BTreeSet<Missing>, grant: &str) {
        self.told.send_if_modified(|states| {
            for new in missing.difference(&states.missing) {
                tracing::warn!(grant, "the Kubernetes API: {new}, but {}", new.why);
            }
            let changed = states.missing != missing;
            states.missing = missing;
            grant.clone_into(&mut states.grant);
            changed
        });
    }

    /// Nothing waits for this watch, whether or not the API server ever answers it.
    pub fn waive(&self, watch: &str) {
        self.note(watch, |state| state.synced = true);
    }

    /// What a watch says of itself.
    pub fn hear<T>(&self, watch: &str, said: &News<T>) {
        match said {
            News::Event(Event::Done) => self.note(watch, |state| {
                (state.synced, state.absent, state.removed) = (true, false, None);
            }),
            News::Event(Event::Absent) => self.note(watch, |state| {
                (state.synced, state.absent) = (true, true);
            }),
            News::Event(_) | News::Version(_) => {}
            News::Found => self.note(watch, |state| state.lost = None),
            News::Lost(Loss { message, cause, .. }) => self.note(watch, |state| {
                state.lost = Some(Lost {
                    since: state.lost.as_ref().map_or_else(unix_now, |lost| lost.since),
                    message: message.clone(),
                    cause: *cause,
                });
            }),
            News::Missing => self.note(watch, |state| {
                state.lost = None;
                state.removed.get_or_insert_with(unix_now);
            }),
        }
    }

    fn note(&self, watch: &str, change: impl FnOnce(&mut WatchState)) {
        self.told.send_if_modified(|states| {
            let state = states.watches.entry(watch.to_owned()).or_default();
            let before = state.clone();
            change(state);
            log(watch, &before, state);
            let changed = *state != before;
            if states.lost().is_none() {
                states.reach = Reach::Unasked;
            }
            changed
        });
    }
}

/// Logs once what became of a watch.
fn log(watch: &str, before: &WatchState, now: &WatchState) {
    match (&before.lost, &now.lost) {
        (None, Some(Lost { message: why, .. })) => {
            let said = match now.synced {
                true => "the Kubernetes API does not answer",
                false => "the Kubernetes API does not list this kind",
            };
            tracing::warn!(watch, why, effect = now.effect(), "{said}");
        }
        (Some(_), None) => tracing::info!(watch, "the Kubernetes API answers again"),
        _ => {}
    }
    if now.removed.is_some() && before.removed.is_none() {
        tracing::warn!(watch, "the Kubernetes API has no such kind any more");
    }
    if now.absent && !before.absent {
        match now.install {
            Some(command) => tracing::warn!(
                watch,
                command,
                "the Kubernetes API has no such kind: the command gives it one"
            ),
            None => tracing::info!(watch, "the Kubernetes API has no such kind"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::watched_kind::WatchedKind;

    #[test]
    fn what_a_kind_that_is_not_read_keeps_back_is_said_of_each_as_it_is() {
        let states = WatchHealth::default();
        let effect = |what: WatchedKind| {
            states.expect("it".to_owned(), None, what.keeps_back());
            states.follow().borrow().watches["it"].effect()
        };
        assert_eq!(
            effect(WatchedKind::Services),
            "nothing is served until it is read"
        );
        assert!(effect(WatchedKind::Owners(0)).starts_with("pods that it may own are not served"));
        let pools = effect(WatchedKind::Pools);
        assert!(pools.starts_with("all pods are served"), "{pools}");
        states.hear("it", &News::<()>::Event(Event::Done));
        let state = states.follow().borrow().clone();
        assert_eq!(
            state.watches["it"].effect(),
            "its objects count as last seen"
        );
    }
}
