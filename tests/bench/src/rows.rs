//! The measured rows, in groups; the first row of a group is the same request without a filter.

mod apis;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::bootstrap::{Listener, Routes};
use crate::error::BenchError;
use crate::filters::{
    Budget, Descriptor, FilterSetup, bucket, headgate, json_to_metadata, local_ratelimit, wasm,
};
use crate::fleet::{Fleet, VERSION};
use crate::requests;

pub(crate) use apis::{apis, rules};

/// A rate limit per hour that no run reaches.
const AMPLE: u32 = 1_000_000_000;
/// Number of models of the larger fleet.
const MANY: usize = 2000;

/// Rows for one kind of request.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its heading.
    pub title: String,
    /// The rows, the base first.
    pub rows: Vec<Row>,
}

/// Counters, by the begin and the end of their names.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub begin: String,
    pub end: &'static str,
}

/// One measured configuration.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name for `--only`, and its listener's.
    pub id: String,
    /// Its description.
    pub title: String,
    /// Its listener in Envoy.
    pub listener: Listener,
    /// The bytes of the request.
    pub request: Vec<u8>,
    /// The expected status of every response.
    pub status: u16,
    /// Its filter's counters that count every request; none without a filter.
    pub counter: Option<Counters>,
    /// The row whose cost is the divisor.
    pub ratio: Option<Ratio>,
    /// Configuration of our filter, if the row has only our filter.
    pub ours: Option<FilterSetup>,
    /// Whether it repeats the base; its added cost is the noise of the machine.
    pub control: bool,
}

/// A comparison with another row of the group.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    /// The other row's id.
    pub to: String,
    /// The compared cost.
    pub of: Cost,
    /// The largest accepted ratio; µs for [`Cost::Beyond`].
    pub target: Option<f64>,
}

/// A cost to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// The cost added to the group's base.
    Added,
    /// The cost of the whole request.
    Whole,
    /// What is added to the other row, in µs. Not a ratio.
    Beyond,
}

impl Row {
    fn new(id: impl Into<String>, title: impl Into<String>, request: &[u8]) -> Self {
        let id = id.into();
        Self {
            listener: Listener {
                name: id.clone(),
                filters: Vec::new(),
                routes: Routes::Upstream(None),
            },
            id,
            title: title.into(),
            request: request.to_vec(),
            status: 200,
            counter: None,
            ratio: None,
            ours: None,
            control: false,
        }
    }

    fn native(mut self, descriptor: Descriptor, requests: u32) -> Self {
        self.listener.routes = Routes::Upstream(Some(descriptor.actions()));
        if descriptor == Descriptor::Model {
            self.listener.filters.push(json_to_metadata());
        }
        let limit = local_ratelimit(&self.id, descriptor, requests);
        self.listener.filters.push(limit);
        self.counter = Some(Counters {
            begin: format!("{}.http_local_rate_limit.enabled", self.id),
            end: "",
        });
        self
    }

    /// The lower-bound module counts no requests.
    fn floor(mut self, module: &Path) -> Self {
        self.listener.filters = vec![wasm(&self.id, module, "")];
        self
    }

    fn with_filter(mut self, module: &Path, what: FilterSetup) -> Self {
        self.listener.filters = vec![headgate(&self.id, module, what)];
        self.ours = Some(what);
        self.counted()
    }

    /// Our filter counts requests by namespace, and the namespace is the row.
    fn counted(mut self) -> Self {
        self.counter = Some(Counters {
            begin: format!("wasmcustom.model_namespace=.={};.;", self.id),
            end: ";.;headgate_requests_total",
        });
        self
    }

    /// The same row with another build of the module, if the row has our filter.
    fn with_build(&self, module: &Path) -> Option<Self> {
        let name = module.file_stem().unwrap_or_default().to_string_lossy();
        let mut again = self.clone();
        again.id = format!("{}-{name}", self.id);
        again.title = format!("  {name}: {}", self.title.trim_start());
        again.listener.name.clone_from(&again.id);
        if let Some(ratio) = &mut again.ratio {
            ratio.target = None;
        }
        Some(again.with_filter(module, self.ours?))
    }

    fn ratio(mut self, of: Cost, to: &str, target: Option<f64>) -> Self {
        self.ratio = Some(Ratio {
            to: to.to_owned(),
            of,
            target,
        });
        self
    }
}

/// Title of our filter's rows. Their ratio to Envoy's own rate limit has no target: the hostcalls of a reservation alone cost more
/// than that, which the lower bound shows. The native flavour is to meet it.
const OURS: &str = "headgate.wasm: request tags (headers, baggage), one bucket";

/// Title of the lower bound, see [`crate::floor`].
const FLOOR: &str = "  lower bound: the same hostcalls, no decisions";

/// Requests described by headers: tags and one bucket.
pub(crate) fn headers(module: &Path, floor: &Path) -> Group {
    let request = requests::by_headers(requests::MODEL, &[("accept-encoding", "gzip")]);
    let row = |id: &str, title| Row::new(format!("headers-{id}"), title, &request);
    let control = Row {
        control: true,
        ..row("again", "no filter again (A/A control)")
    };
    let tagged = row("ours", OURS);
    let state = row("state", "  the same, tags also in filter state");
    let extras = row("extras", "  the same, response tagged, settled on usage");
    let plain = FilterSetup::by("tenant");
    let ours = |row: Row, what| {
        let row = row.with_filter(module, what);
        row.ratio(Cost::Added, "headers-native", None)
    };
    Group {
        title: "by headers".to_owned(),
        rows: vec![
            row("none", "no filter"),
            control,
            row("native", "local_ratelimit with a descriptor").native(Descriptor::Tenant, AMPLE),
            row("floor", FLOOR)
                .floor(floor)
                .ratio(Cost::Added, "headers-native", None),
            ours(tagged, plain),
            ours(
                state,
                FilterSetup {
                    state: true,
                    ..plain
                },
            ),
            ours(
                extras,
                FilterSetup {
                    extras: true,
                    ..plain
                },
            ),
        ],
    }
}

