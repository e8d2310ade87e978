//! The pages and the log of a control plane with private keys and tokens: none of these is in them.

use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::svid::{SecretVolume, Svid, TrustDomainAuthority};
use headgate_testkit::tls_client::TlsOriginator;
use headgate_testkit::xds_client::{DeltaProxy, Service, channel, node, type_url};

use crate::admin_access::{LOCAL, try_ask};
use crate::cluster::Cluster;
use crate::common::{Files, SOON, headgate};

const PAGES: [&str; 9] = [
    "/",
    "/syncz",
    "/config_dump",
    "/metrics",
    "/readyz",
    "/livez",
    "/healthz",
    "/version",
    "/logging",
];

/// The ways in which a secret could be shown: as it is, in one line, as bytes.
struct Secret {
    name: &'static str,
    forms: Vec<String>,
}

impl Secret {
    fn key(name: &'static str, svid: &Svid) -> Self {
        // Of an ECDSA key in PKCS#8, bytes 36 to 67 are secret; the public key follows.
        let lines = svid.key_pem.lines().skip(1).take(2);
        let bytes = &svid.key_der[40..48];
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']).to_owned();
        let mut forms: Vec<String> = lines.map(str::to_owned).collect();
        forms.extend([hex, list, "PRIVATE KEY".to_owned()]);
        let secret = Self { name, forms };
        for text in [&svid.key_pem, &format!("{:?}", svid.key_der)] {
            assert!(
                secret.is_in(text).is_some(),
                "{name} is not found where it is"
            );
        }
        secret
    }

    fn is_in(&self, text: &str) -> Option<&String> {
        let lower = text.to_lowercase();
        let is_shown = |form: &&String| text.contains(*form) || lower.contains(*form);
        self.forms.iter().find(is_shown)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_and_no_log_line_has_a_private_key_or_a_token() {
    let (cluster, files) = (Cluster::start().await, Files::new());
    let kubectl = cluster.kube.kubectl();
    let authority = TrustDomainAuthority::new("a.test").unwrap();
    let write = |name: &str| {
        let svid = authority.issue(&format!("/ns/x/sa/{name}")).unwrap();
        let mut volume = SecretVolume::new(files.path(name)).unwrap();
        volume.write_tls(&svid, authority.pem()).unwrap();
        (svid, files.path(name).display().to_string())
    };
    let [xds, admin, listener] = ["xds", "admin", "listener"].map(write);
    let home = "headgate-system";
    kubectl.run(["create", "namespace", home]).await.unwrap();
    let rbac = ["schema", "rbac", "--namespace", "default", "--admin-tokens"];
    let rbac = String::from_utf8(headgate(&rbac).stdout).unwrap();
    kubectl.apply(&rbac).await.unwrap();
    let account = cluster.kube.service_account(home, "headgate").await;
    let account = account.unwrap();
    let own_token = token_of(&std::fs::read_to_string(&account).unwrap());
    let visitor = ["create", "serviceaccount", "visitor"];
    kubectl.run(visitor).await.unwrap();
    let token = ["create", "token", "visitor", "--audience", "headgate.dev"];
    let token = kubectl.run(token).await.unwrap().trim().to_owned();

    let allowed = "spiffe://a.test/ns/x/sa/*";
    let options = cluster
        .command("one")
        .args(["--log", "trace", "--kube", "-n", "default", "--kubeconfig"])
        .arg(&account)
        .args(["--lease-namespace", home, "--admin-tokens"])
        .args(["--xds-tls", &xds.1, "--allow-identity", allowed])
        .args(["--admin-tls", &admin.1, "--admin-identity", allowed])
        .args(["--listener-tls", &listener.1])
        .args(["--listener-client-certificates", "require"]);
    let server = crate::common::Server::spawn(options);
    let proxy = authority.issue("/ns/x/sa/proxy").unwrap();
    let pem = authority.pem();
    let to_admin = TlsOriginator::start(server.admin, pem, Some(&proxy));
    let to_admin = to_admin.await.unwrap();
    let header = format!("authorization: Bearer {token}\r\n");
    let get = async |page: &str| {
        let request = format!("GET {page}");
        let answer = try_ask(LOCAL, to_admin.addr(), &request, &header).await;
        answer.map_err(|error| error.to_string())
    };
    eventually(SOON, "the control plane to be ready", async || {
        let (status, text) = get("/readyz").await?;
        (status == 200).then_some(()).ok_or(text)
    })
    .await
    .unwrap();

    // A proxy gets the key of the listener, and rejects it, which is logged.
    let to_xds = TlsOriginator::start_http2(server.xds, pem, Some(&proxy));
    let to_xds = to_xds.await.unwrap();
    let channel = channel(&to_xds.url()).unwrap();
    let node = node("edge", "test", &[]);
    let mut stream = DeltaProxy::open(channel, node, Service::Aggregated).unwrap();
    stream.subscribe(type_url::SECRET, &["headgate-listener"]);
    let response = stream.next(Duration::from_secs(20)).await.unwrap();
    let sent = format!("{response:?}");
    let key = listener.0.key_pem.lines().nth(1).unwrap();
    let delivered = response.resources.iter().any(|resource| {
        let bytes = &resource.resource.as_ref().unwrap().value;
        String::from_utf8_lossy(bytes).contains(key)
    });
    assert!(delivered, "{sent}");
    stream.nack(&response, "the proxy does not want it");
    eventually(SOON, "the rejection in the log", async || {
        let log = server.process.log();
        let line = log.line_with("proxy rejected");
        line.map(|_| ()).ok_or_else(|| log.tail(5))
    })
    .await
    .unwrap();

    let secrets = [
        Secret::key("the key of the xDS port", &xds.0),
        Secret::key("the key of the admin port", &admin.0),
        Secret::key("the key of the listener", &listener.0),
        Secret::key("the key of the client", &proxy),
        Secret {
            name: "the token of the client",
            forms: vec![token.clone()],
        },
        Secret {
            name: "the token of the control plane",
            forms: vec![own_token],
        },
    ];
    let mut shown = vec![("the log", server.process.log().text())];
    for page in PAGES {
        let (status, text) = get(page).await.unwrap();
        assert_eq!(status, 200, "{page}: {text}");
        shown.push((page, text));
    }
    // What is searched is what people see.
    let of = |name: &str| &shown.iter().find(|(page, _)| *page == name).unwrap().1;
    assert!(of("/config_dump").contains("headgate-listener"));
    assert!(of("the log").contains("TRACE"));
    for (place, text) in &shown {
        for secret in &secrets {
            if let Some(form) = secret.is_in(text) {
                let line = text.lines().find(|line| line.contains(form));
                panic!("{place} shows {}: {line:?}", secret.name);
            }
        }
    }
}

/// The token in a kubeconfig.
fn token_of(kubeconfig: &str) -> String {
    let (_, rest) = kubeconfig.split_once("token").unwrap();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let token = rest.trim_start_matches(|c| !is_part(c));
    token.split(|c| !is_part(c)).next().unwrap().to_owned()
}
