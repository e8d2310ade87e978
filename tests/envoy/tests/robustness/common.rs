//! The standard testbed of these tests, and helpers for balances and counters.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest, LoadReport, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Admin;
use headgate_testkit::testbed::{Manifest, Seed, Testbed, TestbedOptions};

/// Deadline for most waits; generous, because other tests may load the machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Tokens in a full bucket of [`budget`]. Whole tokens cost whole cells (7200 divides every burst).
pub(crate) const CAPACITY: u64 = 7200;

/// Prompt tokens of [`ask`]: five bytes of `Hello`, four bytes per token.
pub(crate) const INPUT: u64 = 2;

/// A policy with one bucket per tenant, whose `CAPACITY` tokens need months to refill: a test sees charges without refill.
pub(crate) fn budget(name: &str, more: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata:\n  name: {name}\nspec:\n  models: [m]\n  \
         buckets:\n  - name: {name}\n    key: [tenant]\n    profile: tokens\n    {more}\n    tokens:\n      \
         capacity: {CAPACITY}\n      refillPerSecond: 0.001\n"
    )
}

/// Model `m` with version `v1` and a [`budget`], behind one Envoy.
pub(crate) async fn single_model_testbed(
    workers: u32,
    budget: &str,
    serve_args: &[&str],
) -> Testbed {
    let mut testbed = empty_testbed(workers, 1, budget, serve_args).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    testbed.wait_until_settled().await.unwrap();
    testbed
}

/// A policy without a model.
pub(crate) async fn empty_testbed(
    workers: u32,
    envoys: usize,
    budget: &str,
    serve_args: &[&str],
) -> Testbed {
    let options = TestbedOptions {
        models: Seed::Empty,
        workers,
        envoys,
        serve_args: serve_args.iter().map(Into::into).collect(),
        ..TestbedOptions::default().policy(budget)
    };
    Testbed::start(options).await.unwrap()
}

/// Starts a mock model of a version and writes its manifest, `MODEL-VERSION.yaml`.
pub(crate) async fn declare(
    testbed: &mut Testbed,
    model: &str,
    version: &str,
    shape: impl Fn(Manifest) -> Manifest,
) {
    let address = testbed.add_mock(model, version).await.unwrap();
    let manifest = shape(Manifest::new(model, version).endpoints(&[address]));
    let file = format!("{model}-{version}.yaml");
    testbed
        .files()
        .write_model(&file, &manifest.render())
        .unwrap();
}

/// Stops the only server and waits until Envoy has no connection to it: a request on a connection that is about to break may have
/// been sent, and is not refused.
pub(crate) async fn stop_server(testbed: &mut Testbed) {
    assert!(testbed.stop_mock("m", "v1").await);
    let connections = "cluster.model/default/m/v1/.upstream_cx_active";
    let envoy = &mut testbed.envoys_mut()[0].envoy;
    envoy
        .wait_stat(connections, |n| n == 0, SOON)
        .await
        .unwrap();
}

/// A chat of `tenant` that reserves `INPUT + output` tokens.
pub(crate) fn ask(tenant: &str, output: u64) -> OpenAiRequest {
    OpenAiRequest::chat("m")
        .max_tokens(output)
        .header("x-tenant-id", tenant)
}

/// The balance of a tenant, from the refusal of a request for a full bucket; a refusal charges nothing. `None` if the bucket was full
/// (and is empty now).
pub(crate) async fn balance(client: &HttpClient, url: &str, tenant: &str) -> Option<u64> {
    balance_of(client, ask(tenant, CAPACITY - INPUT).to(url)).await
}

/// As [`balance`], with this request for a full bucket.
pub(crate) async fn balance_of(client: &HttpClient, whole: HttpRequest) -> Option<u64> {
    let reply = client.send(whole).await.unwrap();
    if reply.status == 200 {
        return None;
    }
    assert_eq!(reply.status, 429, "{}", reply.text());
    let left = reply.header("x-ratelimit-remaining-tokens").unwrap();
    Some(left.parse().unwrap())
}

/// Waits until exactly `used` tokens are charged to a tenant; settlement follows a response after a moment.
pub(crate) async fn charged(testbed: &Testbed, tenant: &str, used: u64) {
    let client = testbed.client();
    let what = format!("{used} tokens charged to {tenant}");
    let settled = eventually(SOON, &what, async || {
        let left = balance(&client, testbed.url(), tenant).await;
        let charged = CAPACITY - left.unwrap_or(CAPACITY);
        if charged == used {
            Ok(())
        } else {
            Err(format!("{charged} are"))
        }
    });
    settled.await.unwrap();
}

/// The filters' counters of one kind, such as `settlements`, by the labels in their names.
pub(crate) async fn counters(admin: &Admin, metric: &str) -> BTreeMap<String, u64> {
    let end = format!(";.;headgate_{metric}");
    let mut stats = admin.stats("wasmcustom.").await.unwrap();
    stats.retain(|name, _| name.ends_with(&end));
    stats
}

/// As [`counters`], once there are any; the filter reports its counters once a second.
pub(crate) async fn counted(admin: &Admin, metric: &str) -> BTreeMap<String, u64> {
    let any = eventually(SOON, metric, async || {
        let counters = counters(admin, metric).await;
        match counters.is_empty() {
            true => Err("nothing is counted"),
            false => Ok(counters),
        }
    });
    any.await.unwrap()
}

/// VMs that were reloaded after a trap, from all stats below `wasm.`.
pub(crate) fn reloads(stats: &BTreeMap<String, u64>) -> u64 {
    let reloads = stats.iter().filter(|(name, _)| name.contains("vm_reload"));
    reloads.map(|(_, count)| count).sum()
}

/// Asserts that only these statuses occurred; the message shows all outcomes.
pub(crate) fn only(report: &LoadReport, statuses: &[u16]) {
    assert!(
        report.other_than(statuses).is_empty(),
        "{:?}",
        report.outcomes()
    );
}
