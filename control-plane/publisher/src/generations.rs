//! Which revisions of the policies a filter configuration holds, for the newest few hundred plans: what an ACK says of them.
//!
//! Invariant: a configuration holds what the newest plan that made it holds. Equal bytes are equal limits, so a proxy that ACKed
//! them has an edit that changed nothing of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use headgate_model::PolicyRevisions;
use headgate_model::{PolicyId, PolicyKind};
use headgate_translate::{LeftOut, Rejected};
use headgate_xds::{Kind, Snapshot};

/// Plans remembered. A configuration that is older, and that no scope serves, counts as holding nothing.
const LENGTH: u64 = 256;

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    plans: u64,
    newest: Arc<PolicyRevisions>,
    /// By the configuration's version: the last plan that served it, and what that held.
    of: BTreeMap<String, (u64, Arc<PolicyRevisions>)>,
}

impl Generations {
    /// What is remembered from now on holds these.
    pub(crate) fn begin(&mut self, revisions: PolicyRevisions) {
        self.plans += 1;
        if *self.newest != revisions {
            self.newest = Arc::new(revisions);
        }
        let forgotten = self.plans.saturating_sub(LENGTH);
        self.of.retain(|_, (plan, _)| *plan >= forgotten);
    }

    /// The filter configurations of a snapshot of the newest plan, without what was left out of it.
    pub(crate) fn remember(&mut self, snapshot: &Snapshot, rejected: &[Rejected]) {
        let mut held = self.newest.clone();
        for rejected in rejected {
            let LeftOut::Bucket { policy, .. } = &rejected.what else {
                continue;
            };
            let is_it =
                |id: &&PolicyId| id.kind == PolicyKind::TokenBucket && id.in_rules() == *policy;
            if let Some(id) = held.keys().find(is_it).cloned() {
                Arc::make_mut(&mut held).remove(&id);
            }
        }
        for resource in snapshot.of(Kind::Extension) {
            let entry = (self.plans, held.clone());
            self.of.insert(resource.version().to_owned(), entry);
        }
    }

    /// A snapshot of an older plan is still served: what it holds is not forgotten.
    pub(crate) fn keep(&mut self, snapshot: &Snapshot) {
        for resource in snapshot.of(Kind::Extension) {
            if let Some((plan, _)) = self.of.get_mut(resource.version()) {
                *plan = self.plans;
            }
        }
    }

    /// What the configuration with this version holds.
    pub(crate) fn get(&self, version: &str) -> Option<Arc<PolicyRevisions>> {
        self.of.get(version).map(|(_, held)| held.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_model::PolicyRevision;
    use headgate_xds::Resource;

    use super::*;

    fn id() -> PolicyId {
        PolicyId {
            kind: PolicyKind::TokenBucket,
            namespace: "default".to_owned(),
            name: "tenants".to_owned(),
        }
    }

    fn policy_revisions(generation: i64) -> PolicyRevisions {
        let revision = PolicyRevision {
            uid: "7".to_owned(),
            generation,
        };
        [(id(), revision)].into()
    }

    fn snapshot(content: &str) -> Snapshot {
        let filter = Resource::new(Kind::Extension, "headgate", content.as_bytes().to_vec());
        Snapshot::new([filter]).unwrap()
    }

    fn generation(memory: &Generations, content: &str) -> Option<i64> {
        let snapshot = snapshot(content);
        let version = snapshot.of(Kind::Extension).next().unwrap().version();
        let held = memory.get(version)?;
        held.get(&id()).map(|revision| revision.generation)
    }

    #[test]
    fn a_configuration_holds_the_newest_generation_that_came_to_the_same() {
        let mut memory = Generations::default();
        for (generation, content) in [(1, "ten"), (2, "twenty"), (3, "ten")] {
            memory.begin(policy_revisions(generation));
            memory.remember(&snapshot(content), &[]);
        }
        assert_eq!(generation(&memory, "ten"), Some(3));
        assert_eq!(generation(&memory, "twenty"), Some(2));
        assert_eq!(generation(&memory, "never served"), None);
    }

    #[test]
    fn a_bucket_that_was_left_out_is_not_held() {
        let mut memory = Generations::default();
        memory.begin(policy_revisions(1));
        let rejected = |policy: &str| Rejected {
            namespace: "default".to_owned(),
            what: LeftOut::Bucket {
                policy: policy.to_owned(),
                bucket: "fair".to_owned(),
            },
            reason: String::new(),
        };
        memory.remember(&snapshot("a"), &[rejected("default/tenants")]);
        memory.remember(&snapshot("b"), &[rejected("default/other")]);
        assert_eq!(generation(&memory, "a"), None);
        assert_eq!(generation(&memory, "b"), Some(1));
    }

    #[test]
    fn the_memory_is_bounded_and_what_is_served_stays_in_it() {
        let mut memory = Generations::default();
        memory.begin(policy_revisions(1));
        memory.remember(&snapshot("good"), &[]);
        for n in 0..LENGTH * 3 {
            memory.begin(policy_revisions(2));
            memory.keep(&snapshot("good"));
            memory.remember(&snapshot(&n.to_string()), &[]);
        }
        assert_eq!(generation(&memory, "good"), Some(1));
        assert_eq!(generation(&memory, "0"), None);
        assert!(memory.of.len() < 300);
    }
}
