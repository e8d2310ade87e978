//! Metrics of the process, as all Prometheus clients name them. Source: `/proc/self`, read at each scrape.

use std::fmt::Error;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};

use super::catalog::help;

/// Reads the metrics of this process.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    /// Start time, in Unix seconds.
    pub started: f64,
}

/// Fields of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    threads: i64,
    virtual_bytes: i64,
    resident_bytes: i64,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut gauge = |name: &str, value: i64| one(&mut encoder, name, &ConstGauge::new(value));
        if let Some(stat) = stat() {
            gauge("process_resident_memory_bytes", stat.resident_bytes)?;
            gauge("process_virtual_memory_bytes", stat.virtual_bytes)?;
            gauge("process_threads", stat.threads)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            gauge(
                "process_open_fds",
                i64::try_from(open.count()).unwrap_or(i64::MAX),
            )?;
        }
        // No limit is shown as the largest number.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        gauge("process_max_fds", i64::try_from(limit).unwrap_or(i64::MAX))?;
        if let Some(stat) = stat() {
            one(
                &mut encoder,
                "process_cpu_seconds",
                &ConstCounter::new(stat.cpu_seconds),
            )?;
        }
        one(
            &mut encoder,
            "process_start_time_seconds",
            &ConstGauge::new(self.started),
        )
    }
}

fn one(
    encoder: &mut DescriptorEncoder,
    name: &str,
    metric: &impl EncodeMetric,
) -> Result<(), Error> {
    let family = encoder.encode_descriptor(
        name,
        &format!("{}.", help(name)),
        None,
        metric.metric_type(),
    )?;
    metric.encode(family)
}

#[allow(clippy::cast_precision_loss)] // CPU ticks are far below 2^52
fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the command is in parentheses and may contain spaces. The first field after it is the third one of proc(5).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    let ticks = field(14)?.saturating_add(field(15)?);
    Some(Stat {
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        threads: bytes(field(20)?),
        virtual_bytes: bytes(field(23)?),
        resident_bytes: bytes(field(24)?.saturating_mul(page)),
    })
}
