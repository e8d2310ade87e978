//! Clusters that Envoy rejects or is still warming, and a configuration that the filter itself rejects.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::health_check::{HealthChecker, HttpHealthCheck};
use envoy_types::pb::envoy::config::core::v3::{HealthCheck, TypedExtensionConfig};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::HealthCheckConfig;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration, StringValue, UInt32Value};
use headgate_xds::{Kind, Options, Resource};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{BOTH, Fixture, Transport, changed, tamper, with_body};
use crate::common::{SOON, only};

const V2: &str = "model/default/m/v2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_envoy_rejects_never_gets_traffic() {
    for transport in BOTH {
        a_refused_cluster(transport).await;
    }
}

async fn a_refused_cluster(transport: Transport) {
    let fixture = Fixture::open_with(transport, Options::default()).await;
    let load = fixture.load();
    load.wait_for(20, SOON).await.unwrap();
    let mut bad = fixture.both();
    tamper(&mut bad, Kind::Cluster, V2, |cluster| {
        changed(cluster, |c: &mut Cluster| {
            c.connect_timeout = Some(ProtoDuration {
                seconds: -1,
                nanos: 0,
            });
        })
    });
    fixture.publish(bad);
    let clusters = fixture.await_progress(Kind::Cluster, "the cluster to be refused", |p| {
        p.status.nacked.contains_key(V2)
    });
    let message = clusters.await.status.nacked[V2].message.clone();
    assert!(message.contains("Expected positive duration"), "{message}");
    for kind in [Kind::Route, Kind::Extension] {
        fixture
            .await_progress(kind, "the wait to be reported as failed", |p| {
                let mut waits = p.status.waiting.values();
                waits.any(|w| w.failed && w.clusters.iter().map(|c| &**c).eq([V2]))
            })
            .await;
    }
    load.wait_for(200, SOON).await.unwrap();
    assert_eq!(fixture.at_v2(), 0);

    fixture.publish(fixture.both());
    fixture.await_v2().await;
    fixture.await_settled().await;
    only(&load.stop().await, &[200]);
}

/// A health endpoint that responds once it is opened.
async fn gate(open: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut open = open.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while connection.read(&mut request).await.is_ok_and(|n| n > 0) {
                    if open.wait_for(|open| *open).await.is_err() {
                        return;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if connection.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_still_warming_never_gets_traffic() {
    for transport in BOTH {
        a_warming_cluster(transport).await;
    }
}

async fn a_warming_cluster(transport: Transport) {
    let options = Options {
        warm_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let fixture = Fixture::open_with(transport, options).await;
    let load = fixture.load();
    load.wait_for(20, SOON).await.unwrap();
    let (opener, open) = watch::channel(false);
    let port = u32::from(gate(open).await);
    let mut cold = fixture.both();
    let seconds = |seconds| Some(ProtoDuration { seconds, nanos: 0 });
    let count = |value| Some(UInt32Value { value });
    tamper(&mut cold, Kind::Cluster, V2, |cluster| {
        changed(cluster, |c: &mut Cluster| {
            c.health_checks = vec![HealthCheck {
                timeout: seconds(60),
                interval: seconds(1),
                unhealthy_threshold: count(1),
                healthy_threshold: count(1),
                health_checker: Some(HealthChecker::HttpHealthCheck(HttpHealthCheck {
                    path: "/healthz".to_owned(),
                    ..HttpHealthCheck::default()
                })),
                ..HealthCheck::default()
            }];
        })
    });
    tamper(&mut cold, Kind::Endpoints, V2, |endpoints| {
        changed(endpoints, |e: &mut ClusterLoadAssignment| {
            for endpoint in e.endpoints.iter_mut().flat_map(|l| &mut l.lb_endpoints) {
                let Some(HostIdentifier::Endpoint(endpoint)) = &mut endpoint.host_identifier else {
                    panic!("{endpoint:?}");
                };
                endpoint.health_check_config = Some(HealthCheckConfig {
                    port_value: port,
                    ..HealthCheckConfig::default()
                });
            }
        })
    });
    fixture.publish(cold);
    // First the filter waits; later it reports the cluster it waits for in vain, and keeps waiting.
    for failed in [false, true] {
        fixture
            .await_progress(Kind::Extension, "the filter to wait for the cluster", |p| {
                let mut waits = p.status.waiting.values();
                waits.any(|w| w.failed == failed && w.clusters.iter().map(|c| &**c).eq([V2]))
            })
            .await;
        load.wait_for(100, SOON).await.unwrap();
        assert_eq!(fixture.at_v2(), 0);
    }

    opener.send_replace(true);
    fixture.await_v2().await;
    fixture.await_settled().await;
    only(&load.stop().await, &[200]);
}

/// The filter configuration, replaced in the resource.
fn configured(extension: &Resource, json: &str) -> Vec<u8> {
    let mut message = TypedExtensionConfig::decode(extension.body().clone()).unwrap();
    let any = message.typed_config.as_mut().unwrap();
    let mut wasm = Wasm::decode(any.value.as_slice()).unwrap();
    wasm.config.as_mut().unwrap().configuration = Some(Any {
        type_url: "type.googleapis.com/google.protobuf.StringValue".to_owned(),
        value: StringValue {
            value: json.to_owned(),
        }
        .encode_to_vec(),
    });
    any.value = wasm.encode_to_vec();
    message.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_the_filter_rejects_keeps_the_old_one_until_a_retry_succeeds() {
    let fixture = Fixture::open(Options {
        retry_first: Duration::from_millis(500),
        ..Options::default()
    })
    .await;
    let load = fixture.load();
    load.wait_for(20, SOON).await.unwrap();
    let (mend, mended) = watch::channel(false);
    let mut bad = fixture.both();
    tamper(&mut bad, Kind::Extension, "headgate", |extension| {
        let valid = extension.clone();
        let refused = configured(extension, r#"{"role": "conduct"}"#);
        with_body(extension, refused).with_retry_body(move |n| {
            if *mended.borrow() {
                valid.retry_body().unwrap()(n)
            } else {
                let json = format!(r#"{{"role": "conduct", "retry": {n}}}"#);
                configured(&valid, &json).into()
            }
        })
    });
    fixture.publish(bad);
    let refused =
        fixture.await_progress(Kind::Extension, "the second offer to be refused too", |p| {
            p.status
                .nacked
                .get("headgate")
                .is_some_and(|n| n.retries >= 1)
        });
    let message = refused.await.status.nacked["headgate"].message.clone();
    assert!(message.contains("headgate"), "{message}");
    let log = fixture.envoy.log();
    let words = log
        .line_with("the filter keeps the active one")
        .unwrap_or_else(|| panic!("{}", log.tail(20)));
    assert!(words.contains("role"), "{words}");
    load.wait_for(200, SOON).await.unwrap();
    assert_eq!(fixture.at_v2(), 0, "the old configuration knows no v2");

    mend.send_replace(true);
    fixture.await_v2().await;
    fixture.await_settled().await;
    only(&load.stop().await, &[200]);
}
