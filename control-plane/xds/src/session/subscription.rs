//! The subscription of a client to one kind of resources (server rules 1 and 4).
//!
//! A wildcard has two forms: `*` among the names, and the legacy form, an empty list in the first request of a kind that has it
//! (clusters, listeners). In state of the world the legacy form ends with the first list that is not empty; after that an empty
//! list subscribes to nothing. In delta it ends only when the client unsubscribes from `*`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::resource::Kind;

use super::shared_map::{Pool, SharedMap};

/// A client's subscription to one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscription {
    opened: bool,
    wildcard: bool,
    /// The client has named a resource before, which ends the legacy wildcard of state of the world.
    has_named: bool,
    names: SharedMap<()>,
}

/// The effect of one request on a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SubscriptionChange {
    /// It was the first request for this kind.
    pub(super) is_first: bool,
    /// Names that the request asks for, to be answered even if the client should have them.
    pub(super) requested: Vec<Arc<str>>,
    /// Those of them that the subscription did not cover before.
    pub(super) added: Vec<Arc<str>>,
    /// The request asks for everything.
    pub(super) requested_all: bool,
    /// Names that the request unsubscribes from.
    pub(super) dropped: Vec<Arc<str>>,
    /// The request ends the wildcard; what is named stays.
    pub(super) dropped_all: bool,
}

impl Subscription {
    /// Whether the client has sent a request for this kind.
    pub(super) fn opened(&self) -> bool {
        self.opened
    }

    /// Whether the subscription covers every name.
    pub(super) fn wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that the client subscribes to one by one.
    pub(super) fn names(&self) -> &SharedMap<()> {
        &self.names
    }

    /// Whether the subscription covers a name.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains_key(name)
    }

    /// Gives the names to all streams that subscribe to the same.
    pub(super) fn compact(&mut self, pool: &Pool<()>) {
        if self.names.may_compact() {
            self.names.compact(pool, |()| Some(()));
        }
    }

    /// Replaces the list: a state-of-the-world request.
    pub(super) fn replace(&mut self, kind: Kind, names: &[String]) -> SubscriptionChange {
        let is_first = !std::mem::replace(&mut self.opened, true);
        let was_wildcard = self.wildcard;
        if names.is_empty() {
            self.wildcard = kind.is_full_state() && !self.has_named;
        } else {
            self.has_named = true;
            self.wildcard = names.iter().any(|name| name == "*");
        }
        let named = names.iter().filter(|name| *name != "*");
        let new: BTreeSet<Arc<str>> = named.map(|name| name.as_str().into()).collect();
        let requested = new.iter().filter(|name| !self.names.contains_key(name));
        let requested: Vec<Arc<str>> = requested.cloned().collect();
        let added = if was_wildcard {
            Vec::new()
        } else {
            requested.clone()
        };
        let dropped = self.names.keys().filter(|name| !new.contains(*name));
        let dropped: Vec<Arc<str>> = dropped.cloned().collect();
        for name in &requested {
            self.names.insert(name, ());
        }
        for name in &dropped {
            self.names.remove(name);
        }
        SubscriptionChange {
            is_first,
            requested,
            added,
            requested_all: self.wildcard && !was_wildcard,
            dropped,
            dropped_all: was_wildcard && !self.wildcard,
        }
    }

    /// Changes the list: a delta request.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
    ) -> SubscriptionChange {
        let is_first = !std::mem::replace(&mut self.opened, true);
        let mut changed = SubscriptionChange {
            is_first,
            ..SubscriptionChange::default()
        };
        if is_first && subscribe.is_empty() && kind.is_full_state() {
            self.wildcard = true;
            changed.requested_all = true;
        }
        for name in subscribe {
            if name == "*" {
                self.wildcard = true;
                changed.requested_all = true;
            } else {
                let name: Arc<str> = name.as_str().into();
                if self.names.insert(&name, ()) && !self.wildcard {
                    changed.added.push(name.clone());
                }
                changed.requested.push(name);
            }
        }
        for name in unsubscribe {
            if name == "*" {
                changed.dropped_all = std::mem::replace(&mut self.wildcard, false);
            } else if self.names.remove(name) {
                changed.dropped.push(name.as_str().into());
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn rule_01_legacy_wildcard_of_state_of_the_world_ends_with_the_first_name() {
        let mut s = Subscription::default();
        assert!(s.replace(Kind::Cluster, &[]).requested_all);
        s.replace(Kind::Cluster, &[]);
        assert!(s.wants("anything"));
        s.replace(Kind::Cluster, &names(&["*", "a"]));
        assert!(s.wildcard());
        s.replace(Kind::Cluster, &names(&["a"]));
        assert!(s.wants("a") && !s.wants("b"));
        let end = s.replace(Kind::Cluster, &[]);
        assert_eq!(end.dropped, [Arc::from("a")]);
        assert!(!s.wants("a") && !s.wildcard());
    }

    #[test]
    fn rule_01_legacy_wildcard_of_delta_ends_only_by_unsubscribing_the_star() {
        let mut s = Subscription::default();
        assert!(s.change(Kind::Listener, &[], &[]).requested_all);
        s.change(Kind::Listener, &names(&["a"]), &[]);
        assert!(s.wants("b"));
        s.change(Kind::Listener, &[], &names(&["*"]));
        assert!(s.wants("a") && !s.wants("b"));
        s.change(Kind::Listener, &[], &names(&["a"]));
        assert!(!s.wants("a"));
    }

    #[test]
    fn rule_01_an_empty_subscription_of_other_kinds_is_empty() {
        for kind in [Kind::Endpoints, Kind::Route, Kind::Extension, Kind::Secret] {
            let mut delta = Subscription::default();
            delta.change(kind, &[], &[]);
            let mut sotw = Subscription::default();
            sotw.replace(kind, &[]);
            assert!(!delta.wildcard() && !sotw.wildcard(), "{kind}");
        }
    }

    #[test]
    fn rule_01_a_name_requested_again_is_answered_although_already_subscribed() {
        let mut s = Subscription::default();
        s.change(Kind::Endpoints, &names(&["a"]), &[]);
        assert_eq!(
            s.change(Kind::Endpoints, &names(&["a"]), &[]).requested,
            [Arc::from("a")]
        );
    }
}
