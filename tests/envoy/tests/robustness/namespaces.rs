//! Two namespaces on one proxy: one model name in both, told apart by domain, never merged.

use headgate_testkit::client::Reply;
use headgate_testkit::stage::{Manifest, Stage};

use crate::common::{CAPACITY, INPUT, SOON, ask, balance_of, budget, empty_world};
use headgate_testkit::client::HttpRequest;
use headgate_testkit::deadline::eventually;

/// Namespace, and the domain it is reached by; the default one owns everything else.
const NAMESPACES: [(&str, &str); 2] = [("default", "anything.test"), ("team-a", "a.test")];

fn at(request: HttpRequest, domain: &str) -> HttpRequest {
    request.header("host", domain)
}

async fn chat(stage: &Stage, domain: &str) -> Reply {
    let request = at(ask("acme", 200).to(stage.url()), domain);
    stage.client().send(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_namespaces_with_one_model_name_are_never_merged() {
    let mut stage = empty_world(1, 1, &budget("tenants", ""), &["--domain", "team-a=a.test"]).await;
    let theirs = budget("tenants", "").replace("\nspec:", "\n  namespace: team-a\nspec:");
    stage.files().write_policy("team-a.yaml", &theirs).unwrap();
    for (namespace, _) in NAMESPACES {
        let mock = stage.add_mock(namespace, "v1").await.unwrap();
        let manifest = Manifest::new("m", "v1")
            .namespace(namespace)
            .endpoints(&[mock]);
        stage
            .files()
            .write_model(&format!("{namespace}.yaml"), &manifest.render())
            .unwrap();
    }
    stage.settled().await.unwrap();

    // Twice here, once there: each by its own servers, on its own budget.
    for (namespace, domain) in [NAMESPACES[0], NAMESPACES[1], NAMESPACES[0]] {
        let reply = chat(&stage, domain).await;
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
            let whole = ask("acme", CAPACITY - INPUT).to(stage.url());
            match balance_of(&stage.client(), at(whole, domain)).await {
                Some(left) if CAPACITY - left == used => Ok(()),
                other => Err(format!("{other:?} left at {domain}")),
            }
        });
        settled.await.unwrap();
    }

    // What one namespace loses, the other keeps.
    stage.files().remove_model("default.yaml").unwrap();
    stage.settled().await.unwrap();
    let gone = chat(&stage, "anything.test").await;
    assert_eq!(
        (gone.status, gone.text().contains("model_not_found")),
        (404, true),
        "{}",
        gone.text()
    );
    assert_eq!(chat(&stage, "a.test").await.status, 200);
}
