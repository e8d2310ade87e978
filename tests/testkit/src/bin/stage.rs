//! A stage for tests in other languages: prints where it is as one line of JSON, and ends when its standard input does.
//!
//! ```text
//! {"url":"http://127.0.0.1:40000","admin":"http://127.0.0.1:40001","models":["llama3-70b", …]}
//! ```

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headgate_testkit::stage::{SHIPPED, Stage, StageOptions};
use serde_json::json;

/// Mock models, the control plane and one Envoy on free ports, with the shipped manifests and policies.
#[derive(Parser)]
#[command(name = "stage")]
struct Args {
    /// Files with policies, instead of the shipped ones. Repeatable.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// Worker threads of the Envoy.
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match show(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stage: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn show(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = StageOptions {
        workers: args.workers,
        ..StageOptions::default()
    };
    for policy in &args.policies {
        let text = std::fs::read_to_string(policy)
            .map_err(|error| format!("{}: {error}", policy.display()))?;
        options = options.policy(&text);
    }
    let stage = Stage::start(options).await?;
    let mut models: Vec<&str> = SHIPPED.iter().map(|shipped| shipped.model).collect();
    models.dedup();
    let where_it_is = json!({
        "url": stage.url(),
        "admin": stage.control_plane().url(""),
        "models": models,
    });
    println!("{where_it_is}");
    // Who started us says so by closing it, also by dying.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    Ok(())
}