/// Requests over budget.
pub(crate) fn refused(module: &Path) -> Group {
    let request = requests::by_headers(requests::MODEL, &[]);
    let row = |id: &str, title| Row {
        status: 429,
        ..Row::new(format!("refused-{id}"), title, &request)
    };
    let mut base = row("none", "no filter, the route responds 429");
    base.listener.routes = Routes::Refuse;
    let ours = row("ours", "headgate.wasm")
        .with_filter(module, FilterSetup::by("tenant").with(Budget::Spent));
    Group {
        title: "over budget: 429".to_owned(),
        rows: vec![
            base,
            row("native", "local_ratelimit with a descriptor").native(Descriptor::Tenant, 1),
            ours.ratio(Cost::Added, "refused-native", None),
        ],
    }
}

/// Requests with a body of `kib` KiB; ours may add `target` times what the native filters add, if given.
pub(crate) fn body(module: &Path, floor: &Path, kib: usize, target: Option<f64>) -> Group {
    let request = requests::by_body(kib << 10);
    let row = |id: &str, title| Row::new(format!("body{kib}-{id}"), title, &request);
    let native = row(
        "native",
        "json_to_metadata + local_ratelimit with a descriptor",
    );
    let ours = row("ours", OURS)
        .with_filter(module, FilterSetup::by("model"))
        .ratio(Cost::Added, &native.id, target);
    let floor = row("floor", FLOOR)
        .floor(floor)
        .ratio(Cost::Added, &native.id, None);
    Group {
        title: format!("by body, {kib} KiB"),
        rows: vec![
            row("none", "no filter"),
            native.native(Descriptor::Model, AMPLE),
            floor,
            ours,
        ],
    }
}

/// One model against many, with the control plane's routes: without a filter, and with the filter's configuration for as many models.
///
/// # Errors
/// [`BenchError::Fleet`].
pub(crate) fn models(
    module: &Path,
    upstream: SocketAddr,
    dir: &Path,
) -> Result<(Group, Vec<Fleet>), BenchError> {
    const MAX_RATIO: Option<f64> = Some(1.1);
    let titles = [
        ("1 model, no filter", "1 model, headgate.wasm"),
        ("2000 models, no filter", "2000 models, headgate.wasm"),
    ];
    let ample = FilterSetup::by("model");
    let (mut rows, mut fleets) = (Vec::new(), Vec::new());
    for (models, (alone, with)) in [1, MANY].into_iter().zip(titles) {
        let id = format!("models{models}-ours");
        let fleet = Fleet::new(&id, models, upstream, bucket(ample), dir)?;
        let request = requests::by_headers(&fleet.last, &[("x-model-version", VERSION)]);
        let mut alone = Row::new(format!("models{models}-none"), alone, &request);
        alone.listener.routes = Routes::File(fleet.routes.clone());
        let request = requests::by_headers(&fleet.last, &[]);
        let mut with = Row::new(id, with, &request).counted();
        with.listener.routes = Routes::File(fleet.routes.clone());
        let filter = wasm(&with.id, module, &fleet.config);
        with.listener.filters.push(filter);
        if models > 1 {
            alone = alone.ratio(Cost::Whole, "models1-none", MAX_RATIO);
            with = with.ratio(Cost::Whole, "models1-ours", MAX_RATIO);
        }
        rows.extend([alone, with]);
        fleets.push(fleet);
    }
    let group = Group {
        title: "routing, the last model of".to_owned(),
        rows,
    };
    Ok((group, fleets))
}

impl Group {
    /// Adds our rows again with other builds of the module, named after their files, without targets.
    pub(crate) fn also(&mut self, modules: &[PathBuf]) {
        let ours: Vec<_> = self
            .rows
            .iter()
            .filter(|r| r.ours.is_some())
            .cloned()
            .collect();
        let again = modules
            .iter()
            .flat_map(|module| ours.iter().filter_map(move |row| row.with_build(module)));
        self.rows.extend(again);
    }

    /// Keeps the selected rows, the base and the rows they are compared with. False if no row is left.
    pub(crate) fn keep(&mut self, pattern: &str) -> bool {
        let named = |row: &Row| row.id.contains(pattern) || row.title.contains(pattern);
        let mut kept: Vec<String> = self
            .rows
            .iter()
            .filter(|r| named(r))
            .map(|r| r.id.clone())
            .collect();
        if kept.is_empty() {
            return false;
        }
        kept.extend(self.rows.first().map(|base| base.id.clone()));
        let compared = self.rows.iter().filter(|row| kept.contains(&row.id));
        let others: Vec<_> = compared
            .filter_map(|r| Some(r.ratio.as_ref()?.to.clone()))
            .collect();
        kept.extend(others);
        self.rows.retain(|row| kept.contains(&row.id));
        true
    }
}
