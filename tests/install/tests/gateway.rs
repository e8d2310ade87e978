//! The pod of the gateway as processes: a real Envoy with the command line and the bootstrap of its Deployment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use headgate_testkit::client::{HttpClient, HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::find_envoy;
use headgate_testkit::ports::free_port;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::testbed::{Testbed, TestbedOptions, artifacts};
use headgate_tests_install::{
    ENVOY_STATISTICS, by_key, documents, kustomize, output, overlay, text,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

const SOON: Duration = Duration::from_secs(30);
const OVERLAYS: [&str; 3] = ["standalone", "standalone-mtls", "standalone-spire"];

/// The pod of an overlay, with addresses of this machine instead of those that a pod has for itself.
struct Pod {
    dir: tempfile::TempDir,
    container: Value,
    admin: SocketAddr,
    status: u16,
    traffic: u16,
}

impl Pod {
    fn of(overlay_name: &str, xds: SocketAddr) -> Self {
        let objects = by_key(documents(&kustomize(&overlay(overlay_name))));
        let deployment = &objects["Deployment headgate-system/headgate-envoy"];
        let pod = &deployment["spec"]["template"]["spec"];
        let config = pod["volumes"][0]["configMap"]["name"].as_str().unwrap();
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
            container: pod["containers"][0].clone(),
            admin: ([127, 0, 0, 1], free_port().unwrap()).into(),
            status: free_port().unwrap(),
            traffic: free_port().unwrap(),
        };
        let config = &objects[&format!("ConfigMap headgate-system/{config}")];
        for (file, content) in config["data"].as_object().unwrap() {
            let content = this.moved(content.as_str().unwrap()).replace(
                "{ address: headgate.headgate-system.svc, port_value: 18000 }",
                &format!("{{ address: {}, port_value: {} }}", xds.ip(), xds.port()),
            );
            std::fs::write(this.dir.path().join(file), content).unwrap();
        }
        this
    }

    fn moved(&self, text: &str) -> String {
        let dir = self.dir.path().to_str().unwrap();
        let admin = self.admin.port().to_string();
        text.replace("/etc/envoy-tls", dir)
            .replace("/etc/envoy", dir)
            .replace("127.0.0.1/9901", &format!("127.0.0.1/{admin}"))
            .replace("port_value: 9901", &format!("port_value: {admin}"))
            .replace("port_value: 9902", &format!("port_value: {}", self.status))
            .replace("[::]:10000", &format!("[::]:{}", self.traffic))
            .replace("$(POD_NAME)", "headgate-envoy-1")
    }

    fn strings(&self, value: &Value) -> Vec<String> {
        let list = value.as_array().unwrap().iter();
        list.map(|text| self.moved(text.as_str().unwrap()))
            .collect()
    }

    /// Its Envoy. On this machine it runs beside others, with its own command line.
    fn options(&self) -> ProcessOptions {
        assert_eq!(self.strings(&self.container["command"]), ["envoy"]);
        ProcessOptions::new(find_envoy().unwrap()).args(self.strings(&self.container["args"]))
    }

    fn status_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.status)
    }
}

async fn get(url: &str) -> Result<(u16, String), String> {
    let reply = HttpClient::new().send(HttpRequest::get(url)).await;
    let reply = reply.map_err(|e| e.to_string())?;
    Ok((reply.status, reply.text()))
}

/// The module under the name that a proxy loads.
fn module_for_proxies(dir: &Path) -> PathBuf {
    let bytes = std::fs::read(artifacts::wasm_module().unwrap()).unwrap();
    let sha: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let file = dir.join(format!("headgate-{sha}.wasm"));
    std::fs::write(&file, bytes).unwrap();
    file
}

/// A control plane whose proxies have the module in `modules`, and a gateway pod that starts while it is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_ready_once_it_has_a_configuration_and_drains_its_streams_before_it_ends() {
    let modules = tempfile::tempdir().unwrap();
    module_for_proxies(modules.path());
    let serve_args = ["--wasm-proxy-path".into(), modules.path().into()].to_vec();
    let options = TestbedOptions {
        envoys: 0,
        serve_args,
        ..TestbedOptions::default()
    };
    let mut testbed = Testbed::start(options).await.unwrap();
    testbed.control_plane_mut().kill().unwrap();

    let pod = Pod::of("standalone", testbed.addresses().xds);
    let mut envoy = Process::start(pod.options()).unwrap();
    let admin = format!("http://{}/ready", pod.admin);
    eventually(SOON, "the admin port", async || get(&admin).await)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let probe = pod.status_url("/ready");
    assert!(
        !matches!(get(&probe).await, Ok((200, _))),
        "ready without a configuration"
    );

    testbed.control_plane_mut().restart().await.unwrap();
    envoy.wait_for_http(&probe, SOON).await.unwrap();
    for host in ["127.0.0.1", "[::1]"] {
        let url = format!("http://{host}:{}", pod.traffic);
        let reply = HttpClient::new()
            .send(OpenAiRequest::chat("phi-3").to(&url))
            .await
            .unwrap();
        assert_eq!(reply.status, 200, "{host}: {}", reply.text());
        assert_eq!(reply.header("x-model-version"), Some("mini-4k"), "{host}");
    }
    // The filters report once a second.
    let page = pod.status_url("/stats/prometheus");
    eventually(SOON, "a statistic of the filter", async || {
        let (_, statistics) = get(&page).await?;
        let found = statistics.contains("headgate_requests_total{")
            && ENVOY_STATISTICS
                .iter()
                .all(|name| statistics.contains(&format!("\n{name}{{")));
        found.then_some(()).ok_or(statistics)
    })
    .await
    .unwrap();
    assert_eq!(get(&pod.status_url("/config_dump")).await.unwrap().0, 404);
    let quit = HttpRequest::post(pod.status_url("/quitquitquit"), "");
    assert_eq!(HttpClient::new().send(quit).await.unwrap().status, 404);

    drains(&pod).await;
    let status = envoy.terminate(SOON).await.unwrap();
    assert!(status.success(), "{status}");
}

