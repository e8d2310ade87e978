//! A client that sends load reports (LRS), as a proxy does.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::XdsError;

/// A stream of load reports; dropping it ends it.
#[derive(Debug)]
pub struct LoadReports {
    reports: mpsc::Sender<LoadStatsRequest>,
}

impl LoadReports {
    /// Opens a stream with this node id, and waits for the server's first response.
    ///
    /// # Errors
    /// [`XdsError`] when the server is not reachable, or refuses.
    pub async fn start(server: SocketAddr, node: &str) -> Result<Self, XdsError> {
        let mut client = LoadReportingServiceClient::connect(format!("http://{server}")).await?;
        let (reports, sent) = mpsc::channel(8);
        let first = LoadStatsRequest {
            node: Some(Node {
                id: node.to_owned(),
                ..Node::default()
            }),
            ..LoadStatsRequest::default()
        };
        reports.send(first).await.map_err(|_| XdsError::Closed)?;
        let stream = client.stream_load_stats(ReceiverStream::new(sent)).await?;
        let mut stream = stream.into_inner();
        stream.message().await?.ok_or(XdsError::Closed)?;
        // The responses are not needed; the end of the stream shows when the next report cannot be sent.
        tokio::spawn(async move { while let Ok(Some(_)) = stream.message().await {} });
        Ok(Self { reports })
    }

    /// Reports the requests of one window to one cluster: `answered` were answered, `refused` found no connection.
    ///
    /// # Errors
    /// [`XdsError::Closed`] once the server has ended the stream.
    pub async fn send(&self, cluster: &str, answered: u64, refused: u64) -> Result<(), XdsError> {
        let locality = UpstreamLocalityStats {
            total_successful_requests: answered,
            total_issued_requests: answered,
            total_error_requests: refused,
            ..UpstreamLocalityStats::default()
        };
        let report = LoadStatsRequest {
            cluster_stats: vec![ClusterStats {
                cluster_name: cluster.to_owned(),
                upstream_locality_stats: vec![locality],
                ..ClusterStats::default()
            }],
            ..LoadStatsRequest::default()
        };
        self.reports
            .send(report)
            .await
            .map_err(|_| XdsError::Closed)
    }
}
