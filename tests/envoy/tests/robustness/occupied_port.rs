//! A listener that Envoy refuses because another process has its port.

use std::net::TcpListener;

use headgate_testkit::deadline::eventually;
use headgate_testkit::xds_client::type_url;
use serde_json::Value;

use crate::common::{SOON, budget, empty_testbed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_whose_port_is_bound_is_one_warning_with_the_proxy_the_type_and_its_words() {
    let args = ["--log-format", "json"];
    let mut testbed = empty_testbed(1, 0, &budget("tenants", ""), &args).await;
    let address = testbed.addresses().envoy;
    let _occupant = TcpListener::bind(address).unwrap();
    testbed.add_envoy().await.unwrap();
    let log = testbed.control_plane().log();
    let line = eventually(SOON, "the refusal to be logged", async || {
        log.line_with("proxy rejected a resource")
            .ok_or_else(|| log.tail(20))
    });
    let line: Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    assert_eq!(line["level"], "WARN", "{line}");
    let fields = &line["fields"];
    assert_eq!(fields["node"], "envoy-0", "{line}");
    assert_eq!(fields["type_url"], type_url::LISTENER, "{line}");
    assert_eq!(fields["resource"], "headgate", "{line}");
    // The address is from a flag or from the proxy, so no object is to blame.
    assert_eq!(fields["object"], "none", "{line}");
    let error = fields["error"].as_str().unwrap();
    let words = format!("cannot bind '{address}': Address already in use");
    assert!(error.contains(&words), "{line}");
}
