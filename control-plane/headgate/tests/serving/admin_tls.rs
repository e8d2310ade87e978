//! The admin port with TLS, as its clients on other machines see it. A client at 127.0.0.6 counts as one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use headgate_testkit::deadline::eventually;
use headgate_testkit::svid::{SecretVolume, Svid, SvidParams, TrustDomainAuthority};
use headgate_testkit::tls_client::TlsOriginator;
use tokio::net::TcpStream;

use crate::admin_access::{CHANGE, DUMP, LOCAL, try_ask};
use crate::common::{Files, SOON, Server, headgate, serve};
use crate::exposition::Exposition;

const REMOTE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const SERVER: &str = "/ns/headgate-system/sa/headgate";
const OPERATOR: &str = "/ns/ops/sa/admin";
const OPERATORS: &str = "spiffe://a.test/ns/ops/sa/*";

struct Setup {
    files: Files,
    authority: TrustDomainAuthority,
    volume: SecretVolume,
    server: Server,
}

impl Setup {
    /// A control plane with TLS on its admin port, which answers.
    async fn start(more: &[&str]) -> Self {
        let files = Files::new();
        let authority = TrustDomainAuthority::new("a.test").unwrap();
        let mut volume = SecretVolume::new(files.path("tls")).unwrap();
        let own = authority.issue(SERVER).unwrap();
        volume.write_tls(&own, authority.pem()).unwrap();
        std::fs::write(files.path("ca.pem"), authority.pem()).unwrap();
        let options = serve()
            .arg("--models")
            .arg(files.path("models"))
            .arg("--wasm")
            .arg(files.path("wasm"))
            .arg("--admin-tls")
            .arg(volume.path())
            .args(more.iter().copied());
        let server = Server::spawn(options);
        let setup = Self {
            files,
            authority,
            volume,
            server,
        };
        let client = setup.client(None).await;
        eventually(SOON, "the control plane to be ready", async || {
            let (status, text) = get(client.addr(), "GET /readyz").await?;
            (status == 200).then_some(()).ok_or(text)
        })
        .await
        .unwrap();
        setup
    }

    /// A plain port in front of the admin port, for a client on another machine.
    async fn client(&self, svid: Option<&Svid>) -> TlsOriginator {
        let (to, pem) = (self.server.admin, self.authority.pem());
        TlsOriginator::start_from(REMOTE, to, pem, svid)
            .await
            .unwrap()
    }

    async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let client = self.client(None).await;
        let (_, text) = get(client.addr(), "GET /metrics").await.ok()?;
        let (_, page) = text.split_once("\r\n\r\n")?;
        let all = Exposition::parse(page).unwrap_or_else(|why| panic!("{why}\n{page}"));
        all.value(name, labels)
    }

    /// Waits for a refused handshake, in the metric and in the log.
    async fn refused(&self, reason: &str) {
        eventually(SOON, reason, async || {
            let labels = [("reason", reason)];
            let count = self.metric("headgate_admin_refusals_total", &labels).await;
            (count >= Some(1.0))
                .then_some(())
                .ok_or(format!("{count:?}"))
        })
        .await
        .unwrap();
        let log = self.server.process.log().text();
        let refusal = format!("refusal=\"{reason}\"");
        let line = log.lines().find(|line| line.contains(&refusal));
        let line = line.unwrap_or_else(|| panic!("{reason}: {log}"));
        assert!(
            line.contains("connection refused") && line.contains("admin"),
            "{line}"
        );
    }

    fn status(&self, more: &[&str]) -> Output {
        let admin = self.server.admin.to_string();
        headgate(&[&["status", "--admin-address", &admin], more].concat())
    }

    fn path(&self, name: &str) -> String {
        self.files.path(name).display().to_string()
    }
}

/// Sends a request to a plain port. An end of the connection without an answer is an error.
async fn get(to: SocketAddr, request: &str) -> Result<(u16, String), String> {
    let answer = try_ask(LOCAL, to, request, "").await;
    answer.map_err(|error| error.to_string())
}

