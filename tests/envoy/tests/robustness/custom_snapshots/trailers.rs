//! Trailers of requests and responses, with HTTP/2 on both sides.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::Http2ProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::util::pack_any;
use headgate_testkit::client::HttpClient;
use headgate_testkit::deadline::eventually;
use headgate_xds::{Kind, Options};

use super::{Fixture, changed, resources_of, tamper, v1};
use crate::common::{CAPACITY, INPUT, SOON, ask, balance, budget};

const V1: &str = "model/default/m/v1";
const PROTOCOLS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn speak_http2(cluster: &mut Cluster) {
    let http2 = ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default());
    let explicit = ExplicitHttpConfig {
        protocol_config: Some(http2),
    };
    let protocols = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)),
        ..HttpProtocolOptions::default()
    };
    cluster
        .typed_extension_protocol_options
        .insert(PROTOCOLS.to_owned(), pack_any(protocols));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_in_both_directions_and_the_stream_is_decided_and_settled() {
    let fixture = Fixture::open(Options::default()).await;
    let files = [v1(&fixture.mocks).render(), budget("trailers", "")];
    let mut resources = resources_of(&files, fixture.listen);
    tamper(&mut resources, Kind::Cluster, V1, |cluster| {
        changed(cluster, speak_http2)
    });
    fixture.publish(resources);
    let url = format!("http://{}", fixture.listen);
    let client = HttpClient::http2();
    // The policy applies once a response contains a balance.
    let governed = eventually(SOON, "the policy to be in force", async || {
        let reply = client.send(ask("early", 200).to(&url)).await;
        let reply = reply.map_err(|error| error.to_string())?;
        reply
            .header("x-ratelimit-remaining-tokens")
            .map(|_| ())
            .ok_or_else(|| reply.text())
    });
    governed.await.unwrap();
    fixture.await_settled().await;

    let whole = ask("trailing", 200).header("x-mock-trailers", "true");
    for (requests, request) in [(1, whole.clone()), (2, whole.stream_with_usage())] {
        let request = request.to(&url).trailer("x-checksum", "1");
        let reply = client.send(request).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-model-version"), Some("v1"));
        assert_eq!(reply.trailers.get("x-mock-done").unwrap(), "true");
        // The model server received the request's trailer and the tags.
        let text = reply.text();
        assert!(text.contains(r#""x-checksum":"1""#), "{text}");
        assert!(text.contains(r#""x-headgate-lane":"base""#), "{text}");
        let used = requests * (INPUT + 16);
        let settled = eventually(SOON, "the settlement", async || {
            match balance(&client, &url, "trailing").await {
                Some(left) if left == CAPACITY - used => Ok(()),
                other => Err(format!("{other:?} are left")),
            }
        });
        settled.await.unwrap();
    }
}
