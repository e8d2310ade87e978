//! Lays a module out: `headgate-layout IN OUT --order FILE`.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use headgate_layout::functions::Functions;
use headgate_layout::lay::lay;
use headgate_layout::order::Order;

/// Puts the functions that a request runs at the beginning of a module, and leaves out their names.
#[derive(Debug, Parser)]
struct Arguments {
    /// The module as it was linked, with names.
    module: PathBuf,
    /// Where to write it.
    out: PathBuf,
    /// The list of functions that come first.
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
    // Modules and compilers differ a little in what they put into one function.
    if order.unknown.len() > order.first / 4 {
        eprintln!(
            "{}: {} of the functions in {} are not in it; make order writes the list anew",
            arguments.module.display(),
            order.unknown.len(),
            arguments.order.display()
        );
    }
    fs::write(&arguments.out, lay(&module, &functions, &order)?)?;
    Ok(())
}
