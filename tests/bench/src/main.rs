//! `make bench`: what the filters cost per request, paired against what Envoy has itself; and what the control plane
//! promises of a whole cluster, at full size.
//!
//! ```text
//! rows ──▶ Envoys, a listener per row ──▶ rounds of shuffled blocks ──▶ worker CPU ──▶ estimates ──▶ a table
//! ```
//!
//! Place in the flow: outside of it. It loads the modules of `dist/`, and routes made by the control plane's own
//! code, and measures the CPU time of Envoy's worker thread from `/proc`, which no other process's load enters.

mod bootstrap;
mod cluster;
mod cpu;
mod error;
mod filters;
mod fleet;
mod floor;
mod http;
mod load;
mod report;
mod requests;
mod rows;
mod run;
mod stats;
mod truth;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use headgate_testkit::envoy::{Envoy, EnvoyOptions};

use crate::cluster::Promise;
use crate::cpu::Placement;
use crate::error::BenchError;
use crate::report::{ModuleReport, Report};
use crate::rows::Group;
use crate::truth::Truth;

/// The modules whose sizes are told; the first is the one that is measured.
const MODULES: [&str; 3] = ["headgate", "token-bucket", "traffic-tag"];

/// Measures what the filters cost per request, against no filter and against Envoy's own, and whether the control plane
/// keeps at full size what it promises of a cluster.
///
/// Exits with 1 when a mark is missed.
#[derive(Debug, Parser)]
#[command(name = "headgate-bench", version)]
struct Cli {
    /// Rounds: each runs one block of every row. More rounds, narrower intervals. Rounded up to as many for each Envoy.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(4..))]
    rounds: u16,
    /// Envoys, started one after another, that share the rounds: where a wasm VM comes to lie in memory moves a figure by
    /// some microseconds, for as long as it lives.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    proxies: u16,
    /// Length of a block in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u16).range(20..))]
    block: u16,
    /// Only rows whose id or title contains this, with what they are compared to.
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Also measure this build of headgate.wasm, in rows of its own. Can be given several times.
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
    /// Exit with 0 even when a mark is missed.
    #[arg(long)]
    no_marks: bool,
    /// What to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Directory of the modules.
    #[arg(long, env = "HEADGATE_WASM", default_value_os_t = dist())]
    wasm: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Table,
    /// JSON.
    Json,
}

