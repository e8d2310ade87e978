//! Edits of policies under load, and edits that are refused.

use headgate_testkit::client::{Job, Load, LoadOptions, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::jwt::{KeyServer, key_set};
use headgate_testkit::testbed::Testbed;
use serde_json::json;

use crate::common::{
    ISSUER, SOON, bearer, change, chat, issuer, provider, refused, start, with_token,
};

const EDITS: usize = 20;

/// Updates of listeners and routes that Envoy applied, and connections that it drained.
async fn updates(testbed: &Testbed) -> [u64; 3] {
    let stats = testbed.envoys()[0].envoy.admin().stats("").await.unwrap();
    [
        "listener_manager.lds.update_success",
        ".rds.ai-model-route.update_success",
        "http.headgate.downstream_cx_drain_close",
    ]
    .map(|end| {
        let of = stats.iter().filter(|(name, _)| name.ends_with(end));
        of.map(|(_, count)| count).sum()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_under_load_fail_no_request_and_send_no_listener() {
    let (keys, other) = (issuer(ISSUER), issuer("https://other.test"));
    let server = KeyServer::start(key_set(&[&keys])).await.unwrap();
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    let token = keys.token(&json!({ "aud": ["models", "more"] })).unwrap();
    let header = bearer(&token);
    let url = testbed.url().to_owned();
    let job = move |n: u64| {
        let tenant = format!("tenant-{n}");
        let chat = OpenAiRequest::chat("m").max_tokens(4);
        let chat = chat.header("authorization", header.as_str());
        Job {
            request: chat.header("x-tenant-id", tenant.as_str()).to(&url),
            session: tenant,
        }
    };
    let before = updates(&testbed).await;
    let load = Load::start(LoadOptions::new(6, job));
    for edit in 0..EDITS {
        load.wait_for(20, SOON).await.unwrap();
        let mut own = provider(ISSUER, &keys);
        let spec = match edit % 4 {
            0 => json!({ "jwt": [own, provider("https://other.test", &other)] }),
            1 => {
                own["audiences"] = json!(["more"]);
                json!({ "jwt": [own] })
            }
            2 => json!({ "required": false, "jwt": [own] }),
            _ => {
                own["jwks"] = json!({ "uri": server.uri() });
                json!({ "jwt": [own] })
            }
        };
        change(&testbed, &spec).await;
    }
    let report = load.stop().await;
    headgate_testkit::measured!(
        "{} requests over {EDITS} edits of a policy",
        report.samples.len()
    );
    let failed = report.other_than(&[200]);
    assert!(
        failed.is_empty(),
        "{:?} {:?}",
        report.outcomes(),
        failed.first()
    );
    assert_eq!(updates(&testbed).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_policy_leaves_the_last_good_one_and_is_reported() {
    let keys = issuer(ISSUER);
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    let token = keys.token(&json!({ "aud": "models" })).unwrap();
    let mut secret = provider(ISSUER, &keys);
    secret["jwks"] = json!({ "inline": "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}" });
    let mut both = provider(ISSUER, &keys);
    both["jwks"]["uri"] = json!("https://issuer.test/keys");
    for (bad, field, fix) in [
        (secret, "spec.jwt[0].jwks.inline", "symmetric key"),
        (both, "jwks", "exactly one"),
    ] {
        let text = crate::common::policy("default", "login", &json!({ "jwt": [bad] }));
        testbed
            .files()
            .write_policy("policy-1.yaml", &text)
            .unwrap();
        let reported = |status: &headgate_testkit::testbed::Status| {
            let mut problems = status.problems.iter();
            problems.any(|p| p.message.contains(field) && p.message.contains(fix))
        };
        testbed.wait_for_status(SOON, fix, reported).await.unwrap();
        let log = testbed.control_plane().log();
        let logged = eventually(SOON, "a line in the log", async || {
            log.text().contains(fix).then_some(()).ok_or(log.text())
        });
        logged.await.unwrap();
        assert!(!log.text().contains("c2VjcmV0"), "the log shows no key");
        assert_eq!(with_token(&testbed, &token).await.status, 200);
        refused(&chat(&testbed, &[]).await, 401, "Jwt is missing");
    }
}
