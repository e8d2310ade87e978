//! Two hops: a gateway that decides, and a sidecar behind it that follows.

use headgate_testkit::client::{OpenAiRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions};

use serde_json::json;

use crate::common::{
    CAPACITY, INPUT, SOON, ask, balance_of, budget, charged, declare, empty_testbed,
};
use crate::missing_resources::{discovered, listener, over_ads, proxy_with};

/// A gateway whose model server is the sidecar, and the sidecar with the real ones. Their versions differ: v2 is promoted at the
/// gateway and dark at the sidecar, and the sidecar does not know the gateway's v3.
async fn gateway_and_sidecar(
    at_gateway: Option<&str>,
    at_sidecar: Option<&str>,
) -> (Testbed, Testbed) {
    let at_sidecar = format!("{TRUST}---\n{}", at_sidecar.unwrap_or_default());
    let mut sidecar = start_testbed(Some(&at_sidecar), &["--follow-node", "envoy-*"]).await;
    declare(&mut sidecar, "m", "v1", |manifest| manifest).await;
    declare(&mut sidecar, "m", "v2", |manifest| manifest.weight("0")).await;
    sidecar.wait_until_settled().await.unwrap();
    let gateway = start_testbed(at_gateway, &[]).await;
    let hop = sidecar.addresses().envoy;
    for (version, weight) in [("v1", "0"), ("v2", "100"), ("v3", "0")] {
        let manifest = Manifest::new("m", version).weight(weight).endpoints(&[hop]);
        gateway
            .files()
            .write_model(&format!("m-{version}.yaml"), &manifest.render())
            .unwrap();
    }
    gateway.wait_until_settled().await.unwrap();
    (gateway, sidecar)
}

async fn start_testbed(policy: Option<&str>, serve_args: &[&str]) -> Testbed {
    match policy {
        Some(policy) => empty_testbed(1, 1, policy, serve_args).await,
        None => {
            let options = TestbedOptions {
                models: Seed::Empty,
                workers: 1,
                serve_args: serve_args.iter().map(Into::into).collect(),
                ..TestbedOptions::empty()
            };
            Testbed::start(options).await.unwrap()
        }
    }
}

/// The sidecar believes the gateway, which has no identity here: only the gateway reaches it.
const TRUST: &str = "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata:\n  name: hops\nspec:\n  \
    trustedHops: [any]\n";

/// The tenant header is `x-customer`, and the operator defines a tag.
const TAGGING: &str = "apiVersion: headgate.dev/v1alpha1\nkind: TrafficTagPolicy\nmetadata:\n  name: own\nspec:\n  \
    tenantFrom: [\"header:x-customer\"]\n  tags:\n  - { name: team, value: blue }\n";

/// A request with forged tags, which would make it another tenant's.
fn forging() -> OpenAiRequest {
    OpenAiRequest::chat("m")
        .max_tokens(200)
        .header("x-customer", "acme")
        .header("x-tenant-id", "other")
        .header("x-model", "m")
        .header("x-headgate-tenant", "other")
        .header("x-headgate-lane", "canary")
        .header("x-headgate-team", "red")
        .header("x-headgate-admin", "yes")
        .header("baggage", "mine=1,headgate.tenant=other,headgate.team=red")
}

/// The header of the request as the model server received it.
fn got<'a>(echo: &'a serde_json::Value, name: &str) -> &'a str {
    echo["mock"]["headers"][name].as_str().unwrap_or("-")
}

