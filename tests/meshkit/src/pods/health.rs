//! A client of the gRPC health protocol (`grpc.health.v1`), for gRPC probes.

use std::net::SocketAddr;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// The answer of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    Yes,
    /// Another value of `HealthCheckResponse.ServingStatus`.
    No(i32),
}

/// `HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `ServingStatus.SERVING`.
const SERVING: i32 = 1;

/// Asks a server about a service; an empty name asks about the server.
pub(super) async fn serving(at: SocketAddr, service: &str) -> Result<Serving, Status> {
    let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let endpoint = Endpoint::from_shared(format!("http://{at}")).map_err(unavailable)?;
    let channel = endpoint.connect().await.map_err(unavailable)?;
    let mut client = Grpc::new(channel);
    let ready = client.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(CheckRequest {
        service: service.to_owned(),
    });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec: ProstCodec<CheckRequest, CheckResponse> = ProstCodec::default();
    let response = client.unary(request, path, codec).await?;
    Ok(match response.into_inner().status {
        SERVING => Serving::Yes,
        other => Serving::No(other),
    })
}
