//! `headgate`: the control plane's binary. It wires the crates together and decides nothing itself.

mod admin;
mod cli;
mod commands;
mod domains;
mod metrics;
mod modules;
mod serve;
mod settings;
mod shutdown;
mod source;
mod writing;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = serve::log_to_stderr(&cli) {
        eprintln!("headgate: {error}");
        return ExitCode::from(2);
    }
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => commands::status::run(&args),
        Command::Validate(args) => commands::validate::run(&args),
        Command::Translate(args) => commands::translate::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("headgate: {error}");
        ExitCode::from(2)
    })
}
