//! Namespaces with and without a policy, optional tokens, and issuers that several namespaces name.

use headgate_testkit::deadline::eventually;
use headgate_testkit::testbed::Testbed;
use serde_json::json;

use crate::common::{
    ISSUER, SOON, TEAM_B, bearer, chat, issuer, policy, provider, received, refused, start,
    with_token,
};

/// The status of a chat in `team-b`.
async fn in_team_b(testbed: &Testbed, token: Option<&str>) -> u16 {
    let token = token.map(bearer);
    let mut headers = vec![("host", TEAM_B)];
    headers.extend(
        token
            .as_ref()
            .map(|token| ("authorization", token.as_str())),
    );
    chat(testbed, &headers).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_without_a_policy_stays_open() {
    let keys = issuer(ISSUER);
    let testbed = start(&json!({ "jwt": [provider(ISSUER, &keys)] }), &[]).await;
    refused(&chat(&testbed, &[]).await, 401, "Jwt is missing");
    assert_eq!(in_team_b(&testbed, None).await, 200);
    // What the client sends is not looked at, and reaches the model server.
    let headers = [
        ("host", TEAM_B),
        ("authorization", "Bearer x"),
        ("x-tenant-id", "me"),
    ];
    let got = received(&chat(&testbed, &headers).await);
    assert_eq!(got["authorization"], "Bearer x");

    // Without its policy, a namespace is open again.
    testbed.files().remove_policy("policy-1.yaml").unwrap();
    eventually(SOON, "an open namespace", async || {
        let status = chat(&testbed, &[]).await.status;
        (status == 200).then_some(()).ok_or(status)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optional_token_may_be_absent_and_not_invalid() {
    let (keys, stranger) = (issuer(ISSUER), issuer("https://stranger.test"));
    let spec = json!({ "required": false, "jwt": [provider(ISSUER, &keys)] });
    let testbed = start(&spec, &[]).await;
    let tenant = ("x-tenant-id", "guest");
    let got = received(&chat(&testbed, &[tenant]).await);
    assert_eq!(got["x-headgate-tenant"], "guest");
    let token = keys
        .token(&json!({ "aud": "models", "org": "acme" }))
        .unwrap();
    let with = [tenant, ("authorization", &bearer(&token))];
    assert_eq!(
        received(&chat(&testbed, &with).await)["x-headgate-tenant"],
        "acme"
    );
    for bad in [
        stranger
            .token(&json!({ "aud": "models", "org": "acme" }))
            .unwrap(),
        keys.token(&json!({ "aud": "models", "exp": 1 })).unwrap(),
        format!(
            "{}.",
            keys.unsigned("none", &json!({ "aud": "models", "org": "acme" }))
        ),
        "sk-1234".to_owned(),
    ] {
        let reply = with_token(&testbed, &bad).await;
        assert_eq!(reply.status, 401, "{bad}: {}", reply.text());
    }
}

/// Only the audiences and the keys of its own policies count, although one filter has those of all namespaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_never_accepts_what_another_one_accepts() {
    let (keys, theirs) = (issuer(ISSUER), issuer(ISSUER));
    for required in [true, false] {
        let spec = json!({ "required": required, "jwt": [provider(ISSUER, &keys)] });
        let testbed = start(&spec, &[]).await;
        let mut same_keys = provider("https://b.test", &keys);
        same_keys["audiences"] = json!(["b"]);
        let other = json!({ "jwt": [provider(ISSUER, &theirs), same_keys] });
        let text = policy("team-b", "login", &other);
        testbed.files().write_policy("team-b.yaml", &text).unwrap();
        eventually(SOON, "the policy of team-b", async || {
            let status = in_team_b(&testbed, None).await;
            (status == 401).then_some(()).ok_or(status)
        })
        .await
        .unwrap();
        testbed.wait_until_settled().await.unwrap();

        let claims = json!({ "aud": "models", "org": "acme" });
        let ours = keys.token(&claims).unwrap();
        let forged = theirs.token(&claims).unwrap();
        let theirs_alone = keys
            .token(&json!({ "aud": "b", "iss": "https://b.test" }))
            .unwrap();
        assert_eq!(with_token(&testbed, &ours).await.status, 200);
        for token in [&forged, &theirs_alone] {
            let reply = with_token(&testbed, token).await;
            assert_eq!(reply.status, 401, "required: {required}: {}", reply.text());
        }
        assert_eq!(in_team_b(&testbed, Some(&ours)).await, 401);
        assert_eq!(in_team_b(&testbed, Some(&theirs_alone)).await, 200);
        assert_eq!(in_team_b(&testbed, Some(&forged)).await, 200);
        assert_eq!(
            chat(&testbed, &[]).await.status,
            if required { 401 } else { 200 }
        );
    }
}
