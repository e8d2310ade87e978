//! The last good versions of each scope, over the streams of all its proxies.
//!
//! In this process only: after the control plane itself was started anew, a version counts as good once a proxy of the scope
//! accepted it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::resource::Resource;
use crate::session::Good;
use crate::snapshot::Snapshot;
use crate::world::Scope;

/// Scopes remembered; beyond it the one of which nothing was accepted for longest is forgotten.
const SCOPES: usize = 64;

/// The memory.
#[derive(Debug, Default)]
pub(super) struct LastGood(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// With the number of the last acceptance.
    scopes: BTreeMap<Scope, (u64, Arc<Good>)>,
    accepted: u64,
}

impl LastGood {
    /// What proxies of a scope accepted.
    pub(super) fn of(&self, scope: &Scope) -> Arc<Good> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.scopes.get(scope);
        known.map(|(_, good)| good.clone()).unwrap_or_default()
    }

    /// A proxy of a scope accepted these; what its `snapshot` does not hold in any version is forgotten.
    pub(super) fn accept(&self, scope: &Scope, resources: &[Arc<Resource>], snapshot: &Snapshot) {
        if resources.is_empty() {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { scopes, accepted } = &mut *state;
        *accepted += 1;
        let (last, good) = scopes.entry(scope.clone()).or_default();
        *last = *accepted;
        let good = Arc::make_mut(good);
        for resource in resources {
            good.accept(resource, snapshot);
        }
        if scopes.len() > SCOPES {
            let oldest = scopes.iter().min_by_key(|(_, (last, _))| *last);
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
    fn the_memory_is_bounded_in_scopes_and_keeps_those_that_are_in_use() {
        let good = LastGood::default();
        let route = Arc::new(Resource::new(Kind::Route, "r", "1"));
        let snapshot = Snapshot::new([route.clone()]).unwrap();
        let scope = |n: usize| Scope(n.to_string());
        for n in 0..SCOPES * 3 {
            good.accept(&scope(n), std::slice::from_ref(&route), &snapshot);
            good.accept(&scope(0), std::slice::from_ref(&route), &snapshot);
        }
        let state = good.0.lock().unwrap();
        assert_eq!(state.scopes.len(), SCOPES);
        assert!(state.scopes.contains_key(&scope(0)));
        assert!(state.scopes.contains_key(&scope(SCOPES * 3 - 1)));
        assert!(!state.scopes.contains_key(&scope(1)));
    }
}
