//! `make up`, `make up-k8s`, `make down` and `make down-k8s`, by the program that they run: what is left running is what is
//! printed, and nothing of it is left after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use headgate_testkit::client::{HttpClient, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::stage::tools;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// A world that is left running, at addresses of its own.
struct Left {
    state: TempDir,
    addresses: Vec<(&'static str, Vec<SocketAddr>)>,
}

impl Left {
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

    /// Runs it, and it does what it should; what it says.
    fn does(&self, words: &[&str]) -> String {
        let out = self.run(words);
        let (said, error) = (text(&out.stdout), text(&out.stderr));
        assert!(out.status.success(), "{words:?}: {said}{error}");
        said
    }

    fn address(&self, name: &str) -> SocketAddr {
        let found = self.addresses.iter().find(|(known, _)| *known == name);
        found.unwrap().1[0]
    }

    /// What runs, by the files that remember it, and everything that was started by it.
    fn processes(&self) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for file in files_below(self.state.path()) {
            if file.extension().is_some_and(|end| end == "pid") {
                let known = std::fs::read_to_string(file).unwrap();
                let pid = known.split_whitespace().next().unwrap();
                all.extend(family(pid.parse().unwrap()));
            }
        }
        all
    }
}

/// Whatever becomes of a test, nothing is left.
impl Drop for Left {
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

/// Who started a process that runs; one that has ended and was not fetched by that one does not.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; after it come the state and the parent.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

/// A process that runs, and those that it started.
fn family(pid: u32) -> BTreeSet<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children: Vec<u32> = all.filter(|child| parent(*child) == Some(pid)).collect();
    let below = children.into_iter().flat_map(family);
    below.chain(parent(pid).map(|_| pid)).collect()
}

/// Everything that ran is gone, and every address is free.
async fn nothing_is_left(left: &Left, ran: &BTreeSet<u32>) {
    eventually(SOON, "every process to be gone", async || {
        let alive: Vec<&u32> = ran.iter().filter(|pid| parent(**pid).is_some()).collect();
        alive.is_empty().then_some(()).ok_or(format!("{alive:?}"))
    })
    .await
    .unwrap();
    for address in left.addresses.iter().flat_map(|(_, all)| all) {
        TcpListener::bind(address).unwrap();
    }
}

/// A model answers through Envoy.
async fn serves(left: &Left) {
    let url = format!("http://{}", left.address("HEADGATE_ENVOY_ADDRESS"));
    let request = OpenAiRequest::chat("llama3-70b").max_tokens(16);
    let reply = HttpClient::new().send(request.to(&url)).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.header("x-model-version").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_make_up_k8s_starts_is_there_to_be_played_with_and_make_down_k8s_ends_all_of_it() {
    let left = Left::new();
    let said = left.does(&["up", "--kubernetes"]);
    let ran = left.processes();
    // The cluster with etcd, API server and controllers, the control plane, Envoy.
    assert_eq!(ran.len(), 6, "{ran:?}");
    serves(&left).await;

    // As a person does: the line that it says to type, then what one wants to know.
    let export = said
        .lines()
        .find(|line| line.trim_start().starts_with("export KUBECONFIG="));
    let script = format!(
        "{}\nkubectl label deploy/llama3-70b-v2 canary-weight=50 --overwrite\nkubectl get deploy -L canary-weight\n\
         kubectl wait --for=condition=Programmed tokenbucketpolicies --all --timeout=60s\nheadgate status llama3-70b",
        export.unwrap_or_else(|| panic!("{said}"))
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

    // It is not started twice, nor something else in its place.
    assert!(left.does(&["up", "--kubernetes"]).contains("up already"));
    assert_eq!(left.processes(), ran);
    let other = left.run(&["up"]);
    assert!(
        !other.status.success() && text(&other.stderr).contains("make down"),
        "{other:?}"
    );
    let story = left.run(&["--kubernetes"]);
    assert!(
        !story.status.success() && text(&story.stderr).contains("make down"),
        "{story:?}"
    );

    assert_eq!(
        left.does(&["down"]).trim(),
        "Ended: envoy, headgate, cluster."
    );
    nothing_is_left(&left, &ran).await;
    assert_eq!(left.does(&["down"]).trim(), "Nothing was up.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_make_up_starts_serves_until_make_down_ends_all_of_it() {
    let left = Left::new();
    left.does(&["up"]);
    let ran = left.processes();
    assert_eq!(ran.len(), 3, "{ran:?}");
    serves(&left).await;
    assert!(left.does(&["up"]).contains("up already"));
    // Half of it is no world: what is left of it is ended before another one is started.
    let envoy = files_below(left.state.path());
    let envoy = envoy
        .iter()
        .find(|file| file.ends_with("envoy.pid"))
        .unwrap();
    let known = std::fs::read_to_string(envoy).unwrap();
    let pid = known.split_whitespace().next().unwrap();
    assert!(
        Command::new("kill")
            .args(["-KILL", pid])
            .status()
            .unwrap()
            .success()
    );
    let again = eventually(SOON, "the half to be noticed", async || {
        let again = left.run(&["up"]);
        (!again.status.success())
            .then(|| text(&again.stderr))
            .ok_or("it is up")
    });
    let again = again.await.unwrap();
    assert!(again.contains("models and headgate"), "{again}");
    assert_eq!(left.does(&["down"]).trim(), "Ended: headgate, models.");
    nothing_is_left(&left, &ran).await;
}

/// The recipes, as make would run them.
#[test]
fn make_runs_the_program_that_is_tested_here() {
    for (target, wanted) in [
        ("up", "headgate-demo up"),
        ("up-k8s", "headgate-demo up --kubernetes"),
        ("down", "headgate-demo down"),
        ("down-k8s", "headgate-demo down"),
        ("demo-k8s", "headgate-demo --kubernetes"),
    ] {
        let dry = Command::new("make")
            .args(["--dry-run", target])
            .current_dir(tools::checkout().unwrap())
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
