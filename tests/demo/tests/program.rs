//! The program `headgate-demo`: the demo with its exit code, and `up`, its output, and `down`.
//!
//! Invariant: each test has its own addresses and state directory, and ends with `down`, also when it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// One demo at a time, because its duration is a claim.
static ALONE: Mutex<()> = Mutex::new(());

/// Addresses and state directory of one demo.
struct Home {
    state: TempDir,
    addresses: Vec<(&'static str, Vec<SocketAddr>)>,
    _alone: MutexGuard<'static, ()>,
}

impl Home {
    fn new() -> Self {
        let addresses = [
            ("HEADGATE_XDS_ADDRESS", 1),
            ("HEADGATE_ADMIN_ADDRESS", 1),
            ("HEADGATE_ENVOY_ADDRESS", 1),
            ("HEADGATE_ENVOY_ADMIN_ADDRESS", 1),
            ("HEADGATE_MODEL_ADDRESSES", 4),
        ];
        let free = |count| (0..count).map(|_| free_addr().unwrap()).collect();
        Self {
            state: tempfile::tempdir().unwrap(),
            addresses: addresses.map(|(name, n)| (name, free(n))).into(),
            // A failed test has cleaned up as well.
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headgate-demo"));
        command.args(args).env("XDG_STATE_HOME", self.state.path());
        for (name, addresses) in &self.addresses {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            command.env(name, all.join(","));
        }
        command.output().unwrap()
    }

    /// Runs the program, which must succeed. Returns its output.
    #[track_caller]
    fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = text(&output);
        assert!(output.status.success(), "{args:?}: {text}");
        text
    }

    /// Runs the program, which must fail. Returns its output.
    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        text
    }

    /// The file that records a process.
    fn pid_file(&self, part: &str) -> PathBuf {
        let demos = self.state.path().join("headgate-demo");
        let directories: Vec<_> = std::fs::read_dir(demos).unwrap().collect();
        let [Ok(directories)] = directories.as_slice() else {
            panic!("{directories:?}")
        };
        directories.path().join(format!("{part}.pid"))
    }

    /// Asserts that nothing listens now.
    #[track_caller]
    fn assert_free(&self) {
        for (name, addresses) in &self.addresses {
            for address in addresses {
                let bound = TcpListener::bind(address);
                assert!(bound.is_ok(), "{name} {address}: {bound:?}");
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.run(&["down"]);
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// The complete commands in the output of `up`.
fn commands(up: &str) -> Vec<String> {
    let (_, tries) = up.split_once("\nTry:\n").unwrap();
    let (tries, _) = tries.split_once("\n\n").unwrap();
    tries
        .replace("\\\n", "")
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Runs a line with a shell.
#[track_caller]
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{line}: {text}");
    text
}

#[test]
fn the_demo_passes_and_takes_less_than_two_minutes() {
    let home = Home::new();
    let output = home.succeeds(&[]);
    assert!(output.contains("Every claim holds."), "{output}");
    assert!(!output.contains("[FAILED]"), "{output}");
    // The last section, and the claim after it.
    assert!(output.contains("8. Kill the control plane"), "{output}");
    assert!(
        output.contains("[ok] the whole demo takes less than two minutes"),
        "{output}"
    );
    home.assert_free();
    let took = output.lines().last().unwrap();
    headgate_testkit::measured!("{took}");
}

#[tokio::test]
async fn the_printed_commands_of_up_work_and_down_ends_everything() {
    let home = Home::new();
    let up = home.succeeds(&["up"]);
    let commands = commands(&up);
    let [session, spend, weigh, status, syncz] = commands.as_slice() else {
        panic!("{commands:#?}")
    };
    let first = shell(session);
    assert!(first.contains("x-model: llama3-70b"), "{first}");
    assert!(first.contains("x-model-version: v"), "{first}");
    assert_eq!(shell(session), first, "the same version on every turn");
    // As the comment above it says: five requests of 400 of the 2000 tokens, and the sixth is refused.
    for _ in 0..5 {
        let spent = shell(spend);
        assert!(spent.contains("HTTP/1.1 200"), "{spent}");
    }
    let refused = shell(spend);
    assert!(
        refused.contains("HTTP/1.1 429") && refused.contains("retry-after"),
        "{refused}"
    );
    shell(weigh);
    let acked = eventually(SOON, "the new weight to be acked", async || {
        let page: serde_json::Value = serde_json::from_str(&shell(syncz)).unwrap();
        let models = page["models"].as_array().unwrap();
        let llama = models.iter().find(|m| m["model"] == "llama3-70b").unwrap();
        match llama["versions"][1]["weightAcked"]["envoy-0"].as_f64() {
            Some(50.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    acked.await.unwrap();
    let shown = shell(status);
    assert!(shown.contains("v1 50 %, v2 50 %"), "{shown}");

    let again = home.succeeds(&["up"]);
    assert!(again.contains("Already running."), "{again}");
    let meanwhile = home.fails(&[]);
    assert!(meanwhile.contains("end it with `make down`"), "{meanwhile}");
    let down = home.succeeds(&["down"]);
    assert!(down.contains("Ended: envoy, headgate, models."), "{down}");
    home.assert_free();
    let nothing = home.succeeds(&["down"]);
    assert!(nothing.contains("Nothing is running."), "{nothing}");
}

#[tokio::test]
async fn a_partly_running_environment_is_reported_and_down_ends_the_rest() {
    let home = Home::new();
    home.succeeds(&["up"]);
    let record = std::fs::read_to_string(home.pid_file("envoy")).unwrap();
    let (pid, _) = record.split_once(' ').unwrap();
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let traffic = home.addresses[2].1[0];
    let gone = eventually(SOON, "Envoy to be gone", async || {
        TcpListener::bind(traffic)
    });
    drop(gone.await.unwrap());
    let half = home.fails(&["up"]);
    assert!(
        half.contains("(models and headgate); end them with `make down`"),
        "{half}"
    );
    let down = home.succeeds(&["down"]);
    assert!(down.contains("Ended: headgate, models."), "{down}");
    home.assert_free();
}

#[test]
fn the_error_for_an_occupied_address_names_its_variable() {
    let home = Home::new();
    let (_, envoy) = &home.addresses[2];
    let _holder = TcpListener::bind(envoy[0]).unwrap();
    for args in [&[][..], &["up"]] {
        let why = home.fails(args);
        assert!(why.contains("HEADGATE_ENVOY_ADDRESS"), "{args:?}: {why}");
    }
}
