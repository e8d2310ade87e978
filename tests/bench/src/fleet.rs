//! Many models, translated by the control plane: labels → registry → plan → routes and filter configuration.
//!
//! The route table is the control plane's own, byte for byte. Its clusters have inline endpoints, so that the measured Envoy needs
//! no control plane.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use headgate_contract::{BucketRule, ChargeAt, FilterConfig, names};
use headgate_model::{
    Carrier, CarrierKey, CarrierMesh, LabelKeys, NamespacePlan, Objects, Pod, Registry, Scales,
    plan,
};
use headgate_translate::{Code, Options, Rejected, ScopeSpec, snapshot};
use headgate_xds::{Kind, Snapshot};
use prost::Message;

use crate::error::BenchError;

/// The only version of each model.
pub(crate) const VERSION: &str = "v1";

/// The configuration for `n` models.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// The model with the last name.
    pub last: String,
    /// File with the route table.
    pub routes: PathBuf,
    /// The filter's configuration.
    pub config: String,
    clusters: Vec<Any>,
}

impl Fleet {
    /// Plans and translates `models` models of a namespace, and writes their route table to `dir`.
    ///
    /// # Errors
    /// [`BenchError`] when the control plane rejects the models, or the file cannot be written.
    pub(crate) fn new(
        namespace: &str,
        models: usize,
        upstream: SocketAddr,
        bucket: serde_json::Value,
        dir: &Path,
    ) -> Result<Self, BenchError> {
        let objects = objects(namespace, models, upstream);
        let planned = plan(
            &Registry::build(&objects, &LabelKeys::default()),
            &objects,
            &Scales::default(),
        );
        let translated = snapshot(&planned, &scope(namespace), &options(namespace))
            .map_err(|error| BenchError::Fleet(error.to_string()))?;
        if let Some(rejected) = translated.rejected.first() {
            let Rejected { what, reason, .. } = rejected;
            return Err(BenchError::Fleet(format!("{what}: {reason}")));
        }
        let namespace_plan = planned
            .namespaces
            .get(namespace)
            .ok_or_else(|| BenchError::Fleet("the plan is empty".into()))?;
        let routes = dir.join(format!("routes-{namespace}.pb"));
        let table = translated.snapshot.of(Kind::Route).map(|route| Any {
            type_url: Kind::Route.type_url().to_owned(),
            value: route.body().to_vec(),
        });
        write(&routes, Kind::Route, table.collect())?;
        Ok(Self {
            last: name(models - 1),
            routes,
            config: config(namespace, namespace_plan, bucket)?,
            clusters: clusters(&translated.snapshot)?,
        })
    }
}

/// Writes the clusters of several fleets to one file.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_clusters(fleets: &[Fleet], dir: &Path) -> Result<PathBuf, BenchError> {
    let path = dir.join("clusters.pb");
    let all = fleets.iter().flat_map(|fleet| fleet.clusters.clone());
    write(&path, Kind::Cluster, all.collect())?;
    Ok(path)
}

fn write(path: &Path, kind: Kind, resources: Vec<Any>) -> Result<(), BenchError> {
    let response = DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: kind.type_url().to_owned(),
        resources,
        ..DiscoveryResponse::default()
    };
    std::fs::write(path, response.encode_to_vec()).map_err(BenchError::Files)
}

fn name(i: usize) -> String {
    format!("model-{i:05}")
}

fn objects(namespace: &str, models: usize, upstream: SocketAddr) -> Objects {
    let mut objects = Objects::default();
    for id in (0..models).map(name) {
        let key = CarrierKey {
            namespace: namespace.to_owned(),
            kind: "deployment".to_owned(),
            name: id.clone(),
        };
        let carrier = Carrier {
            key: key.clone(),
            created: None,
            labels: BTreeMap::from([
                (names::LABEL_MODEL.to_owned(), id),
                (names::LABEL_VERSION.to_owned(), VERSION.to_owned()),
            ]),
            annotations: BTreeMap::new(),
            desired: 1,
            pods: vec![Pod::at("pod".to_owned(), upstream)],
            owner_replicas: BTreeMap::new(),
            min_ready_seconds: 0,
            unready_reasons: Vec::new(),
            mesh: CarrierMesh::default(),
            origin: "bench".to_owned(),
        };
        objects.carriers.insert(key, carrier);
    }
    objects
}

fn scope(namespace: &str) -> ScopeSpec {
    ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec![namespace.to_owned()],
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        asks_over_quic: true,
    }
}

fn options(namespace: &str) -> Options {
    // Listener and filters are the bench's own; only routes, clusters and endpoints of the snapshot are used.
    let module = Code::File("unused.wasm".to_owned());
    let domains = [(namespace.to_owned(), vec!["*".to_owned()])];
    Options::new(module, domains)
}

fn config(
    namespace: &str,
    plan: &NamespacePlan,
    bucket: serde_json::Value,
) -> Result<String, BenchError> {
    let refused = |error: &dyn std::fmt::Display| BenchError::Fleet(error.to_string());
    let mut config = plan.config.clone();
    config.buckets.push(BucketRule {
        policy: "bench".to_owned(),
        at: ChargeAt::Decide,
        models: None,
        versions: None,
        bucket: serde_json::from_value(bucket).map_err(|e| refused(&e))?,
    });
    let config = FilterConfig {
        namespaces: BTreeMap::from([(namespace.to_owned(), config)]),
        ..FilterConfig::default()
    };
    config.emit().map_err(|e| refused(&e))
}

/// The clusters with inline endpoints.
fn clusters(snapshot: &Snapshot) -> Result<Vec<Any>, BenchError> {
    let bad = |error: prost::DecodeError| BenchError::Fleet(error.to_string());
    snapshot
        .of(Kind::Cluster)
        .map(|resource| {
            let mut cluster = Cluster::decode(resource.body().clone()).map_err(bad)?;
            let endpoints = snapshot.get(Kind::Endpoints, resource.name());
            let endpoints = endpoints.map(|e| ClusterLoadAssignment::decode(e.body().clone()));
            cluster.load_assignment = endpoints.transpose().map_err(bad)?;
            cluster.eds_cluster_config = None;
            cluster.cluster_discovery_type =
                Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32));
            Ok(Any {
                type_url: Kind::Cluster.type_url().to_owned(),
                value: cluster.encode_to_vec(),
            })
        })
        .collect()
}
