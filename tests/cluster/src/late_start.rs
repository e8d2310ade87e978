//! A control plane that starts while the API is down, and the first snapshot that proxies get once the API is back.
//!
//! Proxies connect from the start and reconnect whenever they are refused. The first snapshot of each must be complete: every variant
//! and every endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::{Kube, KubeOptions};
use headgate_testkit::xds_client::{
    DeltaProxy, Service, channel, node, subscribe_to_all, type_url,
};
use tokio::task::JoinSet;

use crate::ClusterError;
use crate::control_plane::{ControlPlane, Memory};
use crate::fleet::{Size, deploy, run_empty_pods};
use crate::test_cluster::SOON;

/// Number of proxies that wait for the control plane.
const PROXIES: usize = 3;
/// Minimum number of refusals of each proxy before the API comes back; each was a chance to serve an incomplete snapshot.
const MIN_REFUSALS: usize = 3;
/// Interval between two connections of a proxy.
const RETRY: Duration = Duration::from_millis(50);

/// The result.
#[derive(Debug, Clone)]
pub struct LateStart {
    /// The size.
    pub size: Size,
    /// Number of refused connections of all proxies.
    pub refusals: usize,
    /// Time from the return of the API to the readiness of the control plane.
    pub ready_after: Duration,
    /// The first snapshot of each proxy.
    pub first: Vec<FirstSnapshot>,
    /// The control plane's memory at the end.
    pub memory: Memory,
}

/// The size of the first snapshot of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstSnapshot {
    /// Variants with a cluster.
    pub variants: usize,
    /// Their endpoints.
    pub endpoints: usize,
}

impl LateStart {
    /// The smallest first snapshot.
    #[must_use]
    pub fn least(&self) -> FirstSnapshot {
        let nothing = FirstSnapshot {
            variants: 0,
            endpoints: 0,
        };
        self.first.iter().copied().min().unwrap_or(nothing)
    }

    /// Whether every first snapshot was complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all = FirstSnapshot {
            variants: self.size.variants(),
            endpoints: self.size.all_pods(),
        };
        self.first.len() == PROXIES && self.first.iter().all(|first| *first == all)
    }

    /// The figures as one line.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "start without an API, then {} variants with {} pods: ready {:.1?} after the API was back; {} refusals of {PROXIES} proxies; \
             every first snapshot had at least {} variants and {} endpoints; headgate uses {} MiB, peak {} MiB",
            self.size.variants(),
            self.size.all_pods(),
            self.ready_after,
            self.refusals,
            self.least().variants,
            self.least().endpoints,
            self.memory.now,
            self.memory.peak,
        )
    }
}

/// Creates a cluster of this size, stops its API, starts the control plane, and restarts the API.
///
/// # Errors
/// [`ClusterError`]: a program that does not start, or readiness before the cluster was read.
pub async fn measure(size: Size) -> Result<LateStart, ClusterError> {
    let mut kube = Kube::start(KubeOptions::default()).await?;
    let kubelet = run_empty_pods(&kube);
    deploy(&kube, size).await?;
    kube.kill_api()?;
    let mut control_plane = ControlPlane::start(kube.kubeconfig(), &[])?;
    let refusals: [Arc<AtomicUsize>; PROXIES] = Default::default();
    let mut proxies = JoinSet::new();
    for (number, refused) in refusals.iter().enumerate() {
        let id = format!("proxy-{number}");
        proxies.spawn(first_snapshot(id, control_plane.xds(), Arc::clone(refused)));
    }
    let all_refused = eventually(SOON, "every proxy to be refused", async || {
        let counts = refusals
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let readiness = control_plane
            .readiness()
            .await
            .map_err(|error| error.to_string())?;
        if readiness == 503 && counts.iter().all(|count| *count >= MIN_REFUSALS) {
            return Ok(());
        }
        Err(format!("{counts:?} refusals, /readyz says {readiness}"))
    });
    all_refused.await?;
    kube.start_api().await?;
    let back = Instant::now();
    control_plane.ready(size.timeout()).await?;
    let ready_after = back.elapsed();
    let mut first = Vec::new();
    while let Some(got) = proxies.join_next().await {
        first.push(got.map_err(|error| ClusterError::NotMeasured(error.to_string()))??);
    }
    drop(kubelet);
    Ok(LateStart {
        size,
        refusals: refusals.iter().map(|r| r.load(Ordering::Relaxed)).sum(),
        ready_after,
        first,
        memory: control_plane.memory()?,
    })
}

/// Connects until it is served, and measures the first snapshot.
async fn first_snapshot(
    id: String,
    xds: SocketAddr,
    refused: Arc<AtomicUsize>,
) -> Result<FirstSnapshot, ClusterError> {
    let channel = channel(&format!("http://{xds}"))?;
    let deadline = Instant::now() + Duration::from_secs(900);
    loop {
        let mut proxy =
            DeltaProxy::open(channel.clone(), node(&id, "test", &[]), Service::Aggregated)?;
        subscribe_to_all(&mut proxy);
        match whole(&mut proxy).await {
            Ok(first) => return Ok(first),
            Err(ClusterError::Xds(error)) if Instant::now() < deadline => {
                if proxy.versions(type_url::CLUSTER).is_empty() {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(RETRY).await;
                } else {
                    // It received a part and was then disconnected; the content is unknown.
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Acknowledges the first clusters and all of their endpoints, which need several responses.
async fn whole(proxy: &mut DeltaProxy) -> Result<FirstSnapshot, ClusterError> {
    loop {
        proxy.next_acked(SOON).await?;
        let clusters = proxy.versions(type_url::CLUSTER);
        let endpoints = proxy.versions(type_url::ENDPOINTS);
        if !endpoints.is_empty() && clusters.keys().all(|name| endpoints.contains_key(name)) {
            break;
        }
    }
    // `model/NAMESPACE/MODEL/VERSION`; the model's own cluster has no version.
    let clusters = proxy.versions(type_url::CLUSTER);
    let variants = clusters.keys().filter(|name| name.split('/').count() == 4);
    let mut first = FirstSnapshot {
        variants: 0,
        endpoints: 0,
    };
    for name in variants {
        first.variants += 1;
        let found = proxy.resource::<ClusterLoadAssignment>(type_url::ENDPOINTS, name);
        let found = found.map_err(|error| ClusterError::NotMeasured(error.to_string()))?;
        let localities = found.iter().flat_map(|assignment| &assignment.endpoints);
        first.endpoints += localities.map(|l| l.lb_endpoints.len()).sum::<usize>();
    }
    Ok(first)
}
