//! A control plane that shuts down moves its Envoys to another replica, one after another, and no request fails.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpRequest, Job, Load, LoadOptions};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::{Envoy, EnvoyOptions};
use headgate_testkit::measured;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::Process;
use headgate_testkit::testbed::{
    Addresses, Input, Manifest, Testbed, artifacts, bootstrap_with_replicas, serve_options,
};
use serde_json::Value;

use crate::common::{SOON, ask, budget, declare, empty_testbed, only};

const ENVOYS: usize = 3;

/// The default of `--drain-time`.
const DRAIN: Duration = Duration::from_secs(10);

/// An Envoy with two replicas in its bootstrap.
async fn envoy(id: usize, replicas: [SocketAddr; 2], traffic: SocketAddr) -> Envoy {
    let mut options = EnvoyOptions {
        node_id: Some(format!("envoy-{id}")),
        node_cluster: Some("test".to_owned()),
        within: SOON,
        ..EnvoyOptions::new(bootstrap_with_replicas(&replicas).unwrap())
    };
    let listen = traffic.to_string().into();
    options
        .node_metadata
        .insert("headgate.listen".to_owned(), listen);
    Envoy::start(options).await.unwrap()
}

/// A second control plane on the files of the testbed.
async fn replica(testbed: &Testbed, xds: SocketAddr, admin: SocketAddr) -> Process {
    let addresses = Addresses {
        xds,
        admin,
        ..testbed.addresses().clone()
    };
    let binary = artifacts::headgate_binary().unwrap();
    let (input, log) = (Input::Files(testbed.files()), testbed.path("second.log"));
    let options = serve_options(binary, &input, &addresses, &[], log);
    let mut process = Process::start(options).unwrap();
    let ready = format!("http://{admin}/readyz");
    process.wait_for_http(&ready, SOON).await.unwrap();
    process
}

/// Waits until a replica has `n` proxies, all settled, and `also` holds.
async fn has(testbed: &Testbed, admin: SocketAddr, n: usize, also: impl Fn(&Value) -> bool) {
    let url = format!("http://{admin}/syncz");
    let client = testbed.client();
    let what = format!("{n} proxies at {admin}");
    let settled = eventually(DRAIN + SOON, &what, async || {
        let reply = client.send(HttpRequest::get(&url)).await;
        let status: Value = reply
            .and_then(|reply| reply.json())
            .map_err(|e| e.to_string())?;
        let proxies = status["proxies"].as_array().cloned().unwrap_or_default();
        let settled = proxies
            .iter()
            .filter(|proxy| proxy["current"] == true)
            .count();
        if settled == n && proxies.len() == n && also(&status) {
            Ok(())
        } else {
            Err(status["proxies"].to_string())
        }
    });
    settled.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_moves_envoys_to_the_other_replica_during_the_drain_time_without_a_failed_request()
{
    let mut testbed = empty_testbed(1, 0, &budget("tenants", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    let first = testbed.addresses().clone();
    let (xds, admin) = (free_addr().unwrap(), free_addr().unwrap());

    // All start at the first replica, because the second does not run yet.
    let mut envoys = Vec::new();
    let mut urls = Vec::new();
    for id in 0..ENVOYS {
        let traffic = free_addr().unwrap();
        envoys.push(envoy(id, [first.xds, xds], traffic).await);
        urls.push(format!("http://{traffic}"));
    }
    has(&testbed, first.admin, ENVOYS, |_| true).await;
    let _second = replica(&testbed, xds, admin).await;
    let load = Load::start(LoadOptions {
        pause: Duration::from_millis(5),
        ..LoadOptions::new(4, move |n| Job {
            session: n.to_string(),
            request: ask(&format!("tenant-{}", n % 997), 4).to(&urls[n as usize % ENVOYS]),
        })
    });
    load.wait_for(100, SOON).await.unwrap();

    let pid = testbed.control_plane().pid().unwrap().to_string();
    let begin = Instant::now();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(sent.unwrap().success());
    for moved in 1..=ENVOYS {
        has(&testbed, admin, moved, |_| true).await;
        let after = begin.elapsed();
        measured!("envoy {moved} of {ENVOYS} was in step with the other replica after {after:?}");
        let turn = DRAIN.mul_f64((moved - 1) as f64 / ENVOYS as f64);
        assert!(
            after >= turn,
            "{moved} moved after {after:?}, before {turn:?}"
        );
    }
    let ended = eventually(SOON, "the first replica to end", async || {
        let process = testbed.control_plane_mut().process().unwrap();
        process.ended().unwrap().ok_or("it runs")
    });
    assert_eq!(ended.await.unwrap().code(), Some(0));

    // The other replica serves them now: an edit reaches them.
    let address = testbed.add_mock("m", "v2").await.unwrap();
    let canary = Manifest::new("m", "v2").endpoints(&[address]).weight("5");
    testbed
        .files()
        .write_model("m-v2.yaml", &canary.render())
        .unwrap();
    has(&testbed, admin, ENVOYS, |status| {
        status["models"].to_string().contains("v2")
    })
    .await;
    load.wait_for(100, SOON).await.unwrap();
    let report = load.stop().await;
    only(&report, &[200]);
    measured!(
        "{} requests while a replica was drained",
        report.samples.len()
    );
}
