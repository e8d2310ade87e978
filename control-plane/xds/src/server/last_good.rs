//! The last good versions of each scope, over the streams of all its proxies.
//!
//! They are kept in memory: after the control plane has restarted, a version counts as good once a proxy of the scope has
//! accepted it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::provider::Scope;
use crate::resource::Resource;
use crate::session::LastGood;
use crate::snapshot::Snapshot;

/// Scopes that are kept; beyond it the scope with the oldest acceptance is dropped.
const MAX_SCOPES: usize = 64;

/// The last good versions, by scope.
#[derive(Debug, Default)]
pub(super) struct LastGoodByScope(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// With the number of the newest acceptance.
    scopes: BTreeMap<Scope, (u64, Arc<LastGood>)>,
    /// The number of acceptances so far.
    acceptances: u64,
}

impl LastGoodByScope {
    /// The resources that proxies of a scope have accepted.
    pub(super) fn of(&self, scope: &Scope) -> Arc<LastGood> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.scopes.get(scope);
        known
            .map(|(_, last_good)| last_good.clone())
            .unwrap_or_default()
    }

    /// Records what a proxy of a scope has accepted. Resources that are not in `snapshot` in any version are dropped.
    pub(super) fn accept(&self, scope: &Scope, resources: &[Arc<Resource>], snapshot: &Snapshot) {
        if resources.is_empty() {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State {
            scopes,
            acceptances,
        } = &mut *state;
        *acceptances += 1;
        let (newest, last_good) = scopes.entry(scope.clone()).or_default();
        *newest = *acceptances;
        let last_good = Arc::make_mut(last_good);
        for resource in resources {
            last_good.accept(resource, snapshot);
        }
        if scopes.len() > MAX_SCOPES {
            let oldest = scopes.iter().min_by_key(|(_, (newest, _))| *newest);
            let oldest = oldest.map(|(scope, _)| scope.clone());
            oldest.and_then(|scope| scopes.remove(&scope));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::resource::Kind;

    use super::*;

    #[test]
    fn the_number_of_scopes_is_bounded_and_those_in_use_are_kept() {
        let last_good = LastGoodByScope::default();
        let route = Arc::new(Resource::new(Kind::Route, "r", "1"));
        let snapshot = Snapshot::new([route.clone()]).unwrap();
        let scope = |n: usize| Scope(n.to_string());
        for n in 0..MAX_SCOPES * 3 {
            last_good.accept(&scope(n), std::slice::from_ref(&route), &snapshot);
            last_good.accept(&scope(0), std::slice::from_ref(&route), &snapshot);
        }
        let state = last_good.0.lock().unwrap();
        assert_eq!(state.scopes.len(), MAX_SCOPES);
        assert!(state.scopes.contains_key(&scope(0)));
        assert!(state.scopes.contains_key(&scope(MAX_SCOPES * 3 - 1)));
        assert!(!state.scopes.contains_key(&scope(1)));
    }
}
