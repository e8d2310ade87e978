//! Two replicas are two processes that share only the files.

use headgate_testkit::deadline::eventually;
use headgate_testkit::xds_client::{AcceptedResources, AutoAckProxy, type_url};

use crate::common::{Files, SOON, Server, manifest};

const POLICY: &str = "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata: {name: a}\n\
    spec: {buckets: [{name: b, key: [tenant], profile: semantic}]}\n";

pub(crate) fn filters(taken: &AcceptedResources) -> String {
    let all = taken.get(type_url::EXTENSION);
    let fused = all.and_then(|all| all.get("headgate"));
    fused.map_or_else(String::new, |(_, bytes)| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// Describes the difference.
pub(crate) fn difference(a: &AcceptedResources, b: &AcceptedResources) -> Option<String> {
    for (kind, ours) in a {
        let Some(theirs) = b.get(kind) else {
            return Some(format!("{kind} is with one of them only"));
        };
        for (name, (version, bytes)) in ours {
            match theirs.get(name) {
                None => return Some(format!("{kind} {name} is with one of them only")),
                Some((v, _)) if v != version => return Some(format!("version of {kind} {name}")),
                Some((_, b)) if b != bytes => return Some(format!("bytes of {kind} {name}")),
                Some(_) => {}
            }
        }
    }
    (a != b).then(|| "one has more than the other".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_serve_the_same_bytes_whenever_they_were_started() {
    let files = Files::new();
    files.policy("budget.yaml", POLICY);
    files.model("m-v1.yaml", &manifest("m", "v1", &[9001]).render());
    files.model("n-v1.yaml", &manifest("n", "v1", &[9003, 9004]).render());
    let first = Server::start(&files).await;
    let first_proxy = AutoAckProxy::connect("proxy", first.xds).unwrap();

    // A canary gets an invalid weight, a truncated file and a fix; a model loses a replica; another model is removed.
    let canary = manifest("m", "v2", &[9002]).created("2026-01-01T00:00:00Z");
    let canary = |weight: &str| canary.clone().weight(weight).render();
    files.model("m-v2.yaml", &canary("5"));
    files.model("o-v1.yaml", &manifest("o", "v1", &[9006]).render());
    first
        .until("the canary", |s| s["models"].as_array().unwrap().len() == 3)
        .await;
    files.model("m-v2.yaml", &canary("lots"));
    let invalid = |s: &serde_json::Value| s["problems"].to_string().contains("InvalidWeight");
    first.until("the bad weight to be reported", invalid).await;
    files.model("m-v2.yaml", &canary("30")[..100]);
    let broken = |s: &serde_json::Value| s["problems"].to_string().contains("\"File\"");
    first.until("the broken file to be reported", broken).await;
    let second = Server::start(&files).await;
    let second_proxy = AutoAckProxy::connect("proxy", second.xds).unwrap();
    files.model("m-v2.yaml", &canary("30"));
    std::fs::remove_file(files.path("models/o-v1.yaml")).unwrap();
    let short = manifest("n", "v1", &[9003, 9004, 9005]).replicas(4);
    files.model("n-v1.yaml", &short.render());

    let third = Server::start(&files).await;
    let third_proxy = AutoAckProxy::connect("proxy", third.xds).unwrap();
    // The older two replicas hold a lower scale back for 10 s.
    let equal = eventually(
        SOON * 2,
        "three replicas to serve the same bytes",
        async || {
            let (a, b, c) = (
                first_proxy.accepted(),
                second_proxy.accepted(),
                third_proxy.accepted(),
            );
            let filters = filters(&a);
            for part in ["\"percent\":75", "\"weight\":30", "default/a"] {
                let there = filters.contains(part);
                if !there {
                    return Err(format!("no {part} in {filters}"));
                }
            }
            if a.len() != 5 {
                return Err(format!("only {} types", a.len()));
            }
            match difference(&a, &b).or_else(|| difference(&a, &c)) {
                None => Ok(()),
                Some(what) => Err(what),
            }
        },
    );
    equal.await.unwrap();
}
