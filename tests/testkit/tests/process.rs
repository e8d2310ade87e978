//! Child processes: found, observed, and ended for certain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::ports::free_addr;
use headgate_testkit::process::{Process, ProcessError, ProcessOptions};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> ProcessOptions {
    ProcessOptions::new("sh").arg("-c").arg(script)
}

fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_line_of_stdout_or_stderr_ends_a_wait() {
    let mut process =
        Process::start(shell("echo out $WORD; echo err >&2; sleep 600").env("WORD", "x=1"))
            .unwrap();
    assert_eq!(process.wait_for_line("x=1", SOON).await.unwrap(), "out x=1");
    process.wait_for_line("err", SOON).await.unwrap();
    assert_eq!(process.log().count("out"), 1);
}

#[tokio::test]
async fn the_error_for_a_process_that_exits_early_contains_its_log() {
    let mut process = Process::start(shell("echo the reason; exit 3")).unwrap();
    match process.wait_for_line("ready", SOON).await {
        Err(ProcessError::Ended { status, tail, .. }) => {
            assert_eq!((status.code(), tail.as_str()), (Some(3), "the reason"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_error_for_a_missing_program_names_it() {
    for program in ["no-such-program-at-all", "/no/such/program"] {
        let error = Process::start(ProcessOptions::new(program)).unwrap_err();
        assert!(matches!(&error, ProcessError::NotFound { program: named } if named == program));
    }
}

#[tokio::test]
async fn terminate_waits_for_the_end_and_kill_forces_it() {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let mut process = Process::start(shell(script)).unwrap();
    process.wait_for_line("up", SOON).await.unwrap();
    let status = process.terminate(SOON).await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(process.log().tail(1), "bye");

    let mut deaf =
        Process::start(shell("trap '' TERM; echo up; while :; do sleep 0.05; done")).unwrap();
    deaf.wait_for_line("up", SOON).await.unwrap();
    let error = deaf.terminate(Duration::from_millis(200)).await;
    assert!(matches!(error, Err(ProcessError::NotInTime { .. })));
    assert_eq!(deaf.kill().unwrap().code(), None);
}

#[tokio::test]
async fn drop_kills_by_pid() {
    let process = Process::start(shell("exec sleep 600")).unwrap();
    let pid = process.pid();
    assert!(is_running(pid));
    drop(process);
    assert!(!is_running(pid));
}

/// A killed process takes its child with it. The parent is this test program, started again with the ignored test below.
#[tokio::test]
async fn children_die_with_a_test_process_that_is_killed() {
    let me = std::env::current_exe().unwrap();
    let mut parent = Process::start(ProcessOptions::new(me).args([
        "--ignored",
        "--exact",
        "--nocapture",
        "a_parent_that_never_ends",
    ]))
    .unwrap();
    let line = parent.wait_for_line("child ", SOON).await.unwrap();
    let child: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(is_running(child));
    parent.kill().unwrap();
    eventually(SOON, "the child to die", async || {
        if is_running(child) {
            Err("it runs")
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
}

#[test]
#[ignore = "the parent in children_die_with_a_test_process_that_is_killed"]
fn a_parent_that_never_ends() {
    let child = Process::start(shell("exec sleep 600")).unwrap();
    println!("\nchild {}", child.pid());
    std::thread::park_timeout(Duration::from_secs(30));
}

#[tokio::test]
async fn the_mock_model_program_serves_and_ends_on_sigterm() {
    let addr = free_addr().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_mock-model"));
    let mut process = Process::start(
        ProcessOptions::new(program)
            .args(["--model", "phi-3", "--version", "v9", "--listen"])
            .arg(addr.to_string()),
    )
    .unwrap();
    let url = format!("http://{addr}/healthz");
    process.wait_for_http(&url, SOON).await.unwrap();
    assert!(process.terminate(SOON).await.unwrap().success());
    assert_eq!(
        process.log().text().trim(),
        format!("mock-model: phi-3 v9 on http://{addr}")
    );
}
