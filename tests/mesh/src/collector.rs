//! A collector of spans, as Zipkin is one: what proxies send is what a user sees in a trace.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use headgate_meshkit::istio::ROOT_NAMESPACE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The host of the collector in the mesh.
const HOST: &str = "zipkin.tracing.example";
/// Its port there. The proxies of the testbed know the ports 8000 and 18000 only.
const PORT: u16 = 8000;

type Spans = Arc<Mutex<Vec<Value>>>;

/// A collector on loopback. It keeps all spans that it receives.
#[derive(Debug)]
pub(crate) struct Collector {
    addr: SocketAddr,
    spans: Spans,
    serving: JoinHandle<()>,
}

impl Collector {
    /// Starts it.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let spans = Spans::default();
        let router = Router::new()
            .route("/api/v2/spans", post(keep))
            .with_state(Arc::clone(&spans));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            // The server ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            addr,
            spans,
            serving,
        })
    }

    /// The first span with this value of a tag.
    pub(crate) fn span_with(&self, tag: &str, value: &str) -> Option<Value> {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans
            .iter()
            .find(|span| span["tags"][tag] == value)
            .cloned()
    }

    /// The number of spans.
    pub(crate) fn count(&self) -> usize {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.len()
    }

    /// What tells the mesh of it: a host, and the Telemetry of the whole mesh, which samples every request.
    pub(crate) fn objects(&self) -> Vec<Value> {
        vec![
            json!({
                "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
                "metadata": { "name": "zipkin", "namespace": ROOT_NAMESPACE },
                "spec": {
                    "hosts": [HOST], "location": "MESH_EXTERNAL", "resolution": "STATIC",
                    "ports": [{ "number": PORT, "name": "http", "protocol": "HTTP" }],
                    "endpoints": [{
                        "address": self.addr.ip().to_string(),
                        "ports": { "http": self.addr.port() },
                    }],
                },
            }),
            json!({
                "apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry",
                "metadata": { "name": "mesh", "namespace": ROOT_NAMESPACE },
                "spec": { "tracing": [
                    { "providers": [{ "name": "zipkin" }], "randomSamplingPercentage": 100.0 },
                ] },
            }),
        ]
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The provider of the mesh configuration.
pub(crate) fn provider() -> Value {
    json!({ "name": "zipkin", "zipkin": { "service": HOST, "port": PORT } })
}

async fn keep(State(spans): State<Spans>, Json(received): Json<Vec<Value>>) -> StatusCode {
    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    spans.extend(received);
    StatusCode::ACCEPTED
}
