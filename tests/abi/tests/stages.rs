//! The stages of a filter: each module has a default, and the configuration's `stages` take precedence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_tests_abi::bootstrap::{Upstreams, discovered, discovery_response};
use headgate_tests_abi::config::{one_version, slow_tokens_by_reservation};
use headgate_tests_abi::module::path;
use headgate_tests_abi::testbed::{SOON, Testbed, start, try_start, try_start_filter};
use serde_json::{Value, json};

/// A bucket with room for many requests of 10 tokens.
fn config(stages: Option<Value>) -> Value {
    let mut config = one_version(&[slow_tokens_by_reservation(100_000)]);
    if let Some(stages) = stages {
        config["stages"] = stages;
    }
    config
}

/// A request that is also routed without a tagger.
async fn send(testbed: &Testbed) -> Reply {
    let request = OpenAiRequest::chat("m")
        .max_tokens(10)
        .header("x-model", "m")
        .header("x-model-version", "v1")
        .header("x-tenant-id", "acme");
    let reply = testbed.send(request.to(&testbed.url)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// Whether a request is tagged, and whether it is limited.
async fn stages(testbed: &Testbed) -> (bool, bool) {
    let reply = send(testbed).await;
    let headers = reply.json().unwrap()["mock"]["headers"].clone();
    (
        headers["x-headgate-tenant"] == "acme",
        reply.header("x-ratelimit-remaining-tokens").is_some(),
    )
}

#[tokio::test]
async fn each_module_has_default_stages_and_the_configuration_takes_precedence() {
    for (module, default) in [
        ("headgate", (true, true)),
        ("traffic-tag", (true, false)),
        ("token-bucket", (false, true)),
    ] {
        for (given, expected) in [
            (None, default),
            (Some(json!(["tag"])), (true, false)),
            (Some(json!(["limit"])), (false, true)),
            (Some(json!(["limit", "tag"])), (true, true)),
        ] {
            let testbed = start(module, &config(given.clone())).await;
            assert_eq!(stages(&testbed).await, expected, "{module} {given:?}");
        }
    }
}

#[tokio::test]
async fn wrong_stages_are_refused_with_the_field() {
    for (given, why) in [
        (json!([]), "stages: is empty"),
        (json!(["tag", "tag"]), "stages: lists `tag` twice"),
        (
            json!(["tag", "route"]),
            "stages[1]: unknown variant `route`",
        ),
    ] {
        let refused = try_start("headgate", &config(Some(given)).to_string(), 1).await;
        let message = refused.expect_err("a refusal").to_string();
        assert!(message.contains(why), "no {why:?} in {message}");
    }
}

/// Each update sets the stages again; an update without stages restores those of the module. The bucket keeps its balance.
#[tokio::test]
async fn an_update_of_the_configuration_sets_the_stages_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ecds.json");
    let write = |version: &str, stages: Option<Value>| {
        let config = config(stages).to_string();
        let response = discovery_response(version, &path("headgate"), &config);
        // Envoy watches for files that are moved into the directory.
        let draft = dir.path().join("draft");
        std::fs::write(&draft, response.to_string()).unwrap();
        std::fs::rename(draft, &file).unwrap();
    };
    write("1", Some(json!(["tag"])));
    let testbed = try_start_filter(discovered(&file), 1, Upstreams::Http1)
        .await
        .unwrap();
    assert_eq!(stages(&testbed).await, (true, false));
    for (version, given, expected) in [
        ("2", Some(json!(["tag", "limit"])), (true, true)),
        ("3", Some(json!(["limit"])), (false, true)),
        ("4", Some(json!(["tag"])), (true, false)),
        ("5", None, (true, true)),
    ] {
        write(version, given.clone());
        let updated = eventually(SOON, "the update", async || match stages(&testbed).await {
            now if now == expected => Ok(()),
            now => Err(format!("{now:?}")),
        });
        updated
            .await
            .unwrap_or_else(|error| panic!("{given:?}: {error}"));
    }
    let reply = send(&testbed).await;
    let left = reply.header("x-ratelimit-remaining-tokens").unwrap();
    let left: u64 = left.parse().unwrap();
    assert!(left < 99_980, "{left} left: the balance was reset");
}
