//! The gRPC services: the aggregated one and one for each kind, each in both protocols, and the load reporting service
//! ([`loads`](super::loads)). All but the latter open a [`stream`](super::stream). The unary `Fetch…` methods are not
//! implemented.

use std::pin::Pin;

use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_server as cds;
use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server as ads;
use envoy_types::pb::envoy::service::endpoint::v3::endpoint_discovery_service_server as eds;
use envoy_types::pb::envoy::service::extension::v3::extension_config_discovery_service_server as ecds;
use envoy_types::pb::envoy::service::listener::v3::listener_discovery_service_server as lds;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server as lrs;
use envoy_types::pb::envoy::service::route::v3::route_discovery_service_server as rds;
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server as sds;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::provider::SnapshotProvider;
use crate::resource::Kind;
use crate::wire::{Delta, StateOfTheWorld, Wire};

use super::admission::connection_of;
use super::stream;
use super::{MAX_REQUEST_BYTES, XdsServer};

pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Opened<T> = Result<Response<Messages<T>>, Status>;

/// Every service of `server`.
pub(super) fn routes<S: SnapshotProvider>(server: &XdsServer<S>) -> Routes {
    macro_rules! service {
        ($service:ty) => {
            <$service>::new(server.clone()).max_decoding_message_size(MAX_REQUEST_BYTES)
        };
    }
    Routes::new(service!(ads::AggregatedDiscoveryServiceServer<_>))
        .add_service(service!(cds::ClusterDiscoveryServiceServer<_>))
        .add_service(service!(eds::EndpointDiscoveryServiceServer<_>))
        .add_service(service!(lds::ListenerDiscoveryServiceServer<_>))
        .add_service(service!(rds::RouteDiscoveryServiceServer<_>))
        .add_service(service!(ecds::ExtensionConfigDiscoveryServiceServer<_>))
        .add_service(service!(sds::SecretDiscoveryServiceServer<_>))
        .add_service(service!(lrs::LoadReportingServiceServer<_>))
}

impl<S: SnapshotProvider> XdsServer<S> {
    fn open<P: Wire>(
        &self,
        only: Option<Kind>,
        request: Request<Streaming<P::Request>>,
    ) -> Opened<P::Response> {
        let connection = connection_of(self, &request)?;
        let (outbound, responses) = mpsc::channel(self.inner.options.response_queue.max(1));
        let inbound = request.into_inner();
        tokio::spawn(stream::run::<P, S>(
            self.clone(),
            connection,
            only,
            inbound,
            outbound,
        ));
        // Messages are encoded only when the transport asks for them, so the bodies of queued responses stay shared.
        let messages = ReceiverStream::new(responses).map(|response| response.map(P::encode));
        Ok(Response::new(Box::pin(messages)))
    }
}

#[tonic::async_trait]
impl<S: SnapshotProvider> ads::AggregatedDiscoveryService for XdsServer<S> {
    type StreamAggregatedResourcesStream = Messages<pb::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Messages<pb::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<pb::DiscoveryRequest>>,
    ) -> Opened<pb::DiscoveryResponse> {
        self.open::<StateOfTheWorld>(None, request)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<pb::DeltaDiscoveryRequest>>,
    ) -> Opened<pb::DeltaDiscoveryResponse> {
        self.open::<Delta>(None, request)
    }
}

macro_rules! per_type {
    ($kind:expr, $service:path, $sotw:ident: $sotw_stream:ident, $delta:ident: $delta_stream:ident, $fetch:ident) => {
        #[tonic::async_trait]
        impl<S: SnapshotProvider> $service for XdsServer<S> {
            type $sotw_stream = Messages<pb::DiscoveryResponse>;
            type $delta_stream = Messages<pb::DeltaDiscoveryResponse>;

            async fn $sotw(
                &self,
                request: Request<Streaming<pb::DiscoveryRequest>>,
            ) -> Opened<pb::DiscoveryResponse> {
                self.open::<StateOfTheWorld>(Some($kind), request)
            }

            async fn $delta(
                &self,
                request: Request<Streaming<pb::DeltaDiscoveryRequest>>,
            ) -> Opened<pb::DeltaDiscoveryResponse> {
                self.open::<Delta>(Some($kind), request)
            }

            async fn $fetch(
                &self,
                _request: Request<pb::DiscoveryRequest>,
            ) -> Result<Response<pb::DiscoveryResponse>, Status> {
                Err(Status::unimplemented(
                    "unary fetch is not implemented; open a stream",
                ))
            }
        }
    };
}

per_type!(
    Kind::Cluster, cds::ClusterDiscoveryService,
    stream_clusters: StreamClustersStream, delta_clusters: DeltaClustersStream, fetch_clusters
);
per_type!(
    Kind::Endpoints, eds::EndpointDiscoveryService,
    stream_endpoints: StreamEndpointsStream, delta_endpoints: DeltaEndpointsStream, fetch_endpoints
);
per_type!(
    Kind::Listener, lds::ListenerDiscoveryService,
    stream_listeners: StreamListenersStream, delta_listeners: DeltaListenersStream, fetch_listeners
);
per_type!(
    Kind::Route, rds::RouteDiscoveryService,
    stream_routes: StreamRoutesStream, delta_routes: DeltaRoutesStream, fetch_routes
);
per_type!(
    Kind::Extension, ecds::ExtensionConfigDiscoveryService,
    stream_extension_configs: StreamExtensionConfigsStream,
    delta_extension_configs: DeltaExtensionConfigsStream, fetch_extension_configs
);
per_type!(
    Kind::Secret, sds::SecretDiscoveryService,
    stream_secrets: StreamSecretsStream, delta_secrets: DeltaSecretsStream, fetch_secrets
);
