//! TLS with certificates from files: who is accepted, who is refused and why, and rotation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant, SystemTime};

use common::{Server, identity_that};
use headgate_identity::{CertificateFiles, FileOptions, PortTls, TrustDomain};
use headgate_testkit::svid::{SecretVolume, Svid, SvidParams, TrustDomainAuthority};
use headgate_xds::Refusal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PATH: &str = "/ns/models/sa/gateway";
const SERVER: &str = "/ns/headgate-system/sa/headgate";

/// Authorities of two federated trust domains and of one that is not allowed, and the files of a server of the first.
struct Setup {
    a: TrustDomainAuthority,
    b: TrustDomainAuthority,
    c: TrustDomainAuthority,
    volume: SecretVolume,
    dir: TempDir,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut volume = SecretVolume::new(dir.path().join("tls")).unwrap();
        let [a, b, c] =
            ["a.test", "b.test", "c.test"].map(|d| TrustDomainAuthority::new(d).unwrap());
        volume
            .write_tls(&a.issue(SERVER).unwrap(), a.pem())
            .unwrap();
        std::fs::write(dir.path().join("b.pem"), b.pem()).unwrap();
        Self {
            a,
            b,
            c,
            volume,
            dir,
        }
    }

    fn options(&self) -> FileOptions {
        FileOptions {
            tls: PortTls::XDS,
            directory: self.volume.path().to_owned(),
            bundles: vec![(
                TrustDomain::new("b.test").unwrap(),
                self.dir.path().join("b.pem"),
            )],
            trust_domains: Vec::new(),
        }
    }

    async fn serve(&self) -> Server {
        let files = CertificateFiles::new(self.options()).unwrap();
        let identity = files.identity();
        tokio::spawn(files.run());
        Server::start(identity).await
    }
}

fn svid(authority: &TrustDomainAuthority, uris: &[&str]) -> Svid {
    let uris = uris.iter().map(ToString::to_string).collect();
    let params = SvidParams {
        uris,
        ..SvidParams::default()
    };
    authority.issue_with(&params).unwrap()
}

#[tokio::test]
async fn proxies_of_federated_trust_domains_are_accepted_with_their_identity() {
    let setup = Setup::new();
    let server = setup.serve().await;
    for (authority, domain) in [(&setup.a, "a.test"), (&setup.b, "b.test")] {
        let own = authority.issue(PATH).unwrap();
        let identity = server.connect(&setup.a, Some(&own)).await.unwrap();
        assert_eq!(identity, format!("spiffe://{domain}{PATH}"));
    }
    let state = server.identity.borrow().clone();
    assert_eq!(state.spiffe_id, Some(format!("spiffe://a.test{SERVER}")));
    assert_eq!(state.trust_domains, ["a.test", "b.test"]);
    assert!(server.refusals.counts().values().all(|n| *n == 0));
}

#[tokio::test]
async fn each_wrong_certificate_is_refused_and_counted_by_its_reason() {
    let setup = Setup::new();
    let server = setup.serve().await;
    let (a, b, c) = (&setup.a, &setup.b, &setup.c);
    let hour = Duration::from_secs(3600);
    let (now, id) = (SystemTime::now(), "spiffe://a.test/x");
    let at = |begin, end| {
        let params = SvidParams {
            uris: vec![id.to_owned()],
            validity: Some((begin, end)),
            ..SvidParams::default()
        };
        a.issue_with(&params).unwrap()
    };
    let cases = [
        ("no certificate", None, Refusal::NoCertificate, 1),
        (
            "expired",
            Some(at(now - 2 * hour, now - hour)),
            Refusal::CertificateExpired,
            1,
        ),
        (
            "not yet valid",
            Some(at(now + hour, now + 2 * hour)),
            Refusal::CertificateExpired,
            2,
        ),
        (
            "two URIs",
            Some(svid(a, &[id, "spiffe://a.test/y"])),
            Refusal::UriSan,
            1,
        ),
        (
            "two equal URIs",
            Some(svid(a, &[id, id])),
            Refusal::UriSan,
            2,
        ),
        ("no URI", Some(svid(a, &[])), Refusal::UriSan, 3),
        (
            "another scheme",
            Some(svid(a, &["https://a.test/x"])),
            Refusal::UriSan,
            4,
        ),
        (
            "no path",
            Some(svid(a, &["spiffe://a.test"])),
            Refusal::UriSan,
            5,
        ),
        (
            "a trust domain that is not allowed",
            Some(c.issue(PATH).unwrap()),
            Refusal::TrustDomain,
            1,
        ),
        (
            "a of the bundle of b",
            Some(svid(b, &[id])),
            Refusal::CertificateUntrusted,
            1,
        ),
        (
            "b of the bundle of a",
            Some(svid(a, &["spiffe://b.test/x"])),
            Refusal::CertificateUntrusted,
            2,
        ),
        (
            "a of an unknown bundle",
            Some(svid(c, &[id])),
            Refusal::CertificateUntrusted,
            3,
        ),
    ];
    for (case, svid, refusal, count) in &cases {
        let outcome = server.connect(a, svid.as_ref()).await;
        assert!(outcome.is_err(), "{case}: {outcome:?}");
        server.refused(*refusal, *count).await;
    }
    let total: u64 = server.refusals.counts().values().sum();
    assert_eq!(total, cases.len() as u64);
}

