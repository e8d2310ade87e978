//! `make bench`: the cost of the filters per request, compared with Envoy's own filters, and the targets for a whole cluster at full
//! size.
//!
//! ```text
//! rows ──▶ Envoys, a listener per row ──▶ rounds of shuffled blocks ──▶ worker CPU ──▶ estimates ──▶ a table
//! ```
//!
//! Place in the flow: outside of it. It loads the modules in `dist/` and routes made by the control plane's own code, and reads the
//! CPU time of Envoy's worker thread from `/proc`, which is independent of the load of other processes.

mod bootstrap;
mod buckets;
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
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use headgate_testkit::envoy::{Envoy, EnvoyOptions};

use crate::buckets::BucketTarget;
use crate::cluster::ClusterTarget;
use crate::cpu::Placement;
use crate::error::BenchError;
use crate::report::{ModuleReport, Report};
use crate::rows::Group;

/// The modules whose sizes are printed; the first one is measured.
const MODULES: [&str; 3] = ["headgate", "token-bucket", "traffic-tag"];

/// Measures the cost of the filters per request, against no filter and against Envoy's own filters, and checks the targets for a
/// whole cluster at full size.
///
/// Exits with 1 if a target is missed.
#[derive(Debug, Parser)]
#[command(name = "headgate-bench", version)]
struct Cli {
    /// Number of rounds; each runs one block of every row. More rounds give narrower intervals. Rounded up to a multiple of --proxies.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(4..))]
    rounds: u16,
    /// Number of Envoys, started one after another, that share the rounds. The place of a wasm VM in memory changes a figure
    /// by some microseconds for the lifetime of an Envoy.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    proxies: u16,
    /// Length of a block, in milliseconds.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u16).range(20..))]
    block: u16,
    /// Measure only rows whose id or title contains this text, and the rows they are compared with.
    #[arg(long, value_name = "PATTERN")]
    only: Option<String>,
    /// Also measure this build of headgate.wasm, in rows of its own. Repeatable.
    #[arg(long, value_name = "FILE")]
    also: Vec<PathBuf>,
    /// Exit with 0 even if a target is missed.
    #[arg(long)]
    ignore_targets: bool,
    /// Format of the results.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Directory of the modules.
    #[arg(long, env = "HEADGATE_WASM", default_value_os_t = dist())]
    wasm: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A text table.
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
    eprintln!("headgate-bench: missed targets: {missed}");
    if cli.ignore_targets {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn bench(cli: &Cli) -> Result<Report, BenchError> {
    let mut targets = ClusterTarget::ALL.to_vec();
    targets.retain(|target| cli.only.as_deref().is_none_or(|p| target.is_named(p)));
    // One thread, so that the load and the upstream do not take a core from the worker.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let found = cluster::measure(&targets)?;
    let bucket_targets: Vec<_> = BucketTarget::ALL
        .into_iter()
        .filter(|target| cli.only.as_deref().is_none_or(|p| target.id().contains(p)))
        .collect();
    let module = cli.wasm.join(format!("{}.wasm", MODULES[0]));
    // Before any thread is bound to a core.
    let buckets = runtime.block_on(buckets::measure(&bucket_targets, &module))?;
    let named = !targets.is_empty() || !bucket_targets.is_empty();
    match runtime.block_on(measure_filters(cli)) {
        // The pattern selects only these.
        Err(BenchError::NoRow(..)) if named => Ok(Report::without_filters(found, buckets)),
        filters => Ok(filters?.with(found, buckets)),
    }
}

/// Measures the cost of the filters.
async fn measure_filters(cli: &Cli) -> Result<Report, BenchError> {
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
        rows::apis(&module),
        rows::rules(&module),
        routing,
    ];
    let whole = |file: &PathBuf| file.canonicalize().unwrap_or_else(|_| file.clone());
    let also: Vec<_> = cli.also.iter().map(whole).collect();
    groups.iter_mut().for_each(|group| group.also(&also));
    let groups = select(groups, cli.only.as_deref())?;
    let clusters = fleet::write_clusters(&fleets, dir.path())?;
    let rows = groups.iter().flat_map(|group| &group.rows);
    let listeners: Vec<_> = rows.map(|row| row.listener.clone()).collect();
    let text = bootstrap::bootstrap(&listeners, upstream, &clusters);
    let mut options = EnvoyOptions::new(text);
    options.log_level = "error".to_owned();
    options.within = Duration::from_secs(120);
    let cores = cpu::cores()?;
    let mut placement = Placement::Shared;
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
        Placement::Separate { worker, rest } => {
            format!(
                "one worker on core {worker}; load, upstream and the rest of Envoy on core {rest}"
            )
        }
        Placement::Shared => "one worker; all threads share the only core".to_owned(),
    };
    let placement = format!(
        "{} Envoys, one after another, each with {placement}",
        cli.proxies
    );
    let envoys = cli.proxies.into();
    Ok(Report::new(&groups, &samples, envoys, placement, modules))
}

fn select(mut groups: Vec<Group>, only: Option<&str>) -> Result<Vec<Group>, BenchError> {
    let Some(pattern) = only else {
        return Ok(groups);
    };
    let rows = groups.iter().flat_map(|group| &group.rows);
    let mut ids: Vec<_> = rows.map(|row| row.id.clone()).collect();
    ids.extend(ClusterTarget::ALL.map(|target| target.id().to_owned()));
    ids.extend(BucketTarget::ALL.map(|target| target.id().to_owned()));
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
