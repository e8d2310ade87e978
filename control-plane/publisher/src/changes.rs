//! The difference between two publications, for the log: namespaces, models, and resources by type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use headgate_model::{NamespacePlan, Plan};
use headgate_xds::{Kind, Snapshot};

/// Names that a list shows before it only counts.
const SHOWN: usize = 5;

/// The namespaces and models that differ between two plans.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PlanChanges {
    /// Namespaces.
    pub(crate) namespaces: Names,
    /// Models, as `namespace/id`.
    pub(crate) models: Names,
}

/// A list of names that stays short in a log line: `a, b and 40 more`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(BTreeSet<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.0.iter().take(SHOWN).map(String::as_str).collect();
        f.write_str(&shown.join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl PlanChanges {
    /// Whether the plans are equal.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The changes from `before` (`None`: nothing was published) to `after`.
    pub(crate) fn between(before: Option<&Plan>, after: &Plan) -> Self {
        let empty = Plan::default();
        let before = before.unwrap_or(&empty);
        let none = NamespacePlan::default();
        let mut changes = Self::default();
        let names: BTreeSet<&String> = before
            .namespaces
            .keys()
            .chain(after.namespaces.keys())
            .collect();
        for name in names {
            let old = before.namespaces.get(name).unwrap_or(&none);
            let new = after.namespaces.get(name).unwrap_or(&none);
            if old == new {
                continue;
            }
            changes.namespaces.0.insert(name.clone());
            let ids: BTreeSet<_> = old.models.keys().chain(new.models.keys()).collect();
            let changed = ids
                .into_iter()
                .filter(|id| old.models.get(*id) != new.models.get(*id));
            let models = changed.map(|id| format!("{name}/{id}"));
            changes.models.0.extend(models);
        }
        changes
    }
}

/// Number of added, changed and removed resources by type, over all scopes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ChangedResources(BTreeMap<&'static str, usize>);

impl ChangedResources {
    /// Whether no resource changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The resources that differ between two snapshots.
    pub(crate) fn between(before: Option<&Snapshot>, after: &Snapshot) -> Self {
        let count = |kind: Kind| {
            let same = |other: &Snapshot, name: &str, version: &str| {
                let found = other.get(kind, name);
                found.is_some_and(|found| found.version() == version)
            };
            let is_new = after.of(kind).filter(|resource| {
                before.is_none_or(|before| !same(before, resource.name(), resource.version()))
            });
            let old = before.into_iter().flat_map(|before| before.of(kind));
            let removed = old.filter(|resource| after.get(kind, resource.name()).is_none());
            is_new.count() + removed.count()
        };
        let counts = Kind::PUSH_ORDER.map(|kind| (kind.as_str(), count(kind)));
        Self(counts.into_iter().filter(|(_, count)| *count > 0).collect())
    }

    /// Adds those of another scope.
    pub(crate) fn add(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(kind).or_default() += count;
        }
    }
}

impl fmt::Display for ChangedResources {
    /// `Cluster 2, Endpoints 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.iter().map(|(kind, count)| format!("{kind} {count}"));
        f.write_str(&counts.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_contract::ModelId;
    use headgate_model::PlannedModel;
    use headgate_xds::Resource;

    use super::*;

    #[test]
    fn added_changed_and_removed_resources_are_counted_by_type() {
        let snapshot = |clusters: &[(&str, &str)]| {
            let resource = |(name, body): &(&str, &str)| {
                Resource::new(Kind::Secret, *name, body.as_bytes().to_vec())
            };
            Snapshot::new(clusters.iter().map(resource)).unwrap()
        };
        let before = snapshot(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = snapshot(&[("a", "1"), ("b", "2"), ("d", "1")]);
        let mut changed = ChangedResources::between(Some(&before), &after);
        assert_eq!(changed.to_string(), format!("{} 3", Kind::Secret.as_str()));
        changed.add(&ChangedResources::between(Some(&after), &after));
        changed.add(&ChangedResources::between(None, &before));
        assert_eq!(changed.to_string(), format!("{} 6", Kind::Secret.as_str()));
    }

    fn plan(models: &[(&str, &str)]) -> Plan {
        let mut plan = Plan::default();
        for (namespace, id) in models {
            let view = plan.namespaces.entry((*namespace).to_owned()).or_default();
            let id = ModelId::try_from(*id).unwrap();
            view.models.insert(id, PlannedModel::default());
        }
        plan
    }

    #[test]
    fn only_what_differs_is_named() {
        let before = plan(&[("a", "x"), ("a", "y"), ("b", "x")]);
        let after = plan(&[("a", "x"), ("b", "x"), ("b", "z")]);
        let changes = PlanChanges::between(Some(&before), &after);
        assert_eq!(changes.namespaces.to_string(), "a, b");
        assert_eq!(changes.models.to_string(), "a/y, b/z");
        assert_eq!(
            PlanChanges::between(Some(&after), &after),
            PlanChanges::default()
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..45).map(|n| format!("m{n:02}")).collect();
        let models: Vec<(&str, &str)> = names.iter().map(|id| ("a", id.as_str())).collect();
        let changes = PlanChanges::between(None, &plan(&models));
        assert_eq!(
            changes.models.to_string(),
            "a/m00, a/m01, a/m02, a/m03, a/m04 and 40 more"
        );
    }
}
