//! `make up`, `make up-k8s`, `make down` and `make down-k8s`, through their program: all printed commands work while the processes
//! run, and `down` leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::testbed::artifacts;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// A background environment with its own addresses.
struct Background {
    state: TempDir,
    addresses: Vec<(&'static str, Vec<SocketAddr>)>,
}

impl Background {
    fn new() -> Self {
        let free = |n: usize| (0..n).map(|_| free_addr().unwrap()).collect();
        let addresses = [
            ("HEADGATE_XDS_ADDRESS", 1),
            ("HEADGATE_ADMIN_ADDRESS", 1),
            ("HEADGATE_ENVOY_ADDRESS", 1),
            ("HEADGATE_ENVOY_ADMIN_ADDRESS", 1),
            ("HEADGATE_KUBE_ADDRESS", 1),
            ("HEADGATE_MODEL_ADDRESSES", 4),
        ];
        Self {
            state: TempDir::new().unwrap(),
            addresses: addresses.map(|(name, n)| (name, free(n))).to_vec(),
        }
    }

    fn run(&self, words: &[&str]) -> Output {
        let list = |all: &[SocketAddr]| {
            let all: Vec<String> = all.iter().map(SocketAddr::to_string).collect();
            all.join(",")
        };
        let variables = self.addresses.iter().map(|(name, all)| (name, list(all)));
        Command::new(env!("CARGO_BIN_EXE_headgate-demo"))
            .args(words)
            .envs(variables)
            .env("XDG_STATE_HOME", self.state.path())
            .output()
            .unwrap()
    }

    /// Runs the program, which must succeed. Returns its output.
    fn succeeds(&self, words: &[&str]) -> String {
        let out = self.run(words);
        let (output, error) = (text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{words:?}: {output}{error}");
        output
    }

    fn address(&self, name: &str) -> SocketAddr {
        let found = self
            .addresses
            .iter()
            .find(|(variable, _)| *variable == name);
        found.unwrap().1[0]
    }

    /// All running processes, from the recorded PIDs, with their children.
    fn processes(&self) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for file in files_below(self.state.path()) {
            if file.extension().is_some_and(|end| end == "pid") {
                let record = std::fs::read_to_string(file).unwrap();
                let pid = record.split_whitespace().next().unwrap();
                all.extend(family(pid.parse().unwrap()));
            }
        }
        all
    }
}

/// Also a failed test leaves no process behind.
impl Drop for Background {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found
}

/// The parent of a running process; `None` for one that has exited, also if it is a zombie.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain any character; state and parent follow.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

/// A running process and its descendants.
fn family(pid: u32) -> BTreeSet<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children: Vec<u32> = all.filter(|child| parent(*child) == Some(pid)).collect();
    let below = children.into_iter().flat_map(family);
    below.chain(parent(pid).map(|_| pid)).collect()
}

/// Waits until every process is gone, and checks that every address is free.
async fn nothing_is_left(background: &Background, ran: &BTreeSet<u32>) {
    eventually(SOON, "every process to be gone", async || {
        let alive: Vec<&u32> = ran.iter().filter(|pid| parent(**pid).is_some()).collect();
        alive.is_empty().then_some(()).ok_or(format!("{alive:?}"))
    })
    .await
    .unwrap();
    for address in background.addresses.iter().flat_map(|(_, all)| all) {
        TcpListener::bind(address).unwrap();
    }
}

