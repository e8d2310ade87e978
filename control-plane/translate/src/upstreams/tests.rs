//! Upstream settings in clusters and routes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::ClusterDiscoveryType;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::google::protobuf::UInt32Value;
use headgate_contract::names;
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, Objects, Pod, Registry, Scales, plan,
};
use headgate_xds::{Kind, Snapshot};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{Code, Options, ScopeSpec, snapshot};

/// A version of model `m`: its name, endpoints, protocol, weight and annotations.
#[derive(Debug, Clone)]
struct Spec {
    version: &'static str,
    endpoints: Vec<&'static str>,
    protocol: Protocol,
    weight: Option<u8>,
    annotations: Vec<(&'static str, &'static str)>,
}

fn spec(version: &'static str, endpoints: &[&'static str]) -> Spec {
    Spec {
        version,
        endpoints: endpoints.to_vec(),
        protocol: Protocol::Http1,
        weight: None,
        annotations: Vec::new(),
    }
}

impl Spec {
    fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    fn weight(mut self, weight: u8) -> Self {
        self.weight = Some(weight);
        self
    }

    fn annotated(mut self, annotation: &'static str, value: &'static str) -> Self {
        self.annotations.push((annotation, value));
        self
    }

    fn carrier(&self) -> Carrier {
        let mut labels = BTreeMap::from([
            (names::LABEL_MODEL.to_owned(), "m".to_owned()),
            (names::LABEL_VERSION.to_owned(), self.version.to_owned()),
        ]);
        labels.extend(
            self.weight
                .map(|w| (names::LABEL_WEIGHT.to_owned(), w.to_string())),
        );
        let annotations = self.annotations.iter();
        let pod = |endpoint: &&str| Pod {
            protocol: self.protocol,
            ..Pod::at(*endpoint, endpoint.parse::<Address>().unwrap())
        };
        Carrier {
            key: CarrierKey {
                namespace: "default".to_owned(),
                kind: "deployment".to_owned(),
                name: format!("m-{}", self.version),
            },
            created: None,
            labels,
            annotations: annotations
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            desired: 1,
            owner_replicas: BTreeMap::new(),
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            mesh: CarrierMesh::default(),
            pods: self.endpoints.iter().map(pod).collect(),
            origin: String::new(),
        }
    }
}

fn translated(specs: &[Spec]) -> Snapshot {
    let carriers = specs.iter().map(Spec::carrier);
    let objects = Objects {
        carriers: carriers.map(|c| (c.key.clone(), c)).collect(),
        ..Objects::default()
    };
    let plan = plan(
        &Registry::build(&objects, &LabelKeys::default()),
        &objects,
        &Scales::default(),
    );
    let module = Code::File("/modules/headgate.wasm".to_owned());
    let mut options = Options::new(module, [("default".to_owned(), vec!["*".to_owned()])]);
    options.upstream_ca = "/ca.crt".to_owned();
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    };
    snapshot(&plan, &scope, &options).unwrap().snapshot
}

fn cluster(snapshot: &Snapshot, version: Option<&str>) -> Cluster {
    let name = match version {
        Some(version) => names::variant_cluster("default", "m", version),
        None => names::model_cluster("default", "m"),
    };
    let resource = snapshot.get(Kind::Cluster, &name).unwrap();
    Cluster::decode(resource.body().clone()).unwrap()
}

fn protocol_options(cluster: &Cluster) -> Option<UpstreamProtocolOptions> {
    let options = cluster.typed_extension_protocol_options.get(HTTP_OPTIONS)?;
    let options = HttpProtocolOptions::decode(options.value.as_slice()).unwrap();
    options.upstream_protocol_options
}

/// `http1`, `http2`, `client` or `negotiated`.
fn protocol(cluster: &Cluster) -> &'static str {
    match protocol_options(cluster) {
        None => "http1",
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(config)) => match config.protocol_config {
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => "http2",
            other => panic!("{other:?}"),
        },
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => "client",
        Some(UpstreamProtocolOptions::AutoConfig(_)) => "negotiated",
    }
}

