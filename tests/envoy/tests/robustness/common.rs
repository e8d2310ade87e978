//! One small world, and what tests ask of it again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use headgate_testkit::client::{HttpClient, HttpRequest, LoadReport, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_testkit::envoy::Admin;
use headgate_testkit::stage::{Manifest, Seed, Stage, StageOptions};

/// Generous: the machine may be busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Tokens in a full bucket of [`budget`]. Costs in whole tokens are whole cells (7200 divides every burst).
pub(crate) const CAPACITY: u64 = 7200;

/// Prompt tokens of [`ask`]: five bytes of `Hello`, four to a token.
pub(crate) const INPUT: u64 = 2;

/// A policy with one bucket per tenant, `CAPACITY` tokens that take months to come back: a test sees what is charged and
/// nothing of the refill.
pub(crate) fn budget(name: &str, more: &str) -> String {
    format!(
        "apiVersion: headgate.dev/v1alpha1\nkind: TokenBucketPolicy\nmetadata:\n  name: {name}\nspec:\n  models: [m]\n  \
         buckets:\n  - name: {name}\n    key: [tenant]\n    profile: tokens\n    {more}\n    tokens:\n      \
         capacity: {CAPACITY}\n      refillPerSecond: 0.001\n"
    )
}

/// Model `m` in version `v1` under a [`budget`], behind one Envoy.
pub(crate) async fn small_world(workers: u32, budget: &str, serve_args: &[&str]) -> Stage {
    let mut stage = empty_world(workers, 1, budget, serve_args).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    stage.settled().await.unwrap();
    stage
}

/// A policy and no model yet.
pub(crate) async fn empty_world(
    workers: u32,
    envoys: usize,
    budget: &str,
    serve_args: &[&str],
) -> Stage {
    let options = StageOptions {
        models: Seed::Empty,
        workers,
        envoys,
        serve_args: serve_args.iter().map(Into::into).collect(),
        ..StageOptions::default().policy(budget)
    };
    Stage::start(options).await.unwrap()
}

/// Starts a mock of a version and writes its manifest, `MODEL-VERSION.yaml`.
pub(crate) async fn declare(
    stage: &mut Stage,
    model: &str,
    version: &str,
    shape: impl Fn(Manifest) -> Manifest,
) {
    let address = stage.add_mock(model, version).await.unwrap();
    let manifest = shape(Manifest::new(model, version).endpoints(&[address]));
    let file = format!("{model}-{version}.yaml");
    stage
        .files()
        .write_model(&file, &manifest.render())
        .unwrap();
}

/// Ends the only server, and waits until Envoy holds no connection to it: a request on one that is about to break may have
/// been sent, and is not refused.
pub(crate) async fn stop_server(stage: &mut Stage) {
    assert!(stage.stop_mock("m", "v1").await);
    let connections = "cluster.model/default/m/v1/.upstream_cx_active";
    let envoy = &mut stage.envoys_mut()[0].envoy;
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

/// What is left in a tenant's bucket, told by a refusal, which charges nothing: a request for a whole bucket. `None` if
/// the bucket was full after all (it is empty now).
pub(crate) async fn balance(client: &HttpClient, url: &str, tenant: &str) -> Option<u64> {
    balance_of(client, ask(tenant, CAPACITY - INPUT).to(url)).await
}

/// As [`balance`], told by this request for a whole bucket.
pub(crate) async fn balance_of(client: &HttpClient, whole: HttpRequest) -> Option<u64> {
    let reply = client.send(whole).await.unwrap();
    if reply.status == 200 {
        return None;
    }
    assert_eq!(reply.status, 429, "{}", reply.text());
    let left = reply.header("x-ratelimit-remaining-tokens").unwrap();
    Some(left.parse().unwrap())
}

/// Waits until exactly `used` tokens are charged to a tenant: settlements follow answers by an instant.
pub(crate) async fn charged(stage: &Stage, tenant: &str, used: u64) {
    let client = stage.client();
    let what = format!("{used} tokens charged to {tenant}");
    let settled = eventually(SOON, &what, async || {
        let left = balance(&client, stage.url(), tenant).await;
        let seen = CAPACITY - left.unwrap_or(CAPACITY);
        if seen == used {
            Ok(())
        } else {
            Err(format!("{seen} are"))
        }
    });
    settled.await.unwrap();
}

/// The filters' counters of one kind, such as `settlements`, by the labels in their names.
pub(crate) async fn counters(admin: &Admin, metric: &str) -> BTreeMap<String, u64> {
    let prefix = format!("wasmcustom.headgate_{metric}|");
    admin.stats(&prefix).await.unwrap()
}

/// The same, once there are any: the filter tells what it counted once a second.
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

/// VMs that were made anew after a trap, of all stats of `wasm.`.
pub(crate) fn reloads(stats: &BTreeMap<String, u64>) -> u64 {
    let reloads = stats.iter().filter(|(name, _)| name.contains("vm_reload"));
    reloads.map(|(_, count)| count).sum()
}

/// Nothing but these statuses; the message shows what else there was.
pub(crate) fn only(report: &LoadReport, statuses: &[u16]) {
    assert!(
        report.other_than(statuses).is_empty(),
        "{:?}",
        report.outcomes()
    );
}
