//! Thirty configuration updates and thirty module updates under load: no request is affected, and no bucket is refilled.

use std::path::Path;
use std::time::{Duration, Instant};

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, Outcome};
use headgate_testkit::testbed::{Manifest, Testbed};

use crate::common::{
    CAPACITY, INPUT, SOON, ask, balance_of, budget, charged, declare, empty_testbed, only,
    single_model_testbed,
};

const SWAPS: u32 = 30;
/// Tokens that the observed tenant spent before the updates.
const SPENT: u64 = 16;

/// Two versions of `m`, two workers; tenant `broke` has an empty bucket, tenant `saver` has spent a little.
async fn start_testbed() -> Testbed {
    let mut testbed = empty_testbed(2, 1, &budget("tenants", ""), &[]).await;
    declare(&mut testbed, "m", "v1", |manifest| manifest).await;
    declare(&mut testbed, "m", "v2", |manifest| manifest.weight("10")).await;
    testbed.wait_until_settled().await.unwrap();
    testbed.send(&ask("saver", 200)).await.unwrap();
    charged(&testbed, "saver", INPUT + SPENT).await;
    let all = CAPACITY - INPUT;
    let spent = ask("broke", all).header("x-mock-usage", format!("completion_tokens={all}"));
    assert_eq!(testbed.send(&spent).await.unwrap().status, 200);
    charged(&testbed, "broke", CAPACITY).await;
    testbed
}

/// Every fourth request is of the tenant with the empty bucket; the others come from many tenants, so that none runs out.
fn load(testbed: &Testbed) -> Load {
    let url = testbed.url().to_owned();
    let job = move |n: u64| {
        let tenant = match n % 4 {
            0 => "broke".to_owned(),
            _ => format!("tenant-{}", n % 997),
        };
        Job {
            request: ask(&tenant, 4).to(&url),
            session: tenant,
        }
    };
    Load::start(LoadOptions {
        pause: Duration::from_millis(10),
        ..LoadOptions::new(6, job)
    })
}

/// Only 200 and the intended 429; no update admitted or refused a request.
fn assert_unaffected(report: &LoadReport) {
    only(report, &[200, 429]);
    for sample in &report.samples {
        let intended = if sample.session == "broke" { 429 } else { 200 };
        assert_eq!(sample.outcome, Outcome::Status(intended), "{sample:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_configuration_updates_under_load_affect_no_request_and_refill_no_bucket() {
    let testbed = start_testbed().await;
    let load = load(&testbed);
    let v2 = testbed.mock("m", "v2").unwrap().addr();
    let began = Instant::now();
    for swap in 0..SWAPS {
        load.wait_for(10, SOON).await.unwrap();
        if swap % 2 == 0 {
            let weight = (10 + swap).to_string();
            let manifest = Manifest::new("m", "v2").endpoints(&[v2]).weight(&weight);
            testbed
                .files()
                .write_model("m-v2.yaml", &manifest.render())
                .unwrap();
        } else {
            // Another bucket is added, changed and removed; the one with the balances is unchanged.
            let other = budget("other", "settleOn: reservation")
                .replace("7200", &(700_000 + swap).to_string());
            testbed.files().write_policy("other.yaml", &other).unwrap();
        }
        testbed.wait_until_settled().await.unwrap();
    }
    headgate_testkit::measured!("{SWAPS} configuration swaps in {:?}", began.elapsed());
    assert_unaffected(&load.stop().await);
    charged(&testbed, "saver", INPUT + SPENT).await;
    charged(&testbed, "broke", CAPACITY).await;
}

/// A copy of the module with an additional custom section: the same code, another SHA-256.
fn rebuilt(module: &[u8], note: &str) -> Vec<u8> {
    let name = b"build";
    let size = 1 + name.len() + note.len();
    let mut copy = module.to_vec();
    copy.extend([
        0,
        u8::try_from(size).unwrap(),
        u8::try_from(name.len()).unwrap(),
    ]);
    copy.extend_from_slice(name);
    copy.extend_from_slice(note.as_bytes());
    copy
}

fn move_into(dir: &Path, bytes: &[u8]) {
    let draft = dir.join("headgate.wasm.new");
    std::fs::write(&draft, bytes).unwrap();
    std::fs::rename(draft, dir.join("headgate.wasm")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_module_updates_under_load_affect_no_request_and_refill_no_bucket() {
    let testbed = start_testbed().await;
    let wasm = testbed.files().wasm();
    let original = std::fs::read(wasm.join("headgate.wasm")).unwrap();
    let builds = [rebuilt(&original, "one"), rebuilt(&original, "another")];
    let load = load(&testbed);
    let began = Instant::now();
    for swap in 0..SWAPS as usize {
        let before = acked_filter(&testbed).await;
        move_into(&wasm, &builds[swap % 2]);
        let what = format!("module swap {swap} to be acked");
        let swapped = testbed.wait_for_status(SOON, &what, |status| {
            let proxy = status.proxy("envoy-0");
            proxy.is_some_and(|p| p.current && p.types["ecds"].acked != before)
        });
        swapped.await.unwrap();
        load.wait_for(10, SOON).await.unwrap();
    }
    headgate_testkit::measured!("{SWAPS} module swaps in {:?}", began.elapsed());
    assert_unaffected(&load.stop().await);
    charged(&testbed, "saver", INPUT + SPENT).await;
    charged(&testbed, "broke", CAPACITY).await;
}

async fn acked_filter(testbed: &Testbed) -> String {
    let status = testbed.status().await.unwrap();
    status.proxy("envoy-0").unwrap().types["ecds"].acked.clone()
}

/// A changed capacity keeps the used share of a bucket, for every tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_capacity_keeps_the_used_share_of_a_bucket() {
    let policy = budget("edited", "settleOn: reservation");
    let testbed = single_model_testbed(1, &policy, &[]).await;
    for (tenant, tokens) in [("half", CAPACITY / 2), ("quarter", CAPACITY / 4)] {
        let reply = testbed.send(&ask(tenant, tokens - INPUT)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        charged(&testbed, tenant, tokens).await;
    }
    let client = testbed.client();
    for capacity in [3600, 14_400, 720, 10_000, CAPACITY] {
        let edited = policy.replace("7200", &capacity.to_string());
        testbed
            .files()
            .write_policy("policy-0.yaml", &edited)
            .unwrap();
        testbed.wait_until_settled().await.unwrap();
        for (tenant, left) in [("half", capacity / 2), ("quarter", capacity - capacity / 4)] {
            let whole = ask(tenant, capacity - INPUT);
            let balance = balance_of(&client, whole.to(testbed.url())).await.unwrap();
            assert!(
                (left - 1..=left + 1).contains(&balance),
                "{balance} of {capacity} left to {tenant}"
            );
        }
    }
}
