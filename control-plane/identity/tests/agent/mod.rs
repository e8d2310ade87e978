//! A SPIFFE Workload API at a socket, with the messages of the public proto. It gives what a test says.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use headgate_testkit::svid::TrustDomainAuthority;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub struct X509SvidRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub svids: Vec<X509Svid>,
    #[prost(map = "string, bytes", tag = "3")]
    pub federated_bundles: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct X509Svid {
    #[prost(string, tag = "1")]
    pub spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub bundle: Vec<u8>,
}

/// The agent. Dropping it ends it.
pub struct Agent {
    dir: TempDir,
    given: watch::Sender<Option<X509SvidResponse>>,
    /// The server, and the sender that its streams end with.
    serving: Option<(JoinHandle<()>, watch::Sender<()>)>,
}

impl Agent {
    /// An agent that does not run and has nothing.
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            given: watch::Sender::default(),
            serving: None,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub fn start(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let running = watch::Sender::default();
        let api = WorkloadApi {
            given: self.given.subscribe(),
            running: running.subscribe(),
        };
        let server = tonic::transport::Server::builder()
            .add_service(api)
            .serve_with_incoming(UnixListenerStream::new(listener));
        let serving = tokio::spawn(async move { drop(server.await) });
        self.serving = Some((serving, running));
    }

    /// Ends it with all its connections.
    pub fn stop(&mut self) {
        // Connections are tasks of their own: their streams end with the sender.
        if let Some((serving, _)) = self.serving.take() {
            serving.abort();
        }
    }

    /// Gives the workload a new SVID of this authority, with its bundle and those of other trust domains.
    pub fn give(
        &self,
        domain: &str,
        path: &str,
        authority: &TrustDomainAuthority,
        federated: &[(&str, &TrustDomainAuthority)],
    ) {
        let svid = authority.issue(path).unwrap();
        let bundles = federated.iter();
        self.given.send_replace(Some(X509SvidResponse {
            svids: vec![X509Svid {
                spiffe_id: format!("{domain}{path}"),
                x509_svid: svid.der,
                x509_svid_key: svid.key_der,
                bundle: authority.der().to_vec(),
            }],
            federated_bundles: bundles
                .map(|(domain, authority)| ((*domain).to_owned(), authority.der().to_vec()))
                .collect(),
        }));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct WorkloadApi {
    given: watch::Receiver<Option<X509SvidResponse>>,
    running: watch::Receiver<()>,
}

impl NamedService for WorkloadApi {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl Service<http::Request<Body>> for WorkloadApi {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/SpiffeWorkloadAPI/FetchX509SVID");
        assert_eq!(request.headers()["workload.spiffe.io"], "true");
        let method = FetchX509Svid(self.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

struct FetchX509Svid(WorkloadApi);

type Responses = Pin<Box<dyn Stream<Item = Result<X509SvidResponse, Status>> + Send>>;

impl ServerStreamingService<X509SvidRequest> for FetchX509Svid {
    type Response = X509SvidResponse;
    type ResponseStream = Responses;
    type Future = Ready<Result<Response<Responses>, Status>>;

    fn call(&mut self, _: Request<X509SvidRequest>) -> Self::Future {
        let WorkloadApi { given, mut running } = self.0.clone();
        let stopped = async move { while running.changed().await.is_ok() {} };
        let given = WatchStream::new(given).take_until(Box::pin(stopped));
        let responses = given.filter_map(async |given| given.map(Ok));
        ready(Ok(Response::new(Box::pin(responses))))
    }
}
