//! The rate of writes is limited however often proxies come and go.

use std::time::{Duration, Instant};

use headgate_testkit::xds_client::AutoAckProxy;

use crate::cluster::{Cluster, policy, wait};

/// How long and how often proxies come and go.
const DURING: Duration = Duration::from_secs(35);
const EVERY: Duration = Duration::from_millis(700);

/// The shortest time between two of these moments.
fn shortest(moments: &[Instant]) -> Duration {
    let pairs = moments.windows(2).map(|pair| pair[1] - pair[0]);
    pairs.min().unwrap_or(Duration::MAX)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_written_every_ten_seconds_at_most_and_the_counts_of_a_replica_every_five() {
    let cluster = Cluster::start().await;
    let fault_proxy = cluster.fault_proxy().await;
    let server = cluster.serve_as(fault_proxy.kubeconfig(), "a", &[]).await;
    let kubectl = cluster.kube.kubectl();
    kubectl.apply(&policy("fair", 1000, "")).await.unwrap();
    let stays = AutoAckProxy::connect("stays", server.xds).unwrap();
    wait(&kubectl, "tbp/fair", "Programmed").await;

    let began = Instant::now();
    let mut ticks = tokio::time::interval(EVERY);
    let mut comes = None;
    while began.elapsed() < DURING {
        ticks.tick().await;
        // It connects and disconnects in turn.
        comes = match comes {
            Some(_) => None,
            None => Some(AutoAckProxy::connect("comes", server.xds).unwrap()),
        };
    }
    drop((stays, comes));

    let statuses = fault_proxy.arrival_times(|request| {
        request.starts_with("PATCH ") && request.ends_with("/tokenbucketpolicies/fair/status")
    });
    let counts = fault_proxy.arrival_times(|request| {
        request.starts_with("PATCH ") && request.ends_with("/configmaps/headgate-counts-a")
    });
    assert!(
        statuses.len() >= 3 && counts.len() >= 5,
        "{statuses:?} {counts:?}"
    );
    let (status, count) = (shortest(&statuses), shortest(&counts));
    assert!(status >= Duration::from_secs(10), "{status:?}");
    assert!(count >= Duration::from_secs(5), "{count:?}");
}