fn dist() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "dist"]
        .iter()
        .collect()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match bench(&cli) {
        Ok(report) => show(&cli, &report),
        Err(error) => {
            eprintln!("headgate-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn show(cli: &Cli, report: &Report) -> ExitCode {
    match cli.output {
        Output::Table => print!("{}", report.table()),
        Output::Json => match serde_json::to_string_pretty(report) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("headgate-bench: {}", BenchError::from(error));
                return ExitCode::from(2);
            }
        },
    }
    let missed = report.missed();
    if missed == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("{missed} marks missed");
    if cli.no_marks {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn bench(cli: &Cli) -> Result<Report, BenchError> {
    let mut promises = Promise::ALL.to_vec();
    promises.retain(|promise| cli.only.as_deref().is_none_or(|p| promise.is_named(p)));
    // One thread: the load and the upstream shall not take a core from the worker.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let found = cluster::measure(&promises)?;
    let truths: Vec<_> = Truth::ALL
        .into_iter()
        .filter(|truth| cli.only.as_deref().is_none_or(|p| truth.id().contains(p)))
        .collect();
    let module = cli.wasm.join(format!("{}.wasm", MODULES[0]));
    // Before any thread is bound to a core.
    let truth = runtime.block_on(truth::measure(&truths, &module))?;
    let named = !promises.is_empty() || !truths.is_empty();
    match runtime.block_on(filters_of(cli)) {
        // The pattern names these alone.
        Err(BenchError::NoRow(..)) if named => Ok(Report::of_promises(found, truth)),
        filters => Ok(filters?.with(found, truth)),
    }
}

/// What the filters cost.
async fn filters_of(cli: &Cli) -> Result<Report, BenchError> {
    let modules = sizes(&cli.wasm)?;
    let module = cli.wasm.join(format!("{}.wasm", MODULES[0]));
    let module = module.canonicalize().unwrap_or(module);
    let upstream = upstream::start().await.map_err(BenchError::Upstream)?;
    let dir = tempfile::tempdir().map_err(BenchError::Files)?;

    let floor = floor::write(dir.path())?;
    let (routing, fleets) = rows::models(&module, upstream, dir.path())?;
    let mut groups = vec![
        rows::headers(&module, &floor),
        rows::refused(&module),
        rows::body(&module, &floor, 1, None),
        rows::body(&module, &floor, 16, None),
        rows::body(&module, &floor, 256, Some(0.12)),
        routing,
    ];
    let whole = |file: &PathBuf| file.canonicalize().unwrap_or_else(|_| file.clone());
    let also: Vec<_> = cli.also.iter().map(whole).collect();
    groups.iter_mut().for_each(|group| group.also(&also));
    let groups = chosen(groups, cli.only.as_deref())?;
    let clusters = fleet::write_clusters(&fleets, dir.path())?;
    let rows = groups.iter().flat_map(|group| &group.rows);
    let listeners: Vec<_> = rows.map(|row| row.listener.clone()).collect();
    let text = bootstrap::bootstrap(&listeners, upstream, &clusters);
    let mut options = EnvoyOptions::new(text);
    options.log_level = "error".to_owned();
    options.within = Duration::from_secs(120);
    let cores = cpu::cores()?;
    let mut placement = Placement::Together;
    let block = Duration::from_millis(cli.block.into());
    let rounds = usize::from(cli.rounds.div_ceil(cli.proxies));
    let mut samples: run::Samples = groups.iter().map(|_| Vec::new()).collect();
    for _ in 0..cli.proxies {
        let envoy = Envoy::start(options.clone()).await?;
        placement = cpu::place(&envoy, &cores)?;
        let spent = run::measure(&envoy, &groups, rounds, block).await?;
        for (all, spent) in samples.iter_mut().zip(spent) {
            all.extend(spent);
        }
    }
    let placement = match placement {
        Placement::Apart { worker, rest } => {
            format!(
                "one worker on core {worker}; load, upstream and the rest of Envoy on core {rest}"
            )
        }
        Placement::Together => {
            "one worker; there is one core only, which everything shares".to_owned()
        }
    };
    let placement = format!(
        "{} Envoys one after another, each with {placement}",
        cli.proxies
    );
    let envoys = cli.proxies.into();
    Ok(Report::new(&groups, &samples, envoys, placement, modules))
}

fn chosen(mut groups: Vec<Group>, only: Option<&str>) -> Result<Vec<Group>, BenchError> {
    let Some(pattern) = only else {
        return Ok(groups);
    };
    let rows = groups.iter().flat_map(|group| &group.rows);
    let mut ids: Vec<_> = rows.map(|row| row.id.clone()).collect();
    ids.extend(Promise::ALL.map(|promise| promise.id().to_owned()));
    ids.extend(Truth::ALL.map(|truth| truth.id().to_owned()));
    groups.retain_mut(|group| group.keep(pattern));
    if groups.is_empty() {
        return Err(BenchError::NoRow(pattern.to_owned(), ids.join(" ")));
    }
    Ok(groups)
}

fn sizes(dir: &Path) -> Result<Vec<ModuleReport>, BenchError> {
    MODULES
        .iter()
        .map(|name| {
            let path = dir.join(format!("{name}.wasm"));
            let size = std::fs::metadata(&path).map(|file| file.len());
            let size = size.map_err(|source| BenchError::Module { path, source })?;
            Ok(ModuleReport::new(format!("{name}.wasm"), size))
        })
        .collect()
}
