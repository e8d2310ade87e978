//! Envoys that connect to the xDS port with certificates from files.

use std::time::{Duration, SystemTime};

use headgate_testkit::client::{Job, Load, LoadOptions, OpenAiRequest};
use headgate_testkit::measured;
use headgate_testkit::svid::{SvidParams, TrustDomainAuthority};

use crate::common::{
    SERVER, SOON, chat, logged, refusals, served, start_with_files, testbed, volume,
};

const GATEWAY: &str = "/ns/default/sa/gateway";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_both_sides_rotate_under_load_without_a_failed_request() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = [(), ()].map(|()| TrustDomainAuthority::new("a.test").unwrap());
    let mut server_files = volume(dir.path(), "server", &old, SERVER, old.pem());
    let mut client_files = volume(dir.path(), "client", &old, GATEWAY, old.pem());
    let path = server_files.path().display().to_string();
    let args = [
        "--xds-tls",
        &path,
        "--allow-identity",
        "spiffe://a.test/ns/*/sa/gateway",
    ];
    let mut testbed = testbed(&["default"], &args.map(str::to_owned)).await;
    let xds = testbed.addresses().xds;
    let server_id = format!("spiffe://a.test{SERVER}");
    let proxy = start_with_files(&testbed, "edge", client_files.path(), &server_id, xds).await;
    let row = served(&testbed, "edge").await;
    assert_eq!(row["identity"], format!("spiffe://a.test{GATEWAY}"));
    assert_eq!(chat(&testbed, &proxy.url, "default").await, 200);

    let url = proxy.url.clone();
    let load = Load::start(LoadOptions {
        pause: Duration::from_millis(5),
        ..LoadOptions::new(4, move |n| Job {
            session: n.to_string(),
            request: OpenAiRequest::chat("m").to(&url),
        })
    });
    load.wait_for(100, SOON).await.unwrap();
    // Both authorities are trusted, then the new certificates come, then the old authority goes.
    let both = format!("{}{}", old.pem(), new.pem());
    let rounds = [
        (&old, both.clone()),
        (&new, both),
        (&new, new.pem().to_owned()),
    ];
    for (round, (authority, trusted)) in rounds.into_iter().enumerate() {
        server_files
            .write_tls(&authority.issue(SERVER).unwrap(), &trusted)
            .unwrap();
        client_files
            .write_tls(&authority.issue(GATEWAY).unwrap(), &trusted)
            .unwrap();
        // The first line is of the start.
        let log = testbed.control_plane().log();
        headgate_testkit::deadline::eventually(SOON, "the new certificate", async || {
            let seen = log.count("the TLS certificate of a port is in effect");
            (seen == round + 2).then_some(()).ok_or_else(|| log.tail(5))
        })
        .await
        .unwrap();
        let updates = "cluster.headgate-xds.client_ssl_socket_factory.ssl_context_update_by_sds";
        let mut proxy_updates = proxy.envoy.stat(updates).await.unwrap();
        measured!("round {round}: SDS updates of the proxy: {proxy_updates:?}");
        // A new connection of the proxy, as after a restart of the control plane.
        testbed.control_plane_mut().restart().await.unwrap();
        served(&testbed, "edge").await;
        proxy_updates = proxy.envoy.stat(updates).await.unwrap();
        assert!(proxy_updates >= Some(1), "{proxy_updates:?}");
        load.wait_for(100, SOON).await.unwrap();
    }
    // A client of the old authority alone is refused now.
    let late = volume(dir.path(), "late", &old, GATEWAY, new.pem());
    let _late = start_with_files(&testbed, "late", late.path(), &server_id, xds).await;
    logged(
        &testbed,
        &["connection refused", "certificate_untrusted", GATEWAY],
    )
    .await;
    let report = load.stop().await;
    measured!(
        "{} requests over three rotations and restarts",
        report.samples.len()
    );
    assert!(
        report.other_than(&[200]).is_empty(),
        "{:?}",
        report.outcomes()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_certificate_is_refused_with_a_line_in_the_log_and_a_count() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a.test", "b.test"].map(|domain| TrustDomainAuthority::new(domain).unwrap());
    let server_files = volume(dir.path(), "server", &a, SERVER, a.pem());
    let path = server_files.path().display().to_string();
    let args = [
        "--xds-tls",
        &path,
        "--allow-identity",
        "spiffe://a.test/ns/*/sa/gateway",
    ];
    let testbed = testbed(&["default"], &args.map(str::to_owned)).await;
    let (xds, server_id) = (testbed.addresses().xds, format!("spiffe://a.test{SERVER}"));
    let id = format!("spiffe://a.test{GATEWAY}");
    let with = |uris: &[&str], validity| SvidParams {
        uris: uris.iter().map(ToString::to_string).collect(),
        dns: Vec::new(),
        validity,
    };
    let hour = Duration::from_secs(3600);
    let past = SystemTime::now() - 2 * hour;
    let cases = [
        (
            "expired",
            a.issue_with(&with(&[&id], Some((past, past + hour)))),
            "certificate_expired",
            GATEWAY,
        ),
        (
            "two-uris",
            a.issue_with(&with(&[&id, "spiffe://a.test/x"], None)),
            "uri_san",
            "2 URI",
        ),
        (
            "other-domain",
            b.issue(GATEWAY),
            "trust_domain",
            "--trust-domains",
        ),
        (
            "other-authority",
            b.issue_with(&with(&[&id], None)),
            "certificate_untrusted",
            GATEWAY,
        ),
        (
            "other-account",
            a.issue("/ns/default/sa/other"),
            "no_rule",
            "--allow-identity",
        ),
    ];
    let mut proxies = Vec::new();
    for (name, svid, reason, detail) in cases {
        let mut files = volume(dir.path(), name, &a, GATEWAY, a.pem());
        files.write_tls(&svid.unwrap(), a.pem()).unwrap();
        proxies.push(start_with_files(&testbed, name, files.path(), &server_id, xds).await);
        let line = logged(&testbed, &[reason, detail]).await;
        measured!("{name}: {line}");
        assert!(refusals(&testbed, reason).await >= 1);
    }
    // Plaintext, as without `--identity`.
    let bootstrap = headgate_testkit::testbed::bootstrap(xds, None).unwrap();
    proxies.push(crate::common::start("plaintext", bootstrap).await);
    logged(&testbed, &["connection refused", "handshake_failed"]).await;
    let status = testbed.control_plane().get("/syncz").await.unwrap();
    assert_eq!(status["proxies"].as_array().unwrap().len(), 0, "{status}");
}
