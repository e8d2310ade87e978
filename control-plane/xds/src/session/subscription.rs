//! The server's view of what a client wants of one kind (server rules 1 and 4).
//!
//! Wildcard comes in two shapes: `*` among the names, and legacy, an empty list in the first request
//! of a kind that has it (clusters, listeners). In state of the world the legacy shape ends with the
//! first list that is not empty, after which an empty list means nothing; in delta it ends only by
//! unsubscribing `*`.

use std::collections::BTreeSet;

use crate::resource::Kind;

/// What a client subscribes to, of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscription {
    opened: bool,
    wildcard: bool,
    named_once: bool,
    names: BTreeSet<String>,
}

/// What one request changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// It was the first request for this kind.
    pub(super) first: bool,
    /// Names asked for by this request, to be answered even if the client should have them.
    pub(super) asked: Vec<String>,
    /// Those of them that were not wanted before.
    pub(super) new: Vec<String>,
    /// Everything was asked for by this request.
    pub(super) asked_all: bool,
    /// Names dropped by this request.
    pub(super) dropped: Vec<String>,
    /// Everything was dropped but what is named.
    pub(super) dropped_all: bool,
}

impl Subscription {
    pub(super) fn opened(&self) -> bool {
        self.opened
    }

    pub(super) fn wildcard(&self) -> bool {
        self.wildcard
    }

    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Replaces the list, as a state-of-the-world request does.
    pub(super) fn replace(&mut self, kind: Kind, names: &[String]) -> Changed {
        let first = !std::mem::replace(&mut self.opened, true);
        let was_wildcard = self.wildcard;
        if names.is_empty() {
            self.wildcard = kind.is_full_state() && !self.named_once;
        } else {
            self.named_once = true;
            self.wildcard = names.iter().any(|name| name == "*");
        }
        let new: BTreeSet<String> = names.iter().filter(|name| *name != "*").cloned().collect();
        let asked: Vec<String> = new.difference(&self.names).cloned().collect();
        let unwanted_before = if was_wildcard {
            Vec::new()
        } else {
            asked.clone()
        };
        let dropped = self.names.difference(&new).cloned().collect();
        self.names = new;
        Changed {
            first,
            asked,
            new: unwanted_before,
            asked_all: self.wildcard && !was_wildcard,
            dropped,
            dropped_all: was_wildcard && !self.wildcard,
        }
    }

    /// Applies a delta request's changes.
    pub(super) fn change(
        &mut self,
        kind: Kind,
        subscribe: &[String],
        unsubscribe: &[String],
    ) -> Changed {
        let first = !std::mem::replace(&mut self.opened, true);
        let mut changed = Changed {
            first,
            ..Changed::default()
        };
        if first && subscribe.is_empty() && kind.is_full_state() {
            self.wildcard = true;
            changed.asked_all = true;
        }
        for name in subscribe {
            if name == "*" {
                self.wildcard = true;
                changed.asked_all = true;
            } else {
                if self.names.insert(name.clone()) && !self.wildcard {
                    changed.new.push(name.clone());
                }
                changed.asked.push(name.clone());
            }
        }
        for name in unsubscribe {
            if name == "*" {
                changed.dropped_all = std::mem::replace(&mut self.wildcard, false);
            } else if self.names.remove(name) {
                changed.dropped.push(name.clone());
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
        assert!(s.replace(Kind::Cluster, &[]).asked_all);
        s.replace(Kind::Cluster, &[]);
        assert!(s.wants("anything"));
        s.replace(Kind::Cluster, &names(&["*", "a"]));
        assert!(s.wildcard());
        s.replace(Kind::Cluster, &names(&["a"]));
        assert!(s.wants("a") && !s.wants("b"));
        let end = s.replace(Kind::Cluster, &[]);
        assert_eq!(end.dropped, names(&["a"]));
        assert!(!s.wants("a") && !s.wildcard());
    }

    #[test]
    fn rule_01_legacy_wildcard_of_delta_ends_only_by_unsubscribing_the_star() {
        let mut s = Subscription::default();
        assert!(s.change(Kind::Listener, &[], &[]).asked_all);
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
    fn rule_01_a_name_asked_again_is_asked_even_if_already_subscribed() {
        let mut s = Subscription::default();
        s.change(Kind::Endpoints, &names(&["a"]), &[]);
        assert_eq!(
            s.change(Kind::Endpoints, &names(&["a"]), &[]).asked,
            names(&["a"])
        );
    }
}