/// preStop returns after the open stream, not before, and asks clients to close their connections.
async fn drains(pod: &Pod) {
    let url = format!("http://127.0.0.1:{}", pod.traffic);
    let stream = OpenAiRequest::chat("phi-3")
        .stream()
        .header("x-mock-tokens", "22")
        .header("x-mock-delay-ms", "1000");
    let mut stream = HttpClient::new()
        .open(stream.max_tokens(22).to(&url))
        .await
        .unwrap();
    stream.event().await.unwrap();
    let hook = &pod.container["lifecycle"]["preStop"]["exec"]["command"];
    let command = pod.strings(hook);
    let began = Instant::now();
    let mut hook = Process::start(ProcessOptions::new(&command[0]).args(&command[1..])).unwrap();
    let closed = async || {
        let reply = HttpClient::new()
            .send(OpenAiRequest::chat("phi-3").to(&url))
            .await;
        match reply.map_err(|e| e.to_string())?.header("connection") {
            Some("close") => Ok(()),
            other => Err(format!("connection: {other:?}")),
        }
    };
    eventually(Duration::from_secs(10), "connection: close", closed)
        .await
        .unwrap();
    let events = stream.events().await.unwrap();
    let streamed = began.elapsed();
    assert_eq!(
        events.last().map(String::as_str),
        Some("[DONE]"),
        "{events:?}"
    );
    assert!(
        streamed > Duration::from_secs(15),
        "the stream is too short: {streamed:?}"
    );
    let ended = eventually(SOON, "the end of preStop", async || {
        let status = hook.ended().map_err(|e| e.to_string())?;
        status.ok_or_else(|| "runs".to_owned())
    });
    let ended = ended.await.unwrap();
    assert!(ended.success(), "{ended}");
    assert!(began.elapsed() >= streamed);
}

#[test]
fn envoy_accepts_the_bootstrap_of_each_overlay() {
    for name in OVERLAYS {
        let pod = Pod::of(name, ([127, 0, 0, 1], 18000).into());
        let key = rcgen::generate_simple_self_signed(["headgate".to_owned()]).unwrap();
        for (file, pem) in [
            ("tls.crt", key.cert.pem()),
            ("ca.crt", key.cert.pem()),
            ("tls.key", key.signing_key.serialize_pem()),
        ] {
            std::fs::write(pod.dir.path().join(file), pem).unwrap();
        }
        let mut envoy = Command::new(find_envoy().unwrap());
        envoy
            .args(pod.strings(&pod.container["args"]))
            .args(["--mode", "validate"]);
        let _ = output(&mut envoy);
    }
}

fn bootstrap(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap()
}

/// The part of a bootstrap that is the same for every way in which a proxy proves who it is.
fn without_identity(mut bootstrap: Value) -> Value {
    let clusters = bootstrap["static_resources"]["clusters"]
        .as_array_mut()
        .unwrap();
    clusters.retain(|cluster| cluster["name"] != "spire-agent");
    for cluster in clusters {
        cluster.as_object_mut().unwrap().remove("transport_socket");
    }
    bootstrap
}

#[test]
fn the_bootstraps_differ_in_identity_only() {
    let plain = bootstrap("istio-manifests/components/gateway/bootstrap.yaml");
    for component in ["gateway-mtls", "gateway-spire"] {
        let other = bootstrap(&format!(
            "istio-manifests/components/{component}/bootstrap.yaml"
        ));
        assert_ne!(other, plain, "{component}");
        assert_eq!(without_identity(other), plain, "{component}");
    }
    let example = bootstrap("envoy-config/bootstrap.yaml");
    assert_eq!(example["stats_config"], plain["stats_config"]);
    assert_eq!(example["cluster_manager"], plain["cluster_manager"]);
    let ads = |bootstrap: &Value| bootstrap["dynamic_resources"]["ads_config"].clone();
    assert_eq!(ads(&example), ads(&plain));
}
