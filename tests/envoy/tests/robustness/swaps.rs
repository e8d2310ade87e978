//! Thirty configuration swaps and thirty module swaps under load: nobody notices, and no bucket is refilled by one.

use std::path::Path;
use std::time::{Duration, Instant};

use headgate_testkit::client::{Job, Load, LoadOptions, LoadReport, Outcome};
use headgate_testkit::stage::{Manifest, Stage};

use crate::common::{
    CAPACITY, INPUT, SOON, ask, balance_of, budget, charged, declare, empty_world, only,
    small_world,
};

const SWAPS: u32 = 30;
/// What the tenant whose balance is watched spent before the swaps.
const SPENT: u64 = 16;

/// Two versions of `m`, two workers; tenant `broke` has nothing left, `saver` has spent a little.
async fn world() -> Stage {
    let mut stage = empty_world(2, 1, &budget("tenants", ""), &[]).await;
    declare(&mut stage, "m", "v1", |manifest| manifest).await;
    declare(&mut stage, "m", "v2", |manifest| manifest.weight("10")).await;
    stage.settled().await.unwrap();
    stage.send(&ask("saver", 200)).await.unwrap();
    charged(&stage, "saver", INPUT + SPENT).await;
    let all = CAPACITY - INPUT;
    let spent = ask("broke", all).header("x-mock-usage", format!("completion_tokens={all}"));
    assert_eq!(stage.send(&spent).await.unwrap().status, 200);
    charged(&stage, "broke", CAPACITY).await;
    stage
}

/// Every fourth request is of the tenant that has nothing left; the others come from so many tenants that all have.
fn load(stage: &Stage) -> Load {
    let url = stage.url().to_owned();
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
        rest: Duration::from_millis(10),
        ..LoadOptions::new(6, job)
    })
}

/// No answer but 200 and the intended 429; nobody was let through or refused for a swap.
fn unnoticed(report: &LoadReport) {
    only(report, &[200, 429]);
    for sample in &report.samples {
        let intended = if sample.session == "broke" { 429 } else { 200 };
        assert_eq!(sample.outcome, Outcome::Status(intended), "{sample:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_configuration_swaps_under_load_are_not_noticed_and_refill_nothing() {
    let stage = world().await;
    let load = load(&stage);
    let v2 = stage.mock("m", "v2").unwrap().addr();
    let began = Instant::now();
    for swap in 0..SWAPS {
        load.wait_for(10, SOON).await.unwrap();
        if swap % 2 == 0 {
            let weight = (10 + swap).to_string();
            let manifest = Manifest::new("m", "v2").endpoints(&[v2]).weight(&weight);
            stage
                .files()
                .write_model("m-v2.yaml", &manifest.render())
                .unwrap();
        } else {
            // Another bucket comes, changes and goes; the one with the balances stays as it is.
            let other = budget("other", "settleOn: reservation")
                .replace("7200", &(700_000 + swap).to_string());
            stage.files().write_policy("other.yaml", &other).unwrap();
        }
        stage.settled().await.unwrap();
    }
    headgate_testkit::measured!("{SWAPS} configuration swaps in {:?}", began.elapsed());
    unnoticed(&load.stop().await);
    charged(&stage, "saver", INPUT + SPENT).await;
    charged(&stage, "broke", CAPACITY).await;
}

/// A copy of the module with a custom section behind it: the same code, another SHA-256.
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
async fn thirty_module_swaps_under_load_are_not_noticed_and_refill_nothing() {
    let stage = world().await;
    let wasm = stage.files().wasm();
    let original = std::fs::read(wasm.join("headgate.wasm")).unwrap();
    let builds = [rebuilt(&original, "one"), rebuilt(&original, "another")];
    let load = load(&stage);
    let began = Instant::now();
    for swap in 0..SWAPS as usize {
        let before = acked_filter(&stage).await;
        move_into(&wasm, &builds[swap % 2]);
        let what = format!("module swap {swap} to be acked");
        let swapped = stage.await_status(SOON, &what, |status| {
            let proxy = status.proxy("envoy-0");
            proxy.is_some_and(|p| p.settled && p.types["ecds"].acked != before)
        });
        swapped.await.unwrap();
        load.wait_for(10, SOON).await.unwrap();
    }
    headgate_testkit::measured!("{SWAPS} module swaps in {:?}", began.elapsed());
    unnoticed(&load.stop().await);
    charged(&stage, "saver", INPUT + SPENT).await;
    charged(&stage, "broke", CAPACITY).await;
}

async fn acked_filter(stage: &Stage) -> String {
    let status = stage.status().await.unwrap();
    status.proxy("envoy-0").unwrap().types["ecds"].acked.clone()
}

/// Whatever an edit makes of the capacity, half a bucket stays half a bucket: of every tenant, and in nobody's favour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edited_capacity_keeps_the_share_that_is_used() {
    let policy = budget("edited", "settleOn: reservation");
    let stage = small_world(1, &policy, &[]).await;
    for (tenant, tokens) in [("half", CAPACITY / 2), ("quarter", CAPACITY / 4)] {
        let reply = stage.send(&ask(tenant, tokens - INPUT)).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        charged(&stage, tenant, tokens).await;
    }
    let client = stage.client();
    for capacity in [3600, 14_400, 720, 10_000, CAPACITY] {
        let edited = policy.replace("7200", &capacity.to_string());
        stage
            .files()
            .write_policy("policy-0.yaml", &edited)
            .unwrap();
        stage.settled().await.unwrap();
        for (tenant, left) in [("half", capacity / 2), ("quarter", capacity - capacity / 4)] {
            let whole = ask(tenant, capacity - INPUT);
            let told = balance_of(&client, whole.to(stage.url())).await.unwrap();
            assert!(
                (left - 1..=left + 1).contains(&told),
                "{told} of {capacity} left to {tenant}"
            );
        }
    }
}
