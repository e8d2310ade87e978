//! The log lines that an operator works with, with their levels, messages and fields.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod in_memory;
mod log_capture;
mod loopback;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headgate_xds::{Kind, Options, Origin, OriginObject, Resource, Snapshot, XdsServer};
use in_memory::{DeltaStream, Network};
use log_capture::{Line, Lines};
use loopback::{Scopes, answer, ask, next};
use tokio::sync::watch;
use tracing::Level;

const REJECTED: &str = "proxy rejected a resource";

/// A filter made from deployments at these revisions.
fn filter(text: &str, objects: &[(&str, &str)]) -> Arc<Snapshot> {
    let objects = objects.iter().map(|(name, revision)| OriginObject {
        kind: "deployment".to_owned(),
        namespace: "default".to_owned(),
        name: (*name).to_owned(),
        revision: (*revision).to_owned(),
    });
    let filter = Resource::new(Kind::Extension, "f", text.to_owned());
    let filter = filter.with_origin(Origin::new(objects));
    Arc::new(Snapshot::new([filter]).unwrap())
}

/// A server on an in-memory network, under tokio's paused clock.
struct Setup {
    server: XdsServer<Scopes>,
    network: Network,
}

impl Setup {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let scopes = [("ours".to_owned(), watch::Sender::new(Some(snapshot)))];
        let server = XdsServer::new(Scopes(scopes.into()), Options::default());
        let network = Network::serve(&server);
        Self { server, network }
    }

    fn set(&self, snapshot: Arc<Snapshot>) {
        self.server.provider().0["ours"].send_replace(Some(snapshot));
    }

    /// A stream that has subscribed to the filter.
    async fn proxy(&mut self) -> DeltaStream {
        let (send, stream) = self.network.delta(None).await;
        send.send(ask(Kind::Extension, &["f"])).await.unwrap();
        (send, stream)
    }
}

/// Waits for a response, and rejects or accepts it.
async fn respond((send, stream): &mut DeltaStream, error: Option<&str>) -> String {
    let response = next(stream).await;
    send.send(answer(&response, error)).await.unwrap();
    response.resources[0].version.clone()
}

fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_nack_is_logged_with_node_type_resource_error_and_the_object_to_blame() {
    let (lines, _guard) = Lines::capture();
    let mut setup = Setup::new(filter("1", &[("a", "1")]));
    let mut proxy = setup.proxy().await;
    respond(&mut proxy, None).await;
    setup.set(filter("2", &[("a", "1"), ("b", "1")]));
    let rejected = respond(&mut proxy, Some("no such module")).await;

    let line = lines.wait_for(REJECTED, 1).await;
    assert_eq!(line.level, Level::WARN);
    let expected = [
        ("node", "proxy-1"),
        ("type_url", Kind::Extension.type_url()),
        ("version", &rejected),
        ("resource", "f"),
        ("object", "deployment default/b"),
        ("error", "no such module"),
        ("suppressed", "0"),
    ];
    assert_eq!(line.fields, fields(&expected));
    let span = [
        ("node", "proxy-1"),
        ("scope", "ours"),
        ("peer", "192.0.2.1:1"),
        ("protocol", "delta"),
    ];
    assert_eq!(line.span, fields(&span));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_response_is_logged_with_its_resources_and_then_the_one_at_fault() {
    let (lines, _guard) = Lines::capture();
    let secret = |name: &str| Resource::new(Kind::Secret, name, name.to_owned());
    let snapshot = Snapshot::new(["a", "b", "c", "d"].map(secret)).unwrap();
    let mut setup = Setup::new(Arc::new(snapshot));
    let (send, mut stream) = setup.network.delta(None).await;
    let names = ["a", "b", "c", "d"];
    send.send(ask(Kind::Secret, &names)).await.unwrap();
    // The proxy rejects every response with `c`.
    for _ in 0..4 {
        let response = next(&mut stream).await;
        let is_bad = response.resources.iter().any(|r| r.name == "c");
        let error = is_bad.then_some("bad secret");
        send.send(answer(&response, error)).await.unwrap();
    }
    let line = lines.wait_for(REJECTED, 1).await;
    assert_eq!(line.fields["resource"], "c");
    assert_eq!(line.fields["object"], "none");
    assert_eq!(line.fields["suppressed"], "1", "the probe of two");
    let message = "proxy rejected a response; offering its resources again in smaller responses";
    let [response] = lines.with_message(message).try_into().unwrap();
    let Line { level, fields, .. } = response;
    assert_eq!(level, Level::WARN);
    assert_eq!(fields["resource"], "a, b, c and 1 more");
    assert_eq!(fields["error"], "bad secret");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_rejects_the_same_version_again_and_again_is_logged_once_a_minute() {
    let (lines, _guard) = Lines::capture();
    let mut setup = Setup::new(filter("1", &[]));
    for _ in 0..20 {
        // It restarts each time, so it is offered the version once more.
        let mut proxy = setup.proxy().await;
        respond(&mut proxy, Some("no")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(lines.with_message(REJECTED).len(), 1);
    let mut proxy = setup.proxy().await;
    // It is connected when the minute is over.
    let report = lines.wait_for("proxy rejected more resources", 1).await;
    assert_eq!(report.level, Level::WARN);
    let expected = [
        ("node", "proxy-1"),
        ("type_url", Kind::Extension.type_url()),
        ("suppressed", "19"),
    ];
    assert_eq!(report.fields, fields(&expected));
    respond(&mut proxy, Some("no")).await;
    let again = lines.wait_for(REJECTED, 2).await;
    assert_eq!(again.fields["suppressed"], "0", "they were reported before");
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_one_line_each_for_connect_first_snapshot_and_disconnect() {
    let (lines, _guard) = Lines::capture();
    let mut setup = Setup::new(filter("1", &[]));
    let mut proxy = setup.proxy().await;
    respond(&mut proxy, None).await;
    let first_snapshot = "proxy runs its first snapshot";
    lines.wait_for(first_snapshot, 1).await;
    setup.set(filter("2", &[]));
    respond(&mut proxy, None).await;
    drop(proxy);
    let disconnected = lines.wait_for("proxy disconnected", 1).await;
    for message in ["proxy connected", first_snapshot, "proxy disconnected"] {
        let [line] = lines.with_message(message).try_into().unwrap();
        let Line { level, span, .. } = line;
        assert_eq!(level, Level::INFO, "{message}");
        assert_eq!(span["node"], "proxy-1", "{message}");
    }
    assert_eq!(disconnected.fields["detail"], "the proxy closed the stream");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_after_more_than_a_second_is_logged() {
    let (lines, _guard) = Lines::capture();
    let mut setup = Setup::new(filter("1", &[]));
    let (send, mut stream) = setup.proxy().await;
    for (revision, seconds) in [("1", 1), ("2", 3)] {
        setup.set(filter(revision, &[]));
        let response = next(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        send.send(answer(&response, None)).await.unwrap();
    }
    let slow = lines.wait_for("slow acknowledgement", 1).await;
    assert_eq!(slow.level, Level::INFO);
    assert_eq!(slow.fields["type_url"], Kind::Extension.type_url());
    assert_eq!(slow.fields["latency_ms"], "3000");
    let version = filter("2", &[]).version(Kind::Extension).to_owned();
    assert_eq!(slow.fields["version"], version);
    assert_eq!(lines.with_message("slow acknowledgement").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_denied_proxy_that_tries_again_and_again_is_logged_once_a_minute() {
    let (lines, _guard) = Lines::capture();
    let mut setup = Setup::new(filter("1", &[]));
    for _ in 0..5 {
        let (send, mut stream) = setup.network.delta(None).await;
        let mut request = ask(Kind::Extension, &["f"]);
        request.node = loopback::node("theirs");
        send.send(request).await.unwrap();
        loopback::end(&mut stream).await;
    }
    let [line] = lines.with_message("proxy denied").try_into().unwrap();
    let Line { level, fields, .. } = line;
    assert_eq!(level, Level::WARN);
    assert_eq!(fields["node"], "proxy-1");
    assert_eq!(fields["detail"], "no scope for theirs");
}
