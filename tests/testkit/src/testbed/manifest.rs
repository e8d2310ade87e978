//! A builder of Deployment manifests with the labels of a model version.

use std::net::SocketAddr;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A Deployment that declares a version of a model. Rendered as JSON, which is YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    name: String,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    namespace: Option<String>,
    created: Option<String>,
    replicas: u32,
}

impl Manifest {
    /// A Deployment named `MODEL-VERSION`, without a weight and without endpoints.
    #[must_use]
    pub fn new(model: &str, version: &str) -> Self {
        Self {
            name: format!("{model}-{version}").to_lowercase(),
            labels: Map::new(),
            annotations: Map::new(),
            namespace: None,
            created: None,
            replicas: 1,
        }
        .label("model-name", model)
        .label("model-version", version)
    }

    /// Sets `canary-weight`; any text is accepted.
    #[must_use]
    pub fn weight(self, weight: &str) -> Self {
        self.label("canary-weight", weight)
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }

    /// Sets an annotation.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Sets the addresses of its pods.
    #[must_use]
    pub fn endpoints(self, endpoints: &[SocketAddr]) -> Self {
        let list: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
        self.annotation("headgate.dev/endpoints", &list.join(","))
    }

    /// Sets another namespace than the default one.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Sets `creationTimestamp` (RFC 3339), as an API server would. A manifest without one counts as the oldest.
    #[must_use]
    pub fn created(mut self, at: &str) -> Self {
        self.created = Some(at.to_owned());
        self
    }

    /// Sets `creationTimestamp` to the current time.
    #[must_use]
    pub fn created_now(self) -> Self {
        self.created(&rfc3339(Timestamp::now()))
    }

    /// `spec.replicas`.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// The Deployment's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model, from its label.
    #[must_use]
    pub fn model(&self) -> &str {
        self.labelled("model-name")
    }

    /// The version, from its label.
    #[must_use]
    pub fn version(&self) -> &str {
        self.labelled("model-version")
    }

    fn labelled(&self, key: &str) -> &str {
        self.labels
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The content of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut metadata = json!({
            "name": self.name,
            "labels": self.labels,
            "annotations": self.annotations,
        });
        let optional = [
            ("namespace", &self.namespace),
            ("creationTimestamp", &self.created),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                metadata[key] = value.clone().into();
            }
        }
        let app = json!({"app": self.name});
        let container = json!({
            "name": "server",
            "image": "headgate/mock-model",
            "args": [
                "--listen=0.0.0.0:8000",
                format!("--model={}", self.model()),
                format!("--version={}", self.version()),
            ],
            "ports": [{"name": "http", "containerPort": 8000}],
        });
        let manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": app},
                "template": {"metadata": {"labels": app}, "spec": {"containers": [container]}},
            },
        });
        format!("{manifest:#}\n")
    }
}

/// A time in the format of an API server: RFC 3339 in whole seconds.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn timestamps_have_the_format_of_an_api_server() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_second(unix).unwrap()), text);
        }
    }
}