#[tokio::test]
async fn plaintext_and_slow_handshakes_do_not_hold_up_others() {
    let setup = Setup::new();
    let server = setup.serve().await;
    let mut plaintext = TcpStream::connect(server.addr).await.unwrap();
    plaintext
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    server.refused(Refusal::HandshakeFailed, 1).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let own = setup.a.issue(PATH).unwrap();
    let begin = Instant::now();
    server.connect(&setup.a, Some(&own)).await.unwrap();
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    // The server ends them.
    for mut io in silent {
        let _ = io.read(&mut [0]).await;
    }
    assert!(
        begin.elapsed() >= Duration::from_secs(9),
        "{:?}",
        begin.elapsed()
    );
    server.refused(Refusal::HandshakeTimeout, 100).await;
}

#[tokio::test]
async fn changed_files_are_used_for_new_handshakes() {
    let mut setup = Setup::new();
    let server = setup.serve().await;
    let other = TrustDomainAuthority::new("a.test").unwrap();
    let (old_client, new_client) = (setup.a.issue(PATH).unwrap(), other.issue(PATH).unwrap());
    server.connect(&setup.a, Some(&old_client)).await.unwrap();
    // Both authorities are trusted while certificates move from one to the other.
    let both = format!("{}{}", setup.a.pem(), other.pem());
    setup
        .volume
        .write_tls(&other.issue(SERVER).unwrap(), &both)
        .unwrap();
    let first = server.identity.borrow().validity;
    assert!(first.is_some());
    common::identity_that(&server.identity, "the new certificate", |_| true).await;
    headgate_testkit::deadline::eventually(common::SOON, "the new certificate", async || {
        server.connect(&other, Some(&new_client)).await
    })
    .await
    .unwrap();
    server.connect(&other, Some(&old_client)).await.unwrap();
    setup
        .volume
        .write_tls(&other.issue(SERVER).unwrap(), other.pem())
        .unwrap();
    headgate_testkit::deadline::eventually(common::SOON, "the old one to be refused", async || {
        match server.connect(&other, Some(&old_client)).await {
            Err(_) => Ok(()),
            Ok(identity) => Err(identity),
        }
    })
    .await
    .unwrap();
    server.connect(&other, Some(&new_client)).await.unwrap();
    assert!(server.refusals.counts()[&Refusal::CertificateUntrusted] > 0);
}

#[tokio::test]
async fn a_half_written_pair_keeps_the_last_good_one_and_is_a_problem_until_it_is_whole() {
    let mut setup = Setup::new();
    let server = setup.serve().await;
    let (a, own) = (&setup.a, setup.a.issue(PATH).unwrap());
    let (one, two) = (a.issue(SERVER).unwrap(), a.issue(SERVER).unwrap());
    let mixed = Svid {
        key_pem: two.key_pem.clone(),
        ..one
    };
    for (broken, names) in [
        (mixed, "does not fit"),
        (
            Svid {
                pem: "garbage".to_owned(),
                ..two.clone()
            },
            "tls.crt",
        ),
        (
            Svid {
                key_pem: String::new(),
                ..two.clone()
            },
            "tls.key",
        ),
    ] {
        setup.volume.write_tls(&broken, a.pem()).unwrap();
        let state = identity_that(&server.identity, names, |identity| {
            let problem = identity.problem.as_ref();
            problem.is_some_and(|p| p.message.contains(names) && p.message.contains("--xds-tls"))
        });
        assert!(state.await.config.is_some());
        server.connect(a, Some(&own)).await.unwrap();
    }
    setup.volume.write_tls(&two, a.pem()).unwrap();
    identity_that(&server.identity, "the whole pair", |i| i.problem.is_none()).await;
    server.connect(a, Some(&own)).await.unwrap();
}

#[test]
fn files_that_cannot_be_used_at_the_start_are_an_error_with_the_flag_and_the_fix() {
    let mut setup = Setup::new();
    let error = |options| CertificateFiles::new(options).unwrap_err().to_string();
    let missing = FileOptions {
        directory: setup.dir.path().join("nowhere"),
        ..setup.options()
    };
    let message = error(missing);
    assert!(
        message.contains("--xds-tls: cannot read") && message.contains("tls.crt"),
        "{message}"
    );
    // An ordinary certificate does not say which trust domain `ca.crt` belongs to.
    let plain = svid(&setup.a, &[]);
    setup.volume.write_tls(&plain, setup.a.pem()).unwrap();
    assert!(error(setup.options()).contains("--trust-domains"));
    let named = FileOptions {
        trust_domains: ["a.test", "b.test"]
            .map(|d| TrustDomain::new(d).unwrap())
            .to_vec(),
        ..setup.options()
    };
    CertificateFiles::new(named).unwrap();
}
