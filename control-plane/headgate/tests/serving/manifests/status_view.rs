//! The view of `headgate status` on one namespace.

use serde_json::Value;

/// The models and problems of one namespace.
#[derive(Debug)]
pub(crate) struct StatusView {
    pub(crate) models: Vec<Value>,
    pub(crate) problems: Vec<Value>,
}

impl StatusView {
    pub(crate) fn model(&self, id: &str) -> Option<&Value> {
        self.models.iter().find(|model| model["model"] == id)
    }

    pub(crate) fn versions(&self, id: &str) -> impl Iterator<Item = &Value> {
        let versions = self
            .model(id)
            .and_then(|model| model["versions"].as_array());
        versions.into_iter().flatten()
    }

    /// The percent of each version of a model, in their order, rounded.
    pub(crate) fn percents(&self, id: &str) -> Vec<i64> {
        self.versions(id)
            .map(|v| v["weightWanted"].as_f64().unwrap_or_default().round() as i64)
            .collect()
    }

    /// Ready endpoints of all, by version.
    pub(crate) fn endpoints(&self, id: &str) -> Vec<(i64, i64)> {
        let of = |v: &Value| {
            let count = |field: &str| v["endpoints"][field].as_i64().unwrap_or_default();
            (count("current"), count("total"))
        };
        self.versions(id).map(of).collect()
    }

    pub(crate) fn carriers(&self, id: &str) -> impl Iterator<Item = &Value> {
        let carriers = self
            .model(id)
            .and_then(|model| model["carriers"].as_array());
        carriers.into_iter().flatten()
    }

    /// Ready and desired replicas by carrier.
    pub(crate) fn ready(&self, id: &str) -> Vec<(i64, i64)> {
        let of = |c: &Value| {
            let count = |field: &str| c["ready"][field].as_i64().unwrap_or_default();
            (count("current"), count("total"))
        };
        self.carriers(id).map(of).collect()
    }

    /// Port and protocol of a model, and what determines them.
    pub(crate) fn ports(&self, id: &str) -> Vec<(i64, &str, &str)> {
        let ports = self
            .carriers(id)
            .filter_map(|carrier| carrier["ports"].as_array());
        let of = |port: &'_ Value| port["port"].as_i64().unwrap_or_default();
        ports
            .flatten()
            .map(|port| {
                (
                    of(port),
                    port["protocol"].as_str().unwrap_or_default(),
                    port["why"].as_str().unwrap_or_default(),
                )
            })
            .collect()
    }

    /// The message about an object (`deployment/x`) with this reason.
    pub(crate) fn message(&self, object: &str, reason: &str) -> Option<&str> {
        let (kind, name) = object.split_once('/')?;
        let about = |problem: &&Value| {
            let object = problem["object"].as_str().unwrap_or_default();
            let same_kind = object.to_lowercase().starts_with(&format!("{kind} "));
            let object = object.split(' ').nth(1).unwrap_or_default();
            same_kind && object.ends_with(&format!("/{name}")) && problem["reason"] == reason
        };
        self.problems.iter().find(about)?["message"].as_str()
    }

    /// The reasons of all problems, sorted.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        let mut reasons: Vec<&str> = self
            .problems
            .iter()
            .filter_map(|p| p["reason"].as_str())
            .collect();
        reasons.sort_unstable();
        reasons
    }
}
