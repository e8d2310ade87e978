//! `headgate`: the binary of the control plane. It connects the crates and contains no rules of its own.

mod admin;
mod cli;
mod commands;
mod config;
mod domains;
mod listen;
mod listener_tls;
mod logging;
mod mesh;
mod modules;
mod names;
mod port_certificate;
mod replica_writer;
mod serve;
mod shutdown;
mod source;
mod translation;
mod xds_port;

use std::process::ExitCode;

use headgate_report::client;
use headgate_report::output::{print, print_error};

use cli::{Cli, Command, Printed};
use config::Failure;

fn main() -> ExitCode {
    match Cli::read() {
        Ok(cli) => run(&cli).unwrap_or_else(|error| {
            print_error(&format!("headgate: {error}"));
            ExitCode::from(2)
        }),
        Err(code) => code,
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let log_level = logging::init(&cli.log_config())?;
    match &cli.command {
        Command::Serve(args) => serve::run(&args.config()?, log_level).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => client::status(&args.options()?).map(exit_code),
        Command::Wait(args) => client::wait(&args.options()?).map(exit_code),
        Command::Version(args) => client::version(&args.options()?).map(exit_code),
        Command::Validate(args) => commands::validate::run(&args.config()),
        Command::Translate(args) => commands::translate::run(&args.config()?),
        Command::Bootstrap(args) => {
            commands::bootstrap::run(&args.config()?).map(|()| ExitCode::SUCCESS)
        }
        Command::Schema(args) => {
            match args.printed()? {
                Printed::Schema(of) => commands::schema::run(&of)?,
                Printed::Text(text) => print(&text)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Completion(args) => {
            print(&args.script())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn exit_code(outcome: client::Outcome) -> ExitCode {
    match outcome {
        client::Outcome::Success => ExitCode::SUCCESS,
        client::Outcome::Negative => ExitCode::from(1),
    }
}
