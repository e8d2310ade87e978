//! An Envoy with one module, in front of two mock models.

use std::path::Path;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyError, EnvoyOptions};
use headgate_testkit::mock_model::{MockAnswer, MockModel, MockOptions, RecordedRequest};
use serde_json::Value;

use crate::bootstrap::{ACCESS_LOG_MARK, Upstreams, bootstrap, filter};
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
    try_start_speaking(module, config, workers, Upstreams::Http1).await
}

/// The same, whatever Envoy speaks with the upstreams.
///
/// # Errors
/// As [`try_start`].
///
/// # Panics
/// As [`try_start`].
pub async fn try_start_speaking(
    module: &Path,
    config: &str,
    workers: u32,
    speaking: Upstreams,
) -> Result<World, EnvoyError> {
    try_start_filter(filter(module, config), workers, speaking).await
}

/// The same with any filter.
///
/// # Errors
/// As [`try_start`].
///
/// # Panics
/// As [`try_start`].
pub async fn try_start_filter(
    filter: Value,
    workers: u32,
    speaking: Upstreams,
) -> Result<World, EnvoyError> {
    let model = async |version| {
        let model = MockModel::start(MockOptions::new("m", version)).await;
        model.expect("a mock model")
    };
    let models = [model("v1").await, model("v2").await];
    let upstreams = [("v1", models[0].addr()), ("v2", models[1].addr())];
    let text = bootstrap(filter, &upstreams, speaking);
    let mut options = EnvoyOptions::new(text);
    options.concurrency = workers;
    // Envoy discovers nothing without a name of its own.
    options.node_id = Some("abi".to_owned());
    options.node_cluster = Some("abi".to_owned());
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

    /// Registers an answer with both upstreams, for requests with `x-mock-answer: NAME`.
    pub fn set_answer(&self, name: &str, answer: &MockAnswer) {
        for model in &self.models {
            model.handle().set_answer(name, answer.clone());
        }
    }

    /// The request that was sent with `x-mock-keep: NAME`, as the upstream got it.
    ///
    /// # Panics
    /// When none got it.
    #[must_use]
    pub fn kept(&self, name: &str) -> RecordedRequest {
        let mut seen = self
            .models
            .iter()
            .map(|model| model.handle().recorded(name));
        let seen = seen.find_map(|seen| seen);
        seen.unwrap_or_else(|| panic!("no upstream got {name}"))
    }

    /// Waits until each request has come to its end, and so is settled: whoever asks later is answered later, because a stream ends
    /// on its worker before the worker takes the next request.
    ///
    /// # Panics
    /// When one does not end.
    pub async fn quiet(&self) {
        let admin = self.envoy.admin();
        let quiet = eventually(SOON, "every request to end", async || {
            match admin.stat("http.abi.downstream_rq_active").await {
                Ok(Some(0)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        quiet.await.expect("an end of all requests");
    }

    /// The line of the access log that has this in it; Envoy flushes it in its own time.
    ///
    /// # Panics
    /// When there is none.
    pub async fn access_line(&self, part: &str) -> String {
        let line = eventually(SOON, part, async || {
            let text = self.envoy.log().text();
            let mut lines = text.lines().filter(|l| l.starts_with(ACCESS_LOG_MARK));
            let found = lines.find(|l| l.contains(part)).map(str::to_owned);
            found.ok_or("no such line")
        });
        line.await.expect("a line of the access log")
    }

    /// Requests that reached an upstream.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.models.iter().map(|model| model.stats().requests).sum()
    }
}
