//! The order of the functions in a module: those that a request runs come first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headgate_layout::functions::Functions;
use headgate_layout::order::{Order, names};
use headgate_layout::trace;
use headgate_testkit::client::{HttpRequest, OpenAiRequest};
use headgate_testkit::deadline::eventually;
use headgate_tests_abi::config::{slow_tokens, slow_tokens_by_reservation, with_buckets};
use headgate_tests_abi::module::anatomy;
use headgate_tests_abi::testbed::{Testbed, try_start_file};
use serde_json::json;
use tempfile::NamedTempFile;
use wasmparser::{ExternalKind, Parser, Payload};

/// The percentage of the functions that requests run that must be in the list. Compilers differ in inlining.
const LISTED: usize = 80;
const SOON: Duration = Duration::from_secs(20);

const HEAD: &str = "\
# The functions that a request runs, in the order in which it does: they come first in a module (see tools/layout).
# Written by `make order`, from what a real Envoy runs; one that no longer exists does no harm.
";

fn list() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/order.txt")
}

fn named() -> Vec<u8> {
    let name = "HEADGATE_NAMED_MODULE";
    let path =
        std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: use tools/with"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run make wasm first", path.display()))
}

/// The functions of the module, and an instrumented module that logs the functions it runs.
fn traced() -> (Functions, NamedTempFile) {
    let module = named();
    let functions = Functions::read(&module).unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, trace::trace(&module, &functions).unwrap()).unwrap();
    (functions, file)
}

fn by_headers(testbed: &Testbed, max_tokens: u64) -> HttpRequest {
    HttpRequest::post(format!("{}/infer", testbed.url), "")
        .header("x-model", "m")
        .header("x-tenant-id", "acme")
        .header("x-session-id", "session-17")
        .header("x-max-tokens", max_tokens.to_string())
}

/// A chat with the usual characters of texts.
fn chat() -> OpenAiRequest {
    OpenAiRequest::chat("m")
        .prompt("\"What would it cost?\"\nNobody had counted.")
        .max_tokens(16)
        .temperature(0.7)
        .header("x-tenant-id", "acme")
}

/// The functions that these requests run, one request after another.
async fn run(testbed: &Testbed, requests: &[HttpRequest], functions: &Functions) -> Vec<String> {
    let before = testbed.envoy.log().text().len();
    for request in requests {
        // The model serves only chats: other endpoints get a 404, which also passes the filter.
        let reply = testbed.send(request.clone()).await;
        assert!(matches!(reply.status, 200 | 404 | 429), "{}", reply.text());
    }
    let log = eventually(SOON, "the last stream's end", async || {
        let log = testbed.envoy.log().text();
        let run = trace::run(&log[before..], functions);
        let ended = run.iter().filter(|name| **name == "proxy_on_delete");
        match ended.count() {
            ended if ended == requests.len() => Ok(run.into_iter().map(str::to_owned).collect()),
            ended => Err(ended),
        }
    });
    log.await.unwrap()
}

#[tokio::test]
async fn the_functions_that_requests_run_are_in_the_list() {
    let (functions, traced) = traced();

    // Functions of every request, then functions of each kind, then functions of only the first request.
    let (mut ran, mut first) = (Vec::new(), Vec::new());
    for (bucket, tells) in [
        (slow_tokens_by_reservation(1_000_000), false),
        (slow_tokens(1200), true),
    ] {
        let mut config = with_buckets(&[bucket]);
        config["namespaces"]["default"]["tagging"] =
            json!([{"policy": "p", "tagging": {"responseHeaders": tells}}]);
        let testbed = try_start_file(traced.path(), &config.to_string(), 1)
            .await
            .unwrap();
        let kinds = [
            by_headers(&testbed, 16),
            chat().to(&testbed.url),
            chat().stream_with_usage().to(&testbed.url),
        ];
        let greedy = [by_headers(&testbed, 900), by_headers(&testbed, 900)];
        first.extend(run(&testbed, &kinds, &functions).await);
        ran.extend(run(&testbed, &kinds, &functions).await);
        first.extend(run(&testbed, &greedy, &functions).await);
    }
    ran.append(&mut first);
    let mut unique = BTreeSet::new();
    ran.retain(|name| unique.insert(name.clone()));
    assert!(ran.len() > 50, "{ran:?}");

    if std::env::var_os("HEADGATE_WRITE_ORDER").is_some() {
        let new = list().with_extension("new");
        std::fs::write(&new, format!("{HEAD}{}\n", ran.join("\n"))).unwrap();
        std::fs::rename(new, list()).unwrap();
        return;
    }
    let list = std::fs::read_to_string(list()).unwrap();
    let listed = names(&list);
    let (known, new): (Vec<_>, Vec<_>) =
        ran.iter().partition(|name| listed.contains(&name.as_str()));
    println!(
        "{} of {} functions that requests run are in the list",
        known.len(),
        ran.len()
    );
    assert!(
        100 * known.len() >= LISTED * ran.len(),
        "run `make order`: the list lacks {new:#?}"
    );
}

/// The filter relies on the header size that a real Envoy reports: otherwise it would set instead of add every tag of a
/// request that waited for its body.
#[tokio::test]
async fn tags_are_added_to_a_request_that_waited_for_its_body() {
    const REPLACES: &str = "headgate_core::tags::replace";
    let (functions, traced) = traced();
    let config = with_buckets(&[slow_tokens(1000)]).to_string();
    let testbed = try_start_file(traced.path(), &config, 1).await.unwrap();
    for (request, replaces) in [
        (chat().to(&testbed.url), false),
        // The client sends `x-model` itself.
        (by_headers(&testbed, 16), true),
    ] {
        let ran = run(&testbed, &[request], &functions).await;
        assert_eq!(
            ran.iter().any(|name| name == REPLACES),
            replaces,
            "{ran:#?}"
        );
    }
}

/// The shipped module has the order of the list: its callbacks are among the first functions.
#[test]
fn a_shipped_module_has_the_order_of_the_list() {
    let list = std::fs::read_to_string(list()).unwrap();
    let named = named();
    let functions = Functions::read(&named).unwrap();
    let order = Order::new(&functions, &list);
    let end = functions.imported.len() + order.first;
    let module = anatomy("headgate");
    for payload in Parser::new(0).parse_all(&module.bytes) {
        let Payload::ExportSection(section) = payload.unwrap() else {
            continue;
        };
        for export in section {
            let export = export.unwrap();
            let hook = names(&list).contains(&export.name);
            if export.kind == ExternalKind::Func && hook {
                assert!(
                    (export.index as usize) < end,
                    "{} is at {}",
                    export.name,
                    export.index
                );
            }
        }
    }
    assert!(
        Functions::read(&module.bytes).is_err(),
        "a module that ships has no names"
    );
}
