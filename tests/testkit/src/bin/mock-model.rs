//! The mock model server as a program, for the demo, the bench and docker-compose.

use std::process::ExitCode;

use clap::Parser;
use headgate_testkit::mock_model::{MockArgs, MockModel};
use tokio::signal::unix::{SignalKind, signal};

/// One thread, so that its cost is known and the bench's other core stays free.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(MockArgs::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-model: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: MockArgs) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let model = MockModel::start(args.options()).await?;
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
