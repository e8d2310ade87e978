//! The two stages of the filter as separate filters, `headgate.traffic-tag` before `headgate.token-bucket`. Any proxy may subscribe to
//! them; in one chain they behave like the fused module.

use headgate_testkit::client::OpenAiRequest;
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Envoy;
use headgate_testkit::ports::free_addr;
use serde_json::json;

use crate::common::{CAPACITY, INPUT, SOON, ask, balance, budget, declare, empty_testbed};
use crate::missing_resources::{discovered, listener, over_ads, proxy_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn separate_filters_tag_and_limit_like_the_fused_one() {
    let mut testbed = empty_testbed(1, 0, &budget("spend", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let address = free_addr().unwrap();
    let routes = json!({ "config_source": over_ads(), "route_config_name": "ai-model-route" });
    let filters = ["headgate.traffic-tag", "headgate.token-bucket"].map(discovered);
    let chain = listener("chain", address, ("rds", routes), filters.into());
    let options = proxy_with(&testbed, "chained", &[chain]);
    let _envoy = Envoy::start(options).await.unwrap();
    let settled = testbed.wait_for_status(SOON, "the proxy to be current", |s| {
        s.proxy("chained").is_some_and(|p| p.current)
    });
    settled.await.unwrap();

    let (client, url) = (testbed.client(), format!("http://{address}"));
    let send = async |request: OpenAiRequest| client.send(request.to(&url)).await.unwrap();
    let reply = send(ask("acme", 200).header("x-headgate-tenant", "forged")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-model-version"), Some("v1"));
    let headers = reply.json().unwrap()["mock"]["headers"].clone();
    assert_eq!(headers["x-model-version"], "v1", "{headers}");
    assert_eq!(headers["x-headgate-tenant"], "acme", "{headers}");
    assert_eq!(headers["x-headgate-lane"], "base", "{headers}");
    let left = CAPACITY - INPUT - 200;
    let remaining = reply.header("x-ratelimit-remaining-tokens");
    assert_eq!(remaining, Some(left.to_string().as_str()));

    // Settled on the usage of the response, then refused for the remaining tokens.
    let left = CAPACITY - INPUT - 16;
    let refused = eventually(SOON, "the settlement", async || {
        match balance(&client, &url, "acme").await {
            Some(now) if now == left => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    refused.await.unwrap();
    assert_eq!(testbed.mock("m", "v1").unwrap().stats().requests, 1);
}
