//! Certificates in files that have expired, or are not valid yet: of the xDS port, and of the listener of proxies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, SystemTime};

use common::SOON;
use headgate_identity::{
    CertificateFiles, FileOptions, ListenerFileOptions, ListenerFiles, PortTls,
};
use headgate_testkit::deadline::eventually;
use headgate_testkit::svid::{SecretVolume, Svid, SvidParams, TrustDomainAuthority};
use tempfile::TempDir;

const SERVER: &str = "spiffe://a.test/ns/headgate-system/sa/headgate";

struct Volume {
    authority: TrustDomainAuthority,
    volume: SecretVolume,
    _dir: TempDir,
}

impl Volume {
    /// With a certificate that is valid between these times, in seconds from now.
    fn new(from: i64, to: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volume = SecretVolume::new(dir.path().join("tls")).unwrap();
        let mut new = Self {
            authority: TrustDomainAuthority::new("a.test").unwrap(),
            volume,
            _dir: dir,
        };
        new.write(from, to);
        new
    }

    /// Writes a certificate, and returns the end of its validity.
    fn write(&mut self, from: i64, to: i64) -> i64 {
        let params = SvidParams {
            uris: vec![SERVER.to_owned()],
            validity: Some((after(from), after(to))),
            ..SvidParams::default()
        };
        let svid: Svid = self.authority.issue_with(&params).unwrap();
        self.volume.write_tls(&svid, self.authority.pem()).unwrap();
        headgate_identity::Validity::of(&svid.der)
            .unwrap()
            .not_after
    }

    fn port(&self) -> CertificateFiles {
        CertificateFiles::new(FileOptions {
            tls: PortTls::XDS,
            directory: self.volume.path().to_owned(),
            bundles: Vec::new(),
            trust_domains: Vec::new(),
        })
        .unwrap()
    }

    fn listener(&self) -> ListenerFiles {
        ListenerFiles::new(ListenerFileOptions {
            directory: self.volume.path().to_owned(),
            clients: true,
            one_trust_domain: false,
            bundles: Vec::new(),
            trust_domains: Vec::new(),
        })
        .unwrap()
    }
}

fn after(seconds: i64) -> SystemTime {
    let duration = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => SystemTime::now() - duration,
        false => SystemTime::now() + duration,
    }
}

/// The end of the validity of the certificate in effect, and the problem.
type State = (i64, String);

/// Waits for a state of both followers of the same files.
async fn both(states: &impl Fn() -> [State; 2], not_after: i64, problem: &str) {
    let what = format!("{problem:?} and a certificate until {not_after}");
    eventually(SOON, &what, async || {
        let now = states();
        let fits = now.iter().all(|(end, shown)| {
            *end == not_after && shown.is_empty() == problem.is_empty() && shown.contains(problem)
        });
        fits.then_some(()).ok_or_else(|| format!("{now:?}"))
    })
    .await
    .unwrap();
}

/// Follows the files for a port and for the listener.
fn follow(volume: &Volume) -> impl Fn() -> [State; 2] + use<> {
    let (port, listener) = (volume.port(), volume.listener());
    let (of_port, of_listener) = (port.identity(), listener.state());
    tokio::spawn(port.run());
    tokio::spawn(listener.run());
    move || {
        let (port, listener) = (of_port.borrow().clone(), of_listener.borrow().clone());
        let message = |problem: Option<headgate_identity::Problem>| {
            problem.map(|problem| problem.message).unwrap_or_default()
        };
        [
            (port.validity.unwrap().not_after, message(port.problem)),
            (
                listener.certificates.validity.not_after,
                message(listener.problem),
            ),
        ]
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_now_does_not_replace_one_that_is() {
    let mut volume = Volume::new(-60, 3600);
    let states = follow(&volume);
    let valid = states()[0].0;
    both(&states, valid, "").await;
    volume.write(-7200, -3600);
    both(&states, valid, "tls.crt: the certificate expired at ").await;
    let next = volume.write(4, 7200);
    both(&states, valid, "the certificate is not valid before ").await;
    // It takes effect by itself once it is valid.
    both(&states, next, "").await;
}

#[tokio::test]
async fn a_certificate_that_expires_in_effect_is_a_problem_until_it_is_renewed() {
    let mut volume = Volume::new(-60, 2);
    let states = follow(&volume);
    let first = states()[0].0;
    both(&states, first, "the certificate expired at ").await;
    let renewed = volume.write(-60, 3600);
    both(&states, renewed, "").await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_at_the_start_is_in_effect_with_a_problem() {
    let mut volume = Volume::new(-7200, -3600);
    let states = follow(&volume);
    let expired = states()[0].0;
    both(&states, expired, "the certificate expired at ").await;
    let renewed = volume.write(-60, 3600);
    both(&states, renewed, "").await;
}
