//! `headgate-layout MODULE OUT --order FILE`: reorders the functions of a module.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headgate_layout::functions::Functions;
use headgate_layout::order::Order;
use headgate_layout::reorder::reorder;

/// Moves the listed functions to the start of a wasm module and drops the names of all functions.
#[derive(Debug, Parser)]
struct Arguments {
    /// The linked module, with function names.
    module: PathBuf,
    /// Path of the output.
    out: PathBuf,
    /// The list of the functions that come first.
    #[arg(long)]
    order: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headgate-layout: {}: {error}", arguments.module.display());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let module = fs::read(&arguments.module)?;
    let list = fs::read_to_string(&arguments.order)
        .map_err(|error| format!("{}: {error}", arguments.order.display()))?;
    let functions = Functions::read(&module)?;
    let order = Order::new(&functions, &list);
    // Inlining differs a little between modules and compilers.
    if order.unknown.len() > order.first / 4 {
        eprintln!(
            "{}: {} functions listed in {} are missing; update the list with `make order`",
            arguments.module.display(),
            order.unknown.len(),
            arguments.order.display()
        );
    }
    fs::write(&arguments.out, reorder(&module, &functions, &order)?)?;
    Ok(())
}