fn error(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    String::from_utf8(out.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_with_an_allowed_identity_opens_every_page_and_no_other_does() {
    let setup = Setup::start(&["--admin-identity", OPERATORS]).await;
    let a = &setup.authority;
    let (operator, visitor) = (a.issue(OPERATOR).unwrap(), a.issue("/ns/x/sa/x").unwrap());
    let nobody = setup.client(None).await;
    for page in ["/", "/syncz", "/metrics", "/readyz", "/livez", "/version"] {
        let (status, text) = get(nobody.addr(), &format!("GET {page}")).await.unwrap();
        assert_eq!(status, 200, "{page}: {text}");
    }
    let [operator, visitor] = [
        setup.client(Some(&operator)).await,
        setup.client(Some(&visitor)).await,
    ];
    for request in [DUMP, CHANGE] {
        let (status, text) = get(nobody.addr(), request).await.unwrap();
        assert_eq!(status, 403, "{text}");
        assert!(text.contains("--admin-identity"), "{text}");
        let (status, text) = get(visitor.addr(), request).await.unwrap();
        assert_eq!(status, 403, "{text}");
        let why = "spiffe://a.test/ns/x/sa/x matches no pattern of --admin-identity";
        assert!(text.contains(why), "{text}");
        let (status, text) = get(operator.addr(), request).await.unwrap();
        assert_eq!(status, 200, "{text}");
    }
    let log = setup.server.process.log().text();
    assert!(log.contains("admin request allowed"), "{log}");
    assert!(log.contains("spiffe://a.test/ns/ops/sa/admin"), "{log}");

    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let uris = vec![format!("spiffe://a.test{OPERATOR}")];
    let expired = a.issue_with(&SvidParams {
        uris,
        validity: Some((now - 2 * hour, now - hour)),
        ..SvidParams::default()
    });
    let foreign = TrustDomainAuthority::new("b.test").unwrap();
    let impostor = TrustDomainAuthority::new("a.test").unwrap();
    for (svid, reason) in [
        (expired.unwrap(), "certificate_expired"),
        (foreign.issue(OPERATOR).unwrap(), "trust_domain"),
        (impostor.issue(OPERATOR).unwrap(), "certificate_untrusted"),
    ] {
        let client = setup.client(Some(&svid)).await;
        for request in ["GET /livez", DUMP] {
            let answer = get(client.addr(), request).await;
            assert!(answer.is_err(), "{reason}: {answer:?}");
        }
        setup.refused(reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_files_are_used_and_wrong_ones_are_a_problem() {
    let mut setup = Setup::start(&["--admin-identity", OPERATORS]).await;
    let expiry = "headgate_admin_certificate_expiry_timestamp_seconds";
    let id = format!("spiffe://a.test{SERVER}");
    let labels = [("spiffe_id", id.as_str())];
    assert!(setup.metric(expiry, &labels).await > Some(1e9));
    let a = &setup.authority;
    let [one, two] = [(), ()].map(|()| a.issue(SERVER).unwrap());
    let mixed = Svid {
        pem: two.pem.clone(),
        ..one
    };
    setup.volume.write_tls(&mixed, a.pem()).unwrap();
    let labels = [("severity", "error"), ("reason", "AdminCertificate")];
    let problems = async |setup: &Setup, count: f64| {
        eventually(SOON, "the number of problems", async || {
            let now = setup.metric("headgate_problems", &labels).await;
            (now == Some(count)).then_some(()).ok_or(format!("{now:?}"))
        })
        .await
        .unwrap();
    };
    problems(&setup, 1.0).await;

    // A new authority: its clients come in, those of the old one no longer.
    let old = setup.authority.issue(OPERATOR).unwrap();
    let new = TrustDomainAuthority::new("a.test").unwrap();
    let own = new.issue(SERVER).unwrap();
    setup.volume.write_tls(&own, new.pem()).unwrap();
    setup.authority = new;
    let operator = setup.authority.issue(OPERATOR).unwrap();
    let client = setup.client(Some(&operator)).await;
    eventually(SOON, "the new certificate", async || {
        let (status, text) = get(client.addr(), DUMP).await?;
        (status == 200).then_some(()).ok_or(text)
    })
    .await
    .unwrap();
    problems(&setup, 0.0).await;
    let client = setup.client(Some(&old)).await;
    get(client.addr(), "GET /livez").await.unwrap_err();
    setup.refused("certificate_untrusted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_are_closed_and_hold_up_nobody() {
    let setup = Setup::start(&["--handshake-timeout", "2"]).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(setup.server.admin).await.unwrap());
    }
    let begin = SystemTime::now();
    let client = setup.client(None).await;
    get(client.addr(), "GET /livez").await.unwrap();
    assert!(begin.elapsed().unwrap() < Duration::from_secs(2));
    setup.refused("handshake_timeout").await;
    let log = setup.server.process.log().text();
    assert!(log.contains("--handshake-timeout"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_verify_the_server_and_say_what_to_change() {
    let setup = Setup::start(&["--admin-identity", OPERATORS]).await;
    let ca = setup.path("ca.pem");
    let id = format!("spiffe://a.test{SERVER}");
    let write = |name: &str, svid: &Svid| {
        let mut volume = SecretVolume::new(setup.files.path(name)).unwrap();
        volume.write_tls(svid, setup.authority.pem()).unwrap();
        setup.path(name)
    };
    let operator = write("operator", &setup.authority.issue(OPERATOR).unwrap());
    for name in ["headgate.test", &id, "other.test,headgate.test"] {
        let tls = ["--admin-ca", &ca, "--admin-server-name", name];
        let out = setup.status(&tls);
        assert!(out.status.success(), "{name}: {out:?}");
        let out = setup.status(&[&tls[..], &["--client-cert", &operator]].concat());
        assert!(out.status.success(), "{name}: {out:?}");
    }
    let admin = setup.server.admin.to_string();
    let version = ["version", "--admin-address", &admin, "--admin-ca", &ca];
    let out = headgate(&[&version[..], &["--admin-server-name", &id]].concat());
    assert!(out.status.success(), "{out:?}");

    let foreign = TrustDomainAuthority::new("a.test").unwrap();
    std::fs::write(setup.files.path("foreign.pem"), foreign.pem()).unwrap();
    let intruder = write("intruder", &foreign.issue(OPERATOR).unwrap());
    let (foreign, missing) = (setup.path("foreign.pem"), setup.path("missing.pem"));
    let name = ["--admin-server-name", "headgate.test"];
    let with = |more: &[&str]| error(&setup.status(more));
    for (args, parts) in [
        // Without TLS, and with the address of the server as its name.
        (vec![], ["400", "--admin-ca"]),
        (
            vec!["--admin-ca", &ca],
            ["none of the expected names", "--admin-server-name"],
        ),
        (
            vec![
                "--admin-ca",
                &ca,
                "--admin-server-name",
                "spiffe://a.test/x",
            ],
            ["none of the expected names", "SPIFFE id"],
        ),
        (
            vec!["--admin-ca", &foreign, name[0], name[1]],
            [
                "invalid peer certificate",
                "--admin-ca does not contain the authority",
            ],
        ),
        (
            vec!["--admin-ca", &missing],
            ["--admin-ca: cannot read", "missing.pem"],
        ),
        (
            vec![
                "--admin-ca",
                &ca,
                name[0],
                name[1],
                "--client-cert",
                &intruder,
            ],
            ["alert", "--client-cert"],
        ),
        (name.to_vec(), ["--admin-server-name needs", "--admin-ca"]),
        (
            vec!["--client-cert", &operator],
            ["--client-cert needs", "--admin-ca"],
        ),
    ] {
        let text = with(&args);
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{args:?}: {text}"
        );
    }

    // And a server without TLS.
    let files = Files::new();
    let plain = Server::start(&files).await;
    let admin = plain.admin.to_string();
    let text = error(&headgate(&[
        "status",
        "--admin-address",
        &admin,
        "--admin-ca",
        &ca,
    ]));
    assert!(
        text.contains("does not speak TLS") && text.contains("--admin-tls"),
        "{text}"
    );
}

#[test]
fn flags_that_contradict_each_other_are_refused_with_the_fix() {
    let files = Files::new();
    let [models, wasm] = ["models", "wasm"].map(|name| files.path(name).display().to_string());
    let dir = Path::new("/etc/tls").display().to_string();
    let refused = |args: &[&str]| {
        let out = headgate(&[&["serve", "--models", &models, "--wasm", &wasm], args].concat());
        error(&out)
    };
    for (args, parts) in [
        (
            vec!["--admin-identity", "*"],
            ["--admin-identity needs", "--admin-tls"],
        ),
        (
            vec!["--admin-spiffe"],
            ["--admin-spiffe needs", "--spiffe-socket"],
        ),
        (
            vec!["--admin-tls", &dir, "--admin-spiffe"],
            ["exclude each other", "remove one"],
        ),
        (
            vec!["--admin-tls", &dir],
            ["--admin-tls: cannot read", "tls.crt"],
        ),
        (
            vec!["--admin-tls", &dir, "--trust-bundle", "b.test=/b.pem"],
            ["--trust-bundle needs", "--admin-identity"],
        ),
    ] {
        let text = refused(&args);
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{args:?}: {text}"
        );
    }
}
