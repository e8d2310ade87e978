//! The xDS port with certificates and scope rules, as its operator sees them.

use headgate_testkit::client::HttpRequest;
use headgate_testkit::svid::{SecretVolume, TrustDomainAuthority};
use headgate_testkit::xds_client::AutoAckProxy;

use crate::common::{Files, SOON, Server, manifest, serve};
use crate::exposition::Exposition;

const SERVER: &str = "/ns/headgate-system/sa/headgate";

fn has_problem(status: &serde_json::Value, reason: &str, parts: &[&str]) -> bool {
    let problems = status["problems"].as_array();
    problems.into_iter().flatten().any(|problem| {
        let text = problem.to_string();
        problem["reason"] == reason && parts.iter().all(|part| text.contains(part))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_used_is_a_problem_until_it_is_replaced() {
    let files = Files::new();
    let authority = TrustDomainAuthority::new("a.test").unwrap();
    let mut volume = SecretVolume::new(files.path("tls")).unwrap();
    let [one, two] = [(), ()].map(|()| authority.issue(SERVER).unwrap());
    volume.write_tls(&one, authority.pem()).unwrap();
    let path = files.path("tls").display().to_string();
    let server = Server::start_with(&files, &["--xds-tls", &path]).await;
    let mixed = headgate_testkit::svid::Svid {
        pem: two.pem.clone(),
        ..one
    };
    volume.write_tls(&mixed, authority.pem()).unwrap();
    let parts = ["last good certificate", "--xds-tls", "does not fit"];
    server
        .until("the problem", |s| has_problem(s, "XdsCertificate", &parts))
        .await;
    let text = server.get("/metrics").await.text();
    let all = Exposition::parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let problem = [("severity", "error"), ("reason", "XdsCertificate")];
    assert_eq!(all.value("headgate_problems", &problem), Some(1.0));
    let id = format!("spiffe://a.test{SERVER}");
    let expiry = "headgate_xds_certificate_expiry_timestamp_seconds";
    assert!(
        all.value(expiry, &[("spiffe_id", &id)]) > Some(1e9),
        "{text}"
    );
    volume.write_tls(&two, authority.pem()).unwrap();
    server
        .until("no problem", |s| !has_problem(s, "XdsCertificate", &[]))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scope_rules_decide_which_node_is_served_and_a_change_ends_its_stream() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let (file, rule) = (
        files.path("scopes.yaml"),
        "rules: [{name: edge, match: {nodeId: '*dge'}}]",
    );
    std::fs::write(&file, rule).unwrap();
    let scopes = file.display().to_string();
    let server = Server::start_with(&files, &["--scopes", &scopes]).await;
    let _edge = AutoAckProxy::connect("edge", server.xds).unwrap();
    let _other = AutoAckProxy::connect("other", server.xds).unwrap();
    let ids = |s: &serde_json::Value| -> Vec<String> {
        let proxies = s["proxies"].as_array().unwrap().iter();
        proxies
            .map(|p| p["id"].as_str().unwrap().to_owned())
            .collect()
    };
    server.until("the proxy", |s| ids(s) == ["edge"]).await;
    std::fs::write(&file, "rules: [{name: edge, mach: {}}]").unwrap();
    let parts = ["last good scope rules", "line 1", "mach"];
    server
        .until("the problem", |s| has_problem(s, "ScopeFile", &parts))
        .await;
    std::fs::write(&file, rule.replace("*dge", "other")).unwrap();
    server
        .until("the other proxy alone", |s| {
            !ids(s).contains(&"edge".to_owned()) && !has_problem(s, "ScopeFile", &[])
        })
        .await;
    let text = server.get("/metrics").await.text();
    let all = Exposition::parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let refused = all.value("headgate_xds_refusals_total", &[("reason", "no_rule")]);
    assert!(refused >= Some(2.0), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_a_certificate_is_not_ready_and_says_why() {
    let files = Files::new();
    let options = serve()
        .arg("--models")
        .arg(files.path("models"))
        .arg("--wasm")
        .arg(files.path("wasm"))
        .arg("--spiffe-socket")
        .arg(files.path("no-agent.sock"));
    let mut server = Server::spawn(options);
    let url = |path: &str| format!("http://{}{path}", server.admin);
    let (live, ready) = (url("/livez"), url("/readyz"));
    server.process.wait_for_http(&live, SOON).await.unwrap();
    let parts = [
        "no proxy can connect",
        "no-agent.sock",
        "check that the agent runs",
    ];
    server
        .until("the problem", |s| has_problem(s, "XdsCertificate", &parts))
        .await;
    let ready = server.client.send(HttpRequest::get(ready)).await.unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(ready.text(), "the xDS port has no certificate yet\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_alone_listens_on_all_interfaces() {
    let files = Files::new();
    let port = headgate_testkit::ports::free_addr().unwrap().port();
    let admin = headgate_testkit::ports::free_addr().unwrap();
    let options = serve()
        .arg("--models")
        .arg(files.path("models"))
        .arg("--wasm")
        .arg(files.path("wasm"))
        .arg(format!("--xds-address=:{port}"))
        .arg(format!("--admin-address=:{}", admin.port()));
    let mut process = headgate_testkit::process::Process::start(options).unwrap();
    let ready = format!("http://{admin}/readyz");
    process.wait_for_http(&ready, SOON).await.unwrap();
    tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
}
