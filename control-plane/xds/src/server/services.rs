//! The gRPC services: the aggregated one and one for each kind, each in both protocols, and the load reporting service
//! ([`loads`](super::loads)). All but the latter open a [`stream`](super::stream). The unary `Fetch…` methods are not
//! implemented.
//!
//! They are written by hand, because the generated ones leave neither the size of a request nor the buffers of a stream to the
//! server (see [`framing`](super::framing)).

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::task::{Context, Poll};

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::provider::SnapshotProvider;
use crate::resource::Kind;
use crate::wire::{Delta, StateOfTheWorld, Wire};

use super::admission::{connection_of, count_stream, first_request_limit};
use super::framing::{self, Requests};
use super::{XdsServer, loads, stream};

/// Every service of `server`.
pub(super) fn routes<S: SnapshotProvider>(server: &XdsServer<S>) -> Routes {
    Routes::new(Served::<_, Aggregated>::new(server))
        .add_service(Served::<_, Clusters>::new(server))
        .add_service(Served::<_, Endpoints>::new(server))
        .add_service(Served::<_, Listeners>::new(server))
        .add_service(Served::<_, RouteTables>::new(server))
        .add_service(Served::<_, Extensions>::new(server))
        .add_service(Served::<_, Secrets>::new(server))
        .add_service(Served::<_, LoadReports>::new(server))
}

/// A service as protobuf defines it.
trait Definition: Send + Sync + 'static {
    /// Package and name.
    const NAME: &'static str;

    /// Opens a stream of the method with this name.
    fn open<S: SnapshotProvider>(
        server: &XdsServer<S>,
        method: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status>;
}

macro_rules! discovery {
    ($definition:ident, $name:literal, $only:expr, $sotw:literal, $delta:literal) => {
        struct $definition;

        impl Definition for $definition {
            const NAME: &'static str = $name;

            fn open<S: SnapshotProvider>(
                server: &XdsServer<S>,
                method: &str,
                request: Request<Body>,
            ) -> Result<Response<Body>, Status> {
                match method {
                    $sotw => open::<StateOfTheWorld, S>(server, $only, request),
                    $delta => open::<Delta, S>(server, $only, request),
                    _ => Err(Status::unimplemented(
                        "only the streaming methods are implemented; open a stream",
                    )),
                }
            }
        }
    };
}

discovery!(
    Aggregated,
    "envoy.service.discovery.v3.AggregatedDiscoveryService",
    None,
    "StreamAggregatedResources",
    "DeltaAggregatedResources"
);
discovery!(
    Clusters,
    "envoy.service.cluster.v3.ClusterDiscoveryService",
    Some(Kind::Cluster),
    "StreamClusters",
    "DeltaClusters"
);
discovery!(
    Endpoints,
    "envoy.service.endpoint.v3.EndpointDiscoveryService",
    Some(Kind::Endpoints),
    "StreamEndpoints",
    "DeltaEndpoints"
);
discovery!(
    Listeners,
    "envoy.service.listener.v3.ListenerDiscoveryService",
    Some(Kind::Listener),
    "StreamListeners",
    "DeltaListeners"
);
discovery!(
    RouteTables,
    "envoy.service.route.v3.RouteDiscoveryService",
    Some(Kind::Route),
    "StreamRoutes",
    "DeltaRoutes"
);
discovery!(
    Extensions,
    "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
    Some(Kind::Extension),
    "StreamExtensionConfigs",
    "DeltaExtensionConfigs"
);
discovery!(
    Secrets,
    "envoy.service.secret.v3.SecretDiscoveryService",
    Some(Kind::Secret),
    "StreamSecrets",
    "DeltaSecrets"
);

struct LoadReports;

impl Definition for LoadReports {
    const NAME: &'static str = "envoy.service.load_stats.v3.LoadReportingService";

    fn open<S: SnapshotProvider>(
        server: &XdsServer<S>,
        method: &str,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        match method {
            "StreamLoadStats" => loads::open(server, request),
            _ => Err(Status::unimplemented("there is no such method")),
        }
    }
}

fn open<P: Wire, S: SnapshotProvider>(
    server: &XdsServer<S>,
    only: Option<Kind>,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let connection = connection_of(server, &request)?;
    let counted = count_stream(server, &connection)?;
    let (outbound, responses) = mpsc::channel(server.inner.options.response_queue.max(1));
    let inbound = Requests::new(
        request.into_body(),
        first_request_limit(server, &connection),
    );
    let served = stream::run::<P, S>(server.clone(), connection, only, inbound, outbound);
    tokio::spawn(async move {
        served.await;
        drop(counted);
    });
    // Messages are encoded only when the transport asks for them, so the bodies of queued responses stay shared.
    let messages = ReceiverStream::new(responses);
    let messages = messages.map(|response| framing::encode(&P::encode(*response?)));
    Ok(framing::response(messages))
}

/// A service of a server.
struct Served<S, D> {
    server: XdsServer<S>,
    definition: PhantomData<D>,
}

impl<S, D> Served<S, D> {
    fn new(server: &XdsServer<S>) -> Self {
        Self {
            server: server.clone(),
            definition: PhantomData,
        }
    }
}

impl<S, D> Clone for Served<S, D> {
    fn clone(&self) -> Self {
        Self::new(&self.server)
    }
}

impl<S, D: Definition> NamedService for Served<S, D> {
    const NAME: &'static str = D::NAME;
}

impl<S: SnapshotProvider, D: Definition> Service<Request<Body>> for Served<S, D> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let method = path.rsplit('/').next().unwrap_or_default();
        let opened = D::open(&self.server, method, request);
        ready(Ok(opened.unwrap_or_else(Status::into_http)))
    }
}
