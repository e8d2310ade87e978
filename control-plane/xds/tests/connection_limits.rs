//! The limits of connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod loopback;

use std::time::Duration;

use headgate_xds::{Kind, Options, Refusal};
use loopback::{Running, ask, next, snapshot, start_with, within};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Whether the server serves a stream on a new connection.
async fn is_served(running: &Running) -> Option<impl Sized + use<>> {
    let channel = running.channel().await;
    let (send, requests) = tokio::sync::mpsc::channel(8);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut client = loopback::aggregated(channel);
    send.send(ask(Kind::Cluster, &[])).await.unwrap();
    let mut stream = within(client.delta_aggregated_resources(requests))
        .await
        .ok()?
        .into_inner();
    next(&mut stream).await;
    Some((send, stream, client))
}

#[tokio::test]
async fn connections_beyond_a_limit_are_closed_and_counted_until_others_end() {
    for (total, of_peer, refusal) in [
        (2, 9, Refusal::ConnectionLimit),
        (9, 2, Refusal::PeerConnectionLimit),
    ] {
        let options = Options {
            max_connections: total,
            max_connections_per_peer: of_peer,
            ..Options::default()
        };
        let running = start_with(Some(snapshot(1)), options).await;
        let first = is_served(&running).await.expect("the first connection");
        let second = is_served(&running).await.expect("the second connection");
        assert!(is_served(&running).await.is_none(), "a third connection");
        assert!(running.server.refusals().counts()[&refusal] >= 1);
        drop(first);
        let mut again = None;
        for _ in 0..50 {
            again = is_served(&running).await;
            if again.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(again.is_some(), "no connection after another one has ended");
        drop(second);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let options = Options {
        first_request: Duration::from_millis(300),
        ..Options::default()
    };
    let running = start_with(Some(snapshot(1)), options).await;
    let served = is_served(&running).await.expect("a connection");
    let address = running.address.strip_prefix("http://").unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut received = Vec::new();
    // Its end, after the settings that the server sends.
    let _ = within(silent.read_to_end(&mut received)).await;
    assert_eq!(running.server.refusals().counts()[&Refusal::NoRequest], 1);
    assert_eq!(running.server.fleet().len(), 1);
    drop(served);
}
