//! The mock model server as a program, for the demo, the bench and docker-compose.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use headgate_test_support::mock_model::{HEADERS_HELP, MockModel, MockOptions};
use tokio::signal::unix::{SignalKind, signal};

/// A model server that answers OpenAI-style requests from nothing, and misbehaves on demand.
#[derive(Parser)]
#[command(name = "mock-model", after_long_help = HEADERS_HELP)]
struct Args {
    /// Where to listen.
    #[arg(long, env = "MOCK_LISTEN", default_value = "127.0.0.1:8101")]
    listen: SocketAddr,
    /// The model it serves.
    #[arg(long, env = "MOCK_MODEL", default_value = "llama3-70b")]
    model: String,
    /// The version of the model.
    #[arg(long, env = "MOCK_VERSION", default_value = "v1")]
    version: String,
    /// Tokens per choice when the request asks for no fewer.
    #[arg(long, env = "MOCK_TOKENS", default_value_t = 16)]
    tokens: u64,
}

/// One thread: what it costs is known, and the bench's other core stays free.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-model: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> std::io::Result<()> {
    let mut options = MockOptions::new(&args.model, &args.version).at(args.listen);
    options.tokens = args.tokens;
    let mut terminate = signal(SignalKind::terminate())?;
    let model = MockModel::start(options).await?;
    eprintln!(
        "mock-model: {} {} on {}",
        args.model,
        args.version,
        model.url()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    model.stop().await;
    Ok(())
}
