//! `headgate-demo` as people run it: the story with its exit code, and `up`, what it prints, and `down`.
//!
//! Invariant: each test has addresses and a state directory of its own, and ends by `down` what `up` left running, also when
//! it fails.
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

/// One demo at a time: how long the story takes is judged.
static ALONE: Mutex<()> = Mutex::new(());

/// Where one demo listens and keeps its files.
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
            // A test that failed has cleaned up as well.
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

    /// Runs it; what it says, once it has succeeded.
    #[track_caller]
    fn told(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = text(&output);
        assert!(output.status.success(), "{args:?}: {text}");
        text
    }

    /// Runs it; what it says, once it has failed.
    #[track_caller]
    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        text
    }

    /// The file that remembers a part.
    fn pid_file(&self, part: &str) -> PathBuf {
        let demos = self.state.path().join("headgate-demo");
        let worlds: Vec<_> = std::fs::read_dir(demos).unwrap().collect();
        let [Ok(world)] = worlds.as_slice() else {
            panic!("{worlds:?}")
        };
        world.path().join(format!("{part}.pid"))
    }

    /// That nothing listens any more.
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

/// The commands among what `up` prints to try, each of them whole.
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

/// Runs a line as a person would.
#[track_caller]
fn typed(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let text = text(&output);
    assert!(output.status.success(), "{line}: {text}");
    text
}

#[test]
fn the_whole_story_holds_exits_with_0_and_takes_less_than_two_minutes() {
    let home = Home::new();
    let story = home.told(&[]);
    assert!(story.contains("Every claim holds."), "{story}");
    assert!(!story.contains("[FAILED]"), "{story}");
    // The last chapter, and what is judged after it.
    assert!(story.contains("8. The control plane, killed"), "{story}");
    assert!(
        story.contains("[ok] the whole story takes less than two minutes"),
        "{story}"
    );
    home.assert_free();
    let took = story.lines().last().unwrap();
    headgate_testkit::measured!("{took}");
}

#[tokio::test]
async fn up_leaves_running_what_its_lines_can_be_tried_on_and_down_ends_it() {
    let home = Home::new();
    let up = home.told(&["up"]);
    let commands = commands(&up);
    let [session, spend, weigh, status, syncz] = commands.as_slice() else {
        panic!("{commands:#?}")
    };
    let first = typed(session);
    assert!(first.contains("x-model: llama3-70b"), "{first}");
    assert!(first.contains("x-model-version: v"), "{first}");
    assert_eq!(typed(session), first, "the same version on every turn");
    // As the comment above it says: five times 400 of 2000 tokens, and the sixth is refused.
    for _ in 0..5 {
        let spent = typed(spend);
        assert!(spent.contains("HTTP/1.1 200"), "{spent}");
    }
    let refused = typed(spend);
    assert!(
        refused.contains("HTTP/1.1 429") && refused.contains("retry-after"),
        "{refused}"
    );
    typed(weigh);
    let acked = eventually(SOON, "the new weight to be acked", async || {
        let page: serde_json::Value = serde_json::from_str(&typed(syncz)).unwrap();
        let models = page["models"].as_array().unwrap();
        let llama = models.iter().find(|m| m["model"] == "llama3-70b").unwrap();
        match llama["versions"][1]["weightAcked"]["envoy-0"].as_f64() {
            Some(50.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    acked.await.unwrap();
    let shown = typed(status);
    assert!(shown.contains("v1 50 %, v2 50 %"), "{shown}");

    let again = home.told(&["up"]);
    assert!(again.contains("It is up already."), "{again}");
    let meanwhile = home.refused(&[]);
    assert!(meanwhile.contains("`make down` ends it"), "{meanwhile}");
    let down = home.told(&["down"]);
    assert!(down.contains("Ended: envoy, headgate, models."), "{down}");
    home.assert_free();
    let nothing = home.told(&["down"]);
    assert!(nothing.contains("Nothing was up."), "{nothing}");
}

#[tokio::test]
async fn what_is_half_up_is_said_to_be_and_down_ends_the_rest() {
    let home = Home::new();
    home.told(&["up"]);
    let known = std::fs::read_to_string(home.pid_file("envoy")).unwrap();
    let (pid, _) = known.split_once(' ').unwrap();
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let traffic = home.addresses[2].1[0];
    let gone = eventually(SOON, "Envoy to be gone", async || {
        TcpListener::bind(traffic)
    });
    drop(gone.await.unwrap());
    let half = home.refused(&["up"]);
    assert!(
        half.contains("(models and headgate): `make down` ends them"),
        "{half}"
    );
    let down = home.told(&["down"]);
    assert!(down.contains("Ended: headgate, models."), "{down}");
    home.assert_free();
}

#[test]
fn a_taken_address_fails_it_and_is_named_with_the_variable_that_moves_it() {
    let home = Home::new();
    let (_, envoy) = &home.addresses[2];
    let _holder = TcpListener::bind(envoy[0]).unwrap();
    for args in [&[][..], &["up"]] {
        let why = home.refused(args);
        assert!(why.contains("HEADGATE_ENVOY_ADDRESS"), "{args:?}: {why}");
    }
}
