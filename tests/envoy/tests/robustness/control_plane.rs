//! The control plane is killed, or gets invalid input: proxies keep their configuration, and `status` names the problem.

use std::process::Command;
use std::time::Duration;

use headgate_testkit::client::{Job, Load, LoadOptions};
use headgate_testkit::testbed::{Problem, Status, Testbed, artifacts};

use crate::common::{INPUT, SOON, ask, budget, charged, only, single_model_testbed};

fn load(testbed: &Testbed) -> Load {
    let url = testbed.url().to_owned();
    let job = move |n: u64| Job {
        session: n.to_string(),
        request: ask(&format!("tenant-{}", n % 997), 4).to(&url),
    };
    Load::start(LoadOptions {
        pause: Duration::from_millis(5),
        ..LoadOptions::new(8, job)
    })
}

/// The text output of `headgate status`.
fn status_text(testbed: &Testbed) -> String {
    let output = Command::new(artifacts::headgate_binary().unwrap())
        .args([
            "status",
            "--admin-address",
            &testbed.addresses().admin.to_string(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_and_restarting_the_control_plane_under_load_fails_no_request() {
    let mut testbed = single_model_testbed(2, &budget("tenants", ""), &[]).await;
    let load = load(&testbed);
    for life in 1..=3 {
        load.wait_for(100, SOON).await.unwrap();
        testbed.control_plane_mut().kill().unwrap();
        load.wait_for(300, SOON).await.unwrap();
        testbed.control_plane_mut().restart().await.unwrap();
        // The restarted control plane works: an edit reaches the proxy.
        let version = format!("v{}", life + 1);
        let address = testbed.add_mock("m", &version).await.unwrap();
        let manifest =
            headgate_testkit::testbed::Manifest::new("m", &version).endpoints(&[address]);
        testbed
            .files()
            .write_model(&format!("m-{version}.yaml"), &manifest.weight("5").render())
            .unwrap();
        testbed.wait_until_settled().await.unwrap();
    }
    load.wait_for(100, SOON).await.unwrap();
    let report = load.stop().await;
    only(&report, &[200]);
    headgate_testkit::measured!(
        "{} requests over three lives of the control plane",
        report.samples.len()
    );
}

/// No problem but the note that the budget's window is long.
fn nothing_wrong(status: &Status) -> bool {
    status.problems.iter().all(|p| p.severity == "info")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_policy_keeps_the_old_one_and_status_names_file_path_and_fix() {
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    testbed.send(&ask("acme", 200)).await.unwrap();
    charged(&testbed, "acme", INPUT + 16).await;

    let of_the_file = |p: &Problem| p.severity == "error" && p.object.contains("policy-0.yaml");
    let broken = budget("tenants", "").replace("key: [tenant]", "key: [tenants]");
    testbed
        .files()
        .write_policy("policy-0.yaml", &broken)
        .unwrap();
    let status = testbed
        .wait_for_status(SOON, "the problem to be reported", |s| {
            s.problems.iter().any(of_the_file)
        })
        .await
        .unwrap();
    let problem = status.problems.iter().find(|p| of_the_file(p)).unwrap();
    let text = status_text(&testbed);
    for part in [
        "policy-0.yaml",
        "buckets[0].key[0]",
        "write tenant, model, version, dialect, operation,",
    ] {
        assert!(
            problem.message.contains(part) || problem.object.contains(part),
            "{part}: {problem:?}"
        );
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    // The old policy keeps its balances.
    testbed.send(&ask("acme", 200)).await.unwrap();
    charged(&testbed, "acme", 2 * (INPUT + 16)).await;

    testbed
        .files()
        .write_policy("policy-0.yaml", &budget("tenants", ""))
        .unwrap();
    testbed
        .wait_for_status(SOON, "the problem to go", nothing_wrong)
        .await
        .unwrap();
    charged(&testbed, "acme", 2 * (INPUT + 16)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_module_keeps_the_old_one_and_shows_in_status() {
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    let file = testbed.files().wasm().join("headgate.wasm");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    testbed
        .wait_for_status(SOON, "the torn module to be reported", |s| {
            s.problems_of("Module").next().is_some()
        })
        .await
        .unwrap();
    let text = status_text(&testbed);
    assert!(text.contains("headgate.wasm is truncated"), "{text}");
    testbed.send(&ask("acme", 200)).await.unwrap();
    charged(&testbed, "acme", INPUT + 16).await;

    std::fs::write(&file, &whole).unwrap();
    testbed
        .wait_for_status(SOON, "the problem to go", nothing_wrong)
        .await
        .unwrap();
    charged(&testbed, "acme", INPUT + 16).await;
}

/// A valid module that is not a filter: one function that does nothing.
const NO_FILTER: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_envoy_rejects_keeps_the_old_one_and_a_later_retry_succeeds() {
    let testbed = single_model_testbed(1, &budget("tenants", ""), &[]).await;
    let wasm = testbed.files().wasm();
    let valid = std::fs::read(wasm.join("headgate.wasm")).unwrap();
    std::fs::write(wasm.join("headgate.wasm.new"), NO_FILTER).unwrap();
    std::fs::rename(wasm.join("headgate.wasm.new"), wasm.join("headgate.wasm")).unwrap();
    let refused = |s: &headgate_testkit::testbed::Status| {
        s.proxy("envoy-0")
            .is_some_and(|p| p.types["ecds"].nacked.contains_key("headgate"))
    };
    let status = testbed
        .wait_for_status(SOON, "Envoy to refuse it", refused)
        .await
        .unwrap();
    let nack = &status.proxy("envoy-0").unwrap().types["ecds"].nacked["headgate"];
    println!("message of Envoy: {}", nack.message);
    assert!(nack.message.to_lowercase().contains("wasm"), "{nack:?}");
    let text = status_text(&testbed);
    assert!(
        text.contains("NACK headgate") && text.contains("BEHIND"),
        "{text}"
    );
    assert!(
        text.contains(nack.message.lines().next().unwrap()),
        "{text}"
    );
    testbed.send(&ask("acme", 200)).await.unwrap();
    charged(&testbed, "acme", INPUT + 16).await;

    // The fault is at the proxy: the file that it was configured to load. The test fixes the file; the control plane changes nothing, and
    // offers the same configuration again after half a minute, with a name that is new to Envoy.
    for entry in std::fs::read_dir(&wasm).unwrap().map(Result::unwrap) {
        if entry.metadata().unwrap().len() == NO_FILTER.len() as u64
            && entry.file_name() != "headgate.wasm"
        {
            std::fs::write(entry.path(), &valid).unwrap();
        }
    }
    let healed = |s: &headgate_testkit::testbed::Status| {
        s.proxy("envoy-0")
            .is_some_and(|p| p.current && p.types["ecds"].nacked.is_empty())
    };
    testbed
        .wait_for_status(SOON * 3, "the retry to heal it", healed)
        .await
        .unwrap();
    charged(&testbed, "acme", INPUT + 16).await;
    testbed.send(&ask("acme", 200)).await.unwrap();
    charged(&testbed, "acme", 2 * (INPUT + 16)).await;
}
