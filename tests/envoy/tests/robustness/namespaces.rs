//! Two namespaces on one proxy: the same model name in both, separated by domain, never merged.

use headgate_testkit::client::Reply;
use headgate_testkit::testbed::{Manifest, Testbed};

use crate::common::{CAPACITY, INPUT, SOON, ask, balance_of, budget, empty_testbed};
use headgate_testkit::client::HttpRequest;
use headgate_testkit::deadline::eventually;

/// Namespace and its domain; the default namespace has all other domains.
const NAMESPACES: [(&str, &str); 2] = [("default", "anything.test"), ("team-a", "a.test")];

fn at(request: HttpRequest, domain: &str) -> HttpRequest {
    request.header("host", domain)
}

async fn chat(testbed: &Testbed, domain: &str) -> Reply {
    let request = at(ask("acme", 200).to(testbed.url()), domain);
    testbed.client().send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_namespaces_with_one_model_name_are_never_merged() {
    let mut testbed =
        empty_testbed(1, 1, &budget("tenants", ""), &["--domain", "team-a=a.test"]).await;
    let theirs = budget("tenants", "").replace("\nspec:", "\n  namespace: team-a\nspec:");
    testbed
        .files()
        .write_policy("team-a.yaml", &theirs)
        .unwrap();
    for (namespace, _) in NAMESPACES {
        let mock = testbed.add_mock(namespace, "v1").await.unwrap();
        let manifest = Manifest::new("m", "v1")
            .namespace(namespace)
            .endpoints(&[mock]);
        testbed
            .files()
            .write_model(&format!("{namespace}.yaml"), &manifest.render())
            .unwrap();
    }
    testbed.wait_until_settled().await.unwrap();

    // Two requests here, one there: each namespace has its own servers and its own budget.
    for (namespace, domain) in [NAMESPACES[0], NAMESPACES[1], NAMESPACES[0]] {
        let reply = chat(&testbed, domain).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(
            reply.header("x-mock-served-by"),
            Some(format!("{namespace}/v1").as_str())
        );
        assert_eq!(reply.header("x-model-version"), Some("v1"));
    }
    for ((_, domain), requests) in NAMESPACES.iter().zip([2, 1]) {
        let used = requests * (INPUT + 16);
        let settled = eventually(SOON, "the settlements of this namespace", async || {
            let whole = ask("acme", CAPACITY - INPUT).to(testbed.url());
            match balance_of(&testbed.client(), at(whole, domain)).await {
                Some(left) if CAPACITY - left == used => Ok(()),
                other => Err(format!("{other:?} left at {domain}")),
            }
        });
        settled.await.unwrap();
    }

    // A model removed from one namespace stays in the other.
    testbed.files().remove_model("default.yaml").unwrap();
    testbed.wait_until_settled().await.unwrap();
    let gone = chat(&testbed, "anything.test").await;
    assert_eq!(
        (gone.status, gone.text().contains("model_not_found")),
        (404, true),
        "{}",
        gone.text()
    );
    assert_eq!(chat(&testbed, "a.test").await.status, 200);
}
