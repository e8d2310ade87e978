//! `headgate status` of one address asks every replica: they share a Lease, and tell each other where they answer.

use headgate_testkit::deadline::eventually;
use headgate_testkit::process::{Process, ProcessOptions};
use headgate_testkit::xds_client::AutoAckProxy;
use serde_json::{Value, json};

use crate::common::{SOON, Server, headgate};
use crate::written::{World, label};

/// `headgate status …` of one replica's address: the document, and what people are shown.
fn status(server: &Server) -> (Value, String) {
    let admin = server.admin.to_string();
    let ask = |output: &str| {
        let out = headgate(&["status", "--admin-address", &admin, "-o", output]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    (serde_json::from_str(&ask("json")).unwrap(), ask("text"))
}

/// The proxies and those of the replicas that answer, of a document.
fn answered(status: &Value) -> (Vec<&str>, Vec<&str>) {
    let texts = |list: &'static str, key: &'static str| -> Vec<&str> {
        let all = status[list].as_array().into_iter().flatten();
        all.filter_map(|one| one[key].as_str()).collect()
    };
    (texts("proxies", "id"), texts("replicas", "replica"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_of_one_replica_asks_them_all_and_tells_of_one_that_cannot_be_asked() {
    let world = World::start().await;
    let first = world.serve("first", &[]).await;
    let mut second = world.serve("second", &[]).await;
    let here = AutoAckProxy::connect("here", first.xds).unwrap();
    let there = AutoAckProxy::connect("there", second.xds).unwrap();
    let both = json!([{"replica": "second", "adminAddress": second.admin.to_string()}]);
    first
        .until("the other replica", |s| s["peers"] == both)
        .await;
    second.settled().await;
    first.settled().await;
    let (document, text) = status(&first);
    let (mut proxies, mut replicas) = answered(&document);
    proxies.sort_unstable();
    replicas.sort_unstable();
    assert_eq!(proxies, ["here", "there"]);
    assert_eq!(replicas, ["first", "second"]);
    assert_eq!(document["peers"], Value::Null, "all were asked");
    assert_eq!(
        document["models"][0]["acked"],
        json!({"current": 2, "total": 2})
    );
    assert!(text.contains(&second.admin.to_string()), "{text}");

    // Live too: what the other replica's proxy takes is told.
    let admin = first.admin.to_string();
    let options = ProcessOptions::new(env!("CARGO_BIN_EXE_headgate"));
    let words = ["status", "llama", "--watch", "--admin-address", &admin];
    let mut watch = Process::start(options.args(words)).unwrap();
    let tells = async |watch: &mut Process, words: &[&str]| {
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
    tells(&mut watch, &["acked", "there"]).await;
    label(&world.kube.kubectl(), "10").await;
    tells(&mut watch, &["acked", "there", "two 10 %"]).await;

    // One that is gone is said to be, by its name, for as long as it counts.
    drop((here, there));
    second.process.kill().unwrap();
    tells(&mut watch, &["away", "second"]).await;
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
