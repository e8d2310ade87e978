//! A control plane that is started while the API is away and finds many pods once it is back: what proxies get of it.
//!
//! Proxies connect from its first moment on and come again whenever they are refused. The first world that one is given has to be
//! the whole: every variant, every endpoint.

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
use crate::fleet::{Size, deploy, runs_nothing};
use crate::plane::{Memory, Plane};
use crate::world::SOON;

/// Proxies that wait for the control plane.
const PROXIES: usize = 3;
/// How often each must have been refused before the API comes back: that many times it could have been served too little.
const REFUSALS: usize = 3;
/// Time between two tries of a proxy.
const AGAIN: Duration = Duration::from_millis(50);

/// What was found.
#[derive(Debug, Clone)]
pub struct Started {
    /// The size.
    pub size: Size,
    /// How often proxies were refused, all together.
    pub refusals: usize,
    /// From the API being back to the control plane being ready.
    pub ready_after: Duration,
    /// What each proxy was given first.
    pub first: Vec<First>,
    /// The control plane's memory at the end.
    pub memory: Memory,
}

/// The first world that a proxy was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct First {
    /// Variants that have a cluster.
    pub variants: usize,
    /// Their endpoints.
    pub endpoints: usize,
}

impl Started {
    /// The least that a proxy was given.
    #[must_use]
    pub fn least(&self) -> First {
        let nothing = First {
            variants: 0,
            endpoints: 0,
        };
        self.first.iter().copied().min().unwrap_or(nothing)
    }

    /// Whether nobody was ever given less than all.
    #[must_use]
    pub fn whole(&self) -> bool {
        let all = First {
            variants: self.size.variants(),
            endpoints: self.size.all_pods(),
        };
        self.first.len() == PROXIES && self.first.iter().all(|first| *first == all)
    }

    /// The figures, as one line.
    #[must_use]
    pub fn told(&self) -> String {
        format!(
            "started without an API, then {} variants of {} pods: ready {:.1?} after the API was back; {} refusals of {PROXIES} proxies, \
             the first world of each had at least {} variants and {} endpoints; headgate holds {} MiB, at most {}",
            self.size.variants(),
            self.size.all_pods(),
            self.ready_after,
            self.refusals,
            self.least().variants,
            self.least().endpoints,
            self.memory.now,
            self.memory.most,
        )
    }
}

/// Makes a cluster of this size, takes its API away, starts the control plane, and brings the API back.
///
/// # Errors
/// [`ClusterError`]: what does not start, readiness before there is anything to know.
pub async fn measure(size: Size) -> Result<Started, ClusterError> {
    let mut kube = Kube::start(KubeOptions::default()).await?;
    let kubelet = runs_nothing(&kube);
    deploy(&kube, size).await?;
    kube.kill_api()?;
    let mut plane = Plane::start(kube.kubeconfig(), &[])?;
    let refusals: [Arc<AtomicUsize>; PROXIES] = Default::default();
    let mut proxies = JoinSet::new();
    for (number, refused) in refusals.iter().enumerate() {
        let id = format!("proxy-{number}");
        proxies.spawn(first_world(id, plane.xds(), Arc::clone(refused)));
    }
    let all_refused = eventually(SOON, "every proxy to be refused", async || {
        let counts = refusals
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let readiness = plane.readiness().await.map_err(|error| error.to_string())?;
        if readiness == 503 && counts.iter().all(|count| *count >= REFUSALS) {
            return Ok(());
        }
        Err(format!("{counts:?} refusals, /readyz says {readiness}"))
    });
    all_refused.await?;
    kube.start_api().await?;
    let back = Instant::now();
    plane.ready(size.patience()).await?;
    let ready_after = back.elapsed();
    let mut first = Vec::new();
    while let Some(got) = proxies.join_next().await {
        first.push(got.map_err(|error| ClusterError::NotMeasured(error.to_string()))??);
    }
    drop(kubelet);
    Ok(Started {
        size,
        refusals: refusals.iter().map(|r| r.load(Ordering::Relaxed)).sum(),
        ready_after,
        first,
        memory: plane.memory()?,
    })
}

/// Connects until it is served, and counts what it is given first.
async fn first_world(
    id: String,
    xds: SocketAddr,
    refused: Arc<AtomicUsize>,
) -> Result<First, ClusterError> {
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
                    tokio::time::sleep(AGAIN).await;
                } else {
                    // It was given something and then cut: what that was is not known.
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes the first clusters that come, and all of their endpoints: so many do not fit into one response.
async fn whole(proxy: &mut DeltaProxy) -> Result<First, ClusterError> {
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
    let mut first = First {
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