/// Checks that a model responds through Envoy.
async fn serves(background: &Background) {
    let url = format!("http://{}", background.address("HEADGATE_ENVOY_ADDRESS"));
    let request = OpenAiRequest::chat("llama3-70b").max_tokens(16);
    let reply = HttpClient::new().send(request.to(&url)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.header("x-model-version").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn make_up_k8s_starts_a_usable_environment_and_make_down_k8s_ends_all_of_it() {
    let background = Background::new();
    let output = background.succeeds(&["up", "--kubernetes"]);
    let ran = background.processes();
    // The cluster with etcd, API server and controllers, the control plane, and Envoy.
    assert_eq!(ran.len(), 6, "{ran:?}");
    serves(&background).await;

    // As a user does: the printed export line, then some commands.
    let export = output
        .lines()
        .find(|line| line.trim_start().starts_with("export KUBECONFIG="));
    let script = format!(
        "{}\nkubectl label deploy/llama3-70b-v2 canary-weight=50 --overwrite\nkubectl get deploy -L canary-weight\n\
         kubectl wait --for=condition=Programmed tokenbucketpolicies --all --timeout=60s\nheadgate status llama3-70b",
        export.unwrap_or_else(|| panic!("{output}"))
    );
    let typed = Command::new("bash")
        .args(["-euc", &script])
        .output()
        .unwrap();
    let (shown, error) = (text(&typed.stdout), text(&typed.stderr));
    assert!(typed.status.success(), "{shown}{error}");
    for part in [
        "llama3-70b-v2 labeled",
        "condition met",
        "canary-weight=50",
        "ACKED BY 1 OF 1",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    // `up` starts it neither twice nor with another source.
    assert!(
        background
            .succeeds(&["up", "--kubernetes"])
            .contains("Already running")
    );
    assert_eq!(background.processes(), ran);
    let other = background.run(&["up"]);
    assert!(
        !other.status.success() && text(&other.stderr).contains("make down"),
        "{other:?}"
    );
    let demo = background.run(&["--kubernetes"]);
    assert!(
        !demo.status.success() && text(&demo.stderr).contains("make down"),
        "{demo:?}"
    );

    assert_eq!(
        background.succeeds(&["down"]).trim(),
        "Ended: envoy, headgate, cluster."
    );
    nothing_is_left(&background, &ran).await;
    assert_eq!(background.succeeds(&["down"]).trim(), "Nothing is running.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn make_up_starts_a_serving_environment_and_make_down_ends_all_of_it() {
    let background = Background::new();
    background.succeeds(&["up"]);
    let ran = background.processes();
    assert_eq!(ran.len(), 3, "{ran:?}");
    serves(&background).await;
    assert!(background.succeeds(&["up"]).contains("Already running"));
    // A part of the environment is an error: it must be ended before another start.
    let envoy = files_below(background.state.path());
    let envoy = envoy
        .iter()
        .find(|file| file.ends_with("envoy.pid"))
        .unwrap();
    let record = std::fs::read_to_string(envoy).unwrap();
    let pid = record.split_whitespace().next().unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", pid])
            .status()
            .unwrap()
            .success()
    );
    let again = eventually(SOON, "the half to be noticed", async || {
        let again = background.run(&["up"]);
        (!again.status.success())
            .then(|| text(&again.stderr))
            .ok_or("it is up")
    });
    let again = again.await.unwrap();
    assert!(again.contains("models and headgate"), "{again}");
    assert_eq!(
        background.succeeds(&["down"]).trim(),
        "Ended: headgate, models."
    );
    nothing_is_left(&background, &ran).await;
}

/// The recipes of the Makefile.
#[test]
fn make_runs_the_tested_program() {
    for (target, wanted) in [
        ("up", "headgate-demo up"),
        ("up-k8s", "headgate-demo up --kubernetes"),
        ("down", "headgate-demo down"),
        ("down-k8s", "headgate-demo down"),
        ("demo-k8s", "headgate-demo --kubernetes"),
    ] {
        let dry = Command::new("make")
            .args(["--dry-run", target])
            .current_dir(artifacts::checkout().unwrap())
            .output()
            .unwrap();
        let lines = text(&dry.stdout);
        assert!(dry.status.success(), "{dry:?}");
        assert!(
            lines.lines().any(|line| line.ends_with(wanted)),
            "{wanted} in {lines}"
        );
    }
}
