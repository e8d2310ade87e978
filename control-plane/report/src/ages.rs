//! Ages of labels and weights: when each took its current value.
//!
//! Pure: times are arguments. Invariant: the time of a value stays until the value changes; an object that is deleted and created
//! starts again. A value of the first sample may be older than recorded: compare with [`AgeTracker::first`].

use std::collections::BTreeMap;

use headgate_contract::{ModelId, Version};
use headgate_model::{CarrierKey, LabelKeys, Objects, Plan};

/// Namespace, model and version.
type VariantKey = (String, ModelId, Version);

/// The three labels as written: model, version, weight.
type Labels = [Option<String>; 3];

/// When each label set and each weight was first observed with its current value, in Unix seconds.
#[derive(Debug, Default)]
pub struct AgeTracker {
    publication: u64,
    first: Option<f64>,
    labels: BTreeMap<CarrierKey, (Labels, f64)>,
    shares: BTreeMap<VariantKey, (u32, f64)>,
}

/// One sample: the objects that were read and the plan that follows from them.
pub struct AgeSample<'a> {
    /// Number of the publication. A sample that is not newer than the last one is ignored.
    pub publication: u64,
    /// The objects of the publication.
    pub objects: &'a Objects,
    /// The keys of the labels.
    pub keys: &'a LabelKeys,
    /// The plan.
    pub plan: &'a Plan,
    /// When the objects were read, in Unix seconds.
    pub at: f64,
}

impl AgeTracker {
    /// Records a sample.
    pub fn record(&mut self, sample: &AgeSample<'_>) {
        if sample.publication <= self.publication {
            return;
        }
        self.publication = sample.publication;
        self.first.get_or_insert(sample.at);
        let carriers = sample.objects.carriers.iter();
        self.labels = carriers
            .filter(|(_, carrier)| carrier.labels.contains_key(&sample.keys.model))
            .map(|(key, carrier)| {
                let label = |key: &String| carrier.labels.get(key).cloned();
                let labels = [
                    &sample.keys.model,
                    &sample.keys.version,
                    &sample.keys.weight,
                ]
                .map(label);
                let since = since(&self.labels, key, &labels, sample.at);
                (key.clone(), (labels, since))
            })
            .collect();
        let models = sample.plan.namespaces.iter().flat_map(|(namespace, view)| {
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
                let since = since(&self.shares, &key, &share, sample.at);
                (key, (share, since))
            })
            .collect();
    }

    /// Time of the first sample, in Unix seconds.
    pub fn first(&self) -> Option<f64> {
        self.first
    }

    /// When the labels of a carrier took their current values, in Unix seconds.
    pub fn labels(&self, key: &CarrierKey) -> Option<f64> {
        self.labels.get(key).map(|(_, since)| *since)
    }

    /// When the planned share of a version took its current value, in Unix seconds.
    pub fn share(&self, namespace: &str, id: &ModelId, version: &Version) -> Option<f64> {
        let key = (namespace.to_owned(), id.clone(), version.clone());
        self.shares.get(&key).map(|(_, since)| *since)
    }
}

fn since<K: Ord, V: PartialEq>(known: &BTreeMap<K, (V, f64)>, key: &K, now: &V, at: f64) -> f64 {
    match known.get(key) {
        Some((value, since)) if value == now => *since,
        _ => at,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use headgate_model::{Carrier, CarrierMesh, Registry, Scales, plan};

    use super::*;

    fn objects_with(weight: &str) -> Objects {
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
                mesh: CarrierMesh::default(),
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

    fn look(ages: &mut AgeTracker, publication: u64, weight: &str) -> [f64; 4] {
        let (objects, keys) = (objects_with(weight), LabelKeys::default());
        let plan = plan(
            &Registry::build(&objects, &keys),
            &objects,
            &Scales::default(),
        );
        let at = f64::from(u32::try_from(publication).unwrap()) * 10.0;
        ages.record(&AgeSample {
            publication,
            objects: &objects,
            keys: &keys,
            plan: &plan,
            at,
        });
        let mut carriers = objects.carriers.keys();
        let label = |key: &CarrierKey| ages.labels(key).unwrap();
        let share = |version: &str| {
            let (id, version) = ("m".try_into().unwrap(), version.try_into().unwrap());
            ages.share("default", &id, &version).unwrap()
        };
        [
            label(carriers.next().unwrap()),
            label(carriers.next().unwrap()),
            share("v1"),
            share("v2"),
        ]
    }

    #[test]
    fn an_age_starts_with_the_change_of_its_own_value() {
        let mut ages = AgeTracker::default();
        assert_eq!(look(&mut ages, 1, "10"), [10.0, 10.0, 10.0, 10.0]);
        assert_eq!(look(&mut ages, 2, "10"), [10.0, 10.0, 10.0, 10.0]);
        assert_eq!(look(&mut ages, 3, "30"), [10.0, 30.0, 30.0, 30.0]);
        // Seen, and refused: counts as 0, so the shares change too.
        assert_eq!(look(&mut ages, 4, "lots"), [10.0, 40.0, 40.0, 40.0]);
        assert_eq!(look(&mut ages, 5, "0"), [10.0, 50.0, 40.0, 40.0]);
        assert_eq!(ages.first(), Some(10.0));
    }

    #[test]
    fn a_late_sample_changes_nothing() {
        let mut ages = AgeTracker::default();
        look(&mut ages, 2, "10");
        assert_eq!(look(&mut ages, 1, "30"), [20.0, 20.0, 20.0, 20.0]);
    }
}
