//! Direct access to the etcd of a test API server, through etcd's JSON gateway.
//!
//! Invariant: no key of Kubernetes is changed.

use std::fmt;

use serde_json::{Value, json};

use super::KubeError;
use crate::client::{HttpClient, HttpRequest};

/// The key used here: `headgate/marker` in base64.
const MARKER: &str = "aGVhZGdhdGUvbWFya2Vy";

/// The etcd of one API server.
#[derive(Debug, Clone)]
pub(super) struct Etcd {
    url: String,
    client: HttpClient,
}

/// A revision of etcd, which Kubernetes calls a resource version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Etcd {
    pub(super) fn new(url: String) -> Self {
        let client = HttpClient::new();
        Self { url, client }
    }

    /// Compacts all revisions before now, so that every version that a client has seen is too old for a watch. A watch from `v` needs
    /// `v + 1`; therefore two revisions are written before the compaction.
    pub(super) async fn compact(&self) -> Result<Revision, KubeError> {
        let put = json!({"key": MARKER, "value": MARKER});
        self.post("/v3/kv/put", &put).await?;
        let now = revision("/v3/kv/put", &self.post("/v3/kv/put", &put).await?)?;
        let cut = json!({"revision": now.0.to_string(), "physical": true});
        self.post("/v3/kv/compaction", &cut).await?;
        Ok(now)
    }

    /// Whether the state at a revision can still be read.
    pub(super) async fn has_revision(&self, revision: Revision) -> Result<bool, KubeError> {
        let read = json!({"key": MARKER, "revision": revision.0.to_string()});
        match self.post("/v3/kv/range", &read).await {
            Ok(_) => Ok(true),
            Err(KubeError::Etcd { why, .. }) if why.contains("has been compacted") => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, path: &'static str, body: &Value) -> Result<Value, KubeError> {
        let url = format!("{}{path}", self.url);
        let request = HttpRequest::post(url, body.to_string());
        let reply = self.client.send(request).await?;
        if !reply.is_success() {
            let why = format!("{} {}", reply.status, reply.text());
            return Err(KubeError::Etcd { path, why });
        }
        Ok(reply.json()?)
    }
}

/// The revision in a response header; 64-bit numbers are strings in JSON.
fn revision(path: &'static str, answer: &Value) -> Result<Revision, KubeError> {
    answer["header"]["revision"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .map(Revision)
        .ok_or_else(|| KubeError::Etcd {
            path,
            why: format!("no revision in {answer}"),
        })
}
