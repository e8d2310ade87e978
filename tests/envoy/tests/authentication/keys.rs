//! Keys from a server: rotation, and a server that does not answer.

use std::time::{Duration, Instant};

use headgate_testkit::deadline::eventually;
use headgate_testkit::jwt::{KeyServer, TokenIssuer, key_set};
use headgate_testkit::ports::free_addr;
use headgate_testkit::tls::CertificateAuthority;
use serde_json::{Value, json};

use crate::common::{
    ISSUER, SOON, TEAM_B, change, chat, issuer, refused, start, statistic, until, with_token,
};

fn remote(uri: &str) -> Value {
    let jwks = json!({ "uri": uri, "refresh": "1s" });
    json!({ "jwt": [{ "issuer": ISSUER, "audiences": ["models"], "jwks": jwks }] })
}

fn token(keys: &TokenIssuer) -> String {
    keys.token(&json!({ "aud": "models", "org": "acme" }))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_of_the_issuer_are_used_after_the_refresh() {
    let old = issuer(ISSUER);
    let new = TokenIssuer::new(ISSUER, "k2").unwrap();
    let server = KeyServer::start(key_set(&[&old])).await.unwrap();
    let testbed = start(&remote(&server.uri()), &[]).await;
    // The first request does not race the first fetch.
    assert_eq!(with_token(&testbed, &token(&old)).await.status, 200);
    refused(
        &with_token(&testbed, &token(&new)).await,
        401,
        "Jwks doesn't have key",
    );
    // Both keys, then the new one alone, as an issuer rotates.
    server.publish(key_set(&[&old, &new]));
    until(&testbed, &token(&new), 200, "the new key").await;
    assert_eq!(with_token(&testbed, &token(&old)).await.status, 200);
    server.publish(key_set(&[&new]));
    until(&testbed, &token(&old), 401, "the end of the old key").await;
    assert_eq!(with_token(&testbed, &token(&new)).await.status, 200);
    assert!(statistic(&testbed, "jwks_fetch_success").await >= 3);
    assert_eq!(statistic(&testbed, "jwks_fetch_failed").await, 0);

    // Keys are fetched once in a while, not for each request.
    let before = server.requests();
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(with_token(&testbed, &token(&new)).await.status, 200);
    }
    let most = 2 * (2 + began.elapsed().as_secs());
    let fetched = server.requests() - before;
    assert!(
        fetched <= most,
        "{fetched} fetches in {:?}",
        began.elapsed()
    );

    // What it publishes is no key set, and then it is gone: the last keys stay in use.
    server.publish("<html>login</html>".to_owned());
    let lost = eventually(SOON, "a failed fetch", async || {
        let failed = statistic(&testbed, "jwks_fetch_failed").await;
        (failed > 0).then_some(()).ok_or(failed)
    });
    lost.await.unwrap();
    drop(server);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(with_token(&testbed, &token(&new)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_of_keys_refuses_tokens_and_holds_up_nothing_else() {
    let keys = issuer(ISSUER);
    let address = free_addr().unwrap();
    let testbed = start(&remote(&format!("http://{address}/keys")), &[]).await;
    let reply = with_token(&testbed, &token(&keys)).await;
    refused(&reply, 401, "Jwks remote fetch is failed");
    refused(&chat(&testbed, &[]).await, 401, "Jwt is missing");
    assert_eq!(chat(&testbed, &[("host", TEAM_B)]).await.status, 200);
    assert!(statistic(&testbed, "jwks_fetch_failed").await > 0);
    // It comes back by itself.
    let _server = KeyServer::start_at(address, key_set(&[&keys]))
        .await
        .unwrap();
    until(&testbed, &token(&keys), 200, "the keys").await;

    // A name that does not resolve neither.
    change(&testbed, &remote("https://keys.invalid/keys")).await;
    until(&testbed, &token(&keys), 401, "the edit").await;
    let reply = with_token(&testbed, &token(&keys)).await;
    refused(&reply, 401, "Jwks remote fetch is failed");
    assert_eq!(chat(&testbed, &[("host", TEAM_B)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_over_tls_from_a_server_with_a_certificate_for_its_name() {
    let keys = issuer(ISSUER);
    let server = KeyServer::start(key_set(&[&keys])).await.unwrap();
    let authority = CertificateAuthority::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    authority.write(&ca).unwrap();
    let tls = async |name: &str| {
        let names = [name];
        let terminator = authority.terminate_tls(&names, &["http/1.1"], server.address());
        terminator.await.unwrap()
    };
    let (good, other) = (tls("localhost").await, tls("other.test").await);
    let uri = |port: u16| format!("https://localhost:{port}/keys");
    let ca = ca.display().to_string();
    let testbed = start(&remote(&uri(good.addr().port())), &["--upstream-ca", &ca]).await;
    until(&testbed, &token(&keys), 200, "keys over TLS").await;
    let hellos = good.client_hellos();
    assert_eq!(hellos[0].server_name.as_deref(), Some("localhost"));
    change(&testbed, &remote(&uri(other.addr().port()))).await;
    until(&testbed, &token(&keys), 401, "the edit").await;
    let reply = with_token(&testbed, &token(&keys)).await;
    refused(&reply, 401, "Jwks remote fetch is failed");
}
