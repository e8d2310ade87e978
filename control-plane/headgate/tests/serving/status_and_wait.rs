//! `status`, `wait` and `version` against a running control plane, and its log level.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use headgate_testkit::client::{HttpRequest, Reply};
use headgate_testkit::deadline::eventually;
use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::common::{Files, SOON, Server, headgate, manifest};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command that queries this control plane.
fn query(server: &Server, args: &[&str]) -> Output {
    let admin = server.admin.to_string();
    headgate(&[args, &["--admin-address", &admin]].concat())
}

/// Version v1, and the canary v2 with this weight.
fn canary(files: &Files, weight: &str) {
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let v2 = manifest("m", "v2", &[9002]).weight(weight);
    files.model("m-v2.yaml", &v2.render());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_returns_once_every_proxy_has_acked_the_weight() {
    let files = Files::new();
    canary(&files, "10");
    let server = Server::start(&files).await;
    let out = query(
        &server,
        &["wait", "m", "--for", "weight=10", "--timeout", "20s"],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    let out = query(
        &server,
        &["wait", "m", "--for", "acked=10", "--timeout", "1s"],
    );
    assert_eq!(out.status.code(), Some(1));
    let message = text(&out.stderr);
    assert!(
        message.contains("no proxy that serves namespace default is connected"),
        "{message}"
    );

    let _one = AutoAckProxy::connect("one", server.xds).unwrap();
    let two = AutoAckProxy::connect("two", server.xds).unwrap();
    let out = query(
        &server,
        &[
            "wait",
            "default/m",
            "--for",
            "acked=v2=10",
            "--timeout",
            "20s",
        ],
    );
    let message = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(
        message.contains("of 2 proxies acked v2 at 10 %") || message.contains("1 of 1"),
        "{message}"
    );
    server.all_current().await;
    let out = query(
        &server,
        &["wait", "m", "--for", "converged", "--timeout", "0"],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));

    two.nack_type(type_url::EXTENSION);
    canary(&files, "30");
    let out = query(
        &server,
        &["wait", "m", "--for", "acked=30", "--timeout", "2s"],
    );
    assert_eq!(out.status.code(), Some(1));
    let message = text(&out.stderr);
    assert!(message.contains("two acked v2 at 10 %"), "{message}");
    drop(two);
    let out = query(
        &server,
        &["wait", "m", "--for", "acked=30", "--timeout", "20s"],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_prints_names_more_columns_and_yaml() {
    let files = Files::new();
    canary(&files, "10");
    let server = Server::start(&files).await;
    let _proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    server.all_current().await;
    let names = query(&server, &["status", "-o", "name"]);
    assert_eq!(text(&names.stdout), "default/m\n");
    let (plain, wide) = (
        query(&server, &["status"]),
        query(&server, &["status", "-o", "wide"]),
    );
    for column in ["CARRIERS", "CAPACITY", "ADDRESS", "SCOPE"] {
        assert!(
            text(&wide.stdout).contains(column),
            "{}",
            text(&wide.stdout)
        );
        assert!(!text(&plain.stdout).contains(column));
    }
    let yaml = query(&server, &["status", "-o", "yaml"]);
    let yaml: Value = serde_saphyr::from_str(&text(&yaml.stdout)).unwrap();
    assert_eq!(yaml["models"][0]["acked"]["current"], 1);
    let version = query(&server, &["version"]);
    let own = env!("CARGO_PKG_VERSION");
    let expected = format!("client: {own}\nserver {}: {own}\n", server.admin);
    assert_eq!(text(&version.stdout), expected);
}

async fn post(server: &Server, path: &str) -> Reply {
    let url = format!("http://{}{path}", server.admin);
    server
        .client
        .send(HttpRequest::post(url, ""))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_level_changes_at_run_time() {
    let mut server = Server::start(&Files::new()).await;
    let shown = server.get("/logging").await.text();
    assert!(shown.starts_with("info"), "{shown}");
    let refused = post(&server, "/logging?level=info%2C%3Dnoise%3Dx").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    let reply = post(&server, "/logging?level=debug").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let shown = server.get("/logging").await.text();
    assert_eq!(shown, "debug,kube_client=off\n", "the default stays");
    server
        .process
        .wait_for_line("log level changed", SOON)
        .await
        .unwrap();
}

/// A pseudoterminal of 24 rows: the program's side and the reader's side.
fn pty() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&reader).unwrap();
    unlockpt(&reader).unwrap();
    let name = ptsname(&reader, Vec::new()).unwrap();
    let path = Path::new(name.to_str().unwrap());
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let size = rustix::termios::Winsize {
        ws_row: 24,
        ws_col: 100,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    (terminal, File::from(reader))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_terminal_uses_the_alternate_screen_and_restores_the_main_one() {
    let files = Files::new();
    for n in 0..40 {
        let name = format!("m{n}");
        files.model(
            &format!("{name}.yaml"),
            &manifest(&name, "v1", &[9001 + n]).render(),
        );
    }
    let server = Server::start(&files).await;
    for signal in ["-INT", "-TERM"] {
        let (terminal, mut reader) = pty();
        let mut child = Command::new(env!("CARGO_BIN_EXE_headgate"))
            .args([
                "status",
                "--watch",
                "--admin-address",
                &server.admin.to_string(),
            ])
            .env("TERM", "xterm")
            .stdout(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let shown = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let sink = shown.clone();
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails once the program has closed the terminal.
            while let Ok(count) = reader.read(&mut buffer) {
                sink.lock().unwrap().push_str(&text(&buffer[..count]));
            }
        });
        let frame = eventually(SOON, "a frame", async || {
            let shown = shown.lock().unwrap().clone();
            shown
                .contains("\x1b[J")
                .then_some(shown)
                .ok_or("no frame yet")
        });
        let frame = frame.await.unwrap();
        assert!(frame.starts_with("\x1b[?1049h"), "{frame:?}");
        let first = frame.split("\x1b[H").nth(1).unwrap();
        let first = first.split("\x1b[J").next().unwrap();
        assert_eq!(first.lines().count(), 24, "{first}");
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        reading.join().unwrap();
        let all = shown.lock().unwrap().clone();
        assert!(all.ends_with("\x1b[?1049l"), "{signal}: {all:?}");
    }
}