#[test]
fn a_cluster_uses_the_protocol_of_its_endpoints_and_the_models_cluster_a_common_one() {
    use Protocol::{Client, Http1, Http2};
    for (one, two, weight, own) in [
        (Http1, Http1, 10, "http1"),
        (Http2, Http2, 10, "http2"),
        (Client, Client, 10, "client"),
        (Http1, Client, 90, "http1"),
        (Client, Http2, 10, "http2"),
        // Conflicting protocols: the protocol of most sessions wins.
        (Http1, Http2, 40, "http1"),
        (Http1, Http2, 50, "http1"),
        (Http1, Http2, 60, "http2"),
    ] {
        let snapshot = translated(&[
            spec("v1", &["10.0.0.1:80"]).protocol(one),
            spec("v2", &["10.0.0.2:80"]).protocol(two).weight(weight),
        ]);
        let name = |p| match p {
            Http1 => "http1",
            Http2 => "http2",
            Client => "client",
        };
        assert_eq!(protocol(&cluster(&snapshot, Some("v1"))), name(one));
        assert_eq!(protocol(&cluster(&snapshot, Some("v2"))), name(two));
        assert_eq!(
            protocol(&cluster(&snapshot, None)),
            own,
            "{one:?} {two:?} {weight}"
        );
    }
}

#[test]
fn only_clusters_of_versions_eject_endpoints() {
    let snapshot = translated(&[spec("v1", &["10.0.0.1:80"])]);
    assert_eq!(cluster(&snapshot, None).outlier_detection, None);
    let outliers = cluster(&snapshot, Some("v1")).outlier_detection.unwrap();
    assert!(outliers.split_external_local_origin_errors);
    let value = |n: Option<UInt32Value>| n.unwrap().value;
    assert_eq!(
        value(outliers.enforcing_consecutive_5xx),
        0,
        "a prompt may cause a 500"
    );
    assert_eq!(value(outliers.enforcing_success_rate), 0);
    assert_eq!(value(outliers.enforcing_consecutive_gateway_failure), 100);
    assert_eq!(
        value(outliers.enforcing_consecutive_local_origin_failure),
        100
    );
    assert_eq!(value(outliers.max_ejection_percent), 50);
    assert_eq!(outliers.always_eject_one_host, None);
}

/// The endpoints of a cluster that resolves names, by version and weight.
fn inline(cluster: &Cluster) -> Vec<(String, u32, Vec<String>)> {
    let Some(ClusterDiscoveryType::ClusterType(kind)) = &cluster.cluster_discovery_type else {
        panic!("{:?}", cluster.cluster_discovery_type);
    };
    assert_eq!(kind.name, "envoy.cluster.dns");
    localities(cluster.load_assignment.as_ref().unwrap())
}

fn localities(assignment: &ClusterLoadAssignment) -> Vec<(String, u32, Vec<String>)> {
    let localities = assignment.endpoints.iter();
    let all = localities.map(|l| {
        let endpoints = l.lb_endpoints.iter().map(|e| {
            let metadata = &e.metadata.as_ref().unwrap().filter_metadata[names::METADATA];
            assert!(metadata.fields.contains_key(names::METADATA_VERSION));
            match e.host_identifier.as_ref().unwrap() {
                HostIdentifier::Endpoint(endpoint) => endpoint.hostname.clone(),
                other => panic!("{other:?}"),
            }
        });
        let version = l.locality.as_ref().unwrap().sub_zone.clone();
        (
            version,
            l.load_balancing_weight.unwrap().value,
            endpoints.collect(),
        )
    });
    all.collect()
}

