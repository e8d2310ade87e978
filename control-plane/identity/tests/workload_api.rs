//! TLS with certificates from a SPIFFE Workload API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod common;

use agent::Agent;
use common::{Server, identity_that};
use headgate_identity::{PortTls, TrustDomain, WorkloadApi};
use headgate_testkit::deadline::eventually;
use headgate_testkit::svid::TrustDomainAuthority;
use headgate_xds::Refusal;

const PATH: &str = "/ns/models/sa/gateway";
const SERVER: &str = "/ns/headgate-system/sa/headgate";

fn domains(names: &[&str]) -> Vec<TrustDomain> {
    names
        .iter()
        .map(|name| TrustDomain::new(name).unwrap())
        .collect()
}

async fn serve(agent: &Agent, trust_domains: &[&str]) -> Server {
    let socket = format!("unix:{}", agent.socket().display());
    let api = WorkloadApi::new(&socket, domains(trust_domains), PortTls::XDS).unwrap();
    let identity = api.identity();
    tokio::spawn(api.run());
    Server::start(identity).await
}

#[tokio::test]
async fn svid_and_federated_bundles_come_from_the_agent_and_rotate() {
    let [a, b] = ["a.test", "b.test"].map(|d| TrustDomainAuthority::new(d).unwrap());
    let mut agent = Agent::new();
    agent.start();
    let server = serve(&agent, &["a.test", "b.test"]).await;
    // No certificate yet.
    let own = a.issue(PATH).unwrap();
    server.connect(&a, Some(&own)).await.unwrap_err();
    server.refused(Refusal::NotReady, 1).await;

    agent.give("spiffe://a.test", SERVER, &a, &[]);
    identity_that(&server.identity, "the first SVID", |i| i.config.is_some()).await;
    let identity = server.connect(&a, Some(&own)).await.unwrap();
    assert_eq!(identity, format!("spiffe://a.test{PATH}"));
    let foreign = b.issue(PATH).unwrap();
    server.connect(&a, Some(&foreign)).await.unwrap_err();
    server.refused(Refusal::CertificateUntrusted, 1).await;

    // Federation.
    agent.give("spiffe://a.test", SERVER, &a, &[("spiffe://b.test", &b)]);
    let connected = eventually(common::SOON, "the federated bundle", async || {
        server.connect(&a, Some(&foreign)).await
    });
    assert_eq!(connected.await.unwrap(), format!("spiffe://b.test{PATH}"));

    // A new authority of the own trust domain.
    let new = TrustDomainAuthority::new("a.test").unwrap();
    agent.give("spiffe://a.test", SERVER, &new, &[]);
    let renewed = new.issue(PATH).unwrap();
    eventually(common::SOON, "the new SVID", async || {
        server.connect(&new, Some(&renewed)).await
    })
    .await
    .unwrap();
    server.connect(&new, Some(&own)).await.unwrap_err();
}

#[tokio::test]
async fn an_agent_that_goes_away_leaves_the_last_svid_and_is_found_again() {
    let a = TrustDomainAuthority::new("a.test").unwrap();
    let mut agent = Agent::new();
    let server = serve(&agent, &[]).await;
    let waiting = identity_that(&server.identity, "the problem", |i| i.problem.is_some()).await;
    assert!(waiting.config.is_none());
    assert!(waiting.problem.unwrap().message.contains("--spiffe-socket"));
    agent.start();
    agent.give("spiffe://a.test", SERVER, &a, &[]);
    identity_that(&server.identity, "the SVID", |i| {
        i.config.is_some() && i.problem.is_none()
    })
    .await;
    agent.stop();
    identity_that(&server.identity, "the problem", |i| {
        i.config.is_some() && i.problem.is_some()
    })
    .await;
    let own = a.issue(PATH).unwrap();
    server.connect(&a, Some(&own)).await.unwrap();
    agent.start();
    identity_that(&server.identity, "the agent", |i| i.problem.is_none()).await;
    server.connect(&a, Some(&own)).await.unwrap();
}

#[test]
fn a_socket_that_is_no_absolute_path_is_refused_with_the_fix() {
    for socket in ["agent.sock", "tcp://127.0.0.1:1", "unix:", "unix:x"] {
        let error = WorkloadApi::new(socket, Vec::new(), PortTls::XDS)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("--spiffe-socket") && error.contains("absolute path"),
            "{error}"
        );
    }
}
