//! Files and limits that must not stop the file source of `serve`.

use std::process::Command;
use std::time::Duration;

use headgate_testkit::fifo;
use serde_json::json;

use crate::common::{Files, SOON, Server, manifest};

/// Sets the limit of open files of the process.
fn descriptors(server: &Server, soft: u32) {
    let (pid, limit) = (
        server.process.pid().to_string(),
        format!("--nofile={soft}:"),
    );
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_failed_for_lack_of_descriptors_counts_once_there_are_some() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    let mut server = Server::start(&files).await;
    descriptors(&server, 3);
    files.model("m-v1.yaml", &manifest("m", "v2", &[9001]).render());
    let refused = server
        .process
        .wait_until(SOON, "a read that fails", async |log| {
            let text = log.text();
            let parts = ["problem appeared", "m-v1.yaml", "Too many open files"];
            let is_line = |line: &str| parts.iter().all(|part| line.contains(part));
            let found = text.lines().any(is_line);
            found.then_some(()).ok_or(text)
        });
    refused.await.unwrap();
    // Longer than the rounds that find no change of the file.
    tokio::time::sleep(Duration::from_secs(3)).await;
    descriptors(&server, 1024);
    server
        .until("the edit", |status| {
            status["models"][0]["versions"][0]["version"] == json!("v2")
                && status["problems"]
                    .as_array()
                    .is_some_and(|all| all.iter().all(|p| p["reason"] != "File"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifo_among_the_models_is_a_problem_and_does_not_delay_the_exit() {
    let files = Files::new();
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    files.model("kustomization.yaml", "resources: [m-v1.yaml]\n");
    let fifo = files.path("models").join("p.yaml");
    fifo::make(&fifo);
    let server = Server::start(&files).await;
    let status = server.syncz().await;
    let problems = status["problems"].to_string();
    assert!(
        problems.contains("p.yaml") && problems.contains("it is a FIFO"),
        "{problems}"
    );
    assert!(!problems.contains("kustomization"), "{problems}");
    let mut process = server.process;
    let line = process.wait_until(SOON, "the line about kustomization.yaml", async |log| {
        let text = log.text();
        let lines = text
            .lines()
            .filter(|line| line.contains("kustomization.yaml"));
        let count = lines.filter(|line| line.contains("INFO")).count();
        (count == 1).then_some(()).ok_or(text)
    });
    line.await.unwrap();
    let pid = process.pid().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = headgate_testkit::deadline::eventually(SOON, "an end", async || {
        process.ended().unwrap().ok_or("it still runs")
    });
    ended.await.unwrap();
}