#[test]
fn with_dns_names_weights_and_endpoints_are_inline_in_the_clusters() {
    let specs = |weight| {
        [
            spec("v1", &["10.0.0.1:80"]),
            spec("v2", &["api.example.com:443", "10.0.0.2:80"]).weight(weight),
        ]
    };
    let snapshot = translated(&specs(10));
    let hosts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let v2 = ("v2".to_owned(), 100_000, hosts(&["", "api.example.com"]));
    let own = inline(&cluster(&snapshot, None));
    assert_eq!(own, [("v1".to_owned(), 900_000, hosts(&[""])), v2.clone()]);
    let alone = inline(&cluster(&snapshot, Some("v2")));
    assert_eq!(alone, [(v2.0, 1, v2.2)]);
    // The version with an IP address still uses EDS, and only it has an EDS resource.
    let v1 = cluster(&snapshot, Some("v1"));
    assert!(v1.eds_cluster_config.is_some() && v1.load_assignment.is_none());
    let resources: Vec<_> = snapshot.of(Kind::Endpoints).map(|r| r.name()).collect();
    assert_eq!(resources, ["model/default/m/v1"]);
    // A weight edit sends the model's cluster and the filters, but no version's cluster and no route.
    let edited = translated(&specs(20));
    let changed: Vec<_> = Kind::PUSH_ORDER
        .into_iter()
        .flat_map(|kind| edited.of(kind))
        .filter(|r| snapshot.get(r.kind(), r.name()).unwrap().version() != r.version())
        .map(|r| r.key().to_string())
        .collect();
    assert_eq!(
        changed,
        [
            "cds model/default/m",
            "ecds headgate",
            "ecds headgate.follow",
            "ecds headgate.token-bucket",
            "ecds headgate.token-bucket.follow",
            "ecds headgate.traffic-tag",
            "ecds headgate.traffic-tag.follow"
        ]
    );
}

#[test]
fn the_host_is_rewritten_only_for_endpoints_with_dns_names() {
    let rewrites = |endpoint| {
        let snapshot = translated(&[spec("v1", &[endpoint])]);
        let table = snapshot.get(Kind::Route, names::ROUTE_CONFIG).unwrap();
        // `auto_host_rewrite`, a wrapper that holds true: field 7 of `RouteAction`.
        table
            .body()
            .windows(4)
            .filter(|w| *w == [0x3a, 2, 8, 1])
            .count()
    };
    assert_eq!(rewrites("10.0.0.1:80"), 0);
    assert_eq!(
        rewrites("api.example.com:80"),
        2,
        "the routes of the version and of the model"
    );
}

fn context(socket: Option<TransportSocket>) -> UpstreamTlsContext {
    let Some(transport_socket::ConfigType::TypedConfig(any)) = socket.unwrap().config_type else {
        panic!("no configuration");
    };
    UpstreamTlsContext::decode(any.value.as_slice()).unwrap()
}

/// The accepted names: a certificate must have one of them.
fn verified_names(context: &UpstreamTlsContext) -> Vec<String> {
    let common = context.common_tls_context.as_ref().unwrap();
    let Some(ValidationContextType::ValidationContext(validation)) =
        &common.validation_context_type
    else {
        panic!("the certificate is not verified");
    };
    assert!(validation.trusted_ca.is_some());
    let names = validation.match_typed_subject_alt_names.iter();
    let names = names.map(|m| {
        let pattern = m.matcher.clone().unwrap().match_pattern.unwrap();
        format!("{} {pattern:?}", m.san_type().as_str_name())
    });
    names.collect()
}

