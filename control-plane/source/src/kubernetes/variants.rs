//! Labelled Services of the same model and version as a carrier.

use std::collections::BTreeSet;

use super::objects::{Name, Object};
use super::store::{Store, What};

impl Store {
    /// The labelled Services with the model and the version of a carrier: the carrier itself, and Services for other ports or
    /// clients. A pod behind several of them serves on one port.
    pub(super) fn of_one_variant<'a>(
        &self,
        carrier: &Object,
        services: &'a BTreeSet<Name>,
    ) -> Vec<&'a Name> {
        let labels = [&self.keys.model, &self.keys.version];
        let declared = labels.map(|label| carrier.meta.labels.get(label));
        let same = |name: &&Name| {
            let service = self.objects.get(&(What::Services, (*name).clone()));
            service.is_some_and(|service| {
                labels.map(|label| service.meta.labels.get(label)) == declared
            })
        };
        services.iter().filter(same).collect()
    }
}