fn served(reply: &Reply, by: &str) {
    let server = reply.header("x-mock-served-by");
    assert_eq!(server, Some(by), "{} {}", reply.status, reply.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_follows_the_version_that_its_gateway_picked() {
    let (gateway, _sidecar) = gateway_and_sidecar(None, None).await;
    let picked = gateway.send(&ask("acme", 50)).await.unwrap();
    served(&picked, "m/v2");
    assert_eq!(picked.header("x-model-version"), Some("v2"));
    // The gateway decides a client's pin, and the sidecar follows.
    let pin = |version| ask("acme", 50).header("x-model-version", version);
    served(&gateway.send(&pin("v1")).await.unwrap(), "m/v1");
    // A version that only the gateway knows is served as the sidecar can; a version that the gateway does not know never reaches the
    // sidecar.
    served(&gateway.send(&pin("v3")).await.unwrap(), "m/v1");
    let unknown = gateway.send(&pin("v4")).await.unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert_eq!(
        unknown.json().unwrap()["error"]["code"],
        "version_not_found"
    );
}

/// As a sidecar does: it decides for what its application sends, and follows for what it receives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_proxy_decides_on_one_listener_and_follows_on_another() {
    let mut testbed = start_testbed(Some(TRUST), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let chain = |name: &str, filter: &str| {
        let address = free_addr().unwrap();
        let routes = json!({ "config_source": over_ads(), "route_config_name": "ai-model-route" });
        let filters = vec![discovered(filter)];
        (address, listener(name, address, ("rds", routes), filters))
    };
    let (outbound, decides) = chain("outbound", "headgate");
    let (inbound, follows) = chain("inbound", "headgate.follow");
    let options = proxy_with(&testbed, "sidecar", &[decides, follows]);
    let _envoy = Envoy::start(options).await.unwrap();
    let current = testbed.wait_for_status(SOON, "the proxy to be current", |s| {
        s.proxy("sidecar").is_some_and(|p| p.current)
    });
    current.await.unwrap();
    let tenant_at = async |address| {
        let request = ask("acme", 50)
            .header("x-model", "m")
            .header("x-headgate-tenant", "of-the-hop-before");
        let request = request.to(&format!("http://{address}"));
        let reply = testbed.client().send(request).await.unwrap();
        served(&reply, "m/v1");
        got(&reply.json().unwrap(), "x-headgate-tenant").to_owned()
    };
    assert_eq!(tenant_at(outbound).await, "acme");
    assert_eq!(tenant_at(inbound).await, "of-the-hop-before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_strip_forged_tags_of_the_client_and_the_second_keeps_those_of_the_first() {
    let (gateway, sidecar) = gateway_and_sidecar(Some(TAGGING), None).await;
    let reply = gateway.send(&forging()).await.unwrap();
    served(&reply, "m/v2");
    let echo = reply.json().unwrap();
    for (header, value) in [
        ("x-model", "m"),
        ("x-model-version", "v2"),
        ("x-headgate-tenant", "acme"),
        ("x-headgate-lane", "base"),
        ("x-headgate-team", "blue"),
        ("x-headgate-admin", "-"),
        (
            "baggage",
            "mine=1,headgate.model=m,headgate.version=v2,headgate.lane=base,headgate.tenant=acme,headgate.team=blue",
        ),
    ] {
        assert_eq!(got(&echo, header), value, "{header}");
    }
    // The sidecar's own access log shows the same.
    let log = sidecar.envoys()[0].log();
    let tags = "model=m version=v2 tenant=acme lane=base";
    let logged = eventually(SOON, "the sidecar's access log", async || {
        log.line_with(tags).ok_or_else(|| log.tail(3))
    });
    logged.await.unwrap();
}

/// The policy, charged by the hop that follows.
fn inbound(policy: &str) -> String {
    policy.replacen("spec:\n", "spec:\n  at: inbound\n", 1)
}

/// The balance at the sidecar, requested as a hop before it would.
async fn left_at(sidecar: &Testbed) -> Option<u64> {
    let whole = ask("acme", CAPACITY - INPUT)
        .header("x-model", "m")
        .header("x-headgate-tenant", "acme");
    balance_of(&sidecar.client(), whole.to(sidecar.url())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hops_with_one_policy_charge_once() {
    let decide = budget("tenants", "");
    for policy in [decide.clone(), inbound(&decide)] {
        let (gateway, sidecar) = gateway_and_sidecar(Some(&policy), Some(&policy)).await;
        for requests in 1..=2 {
            let reply = gateway.send(&ask("acme", 200)).await.unwrap();
            assert_eq!(reply.status, 200, "{}", reply.text());
            charged(&gateway, "acme", requests * (INPUT + 16)).await;
        }
        let at_sidecar = (policy != decide).then_some(CAPACITY - 2 * (INPUT + 16));
        assert_eq!(left_at(&sidecar).await, at_sidecar);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_hop_charges_by_the_tags_of_the_first() {
    let keyed = budget("tags", "settleOn: reservation").replace(
        "[tenant]",
        "[tenant, model, version, \"header:x-headgate-lane\"]",
    );
    let (gateway, sidecar) = gateway_and_sidecar(Some(TAGGING), Some(&inbound(&keyed))).await;
    served(&gateway.send(&forging()).await.unwrap(), "m/v2");
    // The balance of the bucket with these tags, requested from the sidecar as a hop before it would.
    let client = sidecar.client();
    let left = async |tenant: &str, version: &str, lane: &str| {
        let whole = ask("nobody", CAPACITY - INPUT)
            .header("x-model", "m")
            .header("x-headgate-tenant", tenant)
            .header("x-model-version", version)
            .header("x-headgate-lane", lane);
        balance_of(&client, whole.to(sidecar.url())).await
    };
    assert_eq!(
        left("acme", "v2", "base").await,
        Some(CAPACITY - INPUT - 200)
    );
    // With one other tag it is another bucket, which is full.
    assert_eq!(left("other", "v2", "base").await, None);
    assert_eq!(left("acme", "v1", "base").await, None);
    assert_eq!(left("acme", "v2", "canary").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_of_the_second_hop_passes_the_first_which_charges_nothing() {
    let policies = [
        budget("gateway", ""),
        inbound(&budget("sidecar", "settleOn: reservation")),
    ];
    let (gateway, sidecar) = gateway_and_sidecar(Some(&policies[0]), Some(&policies[1])).await;
    // The tenant's bucket at the sidecar, emptied directly.
    let whole = ask("acme", CAPACITY - INPUT).header("x-model", "m");
    served(&sidecar.send(&whole).await.unwrap(), "m/v1");
    let refused = gateway.send(&ask("acme", 200)).await.unwrap();
    assert_eq!(refused.status, 429, "{}", refused.text());
    let error = refused.json().unwrap()["error"].clone();
    assert_eq!(error["code"], "rate_limit_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("sidecar"), "{message}");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    // 202 tokens at a thousandth of a token per second, in whole cells.
    assert!((200_000..=202_010).contains(&wait), "{wait}");
    // The gateway's bucket is full again: the sidecar refuses the request that would empty it.
    let refilled = eventually(SOON, "the gateway's refund", async || {
        let reply = gateway.send(&ask("acme", CAPACITY - INPUT)).await.unwrap();
        assert_eq!(reply.status, 429, "{}", reply.text());
        let text = reply.text();
        text.contains("sidecar").then_some(()).ok_or(text)
    });
    refilled.await.unwrap();
    let at_v2 = sidecar.mock("m", "v2").unwrap().stats().requests;
    assert_eq!(at_v2, 0);
}

/// The gateway requests usage; the sidecar does not, because the request has the option already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_requested_once_charged_at_both_hops_and_hidden_from_the_client() {
    let policies = [budget("gateway", ""), inbound(&budget("sidecar", ""))];
    let (gateway, sidecar) = gateway_and_sidecar(Some(&policies[0]), Some(&policies[1])).await;
    let request = ask("acme", 200)
        .stream()
        .header("x-mock-keep", "streamed")
        .header("x-mock-usage", "completion_tokens=40");
    let reply = gateway.send(&request).await.unwrap();
    // The last JSON event is the one that ends the choice.
    assert!(
        !reply.text().contains(r#""choices":[]"#),
        "{}",
        reply.text()
    );
    charged(&gateway, "acme", INPUT + 40).await;
    assert_eq!(left_at(&sidecar).await, Some(CAPACITY - INPUT - 40));
    let mock = sidecar.mock("m", "v2").unwrap();
    let body = mock.handle().recorded("streamed").unwrap();
    let body = String::from_utf8_lossy(&body.body).into_owned();
    assert_eq!(body.matches("include_usage").count(), 1, "{body}");
}
