//! A testbed for tests in other languages. Prints its addresses as one line of JSON and exits when its standard input closes.
//!
//! ```text
//! {"url":"http://127.0.0.1:40000","admin":"http://127.0.0.1:40001","models":["llama3-70b", …]}
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use headgate_testkit::mock_model::MockAnswer;
use headgate_testkit::testbed::{SHIPPED, Testbed, TestbedOptions};
use serde_json::json;

/// Starts mock models, the control plane and one Envoy on free ports, with the shipped manifests and policies.
#[derive(Parser)]
#[command(name = "testbed")]
struct Args {
    /// Files with policies, instead of the shipped ones. Repeatable.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// A JSON file of responses by name, which every mock model gives to a request with `x-mock-answer: NAME`.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Worker threads of the Envoy.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = TestbedOptions {
        workers: args.workers,
        ..TestbedOptions::default()
    };
    for policy in &args.policies {
        options = options.policy(&read(policy)?);
    }
    let mut answers = Vec::new();
    if let Some(file) = &args.answers {
        answers = MockAnswer::parse_all(&read(file)?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let testbed = Testbed::start(options).await?;
    let mocks = SHIPPED
        .iter()
        .filter_map(|shipped| testbed.mock(shipped.model, shipped.version));
    for mock in mocks {
        for (name, answer) in &answers {
            mock.handle().set_answer(name, answer.clone());
        }
    }
    let mut models: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.model).collect();
    models.dedup();
    let addresses = json!({
        "url": testbed.url(),
        "admin": testbed.control_plane().url(""),
        "models": models,
    });
    println!("{addresses}");
    // The parent closes the pipe, also by dying.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}
