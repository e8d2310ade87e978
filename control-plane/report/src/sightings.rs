//! Since when labels and weights are as they are: what gives `status` its ages.
//!
//! Pure: moments are arguments. Invariant: a moment stays for as long as the thing stays equal; what is gone and comes
//! again is new. What is there at the first look may be older, which [`Sightings::first`] tells.

use std::collections::BTreeMap;

use headgate_contract::{ModelId, Version};
use headgate_model::{CarrierKey, LabelKeys, Objects, Plan};

/// Namespace, model and version.
type VariantKey = (String, ModelId, Version);

/// The three labels as written: model, version, weight.
type Labels = [Option<String>; 3];

/// When what was first seen as it is now. Moments are in Unix seconds.
#[derive(Debug, Default)]
pub struct Sightings {
    publication: u64,
    first: Option<f64>,
    labels: BTreeMap<CarrierKey, (Labels, f64)>,
    shares: BTreeMap<VariantKey, (u32, f64)>,
}

/// One look at the world: what was read, and what was planned of it.
pub struct Look<'a> {
    /// Counts the looks; an older one than the last changes nothing.
    pub publication: u64,
    /// The objects that the publication was made from.
    pub objects: &'a Objects,
    /// The keys of the labels.
    pub keys: &'a LabelKeys,
    /// The plan.
    pub plan: &'a Plan,
    /// When it was read to be planned.
    pub at: f64,
}

impl Sightings {
    /// Enters a look.
    pub fn note(&mut self, look: &Look<'_>) {
        if look.publication <= self.publication {
            return;
        }
        self.publication = look.publication;
        self.first.get_or_insert(look.at);
        let carriers = look.objects.carriers.iter();
        self.labels = carriers
            .filter(|(_, carrier)| carrier.labels.contains_key(&look.keys.model))
            .map(|(key, carrier)| {
                let label = |key: &String| carrier.labels.get(key).cloned();
                let labels = [&look.keys.model, &look.keys.version, &look.keys.weight].map(label);
                let since = since(&self.labels, key, &labels, look.at);
                (key.clone(), (labels, since))
            })
            .collect();
        let models = look.plan.namespaces.iter().flat_map(|(namespace, view)| {
            let models = view.models.iter();
            models.map(move |(id, model)| (namespace, id, model))
        });
        self.shares = models
            .flat_map(|(namespace, id, model)| {
                let variants = model.variants.iter();
                variants.map(move |(version, variant)| {
                    (
                        (namespace.clone(), id.clone(), version.clone()),
                        variant.share,
                    )
                })
            })
            .map(|(key, share)| {
                let since = since(&self.shares, &key, &share, look.at);
                (key, (share, since))
            })
            .collect();
    }

    /// When it first looked.
    pub fn first(&self) -> Option<f64> {
        self.first
    }

    /// Since when a carrier's labels are as they are.
    pub fn labels(&self, key: &CarrierKey) -> Option<f64> {
        self.labels.get(key).map(|(_, since)| *since)
    }

    /// Since when a version's share is what it is.
    pub fn share(&self, namespace: &str, id: &ModelId, version: &Version) -> Option<f64> {
        let key = (namespace.to_owned(), id.clone(), version.clone());
        self.shares.get(&key).map(|(_, since)| *since)
    }
}

fn since<K: Ord, V: PartialEq>(then: &BTreeMap<K, (V, f64)>, key: &K, now: &V, at: f64) -> f64 {
    match then.get(key) {
        Some((before, since)) if before == now => *since,
        _ => at,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_model::{Carrier, Registry, Scales, plan};

    use super::*;

    fn world(weight: &str) -> Objects {
        let key = |name: &str| CarrierKey {
            namespace: "default".into(),
            kind: "deployment".into(),
            name: name.into(),
        };
        let carrier = |name: &str, created, weight: Option<&str>| {
            let labels = [("model-name", "m"), ("model-version", name)];
            let labels = labels
                .into_iter()
                .chain(weight.map(|w| ("canary-weight", w)));
            Carrier {
                key: key(name),
                created,
                labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                annotations: BTreeMap::new(),
                desired: 1,
                owner_replicas: BTreeMap::new(),
                pods: vec![headgate_model::Pod::at(
                    name,
                    std::net::SocketAddr::from(([127, 0, 0, 1], 9)),
                )],
                min_ready_seconds: 0,
                unready_reasons: Vec::new(),
                origin: String::new(),
            }
        };
        let both = [
            carrier("v1", None, None),
            carrier("v2", Some(1), Some(weight)),
        ];
        let mut objects = Objects::default();
        objects
            .carriers
            .extend(both.map(|carrier| (carrier.key.clone(), carrier)));
        objects
    }

    fn look(sightings: &mut Sightings, publication: u64, weight: &str) -> [f64; 4] {
        let (objects, keys) = (world(weight), LabelKeys::default());
        let plan = plan(
            &Registry::build(&objects, &keys),
            &objects,
            &Scales::default(),
        );
        let at = f64::from(u32::try_from(publication).unwrap()) * 10.0;
        sightings.note(&Look {
            publication,
            objects: &objects,
            keys: &keys,
            plan: &plan,
            at,
        });
        let mut carriers = objects.carriers.keys();
        let label = |key: &CarrierKey| sightings.labels(key).unwrap();
        let share = |version: &str| {
            let (id, version) = ("m".try_into().unwrap(), version.try_into().unwrap());
            sightings.share("default", &id, &version).unwrap()
        };
        [
            label(carriers.next().unwrap()),
            label(carriers.next().unwrap()),
            share("v1"),
            share("v2"),
        ]
    }

    #[test]
    fn an_age_begins_with_the_change_of_the_thing_itself() {
        let mut sightings = Sightings::default();
        assert_eq!(look(&mut sightings, 1, "10"), [10.0, 10.0, 10.0, 10.0]);
        assert_eq!(look(&mut sightings, 2, "10"), [10.0, 10.0, 10.0, 10.0]);
        assert_eq!(look(&mut sightings, 3, "30"), [10.0, 30.0, 30.0, 30.0]);
        // Seen, and refused: counts as 0, so the shares change too.
        assert_eq!(look(&mut sightings, 4, "lots"), [10.0, 40.0, 40.0, 40.0]);
        assert_eq!(look(&mut sightings, 5, "0"), [10.0, 50.0, 40.0, 40.0]);
        assert_eq!(sightings.first(), Some(10.0));
    }

    #[test]
    fn a_look_that_comes_late_changes_nothing() {
        let mut sightings = Sightings::default();
        look(&mut sightings, 2, "10");
        assert_eq!(look(&mut sightings, 1, "30"), [20.0, 20.0, 20.0, 20.0]);
    }
}
