//! Each module alone in a real Envoy: accepted and refused configurations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_testkit::client::OpenAiRequest;
use headgate_tests_abi::config::{slow_tokens, with_buckets};
use headgate_tests_abi::module::MODULES;
use headgate_tests_abi::testbed::{start, try_start};

#[tokio::test]
async fn each_module_loads_alone_and_serves() {
    for module in MODULES {
        let testbed = start(module, &with_buckets(&[slow_tokens(100_000)])).await;
        // A separate limiter uses the tags of a tagger before it.
        let request = OpenAiRequest::chat("m")
            .header("x-model", "m")
            .header("x-model-version", "v1");
        let reply = testbed.send(request.to(&testbed.url)).await;
        assert_eq!(reply.status, 200, "{module}: {}", reply.text());
        assert_eq!(reply.header("x-mock-served-by"), Some("m/v1"), "{module}");
        assert_eq!(testbed.served(), 1, "{module}");
    }
}

#[tokio::test]
async fn a_broken_configuration_is_refused_at_load_with_path_and_fix() {
    let mut config = with_buckets(&[slow_tokens(1000)]);
    config["namespaces"]["default"]["buckets"][0]["bucket"]["tokens"]["capacity"] = 0.into();
    for module in MODULES {
        let refused = try_start(module, &config.to_string(), 1).await;
        let why = refused.err().unwrap_or_else(|| panic!("{module} took it"));
        let why = why.to_string();
        for part in [
            "headgate: the new configuration is not valid",
            "namespaces.default.buckets[0].bucket: ",
            "`tokens.capacity` and `tokens.refillPerSecond` must be greater than 0",
        ] {
            assert!(why.contains(part), "{module}: no {part:?} in {why}");
        }
    }
}

#[tokio::test]
async fn a_configuration_that_is_not_json_is_refused() {
    for text in ["", "nonsense", "{\"namespaces\": {}} trailing"] {
        let refused = try_start("headgate", text, 1).await;
        let why = refused.err().unwrap_or_else(|| panic!("took {text:?}"));
        assert!(
            why.to_string()
                .contains("headgate: the new configuration is not valid"),
            "{text:?}: {why}"
        );
    }
}
