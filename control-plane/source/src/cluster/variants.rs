//! Labelled Services of the same model and version as a carrier.

use std::collections::BTreeSet;

use super::identity::Name;
use super::objects::Object;
use super::store::Store;
use headgate_kubernetes::WatchedKind;

impl Store {
    /// The labelled Services with the model and the version of a carrier: the carrier itself, and Services for other ports or
    /// clients. A pod behind several of them serves on one port.
    pub(super) fn of_one_variant<'a>(
        &self,
        carrier: &Object,
        services: &'a BTreeSet<Name>,
    ) -> Vec<&'a Name> {
        let same = |name: &&Name| {
            let service = self.objects.get(&(WatchedKind::Services, (*name).clone()));
            service.is_some_and(|service| self.is_same_variant(service, carrier))
        };
        services.iter().filter(same).collect()
    }

    /// Whether two objects have the same labels of model and version.
    pub(super) fn is_same_variant(&self, one: &Object, other: &Object) -> bool {
        let mut labels = [&self.keys.model, &self.keys.version].into_iter();
        labels.all(|label| one.meta.labels.get(label) == other.meta.labels.get(label))
    }
}
