//! The field names of `headgate status -o json`, which scripts read.

use std::collections::BTreeSet;

use headgate_testkit::xds_client::{AutoAckProxy, type_url};
use serde_json::Value;

use crate::common::{Files, Server, headgate, manifest};

const POLICY: &str = "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: a}\n\
    spec: {models: [m], buckets: [{name: b, key: [tenant], profile: semantic}]}\n";

/// Objects whose keys are names of things, not of fields.
const MAPS: [&str; 6] = [
    "weightAcked",
    "types",
    "nacked",
    "waiting",
    "labels",
    "weights",
];

/// Every field, with a path; `*` stands for the names of things, `[]` for the items of a list.
fn fields(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let named = MAPS
                .iter()
                .any(|m| at == *m || at.ends_with(&format!(".{m}")));
            for (key, inner) in map {
                let key = if named { "*" } else { key };
                let path = if at.is_empty() {
                    key.to_owned()
                } else {
                    format!("{at}.{key}")
                };
                fields(&path, inner, found);
            }
        }
        Value::Array(list) => {
            for inner in list {
                fields(&format!("{at}[]"), inner, found);
            }
        }
        scalar => {
            let kind = match scalar {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "text",
                _ => "null",
            };
            found.insert(format!("{at}: {kind}"));
        }
    }
}

const NAMES: &str = "\
api: null
models[].acked.current: number
models[].acked.total: number
models[].base[].carrier: text
models[].base[].undeclaredSince: null
models[].base[].versions[]: text
models[].carriers[].carrier: text
models[].carriers[].labels.*: text
models[].carriers[].ports[].inferred: bool
models[].carriers[].ports[].port: number
models[].carriers[].ports[].protocol: text
models[].carriers[].ports[].why: text
models[].carriers[].ready.current: number
models[].carriers[].ready.total: number
models[].carriers[].refused[]: text
models[].carriers[].role: text
models[].carriers[].seenSince: number
models[].carriers[].standing: text
models[].carriers[].weight: number
models[].carriers[].why: text
models[].converged: bool
models[].defaultMaxTokens: number
models[].model: text
models[].names[]: text
models[].namespace: text
models[].proxies[].ackedAt: number
models[].proxies[].config: text
models[].proxies[].message: null
models[].proxies[].message: text
models[].proxies[].proxy: text
models[].proxies[].state: text
models[].proxies[].weights.*: number
models[].scalePercent: number
models[].versions[].carriers[]: text
models[].versions[].endpoints.current: number
models[].versions[].endpoints.total: number
models[].versions[].plannedSince: number
models[].versions[].unreachable: null
models[].versions[].version: text
models[].versions[].waitsForRoutes: bool
models[].versions[].weightAcked.*: number
models[].versions[].weightWanted: number
policies[].accepted.holds: bool
policies[].accepted.message: text
policies[].accepted.reason: text
policies[].generation: number
policies[].models[]: text
policies[].policy: text
policies[].resolved.holds: bool
policies[].resolved.message: text
policies[].resolved.reason: text
problems[].message: text
problems[].object: text
problems[].reason: text
problems[].severity: text
problems[].since: number
proxies[].address: text
proxies[].agent: text
proxies[].id: text
proxies[].replica: text
proxies[].scope: text
proxies[].current: bool
proxies[].since: number
proxies[].types.*.acked: text
proxies[].types.*.ackedAt: number
proxies[].types.*.lastNack.at: number
proxies[].types.*.lastNack.message: text
proxies[].types.*.lastNack: null
proxies[].types.*.nacked.*.message: text
proxies[].types.*.nacked.*.retries: number
proxies[].types.*.nacked.*.version: text
proxies[].types.*.sent: text
proxies[].types.*.waiting.*: text
proxies[].types.*.wanted: text
publication: number
publishedAt: number
replica: null
replicas[].address: text
replicas[].error: null
replicas[].error: text
replicas[].publication: number
replicas[].publishedAt: number
replicas[].replica: null
replicas[].shuttingDown: bool
replicas[].startedAt: number
replicas[].synced: bool
replicas[].syncedAt: number
replicas[].tookMs: number
replicas[].version: text
shuttingDown: bool
startedAt: number
synced: bool
syncedAt: number
tookMs: number
version: text";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_in_json_has_exactly_these_fields() {
    let files = Files::new();
    let named = manifest("m", "v1", &[9001]).annotation("headgate.dev/model-names", "Org/M");
    files.model("m-v1.yaml", &named.render());
    files.model(
        "m-v2.yaml",
        &manifest("m", "v2", &[9003]).weight("lots").render(),
    );
    files.policy("p.yaml", POLICY);
    let state = files.path("state").display().to_string();
    let server = Server::start_with(&files, &["--state", &state]).await;
    let proxy = AutoAckProxy::connect("proxy", server.xds).unwrap();
    server.all_current().await;
    // A NACK, a resource that waits for it, and an invalid file, so that every field has a value.
    proxy.nack_type(type_url::CLUSTER);
    files.model("n-v1.yaml", &manifest("n", "v1", &[9002]).render());
    files.model("broken.yaml", "kind: [");
    let all_there = |s: &Value| {
        let types = &s["proxies"][0]["types"];
        let nacked = types["cds"]["nacked"].as_object();
        nacked.is_some_and(|n| n.len() == 2)
            && types["rds"]["waiting"]
                .as_object()
                .is_some_and(|w| !w.is_empty())
            && s["problems"].to_string().contains("broken.yaml")
            && s["models"][0]["base"][0].is_object()
    };
    server
        .until("a refusal, a wait and a problem", all_there)
        .await;

    let admin = server.admin.to_string();
    // With a replica that does not answer.
    let both = format!("{admin},127.0.0.1:1");
    let out = headgate(&["status", "-o", "json", "--admin-address", &both]);
    assert!(out.status.success(), "{out:?}");
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut found = BTreeSet::new();
    fields("", &document, &mut found);
    let found: Vec<String> = found.into_iter().collect();
    let expected: BTreeSet<&str> = NAMES.lines().collect();
    let expected: Vec<&str> = expected.into_iter().collect();
    assert_eq!(found, expected);
    let types = document["proxies"][0]["types"].as_object().unwrap();
    let types: Vec<&str> = types.keys().map(String::as_str).collect();
    assert_eq!(types, ["cds", "ecds", "eds", "lds", "rds"]);
}
