//! The registry launcher: a client pushes and pulls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_meshkit::registry::Registry;
use headgate_testkit::client::{HttpClient, HttpRequest};
use http::Method;

/// SHA-256 of `hello`.
const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[tokio::test]
async fn a_pushed_blob_can_be_pulled() {
    let mut registry = Registry::start().await.unwrap();
    let client = HttpClient::new();
    let blobs = format!("http://{}/v2/headgate/filter/blobs", registry.addr());
    let begin = HttpRequest::post(format!("{blobs}/uploads/"), "");
    let begun = client.send(begin).await.unwrap();
    assert_eq!(begun.status, 202, "{}", begun.text());
    let upload = begun.header("location").unwrap();
    let mut put = HttpRequest::post(format!("{upload}&digest={DIGEST}"), "hello");
    put.method = Method::PUT;
    let put = put.header("content-type", "application/octet-stream");
    let stored = client.send(put).await.unwrap();
    assert_eq!(stored.status, 201, "{}", stored.text());
    let pull = HttpRequest::get(format!("{blobs}/{DIGEST}"));
    assert_eq!(client.send(pull).await.unwrap().text(), "hello");
    assert!(
        registry
            .process()
            .log()
            .line_with("headgate/filter")
            .is_some()
    );
}