#[test]
fn a_certificate_is_always_verified_against_a_name() {
    let tls =
        |endpoints: &[&'static str]| spec("v1", endpoints).annotated(names::ANNOTATION_TLS, "true");
    let of = |spec: Spec| context(cluster(&translated(&[spec]), Some("v1")).transport_socket);
    let dns = |name: &str| format!("DNS Exact({name:?})");

    let one = of(tls(&["a.example.com:443"]));
    assert!(one.auto_host_sni && one.auto_sni_san_validation);
    assert_eq!(verified_names(&one), [dns("a.example.com")]);
    let several = of(tls(&["a.example.com:443", "b.example.com:443"]));
    assert!(
        several.auto_host_sni && several.auto_sni_san_validation,
        "each endpoint against its own name"
    );
    let address = of(tls(&["10.0.0.1:443", "[fd00::1]:443"]));
    assert!(!address.auto_sni_san_validation, "it has no server name");
    assert_eq!(
        verified_names(&address),
        [
            "IP_ADDRESS Exact(\"10.0.0.1\")",
            "IP_ADDRESS Exact(\"fd00::1\")"
        ]
    );
    let with_sni = of(tls(&["10.0.0.1:443"]).annotated(names::ANNOTATION_TLS_SNI, "s.example.com"));
    assert_eq!(
        (with_sni.sni.as_str(), with_sni.auto_host_sni),
        ("s.example.com", false)
    );
    assert_eq!(verified_names(&with_sni), [dns("s.example.com")]);
    let both = of(tls(&["a.example.com:443"])
        .annotated(names::ANNOTATION_TLS_SNI, "s.example.com")
        .annotated(names::ANNOTATION_TLS_SAN, "c.example.com"));
    assert_eq!(both.sni, "s.example.com");
    assert_eq!(verified_names(&both), [dns("c.example.com")]);
    assert!(!both.auto_sni_san_validation);
}

#[test]
fn alpn_offers_the_protocols_of_the_cluster() {
    for (protocol_, alpn, options) in [
        (Protocol::Http1, &["http/1.1"][..], "http1"),
        (Protocol::Http2, &["h2"], "http2"),
        (Protocol::Client, &["h2", "http/1.1"], "negotiated"),
    ] {
        let snapshot = translated(&[spec("v1", &["a.example.com:443"])
            .protocol(protocol_)
            .annotated(names::ANNOTATION_TLS, "true")]);
        let cluster = cluster(&snapshot, Some("v1"));
        assert_eq!(protocol(&cluster), options);
        let common = context(cluster.transport_socket)
            .common_tls_context
            .unwrap();
        assert_eq!(common.alpn_protocols, alpn);
    }
}

#[test]
fn tls_for_one_version_does_not_change_others_in_the_models_cluster() {
    let snapshot = translated(&[
        spec("v1", &["10.0.0.1:80"]),
        spec("v2", &["a.example.com:443"])
            .weight(10)
            .annotated(names::ANNOTATION_TLS, "true"),
    ]);
    let own = cluster(&snapshot, None);
    assert_eq!(own.transport_socket, None);
    assert_eq!(own.transport_socket_matches.len(), 1);
    let wanted = own.transport_socket_matches[0].r#match.clone().unwrap();
    for locality in own.load_assignment.unwrap().endpoints {
        let metadata = locality.lb_endpoints[0].metadata.clone().unwrap();
        let matches = metadata.filter_metadata.get("envoy.transport_socket_match") == Some(&wanted);
        assert_eq!(matches, locality.locality.unwrap().sub_zone == "v2");
    }
}

#[test]
fn a_health_check_is_of_the_requested_kind() {
    let check = |spec: Spec| {
        let mut checks = cluster(&translated(&[spec]), Some("v1")).health_checks;
        assert_eq!(checks.len(), 1);
        checks.remove(0).health_checker.unwrap()
    };
    let path = spec("v1", &["10.0.0.1:80"]).annotated(names::ANNOTATION_HEALTH_CHECK, "/health");
    match check(path) {
        HealthChecker::HttpHealthCheck(http) => {
            assert_eq!(
                (http.path.as_str(), http.host.as_str()),
                ("/health", "headgate")
            );
        }
        other => panic!("{other:?}"),
    }
    let grpc = spec("v1", &["10.0.0.1:80"])
        .protocol(Protocol::Http2)
        .annotated(names::ANNOTATION_HEALTH_CHECK, "grpc");
    assert!(matches!(check(grpc), HealthChecker::GrpcHealthCheck(_)));
}

fn any_spec(version: &'static str) -> impl Strategy<Value = Spec> {
    let endpoints = prop::sample::subsequence(
        vec![
            "10.0.0.1:80",
            "[fd00::1]:80",
            "a.example.com:443",
            "b.example.com:443",
        ],
        0..=4,
    );
    let protocols = prop::sample::select(vec![Protocol::Http1, Protocol::Http2, Protocol::Client]);
    let annotations = prop::sample::subsequence(
        vec![
            (names::ANNOTATION_TLS, "true"),
            (names::ANNOTATION_TLS_SNI, "s.example.com"),
            (names::ANNOTATION_TLS_SAN, "c.example.com"),
            (names::ANNOTATION_HEALTH_CHECK, "/health"),
        ],
        0..=4,
    );
    (
        endpoints,
        protocols,
        prop::option::of(0..=100_u8),
        annotations,
    )
        .prop_map(move |(endpoints, protocol, weight, annotations)| Spec {
            version,
            endpoints,
            protocol,
            weight,
            annotations,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Equal plans give equal bytes: the order of hash maps has no effect.
    #[test]
    fn bytes_are_a_function_of_the_plan(one in any_spec("v1"), two in any_spec("v2")) {
        let specs = [one, two];
        let (first, second) = (translated(&specs), translated(&specs));
        prop_assert!(first.same_content(&second));
    }
}
