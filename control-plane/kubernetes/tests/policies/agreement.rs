//! Agreement of parser and API server: the parser accepts whatever the API server accepts, for generated policies and models. What is in the
//! text of `jwks.inline` and in a schema of requests, the parser alone can check, so good ones are here.

use std::sync::atomic::{AtomicU32, Ordering};

use headgate_contract::{
    AuthenticationPolicySpec, PolicyDefinition, ServedModelSpec, TokenBucketPolicySpec,
    TrafficTagPolicySpec, parse_json,
};
use kube::Client;
use proptest::prop_oneof;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api_server::{runtime, start};
use crate::generate::written;
use crate::served::served;

/// Creates an object as a dry run: the spec as it would be stored, or the error.
async fn create(client: &Client, kind: &str, spec: &Value) -> Result<Value, String> {
    let definition = PolicyDefinition::find(kind);
    let plural = definition.map_or("servedmodels", |definition| definition.plural);
    let object = json!({
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "generated"},
        "spec": spec,
    });
    let uri = format!(
        "/apis/headgate.dev/v1alpha1/namespaces/default/{plural}?dryRun=All&fieldValidation=Strict"
    );
    let request = http::Request::post(uri)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .unwrap();
    match client.request::<Value>(request).await {
        Ok(stored) => Ok(stored["spec"].clone()),
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 400 | 422) => Err(refusal.message),
        Err(other) => panic!("{other}"),
    }
}

/// Parses a spec as the filters do, and writes it again.
fn parse<S: DeserializeOwned + Serialize>(spec: &Value) -> Result<Value, String> {
    let parsed: S = parse_json(spec.to_string().as_bytes()).map_err(|e| e.to_string())?;
    Ok(serde_json::to_value(parsed).unwrap())
}

fn parse_kind(kind: &str, spec: &Value) -> Result<Value, String> {
    match kind {
        "AuthenticationPolicy" => parse::<AuthenticationPolicySpec>(spec),
        "TokenBucketPolicy" => parse::<TokenBucketPolicySpec>(spec),
        "ServedModel" => parse::<ServedModelSpec>(spec),
        _ => parse::<TrafficTagPolicySpec>(spec),
    }
}

async fn compare(client: &Client, kind: &str, spec: &Value) -> Result<bool, TestCaseError> {
    let stored = create(client, kind, spec).await;
    match (parse_kind(kind, spec), stored) {
        (Err(_), Err(_)) => Ok(false),
        (Ok(meant), Ok(stored)) => {
            let read = parse_kind(kind, &stored);
            if read.as_ref() != Ok(&meant) {
                let why = format!("stored as {stored}, which is read as {read:?}, not as {meant}");
                return Err(TestCaseError::fail(why));
            }
            // The written spec is accepted too.
            match create(client, kind, &meant).await {
                Ok(_) => Ok(true),
                Err(why) => Err(TestCaseError::fail(format!("{meant} is refused: {why}"))),
            }
        }
        (Ok(_), Err(why)) => Err(TestCaseError::fail(format!(
            "only the API server refuses: {why}"
        ))),
        (Err(why), Ok(stored)) => Err(TestCaseError::fail(format!(
            "only the parser refuses: {why}; the API server would store {stored}"
        ))),
    }
}

#[test]
fn the_filters_accept_every_spec_that_the_api_server_accepts() {
    let kube = runtime().block_on(start());
    let client = kube.client();
    let (accepted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    // The seed is fixed, because a case costs three requests; PROPTEST_RNG_SEED changes it.
    let config = Config::default();
    let mut runner = TestRunner::new(Config {
        cases: 600,
        failure_persistence: None,
        max_shrink_iters: 300,
        rng_seed: match config.rng_seed {
            RngSeed::Random => RngSeed::Fixed(600),
            fixed => fixed,
        },
        ..config
    });
    let all = prop_oneof![5 => written(), 1 => served()];
    let outcome = runner.run(&all, |(kind, spec)| {
        let ok = runtime().block_on(compare(&client, kind, &spec))?;
        let counter = if ok { &accepted } else { &refused };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    outcome.unwrap();
    let (accepted, refused) = (accepted.into_inner(), refused.into_inner());
    println!("{accepted} accepted by both, {refused} refused by both");
    // A generator of only valid or only invalid specs would compare nothing.
    assert!(accepted > 100 && refused > 100, "{accepted} and {refused}");
}
