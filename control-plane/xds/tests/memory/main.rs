//! The memory that equal proxies cost the server, measured in a process of its own: this binary starts itself as that server.
//!
//! `cargo test -p headgate-xds --test memory -- 2000` measures with 2000 proxies instead of the default.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxies;
mod server;

use std::time::{Duration, Instant};

use proxies::Fleet;
use server::ServerProcess;

/// Proxies, unless an argument says otherwise.
const PROXIES: usize = 400;
/// Clusters, and as many endpoint resources, of each proxy.
const CLUSTERS: usize = 800;
/// What an idle proxy may cost beyond [`FRAGMENTS`]: 42 KB of buffers of HTTP/2, and 20 KB for its stream.
const IDLE_BYTES: usize = 70_000;
/// What may be left over, however many proxies there are, of the memory that proxies need which connect at the same time.
const FRAGMENTS: usize = 24_000_000;
/// What a proxy that does not read may cost: the responses that wait for it share their bodies, but one of them is encoded.
const STALLED_BYTES: usize = 2 << 20;
/// The time after which the server has returned what it no longer needs.
const SETTLES: Duration = Duration::from_secs(12);
/// Proxies that do not read.
const STALLED: usize = 100;
/// What the server may keep after its proxies have left: caches, and pages that the allocator cannot return.
const KEPT_BYTES: usize = 32 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == server::ROLE) {
        return server::run();
    }
    if arguments.first().is_some_and(|a| a == "--client") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(async {
            let (mode, address, n) = (&arguments[1], &arguments[2], arguments[3].parse().unwrap());
            let mut keep = Vec::new();
            let mut fleet = None;
            match mode.as_str() {
                "conn" => { for _ in 0..n {
                    use tokio::io::AsyncWriteExt as _;
                    let mut s = tokio::net::TcpStream::connect(address.trim_start_matches("http://")).await.unwrap();
                    s.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
                    keep.push(s);
                } }
                "init" => {
                    use envoy_types::pb::envoy::service::discovery::v3::*;
                    use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
                    let len: usize = arguments[4].parse().unwrap();
                    let kind = arguments[5].clone();
                    let channel = tonic::transport::Channel::from_shared(address.clone()).unwrap().connect().await.unwrap();
                    let (tx, rx) = tokio::sync::mpsc::channel(64);
                    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
                    tx.send(DeltaDiscoveryRequest { node: Some(envoy_types::pb::envoy::config::core::v3::Node { id: "p".into(), ..Default::default() }),
                        type_url: headgate_xds::Kind::Secret.type_url().into(), ..Default::default() }).await.unwrap();
                    let names: Vec<String> = (0..n).map(|i| format!("{i:0len$}")).collect();
                    let full = kind == "cds" || kind == "lds";
                    let url = headgate_xds::Kind::PUSH_ORDER.into_iter().find(|k| k.as_str() == kind).unwrap().type_url();
                    tx.send(DeltaDiscoveryRequest { type_url: url.into(), resource_names_subscribe: if full { vec![] } else { names.clone() },
                        initial_resource_versions: names.into_iter().map(|n| (n, "0123456789abcdef0123456789abcdef".to_owned())).collect(), ..Default::default() }).await.unwrap();
                    let mut r = client.delta_aggregated_resources(tokio_stream::wrappers::ReceiverStream::new(rx)).await.unwrap().into_inner();
                    loop { match tokio::time::timeout(Duration::from_secs(30), r.message()).await { Ok(Ok(Some(m))) => {
                        println!("{} +{} -{}", m.type_url, m.resources.len(), m.removed_resources.len());
                        tx.send(DeltaDiscoveryRequest { type_url: m.type_url, response_nonce: m.nonce, ..Default::default() }).await.unwrap();
                        }, other => { println!("{}", format!("{other:?}").chars().take(200).collect::<String>()); break } } }
                }
                _ => { fleet = Some(Fleet::connect(address, n).await); }
            }
            println!("ready");
            tokio::time::sleep(Duration::from_secs(100_000)).await;
            drop((keep, fleet));
        });
    }
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(idle_proxies_share_what_they_hold(count.unwrap_or(PROXIES)));
    runtime.block_on(proxies_that_do_not_read_are_bounded());
}

async fn idle_proxies_share_what_they_hold(count: usize) {
    let mut server = ServerProcess::start();
    let warm_up = Fleet::connect(&server.address, 8).await;
    let empty = server.resident_bytes();
    let begun = Instant::now();
    let mut fleet = Fleet::connect(&server.address, count).await;
    tokio::time::sleep(SETTLES).await;
    let connected = server.resident_bytes() - empty;
    println!(
        "{count} idle proxies: {} MB after {:?}",
        connected / 1_000_000,
        begun.elapsed()
    );
    server.publish();
    fleet.run_next_revision().await;
    tokio::time::sleep(SETTLES).await;
    let updated = server.resident_bytes() - empty;
    println!("{count} updated proxies: {} MB", updated / 1_000_000);
    drop(fleet);
    server.wait_until_streams(warm_up.len()).await;
    tokio::time::sleep(SETTLES).await;
    let kept = server.resident_bytes().saturating_sub(empty);
    println!("after {count} proxies left: {} MB", kept / 1_000_000);
    let limit = count * IDLE_BYTES + FRAGMENTS;
    assert!(connected < limit, "{connected} bytes, limit {limit}");
    assert!(
        updated < limit,
        "{updated} bytes after updates, limit {limit}"
    );
    assert!(kept < KEPT_BYTES, "{kept} bytes are kept");
}

async fn proxies_that_do_not_read_are_bounded() {
    let mut server = ServerProcess::start();
    let empty = server.resident_bytes();
    let stalled = Fleet::connect_stalled(&server.address, STALLED).await;
    server.wait_until_streams(STALLED).await;
    let mut most = 0;
    for _ in 0..20 {
        server.publish();
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(server.resident_bytes() - empty);
    }
    println!(
        "{STALLED} proxies that do not read: {} MB",
        most / 1_000_000
    );
    assert!(most < STALLED * STALLED_BYTES, "{most} bytes");
    drop(stalled);
    server.wait_until_streams(0).await;
    tokio::time::sleep(SETTLES).await;
    let kept = server.resident_bytes().saturating_sub(empty);
    println!("after they left: {} MB", kept / 1_000_000);
    assert!(kept < KEPT_BYTES, "{kept} bytes are kept");
}
