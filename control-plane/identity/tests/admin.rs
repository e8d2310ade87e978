//! TLS of the admin port: certificates of clients are optional, but an invalid one is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::Server;
use headgate_identity::{CertificateFiles, ClientCertificates, FileOptions, PortTls};
use headgate_testkit::svid::{SecretVolume, SvidParams, TrustDomainAuthority};
use headgate_xds::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const OPERATOR: &str = "/ns/ops/sa/admin";

struct Setup {
    authority: TrustDomainAuthority,
    volume: SecretVolume,
    _dir: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = TrustDomainAuthority::new("a.test").unwrap();
        let mut volume = SecretVolume::new(dir.path().join("tls")).unwrap();
        let own = authority.issue("/ns/headgate-system/sa/headgate").unwrap();
        volume.write_tls(&own, authority.pem()).unwrap();
        Self {
            authority,
            volume,
            _dir: dir,
        }
    }

    fn files(&self, clients: ClientCertificates) -> CertificateFiles {
        CertificateFiles::new(FileOptions {
            tls: PortTls::admin(clients),
            directory: self.volume.path().to_owned(),
            bundles: Vec::new(),
            trust_domains: Vec::new(),
        })
        .unwrap()
    }

    async fn serve(&self, clients: ClientCertificates, timeout: Duration) -> Server {
        let files = self.files(clients);
        let identity = files.identity();
        tokio::spawn(files.run());
        Server::start_port(identity, PortTls::admin(clients), timeout).await
    }
}

#[tokio::test]
async fn a_client_may_have_no_certificate_but_no_invalid_one() {
    let setup = Setup::new();
    let a = &setup.authority;
    let server = setup
        .serve(ClientCertificates::Optional, common::SOON)
        .await;
    assert_eq!(server.connect(a, None).await.unwrap(), "nobody");
    let operator = a.issue(OPERATOR).unwrap();
    let id = server.connect(a, Some(&operator)).await.unwrap();
    assert_eq!(id, format!("spiffe://a.test{OPERATOR}"));
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let expired = a.issue_with(&SvidParams {
        uris: vec![id.clone()],
        validity: Some((now - 2 * hour, now - hour)),
        ..SvidParams::default()
    });
    let two = a.issue_with(&SvidParams {
        uris: vec![id, "spiffe://a.test/other".to_owned()],
        ..SvidParams::default()
    });
    let foreign = TrustDomainAuthority::new("b.test").unwrap();
    let impostor = TrustDomainAuthority::new("a.test").unwrap();
    for (svid, refusal) in [
        (expired.unwrap(), Refusal::CertificateExpired),
        (two.unwrap(), Refusal::UriSan),
        (foreign.issue(OPERATOR).unwrap(), Refusal::TrustDomain),
        (
            impostor.issue(OPERATOR).unwrap(),
            Refusal::CertificateUntrusted,
        ),
    ] {
        let outcome = server.connect(a, Some(&svid)).await;
        assert!(outcome.is_err(), "{refusal:?}: {outcome:?}");
        server.refused(refusal, 1).await;
    }
}

#[tokio::test]
async fn without_identities_clients_are_not_asked_and_no_bundle_is_needed() {
    let mut setup = Setup::new();
    let own = setup.authority.issue("/server").unwrap();
    setup
        .volume
        .write(&[("tls.crt", &own.pem), ("tls.key", &own.key_pem)])
        .unwrap();
    std::fs::remove_file(setup.volume.path().join("ca.crt")).unwrap();
    let server = setup.serve(ClientCertificates::Ignored, common::SOON).await;
    let operator = setup.authority.issue(OPERATOR).unwrap();
    for svid in [None, Some(&operator)] {
        let seen = server.connect(&setup.authority, svid).await.unwrap();
        assert_eq!(seen, "nobody");
    }
}

#[tokio::test]
async fn plaintext_http_is_told_to_use_tls() {
    let setup = Setup::new();
    let server = setup
        .serve(ClientCertificates::Optional, common::SOON)
        .await;
    let mut plaintext = TcpStream::connect(server.addr).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    plaintext.write_all(request).await.unwrap();
    let mut answer = String::new();
    plaintext.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("--admin-ca"), "{answer}");
    server.refused(Refusal::HandshakeFailed, 1).await;
}

#[tokio::test]
async fn one_address_cannot_keep_out_others() {
    let setup = Setup::new();
    let limit = Duration::from_secs(3);
    let server = setup.serve(ClientCertificates::Optional, limit).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(server.addr).await.unwrap());
    }
    server.refused(Refusal::HandshakeLimit, 300 - 256).await;
    server.connect(&setup.authority, None).await.unwrap();
    // Those that have ended make room.
    server.refused(Refusal::HandshakeTimeout, 256).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut late = socket.connect(server.addr).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn silent_clients_hold_up_nobody_and_are_closed_in_time() {
    let setup = Setup::new();
    let limit = Duration::from_secs(2);
    let server = setup.serve(ClientCertificates::Optional, limit).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let begin = Instant::now();
    server.connect(&setup.authority, None).await.unwrap();
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    for mut io in silent {
        assert_eq!(io.read(&mut [0]).await.unwrap_or(0), 0);
    }
    assert!(begin.elapsed() < 3 * limit, "{:?}", begin.elapsed());
    server.refused(Refusal::HandshakeTimeout, 100).await;
}
