//! The pages of the admin port that not everybody may use, as clients on other machines see them. A client at 127.0.0.6 counts as one,
//! because from there a sidecar of Istio passes on requests of other machines.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use headgate_testkit::deadline::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::cluster::Cluster;
use crate::common::{Files, SOON, Server, headgate};

pub(crate) const LOCAL: &str = "127.0.0.1:0";
const REMOTE: &str = "127.0.0.6:0";
/// Those who may use everything.
const OPERATORS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: operators }
rules:
- nonResourceURLs: ["/config_dump"]
  verbs: ["get"]
- nonResourceURLs: ["/logging"]
  verbs: ["post"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: operators }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: operators }
subjects:
- { kind: ServiceAccount, name: operator, namespace: default }
"#;

/// Sends a request from an address, and returns the status and the whole response.
async fn ask(from: &str, to: SocketAddr, request: &str, header: &str) -> (u16, String) {
    try_ask(from, to, request, header).await.unwrap()
}

/// As [`ask`]. An end of the connection without an answer is an error.
pub(crate) async fn try_ask(
    from: &str,
    to: SocketAddr,
    request: &str,
    header: &str,
) -> io::Result<(u16, String)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(from.parse().unwrap())?;
    let mut stream = socket.connect(to).await?;
    let text = format!(
        "{request} HTTP/1.1\r\nhost: headgate\r\nconnection: close\r\ncontent-length: 0\r\n{header}\r\n"
    );
    stream.write_all(text.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    let status = response.split(' ').nth(1).and_then(|s| s.parse().ok());
    let no_answer = || io::Error::other(format!("no answer: {response}"));
    let status = status.ok_or_else(no_answer)?;
    Ok((status, response))
}

pub(crate) const DUMP: &str = "GET /config_dump";
pub(crate) const CHANGE: &str = "POST /logging?level=debug";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_only_read_what_probes_and_status_need() {
    let files = Files::new();
    let server = Server::start(&files).await;
    for page in [
        "/", "/syncz", "/metrics", "/readyz", "/livez", "/version", "/logging",
    ] {
        let (status, text) = ask(REMOTE, server.admin, &format!("GET {page}"), "").await;
        assert_eq!(status, 200, "{page}: {text}");
    }
    for request in [DUMP, CHANGE] {
        assert_eq!(
            ask(LOCAL, server.admin, request, "").await.0,
            200,
            "{request}"
        );
        let token = "authorization: Bearer token\r\n";
        let forwarded = "x-forwarded-for: 10.0.0.1\r\n";
        for (from, header) in [(REMOTE, ""), (REMOTE, token), (LOCAL, forwarded)] {
            let (status, text) = ask(from, server.admin, request, header).await;
            assert_eq!(status, 403, "{text}");
            assert!(text.contains("--admin-tokens"), "{text}");
        }
    }
    let log = server.process.log().text();
    assert!(log.contains("admin request refused"), "{log}");
    assert!(log.contains("127.0.0.6"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_the_pages_that_kubernetes_grants_to_its_account() {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kube.kubectl();
    let home = "headgate-system";
    kubectl.run(["create", "namespace", home]).await.unwrap();
    let rbac = |more: &[&str]| {
        let of = ["schema", "rbac", "--namespace", "default"];
        let out = headgate(&[of.as_slice(), more].concat());
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    kubectl.apply(&rbac(&[])).await.unwrap();
    for account in ["operator", "visitor"] {
        kubectl
            .run(["create", "serviceaccount", account])
            .await
            .unwrap();
    }
    kubectl.apply(OPERATORS).await.unwrap();
    let header = async |account: &str, more: &[&str]| {
        let args = ["create", "token", account];
        let token = kubectl.run(args.iter().chain(more)).await.unwrap();
        format!("authorization: Bearer {}\r\n", token.trim())
    };
    let audience = ["--audience", "headgate.dev"];
    let operator = header("operator", &audience).await;
    let visitor = header("visitor", &audience).await;
    let of_the_api = header("operator", &[]).await;

    let account = cluster
        .kube
        .service_account(home, "headgate")
        .await
        .unwrap();
    let more = ["--lease-namespace", home, "--admin-tokens"];
    let server = cluster.serve_as(&account, "one", &more).await;
    let ask = async |request: &str, header: &str| ask(REMOTE, server.admin, request, header).await;

    // Without the right to ask, the answer and the status name it.
    let (status, text) = ask(DUMP, &operator).await;
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("tokenreviews") && text.contains("schema rbac --admin-tokens"),
        "{text}"
    );
    server
        .until("the missing right", |status| {
            let problems = status["problems"].to_string();
            problems.contains("tokenreviews") && problems.contains("--admin-tokens")
        })
        .await;
    kubectl.apply(&rbac(&["--admin-tokens"])).await.unwrap();
    eventually(SOON, "the answer to a token", async || {
        let (status, text) = ask(DUMP, &operator).await;
        (status == 200).then_some(()).ok_or(text)
    })
    .await
    .unwrap();

    let (status, text) = ask(CHANGE, &operator).await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("debug"), "{text}");
    let garbage = "authorization: Bearer garbage\r\n";
    for header in ["", "authorization: Basic eDp5\r\n", garbage, &of_the_api] {
        let (status, text) = ask(DUMP, header).await;
        assert_eq!(status, 401, "{text}");
        let text = text.to_lowercase();
        assert!(text.contains("www-authenticate: bearer"), "{text}");
        assert!(text.contains("--audience headgate.dev"), "{text}");
    }
    for (request, url) in [(DUMP, "/config_dump"), (CHANGE, "/logging")] {
        let (status, text) = ask(request, &visitor).await;
        assert_eq!(status, 403, "{text}");
        let account = "system:serviceaccount:default:visitor";
        assert!(text.contains(account) && text.contains(url), "{text}");
        assert!(text.contains("nonResourceURLs"), "{text}");
    }
    let log = server.process.log().text();
    let user = "system:serviceaccount:default:operator";
    assert!(
        log.contains("admin request allowed") && log.contains(user),
        "{log}"
    );
    for token in [&operator, &visitor, &of_the_api] {
        let token = token.trim().rsplit(' ').next().unwrap();
        assert!(!log.contains(token), "a token is in the log");
    }
}

#[test]
fn status_sends_the_token_of_a_file_and_shows_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // A proxy in front of the admin port that requires another token.
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !request.ends_with("\r\n\r\n") {
            reader.read_line(&mut request).unwrap();
        }
        let answer = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        request
    });
    let files = Files::new();
    let token = files.path("token");
    std::fs::write(&token, "of-a-file\n").unwrap();
    let file = token.display().to_string();
    let args = ["status", "--admin-address", &address, "--token-file", &file];
    let out = headgate(&args);
    let request = proxy.join().unwrap();
    assert!(
        request.contains("authorization: Bearer of-a-file\r\n"),
        "{request}"
    );
    let error = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(
        error.contains("401") && !error.contains("of-a-file"),
        "{error}"
    );

    std::fs::write(&token, "\n").unwrap();
    for (at, why) in [
        (file.as_str(), "is empty"),
        ("/no/such/token", "No such file"),
    ] {
        let out = headgate(&["status", "--admin-address", &address, "--token-file", at]);
        let error = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{error}");
        assert!(
            error.contains("--token-file") && error.contains(why),
            "{error}"
        );
    }
}
