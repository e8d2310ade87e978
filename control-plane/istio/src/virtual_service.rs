//! A `VirtualService` of another person, as far as the routes of versions come before its own.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fields::list;

/// What a `VirtualService` does that requests for a model do not see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualService {
    /// `spec.hosts` as written.
    pub hosts: Vec<String>,
    /// Whether a route has several destinations.
    pub splits: bool,
    /// The fields of its routes that change requests or answers.
    pub settings: BTreeSet<&'static str>,
}

/// The fields of a route, and of its destinations, that a version's route does not take over.
const SETTINGS: [&str; 11] = [
    "corsPolicy",
    "directResponse",
    "fault",
    "headers",
    "mirror",
    "mirrorPercentage",
    "mirrors",
    "redirect",
    "retries",
    "rewrite",
    "timeout",
];

impl VirtualService {
    /// Reads an object; `None` if it only names destinations.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let spec = object.get("spec")?;
        let mut service = Self::default();
        for http in list(spec, "http") {
            let destinations = || list(http, "route");
            service.splits |= destinations().nth(1).is_some();
            let has = |field: &&str| {
                let mut all = std::iter::once(http).chain(destinations());
                all.any(|part| part.get(*field).is_some())
            };
            service.settings.extend(SETTINGS.into_iter().filter(has));
        }
        let hosts = list(spec, "hosts").filter_map(Value::as_str);
        service.hosts = hosts.map(str::to_owned).collect();
        (service.splits || !service.settings.is_empty()).then_some(service)
    }
}
