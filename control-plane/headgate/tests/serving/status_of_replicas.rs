//! `headgate status` of one address queries every replica: replicas publish their addresses for each other.

use headgate_testkit::deadline::eventually;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::cluster::{Cluster, label};
use crate::common::{SOON, Server, headgate};

/// `headgate status …` of one replica's address: as JSON and as text.
fn status(server: &Server) -> (Value, String) {
    let admin = server.admin.to_string();
    let query = |output: &str| {
        let out = headgate(&["status", "--admin-address", &admin, "-o", output]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    (serde_json::from_str(&query("json")).unwrap(), query("text"))
}

/// The proxies and replicas in a document.
fn proxies_and_replicas(status: &Value) -> (Vec<&str>, Vec<&str>) {
    let texts = |list: &'static str, key: &'static str| -> Vec<&str> {
        let all = status[list].as_array().into_iter().flatten();
        all.filter_map(|one| one[key].as_str()).collect()
    };
    (texts("proxies", "id"), texts("replicas", "replica"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_of_one_replica_queries_all_replicas_and_names_one_that_does_not_answer() {
    let cluster = Cluster::start().await;
    let first = cluster.serve("first", &[]).await;
    let mut second = cluster.serve("second", &[]).await;
    let here = AutoAckProxy::connect("here", first.xds).unwrap();
    let there = AutoAckProxy::connect("there", second.xds).unwrap();
    let both = json!([{"replica": "second", "adminAddress": second.admin.to_string()}]);
    first
        .until("the other replica", |s| s["peers"] == both)
        .await;
    second.all_current().await;
    first.all_current().await;
    let (document, text) = status(&first);
    let (mut proxies, mut replicas) = proxies_and_replicas(&document);
    proxies.sort_unstable();
    replicas.sort_unstable();
    assert_eq!(proxies, ["here", "there"]);
    assert_eq!(replicas, ["first", "second"]);
    assert_eq!(
        document["peers"],
        Value::Null,
        "every replica is in the document"
    );
    assert_eq!(
        document["models"][0]["acked"],
        json!({"current": 2, "total": 2})
    );
    assert!(text.contains(&second.admin.to_string()), "{text}");

    // `--watch` also shows the ACKs of the other replica's proxy.
    let admin = first.admin.to_string();
    let options = ProcessOptions::new(env!("CARGO_BIN_EXE_headgate"));
    let words = ["status", "llama", "--watch", "--admin-address", &admin];
    let mut watch = Process::start(options.args(words)).unwrap();
    let shows = async |watch: &mut Process, words: &[&str]| {
        let what = format!("{words:?}");
        let found = watch.wait_until(SOON, &what, async |log| {
            let text = log.text();
            let line = |line: &str| words.iter().all(|word| line.contains(word));
            if text.lines().any(line) {
                Ok(())
            } else {
                Err(text)
            }
        });
        found.await.unwrap();
    };
    shows(&mut watch, &["acked", "there"]).await;
    label(&cluster.kube.kubectl(), "10").await;
    shows(&mut watch, &["acked", "there", "two 10 %"]).await;

    // A replica that is gone is named as away until its counts expire.
    drop((here, there));
    second.process.kill().unwrap();
    shows(&mut watch, &["away", "second"]).await;
    let gone = eventually(SOON, "the lack of an answer", async || {
        let (document, text) = status(&first);
        let all = document["replicas"].as_array().unwrap();
        let error = all.iter().find_map(|replica| replica["error"].as_str());
        let error = error.ok_or(document.to_string())?;
        Ok::<_, String>((error.to_owned(), text))
    });
    let (error, text) = gone.await.unwrap();
    assert!(error.starts_with("replica second: "), "{error}");
    assert!(text.contains("AWAY"), "{text}");
}
