//! An Envoy that uses one stream per type: one for clusters, one for listeners, and one for each EDS cluster, route table and filter.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, GrpcService,
};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as HttpConfig;
use headgate_testkit::deadline::eventually;
use headgate_xds::{Kind, Options, Resource};
use prost::Message;

use super::{Fixture, Transport, changed};
use crate::common::{SOON, only};

/// The bootstrap's cluster of the control plane.
const XDS: &str = "headgate-xds";

const SINGLE_KINDS: Transport = Transport {
    name: "single kinds",
    bootstrap,
    resources: |all| all.into_iter().map(single).collect(),
};

fn bootstrap(text: String) -> String {
    let ads = "{ ads: {}, resource_api_version: V3 }";
    assert_eq!(text.matches(ads).count(), 2, "{text}");
    let single = format!(
        "{{ resource_api_version: V3, api_config_source: {{ api_type: DELTA_GRPC, transport_api_version: V3, \
         grpc_services: [{{ envoy_grpc: {{ cluster_name: {XDS} }} }}] }} }}"
    );
    text.replace(ads, &single)
}

fn source() -> ConfigSource {
    let service = GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: XDS.to_owned(),
            ..EnvoyGrpc::default()
        })),
        ..GrpcService::default()
    };
    ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(ApiConfigSource {
            api_type: ApiType::DeltaGrpc as i32,
            transport_api_version: ApiVersion::V3 as i32,
            grpc_services: vec![service],
            ..ApiConfigSource::default()
        })),
        ..ConfigSource::default()
    }
}

/// The same resource, with its dependencies on streams of their own.
fn single(resource: Resource) -> Resource {
    match resource.kind() {
        Kind::Cluster => changed(&resource, |cluster: &mut Cluster| {
            let eds = cluster.eds_cluster_config.as_mut().unwrap();
            eds.eds_config = Some(source());
        }),
        Kind::Listener => changed(&resource, |listener: &mut Listener| {
            let filters = listener
                .filter_chains
                .iter_mut()
                .flat_map(|c| &mut c.filters);
            for filter in filters {
                let Some(ConfigType::TypedConfig(any)) = &mut filter.config_type else {
                    panic!("{filter:?}");
                };
                let mut manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
                if let Some(RouteSpecifier::Rds(rds)) = &mut manager.route_specifier {
                    rds.config_source = Some(source());
                }
                for filter in &mut manager.http_filters {
                    if let Some(HttpConfig::ConfigDiscovery(ecds)) = &mut filter.config_type {
                        ecds.config_source = Some(source());
                    }
                }
                any.value = manager.encode_to_vec();
            }
        }),
        _ => resource,
    }
}

/// Waits until every stream is settled and no stream has a resource of `v2` where that is gone.
async fn settled(fixture: &Fixture) {
    let settled = eventually(SOON, "all streams to settle", async || {
        let proxies = fixture.fleet().proxies();
        let kinds = |kind: Kind| proxies.iter().any(|proxy| proxy.only == Some(kind));
        let all = [Kind::Cluster, Kind::Endpoints, Kind::Route, Kind::Extension];
        let there = all.into_iter().all(kinds) && proxies.iter().all(|p| p.is_current());
        there.then_some(()).ok_or(format!("{proxies:?}"))
    });
    settled.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adding_and_removing_versions_fails_no_request_with_one_stream_per_type() {
    let options = Options {
        linger: Duration::from_millis(500),
        ..Options::default()
    };
    let fixture = Fixture::open_with(SINGLE_KINDS, options).await;
    settled(&fixture).await;
    let load = fixture.load();
    load.wait_for(20, SOON).await.unwrap();
    for round in 0..8 {
        let before = fixture.at_v2();
        fixture.publish(fixture.both());
        let served = eventually(SOON, "v2 to be served", async || {
            let now = fixture.at_v2();
            (now > before + 20)
                .then_some(())
                .ok_or(format!("round {round}: {now}"))
        });
        served.await.unwrap();
        fixture.publish(fixture.one());
        let gone = eventually(SOON, "v2 to be gone", async || {
            // The control plane's own cluster, the model's, and that of `v1`.
            let now = fixture
                .envoy
                .stat("cluster_manager.active_clusters")
                .await
                .unwrap();
            (now == Some(3)).then_some(()).ok_or(format!("{now:?}"))
        });
        gone.await.unwrap();
        settled(&fixture).await;
    }
    only(&load.stop().await, &[200]);
}
