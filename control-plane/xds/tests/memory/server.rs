//! The server as a process: its role in this binary, and its handle.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use headgate_xds::connection::tcp;
use headgate_xds::{
    Kind, Options, Peer, PermissionDenied, Resource, ResourceKey, Scope, Snapshot,
    SnapshotProvider, XdsServer,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::CLUSTERS;

/// The argument that makes this binary the server.
pub(crate) const ROLE: &str = "--as-server";

type Published = watch::Sender<Option<Arc<Snapshot>>>;

struct OneScope(Published);

impl SnapshotProvider for OneScope {
    fn scope(&self, _: &Peer) -> Result<Scope, PermissionDenied> {
        Ok(Scope("all".to_owned()))
    }

    fn snapshots(
        &self,
        _: &Peer,
    ) -> Result<watch::Receiver<Option<Arc<Snapshot>>>, PermissionDenied> {
        Ok(self.0.subscribe())
    }
}

/// The name of a cluster, as long as that of a model's version.
pub(crate) fn cluster_name(number: usize) -> String {
    format!("model/default/llama3-70b-instruct-{number:05}/v2.3.1-cuda118")
}

/// All resources of one revision. Every cluster and every endpoint resource of a revision differs from the one before.
fn snapshot(revision: usize) -> Arc<Snapshot> {
    let names: Vec<String> = (0..CLUSTERS).map(cluster_name).collect();
    let body = |name: &str, length: usize| format!("{name} {revision} {}", "x".repeat(length));
    let keys: Arc<[ResourceKey]> = names
        .iter()
        .map(|name| ResourceKey::new(Kind::Cluster, name.as_str()))
        .collect();
    let clusters = names
        .iter()
        .map(|name| Resource::new(Kind::Cluster, name.as_str(), body(name, 900)));
    let endpoints = names
        .iter()
        .map(|name| Resource::new(Kind::Endpoints, name.as_str(), body(name, 200)));
    let routing = [
        (Kind::Listener, "listener"),
        (Kind::Route, "routes"),
        (Kind::Extension, "headgate"),
    ];
    let routing = routing.map(|(kind, name)| {
        Resource::new(kind, name, body(name, 100_000)).requiring_all(keys.clone())
    });
    Arc::new(Snapshot::new(clusters.chain(endpoints).chain(routing)).unwrap())
}

/// Serves until its standard input ends. Commands, one on each line: `publish` a new revision, print the number of `streams`.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let published = watch::Sender::new(Some(snapshot(0)));
        let options = Options {
            // All proxies come from one address.
            max_connections_per_peer: Options::default().max_connections,
            // On few cores the clients and the server wait for each other.
            first_request: Duration::from_secs(600),
            ..Options::default()
        };
        let server = XdsServer::new(OneScope(published), options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(tcp(listener), std::future::pending()).await });
        // A reader of events, as the metrics are.
        let mut events = server.fleet().events();
        tokio::spawn(async move {
            while !matches!(
                events.recv().await,
                Err(tokio::sync::broadcast::error::RecvError::Closed)
            ) {}
        });
        tokio::task::spawn_blocking(move || obey(&server))
            .await
            .unwrap();
    });
    // Its tasks end with the process.
    std::process::exit(0);
}

fn obey(server: &XdsServer<OneScope>) {
    let mut revision = 0;
    for command in std::io::stdin().lines() {
        match command.unwrap().as_str() {
            "publish" => {
                revision += 1;
                server.provider().0.send_replace(Some(snapshot(revision)));
                println!("{revision}");
            }
            "stats" => unsafe {
                unsafe extern "C" {
                    fn malloc_stats();
                }
                malloc_stats();
            },
            _ => println!("{}", server.fleet().len()),
        }
    }
}

/// The handle. Dropping it ends the process.
pub(crate) struct ServerProcess {
    process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    pub(crate) address: String,
}

impl ServerProcess {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut address = String::new();
        answers.read_line(&mut address).unwrap();
        Self {
            process,
            commands,
            answers,
            address: address.trim().to_owned(),
        }
    }

    fn command(&mut self, command: &str) -> usize {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }

    /// Publishes a new revision of everything.
    pub(crate) fn publish(&mut self) {
        self.command("publish");
    }

    pub(crate) async fn wait_until_streams(&mut self, count: usize) {
        for _ in 0..600 {
            if self.command("streams") == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server never had {count} streams");
    }

    pub(crate) fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: usize = line
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
