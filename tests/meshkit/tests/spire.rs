//! The SPIRE launcher: real identities, told apart by program, and trust across domains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headgate_meshkit::spire::{Spire, SpireOptions, Workload};
use headgate_testkit::measured;

/// What `openssl x509` prints about the first certificate of a file.
fn about(certificate: &Path, what: &[&str]) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-in"]).arg(certificate);
    let output = openssl.args(what).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn uri(certificate: &Path) -> String {
    about(certificate, &["-ext", "subjectAltName"])
}

/// `openssl verify` of a leaf against a bundle.
fn verifies(leaf: &Path, bundle: &Path) -> bool {
    let mut openssl = Command::new("openssl");
    openssl.args(["verify", "-partial_chain", "-CAfile"]);
    let output = openssl.arg(bundle).arg(leaf).output().unwrap();
    output.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_have_identities_of_federated_trust_domains() {
    let began = Instant::now();
    let short = SpireOptions::new("cluster.example").with_svid_lifetime(Duration::from_secs(60));
    let cluster = Spire::start(short).await.unwrap();
    let cloud = Spire::start(SpireOptions::new("cloud.example"));
    let cloud = cloud.await.unwrap();
    cluster.federate(&cloud).await.unwrap();
    measured!("two federated trust domains: {:?}", began.elapsed());

    let client = Workload::new("/ns/clients/sa/client").federates_with("cloud.example");
    let server = Workload::new("/ns/models/sa/server");
    let client_svid = cluster.fetch(&client).await.unwrap();
    let server_svid = cluster.fetch(&server).await.unwrap();
    measured!("two SVIDs: {:?}", began.elapsed());

    let expected = "URI:spiffe://cluster.example/ns/clients/sa/client";
    assert!(uri(&client_svid.chain()).contains(expected));
    let expected = "URI:spiffe://cluster.example/ns/models/sa/server";
    assert!(uri(&server_svid.chain()).contains(expected));
    assert!(verifies(&client_svid.chain(), &server_svid.bundle()));
    // A lifetime of a minute: valid now, expired in two.
    assert!(about(&client_svid.chain(), &["-checkend", "5"]).contains("will not expire"));
    let mut later = Command::new("openssl");
    later.args(["x509", "-noout", "-checkend", "120", "-in"]);
    let later = later.arg(client_svid.chain()).output().unwrap();
    assert_eq!(later.status.code(), Some(1));

    // The foreign bundle verifies the foreign SVID; the own one does not.
    let foreign = cloud.fetch(&Workload::new("/ns/clients/sa/client")).await;
    let foreign = foreign.unwrap();
    let bundles = client_svid.federated_bundles().unwrap();
    assert_eq!(bundles.len(), 1);
    assert!(verifies(&foreign.chain(), &bundles[0]));
    assert!(!verifies(&foreign.chain(), &client_svid.bundle()));
    assert_eq!(server_svid.federated_bundles().unwrap().len(), 0);
}
