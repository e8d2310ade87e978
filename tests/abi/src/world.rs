//! An Envoy with one module, in front of two mock models.

use std::path::Path;
use std::time::Duration;

use headgate_test_support::client::{HttpClient, HttpRequest, Reply};
use headgate_test_support::envoy::{Envoy, EnvoyError, EnvoyOptions};
use headgate_test_support::mock_model::{MockModel, MockOptions};
use serde_json::Value;

use crate::bootstrap::bootstrap;
use crate::module;

/// How long an event of these tests may take.
pub const SOON: Duration = Duration::from_secs(20);

/// Everything that runs.
#[derive(Debug)]
pub struct World {
    /// The Envoy under test.
    pub envoy: Envoy,
    /// Its listener, as a URL.
    pub url: String,
    /// A client.
    pub client: HttpClient,
    /// The upstreams `v1` and `v2`.
    pub models: [MockModel; 2],
}

/// Starts Envoy with a module and this text for its configuration.
///
/// # Errors
/// What Envoy says when it does not start.
///
/// # Panics
/// When a mock model or the listener does not start.
pub async fn try_start(module: &str, config: &str, workers: u32) -> Result<World, EnvoyError> {
    try_start_file(&module::path(module), config, workers).await
}

/// The same with any file.
///
/// # Errors
/// As [`try_start`].
///
/// # Panics
/// As [`try_start`].
pub async fn try_start_file(
    module: &Path,
    config: &str,
    workers: u32,
) -> Result<World, EnvoyError> {
    let model = async |version| {
        let model = MockModel::start(MockOptions::new("m", version)).await;
        model.expect("a mock model")
    };
    let models = [model("v1").await, model("v2").await];
    let upstreams = [("v1", models[0].addr()), ("v2", models[1].addr())];
    let text = bootstrap(module, config, &upstreams);
    let mut options = EnvoyOptions::new(text);
    options.concurrency = workers;
    let mut envoy = Envoy::start(options).await?;
    let addr = envoy.wait_listener("headgate", SOON).await?;
    Ok(World {
        envoy,
        url: format!("http://{addr}"),
        client: HttpClient::new(),
        models,
    })
}

/// Starts Envoy with a module and a configuration that it must take.
///
/// # Panics
/// When anything does not start.
pub async fn start(module: &str, config: &Value) -> World {
    let started = try_start(module, &config.to_string(), 1).await;
    started.unwrap_or_else(|error| panic!("{module}: {error}"))
}

impl World {
    /// Sends a request.
    ///
    /// # Panics
    /// Without an answer.
    pub async fn send(&self, request: HttpRequest) -> Reply {
        self.client.send(request).await.expect("an answer")
    }

    /// Requests that reached an upstream.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.models.iter().map(|model| model.stats().requests).sum()
    }
}
