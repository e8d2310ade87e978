//! The load reporting service (LRS): on one stream for each proxy, the proxy reports the results of its requests by cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterStats;
use envoy_types::pb::envoy::service::load_stats::v3 as pb;
use envoy_types::pb::google::protobuf::Duration as PbDuration;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::admission::{admit, connection_of, count_stream, first_request_limit};
use super::framing::{self, Requests};
use super::scope_changes::ScopeChanges;
use super::stream::until_drained;
use super::{MAX_REQUEST_BYTES, XdsServer};
use crate::connection::ConnectionInfo;
use crate::loads::ClusterLoad;
use crate::provider::SnapshotProvider;

/// Opens a stream of load reports.
pub(super) fn open<S: SnapshotProvider>(
    server: &XdsServer<S>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (server, connection) = (server.clone(), connection_of(server, &request)?);
    let counted = count_stream(&server, &connection)?;
    // Room for the one response and for the status that ends the stream.
    let (outbound, responses) = mpsc::channel(2);
    let mut inbound = Requests::new(
        request.into_body(),
        first_request_limit(&server, &connection),
    );
    tokio::spawn(async move {
        let reports = receive_reports(&server, connection, &mut inbound, &outbound);
        let ended = tokio::select! {
            ended = until_drained(&server, None, reports) => ended,
            () = outbound.closed() => Ok(()),
        };
        if let Err(status) = ended {
            let _ = outbound.try_send(Err(status));
        }
        drop(counted);
    });
    let messages = ReceiverStream::new(responses);
    Ok(framing::response(messages.map(
        |response: Result<pb::LoadStatsResponse, Status>| framing::encode(&response?),
    )))
}

type Outbound = mpsc::Sender<Result<pb::LoadStatsResponse, Status>>;

async fn receive_reports<S: SnapshotProvider>(
    server: &XdsServer<S>,
    connection: ConnectionInfo,
    inbound: &mut Requests<pb::LoadStatsRequest>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let Some(first) = inbound.message().await? else {
        return Ok(());
    };
    let mut scope_changes = ScopeChanges::since_now(server);
    let node = first.node.unwrap_or_default();
    let (peer, scope) = admit(server, node, connection)?;
    inbound.set_limit(MAX_REQUEST_BYTES);
    tracing::debug!(node = peer.id, %scope, peer = peer.remote(), "proxy reports its load");
    let membership = server.inner.loads.join(&peer.id, &scope);
    let interval = server.inner.options.load_interval;
    let settings = pb::LoadStatsResponse {
        send_all_clusters: true,
        load_reporting_interval: Some(PbDuration {
            seconds: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(interval.subsec_nanos()).unwrap_or(0),
        }),
        ..pb::LoadStatsResponse::default()
    };
    if outbound.send(Ok(settings)).await.is_err() {
        return Ok(());
    }
    let reports = async {
        while let Some(report) = inbound.message().await? {
            membership.report(by_cluster(report.cluster_stats));
        }
        Ok(())
    };
    tokio::select! {
        ended = reports => ended,
        status = scope_changes.until_changed(server, &peer, &scope) => Err(status),
    }
}

/// The load by cluster. A cluster may be in a report several times, once for each service name.
fn by_cluster(stats: Vec<ClusterStats>) -> BTreeMap<String, ClusterLoad> {
    let mut loads: BTreeMap<String, ClusterLoad> = BTreeMap::new();
    for cluster in stats {
        let window = cluster.load_report_interval.unwrap_or_default();
        let load = loads.entry(cluster.cluster_name).or_default();
        load.window = Duration::new(
            u64::try_from(window.seconds).unwrap_or(0),
            u32::try_from(window.nanos).unwrap_or(0),
        );
        for locality in cluster.upstream_locality_stats {
            let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
            add(&mut load.succeeded, locality.total_successful_requests);
            add(&mut load.failed, locality.total_error_requests);
            add(&mut load.issued, locality.total_issued_requests);
            add(&mut load.in_progress, locality.total_requests_in_progress);
        }
    }
    loads
}
