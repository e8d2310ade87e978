//! The log of `headgate serve --log-format json`: every line is strict JSON, and every problem of `status` has its lines.

use std::collections::BTreeMap;
use std::fmt;

use headgate_testkit::deadline::eventually;
use headgate_testkit::xds_client::AutoAckProxy;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::common::{Files, SOON, Server, manifest};

/// A JSON object that refuses two members of one name.
#[derive(Debug, Default)]
struct Strict(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without duplicate keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if all.contains_key(&key) {
                        return Err(A::Error::custom(format!("duplicate key {key}")));
                    }
                    all.insert(key, value);
                }
                Ok(Strict(all))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A line of the log.
#[derive(Debug, Deserialize)]
struct Line {
    level: String,
    fields: Strict,
    #[serde(default)]
    #[allow(dead_code)] // parsed to find duplicate keys
    span: Strict,
    #[serde(default)]
    #[allow(dead_code)] // parsed to find duplicate keys
    spans: Vec<Strict>,
}

impl Line {
    fn text(&self, field: &str) -> &str {
        let value = self.fields.0.get(field);
        value.and_then(Value::as_str).unwrap_or_default()
    }
}

fn lines(server: &Server) -> Vec<Line> {
    let text = server.process.log().text();
    // The last line may be incomplete.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    let parsed = complete.lines().map(|line| {
        serde_json::from_str::<Strict>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
    });
    parsed.collect()
}

/// Waits for the one line with this message about this reason and object.
async fn one(server: &Server, message: &str, reason: &str, object: &str) -> Line {
    let what = format!("{message} {reason} {object}");
    let line = eventually(SOON, &what, async || {
        let mut matching = lines(server);
        matching.retain(|line| {
            line.text("message") == message
                && line.text("reason") == reason
                && line.text("object").contains(object)
        });
        match matching.len() {
            1 => Ok(matching.remove(0)),
            _ => Err(format!("{matching:?}")),
        }
    });
    line.await.unwrap()
}

#[test]
fn a_line_with_two_fields_of_one_name_is_refused() {
    let twice = r#"{"level":"INFO","fields":{"message":"a","message":"b"}}"#;
    let error = serde_json::from_str::<Line>(twice).unwrap_err().to_string();
    assert!(error.contains("duplicate key message"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_is_one_line_at_its_severity_and_one_when_it_is_gone() {
    let files = Files::new();
    files.model("m.yaml", &manifest("m", "v1", &[9001]).render());
    let elsewhere = manifest("other", "v1", &[9002]).namespace("elsewhere");
    files.model("elsewhere.yaml", &elsewhere.render());
    let args = ["--log-format", "json", "--log", "debug"];
    let server = Server::start_with(&files, &args).await;
    let _proxy = AutoAckProxy::connect("one", server.xds).unwrap();
    server.all_current().await;

    let line = one(&server, "problem appeared", "NoDomain", "elsewhere").await;
    assert_eq!(
        (&*line.level, line.text("namespace")),
        ("WARN", "elsewhere")
    );

    files.model("broken.yaml", "kind: [");
    let line = one(&server, "problem appeared", "File", "broken.yaml").await;
    assert_eq!(line.level, "ERROR");
    assert!(
        line.text("file").ends_with("models/broken.yaml"),
        "{line:?}"
    );
    assert!(line.text("detail").contains("no object"), "{line:?}");
    std::fs::remove_file(files.path("models/broken.yaml")).unwrap();
    let line = one(&server, "problem is gone", "File", "broken.yaml").await;
    assert_eq!(line.level, "INFO");

    let weight = manifest("m", "v2", &[9003]).weight("many").render();
    files.model("m-v2.yaml", &weight);
    let line = one(&server, "problem appeared", "InvalidWeight", "m-v2").await;
    assert_eq!(
        (line.text("namespace"), line.text("model")),
        ("default", "m")
    );
    assert!(line.text("file").ends_with("m-v2.yaml"), "{line:?}");

    let module = files.path("wasm/headgate.wasm");
    let whole = std::fs::read(&module).unwrap();
    std::fs::write(&module, &whole[..4]).unwrap();
    let line = one(&server, "problem appeared", "Module", "--wasm").await;
    assert_eq!(line.level, "ERROR");
    std::fs::write(&module, &whole).unwrap();
    one(&server, "problem is gone", "Module", "--wasm").await;

    let status = server.syncz().await;
    for problem in status["problems"].as_array().unwrap() {
        let reason = problem["reason"].as_str().unwrap();
        let all = lines(&server);
        let logged = all.iter().any(|line| line.text("reason") == reason);
        assert!(logged, "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_read_is_one_line_each_time() {
    let files = Files::new();
    let (models, away) = (files.path("models"), files.path("away"));
    let server = Server::start_with(&files, &["--log-format", "json"]).await;
    let about = |message: &'static str| {
        let all = lines(&server).into_iter();
        all.filter(move |line| line.text("message") == message && line.text("reason") == "File")
    };
    let expect = async |message, count| {
        let done = eventually(SOON, message, async || {
            let found = about(message).count();
            (found == count).then_some(()).ok_or(found)
        });
        done.await.unwrap();
    };
    for count in 1..=2 {
        std::fs::rename(&models, &away).unwrap();
        expect("problem appeared", count).await;
        std::fs::rename(&away, &models).unwrap();
        expect("problem is gone", count).await;
    }
    for line in about("problem appeared") {
        assert_eq!(line.level, "ERROR");
        assert!(line.text("file").ends_with("models"), "{line:?}");
    }
}
