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

/// The timeout of every wait in these tests.
pub const SOON: Duration = Duration::from_secs(20);

/// The running processes and a client.
#[derive(Debug)]
pub struct Testbed {
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
/// The output of Envoy if it does not start.
///
/// # Panics
/// If a mock model or the listener does not start.
pub async fn try_start(module: &str, config: &str, workers: u32) -> Result<Testbed, EnvoyError> {
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
) -> Result<Testbed, EnvoyError> {
    try_start_speaking(module, config, workers, Upstreams::Http1).await
}

/// The same with this protocol between Envoy and the upstreams.
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
    protocol: Upstreams,
) -> Result<Testbed, EnvoyError> {
    try_start_filter(filter(module, config), workers, protocol).await
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
    protocol: Upstreams,
) -> Result<Testbed, EnvoyError> {
    try_start_edited(filter, workers, protocol, |_, _| {}).await
}

/// The same with changes of the bootstrap and of the options.
///
/// # Errors
/// As [`try_start`].
///
/// # Panics
/// As [`try_start`].
pub async fn try_start_edited(
    filter: Value,
    workers: u32,
    protocol: Upstreams,
    edit: impl FnOnce(&mut Value, &mut EnvoyOptions),
) -> Result<Testbed, EnvoyError> {
    let model = async |version| {
        let model = MockModel::start(MockOptions::new("m", version)).await;
        model.expect("a mock model")
    };
    let models = [model("v1").await, model("v2").await];
    let upstreams = [("v1", models[0].addr()), ("v2", models[1].addr())];
    let mut bootstrap = bootstrap(filter, &upstreams, protocol);
    let mut options = EnvoyOptions::new(String::new());
    options.concurrency = workers;
    // Envoy needs a node name for discovery.
    options.node_id = Some("abi".to_owned());
    options.node_cluster = Some("abi".to_owned());
    edit(&mut bootstrap, &mut options);
    // JSON is YAML.
    options.bootstrap = bootstrap.to_string();
    let mut envoy = Envoy::start(options).await?;
    let addr = envoy.wait_listener("headgate", SOON).await?;
    Ok(Testbed {
        envoy,
        url: format!("http://{addr}"),
        client: HttpClient::new(),
        models,
    })
}

/// Starts Envoy with a module and a valid configuration.
///
/// # Panics
/// If anything does not start.
pub async fn start(module: &str, config: &Value) -> Testbed {
    let started = try_start(module, &config.to_string(), 1).await;
    started.unwrap_or_else(|error| panic!("{module}: {error}"))
}

impl Testbed {
    /// Sends a request.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&self, request: HttpRequest) -> Reply {
        self.client.send(request).await.expect("an answer")
    }

    /// Registers an answer with both upstreams, for requests with `x-mock-answer: NAME`.
    pub fn set_answer(&self, name: &str, answer: &MockAnswer) {
        for model in &self.models {
            model.handle().set_answer(name, answer.clone());
        }
    }

    /// The request with `x-mock-keep: NAME`, as the upstream received it.
    ///
    /// # Panics
    /// If no upstream received it.
    #[must_use]
    pub fn recorded(&self, name: &str) -> RecordedRequest {
        let mut recorded = self
            .models
            .iter()
            .map(|model| model.handle().recorded(name));
        let recorded = recorded.find_map(|recorded| recorded);
        recorded.unwrap_or_else(|| panic!("no upstream got {name}"))
    }

    /// Waits until every request has ended and is settled. Later requests see the settlement, because a worker ends a stream
    /// before it takes the next request.
    ///
    /// # Panics
    /// If a request does not end.
    pub async fn wait_until_settled(&self) {
        let admin = self.envoy.admin();
        let wait_until_settled = eventually(SOON, "every request to end", async || {
            match admin.stat("http.abi.downstream_rq_active").await {
                Ok(Some(0)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        wait_until_settled.await.expect("an end of all requests");
    }

    /// Waits for the line of the access log with this text; Envoy flushes the log periodically.
    ///
    /// # Panics
    /// If there is no such line.
    pub async fn access_line(&self, part: &str) -> String {
        let line = eventually(SOON, part, async || {
            let text = self.envoy.log().text();
            let mut lines = text.lines().filter(|l| l.starts_with(ACCESS_LOG_MARK));
            let found = lines.find(|l| l.contains(part)).map(str::to_owned);
            found.ok_or("no such line")
        });
        line.await.expect("a line of the access log")
    }

    /// The number of requests that reached an upstream.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.models.iter().map(|model| model.stats().requests).sum()
    }
}
