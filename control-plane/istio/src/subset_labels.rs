//! The labels of a version's subset: ones that all its pods have, and no other pod behind the Service.

use std::collections::BTreeMap;

use headgate_contract::{ModelId, Version};
use headgate_model::{Carrier, CarrierKey, Labels};

use crate::options::Options;

/// A version behind a Service.
pub(crate) struct Member<'a> {
    pub(crate) id: &'a ModelId,
    pub(crate) version: &'a Version,
    /// Its carriers.
    pub(crate) carriers: Vec<&'a Carrier>,
}

/// The labels of a version's subset; `None` if no labels tell its pods from the others.
///
/// The version label comes first, with the model label if the Service is in front of several models, then the selector of the only
/// carrier, then both together. `behind` has every carrier with pods behind the Service. Pods that exist count by their labels, and
/// carriers also by their selectors, because pods to come have at least those.
pub(crate) fn subset_labels(
    of: &Member<'_>,
    behind: &[&Carrier],
    several_models: bool,
    options: &Options,
) -> Option<Labels> {
    let version = of.version_label(options);
    let model = of.model_label(options);
    let both = version.as_ref().zip(model.as_ref());
    let both = both.map(|(version, model)| union(version, model));
    let selector = match &of.carriers[..] {
        [one] if !one.mesh.selector.is_empty() => Some(one.mesh.selector.clone()),
        _ => None,
    };
    let and_selector = |labels: &Option<Labels>| {
        let pair = selector.as_ref().zip(labels.as_ref());
        pair.map(|(selector, labels)| union(selector, labels))
    };
    let (with_version, with_both) = (and_selector(&version), and_selector(&both));
    let mut candidates = [version, both, selector, with_version, with_both];
    if several_models {
        candidates.swap(0, 1);
    }
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|labels| {
        let mut others = behind
            .iter()
            .flat_map(|carrier| of.others(carrier, options));
        !others.any(|other| contains(other, labels))
    })
}

impl Member<'_> {
    /// The version label, if all pods have it.
    fn version_label(&self, options: &Options) -> Option<Labels> {
        let pods = self.carriers.iter().flat_map(|carrier| &carrier.pods);
        let own = |version: &str| version == self.version.as_str();
        let mut pods = pods
            .filter(|pod| pod.version.as_deref().is_none_or(own))
            .peekable();
        pods.peek()?;
        let label = || (options.keys.version.clone(), self.version.to_string());
        pods.all(|pod| pod.version.is_some())
            .then(|| [label()].into())
    }

    /// The model label, if all pods have it.
    fn model_label(&self, options: &Options) -> Option<Labels> {
        let mut carriers = self.carriers.iter();
        let label = || (options.keys.model.clone(), self.id.to_string());
        carriers
            .all(|carrier| carrier.mesh.labels_model)
            .then(|| [label()].into())
    }

    /// The labels of a carrier's pods, and those that its pods will have, unless they are of this version.
    fn others<'a>(
        &'a self,
        carrier: &'a Carrier,
        options: &'a Options,
    ) -> impl Iterator<Item = &'a Labels> {
        let is_own = self.carriers.iter().any(|own| own.key == carrier.key);
        let selector = Some(&carrier.mesh.selector).filter(|_| !is_own);
        let pods = carrier.mesh.pods.iter().filter(move |labels| {
            let version = labels.get(&options.keys.version);
            !is_own || version.is_some_and(|version| version != self.version.as_str())
        });
        selector.into_iter().chain(pods)
    }
}

/// The carriers with pods behind each Service, among these of one namespace.
pub(crate) fn behind<'a>(
    carriers: impl Iterator<Item = (&'a CarrierKey, &'a Carrier)>,
) -> BTreeMap<&'a str, Vec<&'a Carrier>> {
    let mut behind: BTreeMap<&str, Vec<&Carrier>> = BTreeMap::new();
    for (_, carrier) in carriers {
        for service in &carrier.mesh.services {
            behind.entry(&service.name).or_default().push(carrier);
        }
    }
    behind
}

fn union(one: &Labels, other: &Labels) -> Labels {
    one.iter()
        .chain(other)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn contains(labels: &Labels, part: &Labels) -> bool {
    part.iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
