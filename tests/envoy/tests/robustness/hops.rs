//! Two hops: a gateway that decides, and a sidecar behind it that follows.

use headgate_test_support::stage::{Manifest, Seed, Stage, StageOptions};

use crate::common::{INPUT, ask, budget, charged, declare, empty_world};

/// A gateway whose model servers are the sidecar, and the sidecar with the real ones. They disagree about versions: the
/// gateway has promoted v2, which is dark to the sidecar.
async fn gateway_and_sidecar(at_gateway: Option<&str>, at_sidecar: Option<&str>) -> (Stage, Stage) {
    let mut sidecar = world(at_sidecar, &["--follow-node", "envoy-*"]).await;
    declare(&mut sidecar, "m", "v1", |manifest| manifest).await;
    declare(&mut sidecar, "m", "v2", |manifest| manifest.weight("0")).await;
    sidecar.settled().await.unwrap();
    let gateway = world(at_gateway, &[]).await;
    let hop = sidecar.addresses().envoy;
    for (version, weight) in [("v1", "0"), ("v2", "100")] {
        let manifest = Manifest::new("m", version).weight(weight).endpoints(&[hop]);
        gateway
            .files()
            .write_model(&format!("m-{version}.yaml"), &manifest.render())
            .unwrap();
    }
    gateway.settled().await.unwrap();
    (gateway, sidecar)
}

async fn world(policy: Option<&str>, serve_args: &[&str]) -> Stage {
    match policy {
        Some(policy) => empty_world(1, 1, policy, serve_args).await,
        None => {
            let options = StageOptions {
                models: Seed::Empty,
                workers: 1,
                serve_args: serve_args.iter().map(Into::into).collect(),
                ..StageOptions::empty()
            };
            Stage::start(options).await.unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_follows_the_version_its_gateway_picked() {
    let (gateway, _sidecar) = gateway_and_sidecar(None, None).await;
    let picked = gateway.send(&ask("acme", 50)).await.unwrap();
    assert_eq!(
        picked.header("x-mock-served-by"),
        Some("m/v2"),
        "{}",
        picked.text()
    );
    assert_eq!(picked.header("x-model-version"), Some("v2"));
    // A pin of the client's is decided by the gateway, and followed as well.
    let pinned = gateway
        .send(&ask("acme", 50).header("x-model-version", "v1"))
        .await
        .unwrap();
    assert_eq!(
        pinned.header("x-mock-served-by"),
        Some("m/v1"),
        "{}",
        pinned.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_charge_once_where_the_policy_is() {
    let policy = budget("tenants", "");
    for (gateway, sidecar) in [(Some(policy.as_str()), None), (None, Some(policy.as_str()))] {
        let (gateway, _sidecar) = gateway_and_sidecar(gateway, sidecar).await;
        for requests in 1..=2 {
            let reply = gateway.send(&ask("acme", 200)).await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            charged(&gateway, "acme", requests * (INPUT + 16)).await;
        }
    }
}
