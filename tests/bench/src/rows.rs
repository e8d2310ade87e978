//! What is measured, and against what: groups of rows whose first one is the same request without a filter.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::bootstrap::{Listener, Routes};
use crate::error::BenchError;
use crate::filters::{
    Budget, Descriptor, Ours, bucket, json_to_metadata, local_ratelimit, ours, wasm,
};
use crate::fleet::{Fleet, VERSION};
use crate::requests;

/// Requests an hour that no run reaches.
const AMPLE: u32 = 1_000_000_000;
/// Models of the larger fleet.
const MANY: usize = 2000;

/// Rows about one kind of request.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its heading.
    pub title: String,
    /// The base first.
    pub rows: Vec<Row>,
}

/// One thing that is measured.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name for `--only`, and its listener's.
    pub id: String,
    /// What it is.
    pub title: String,
    /// How Envoy serves it.
    pub listener: Listener,
    /// The bytes that are sent.
    pub request: Vec<u8>,
    /// The status of every answer.
    pub status: u16,
    /// Prefix of the counters of its filter that count every request; none without a filter.
    pub witness: Option<String>,
    /// The row whose cost this one's is divided by.
    pub ratio: Option<Ratio>,
    /// What our filter does in it, if it is ours alone that is configured.
    pub ours: Option<Ours>,
    /// Whether it is the base once more: what it adds is what the machine's noise adds.
    pub control: bool,
}

/// A comparison with another row of the group.
#[derive(Debug, Clone)]
pub(crate) struct Ratio {
    /// The other row's id.
    pub to: String,
    /// Which cost.
    pub of: Cost,
    /// The greatest that is aimed at.
    pub mark: Option<f64>,
}

/// Which cost is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// What the row adds to the group's base.
    Added,
    /// The whole request.
    Whole,
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
            witness: None,
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
        self.witness = Some(format!("{}.http_local_rate_limit.enabled", self.id));
        self
    }

    /// A module that counts nothing.
    fn floor(mut self, module: &Path) -> Self {
        self.listener.filters = vec![wasm(&self.id, module, "")];
        self
    }

    fn doing(mut self, module: &Path, what: Ours) -> Self {
        self.listener.filters = vec![ours(&self.id, module, what)];
        self.ours = Some(what);
        self.witnessed()
    }

    /// Our filter counts requests by namespace, and the row is the namespace.
    fn witnessed(mut self) -> Self {
        self.witness = Some(format!(
            "wasmcustom.headgate_requests|namespace={}|",
            self.id
        ));
        self
    }

    /// The same with another build of the module, if it is ours.
    fn again(&self, module: &Path) -> Option<Self> {
        let name = module.file_stem().unwrap_or_default().to_string_lossy();
        let mut again = self.clone();
        again.id = format!("{}-{name}", self.id);
        again.title = format!("  {name}: {}", self.title.trim_start());
        again.listener.name.clone_from(&again.id);
        if let Some(ratio) = &mut again.ratio {
            ratio.mark = None;
        }
        Some(again.doing(module, self.ours?))
    }

    fn ratio(mut self, of: Cost, to: &str, mark: Option<f64>) -> Self {
        self.ratio = Some(Ratio {
            to: to.to_owned(),
            of,
            mark,
        });
        self
    }
}

/// What is asked of our filter in most rows. Ratios of it to Envoy's own limit have no mark: a reserve and its exactness cost wasm more
/// than that by their hostcalls alone, which the floor shows. The native flavour is to meet them.
const OURS: &str = "headgate.wasm: request tags (headers, baggage), one bucket";

/// What it could cost at best: [`crate::floor`].
const FLOOR: &str = "  floor: its hostcalls, nothing decided";

/// By headers: request tags and one bucket.
pub(crate) fn headers(module: &Path, floor: &Path) -> Group {
    let request = requests::by_headers(requests::MODEL, &[("accept-encoding", "gzip")]);
    let row = |id: &str, title| Row::new(format!("headers-{id}"), title, &request);
    let control = Row {
        control: true,
        ..row("again", "no filter once more (A/A control)")
    };
    let tagged = row("ours", OURS);
    let state = row("state", "  the same, tags in filter state too");
    let extras = row("extras", "  the same, answer tagged, settled on usage");
    let plain = Ours::by("tenant");
    let ours = |row: Row, what| {
        let row = row.doing(module, what);
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
                Ours {
                    state: true,
                    ..plain
                },
            ),
            ours(
                extras,
                Ours {
                    extras: true,
                    ..plain
                },
            ),
        ],
    }
}

/// Over budget.
pub(crate) fn refused(module: &Path) -> Group {
    let request = requests::by_headers(requests::MODEL, &[]);
    let row = |id: &str, title| Row {
        status: 429,
        ..Row::new(format!("refused-{id}"), title, &request)
    };
    let mut base = row("none", "no filter, the route answers 429");
    base.listener.routes = Routes::Refuse;
    let ours = row("ours", "headgate.wasm").doing(module, Ours::by("tenant").with(Budget::Spent));
    Group {
        title: "over budget: 429".to_owned(),
        rows: vec![
            base,
            row("native", "local_ratelimit with a descriptor").native(Descriptor::Tenant, 1),
            ours.ratio(Cost::Added, "refused-native", None),
        ],
    }
}

/// By a body of `kib` KiB, of which ours may add `mark` times what the native way adds, if it has a mark.
pub(crate) fn body(module: &Path, floor: &Path, kib: usize, mark: Option<f64>) -> Group {
    let request = requests::by_body(kib << 10);
    let row = |id: &str, title| Row::new(format!("body{kib}-{id}"), title, &request);
    let native = row(
        "native",
        "json_to_metadata + local_ratelimit with a descriptor",
    );
    let ours =
        row("ours", OURS)
            .doing(module, Ours::by("model"))
            .ratio(Cost::Added, &native.id, mark);
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

/// One model against many: the control plane's routes, alone and with the filter's configuration for as many.
///
/// # Errors
/// [`BenchError::Fleet`].
pub(crate) fn models(
    module: &Path,
    upstream: SocketAddr,
    dir: &Path,
) -> Result<(Group, Vec<Fleet>), BenchError> {
    const MARK: Option<f64> = Some(1.1);
    let titles = [
        ("1 model, no filter", "1 model, headgate.wasm"),
        ("2000 models, no filter", "2000 models, headgate.wasm"),
    ];
    let ample = Ours::by("model");
    let (mut rows, mut fleets) = (Vec::new(), Vec::new());
    for (models, (alone, with)) in [1, MANY].into_iter().zip(titles) {
        let id = format!("models{models}-ours");
        let fleet = Fleet::new(&id, models, upstream, bucket(ample), dir)?;
        let request = requests::by_headers(&fleet.last, &[("x-model-version", VERSION)]);
        let mut alone = Row::new(format!("models{models}-none"), alone, &request);
        alone.listener.routes = Routes::File(fleet.routes.clone());
        let request = requests::by_headers(&fleet.last, &[]);
        let mut with = Row::new(id, with, &request).witnessed();
        with.listener.routes = Routes::File(fleet.routes.clone());
        let filter = wasm(&with.id, module, &fleet.config);
        with.listener.filters.push(filter);
        if models > 1 {
            alone = alone.ratio(Cost::Whole, "models1-none", MARK);
            with = with.ratio(Cost::Whole, "models1-ours", MARK);
        }
        rows.extend([alone, with]);
        fleets.push(fleet);
    }
    let group = Group {
        title: "routing, the last of".to_owned(),
        rows,
    };
    Ok((group, fleets))
}

impl Group {
    /// Adds our rows once more with other builds of the module, named after their files. Without marks.
    pub(crate) fn also(&mut self, modules: &[PathBuf]) {
        let ours: Vec<_> = self
            .rows
            .iter()
            .filter(|r| r.ours.is_some())
            .cloned()
            .collect();
        let again = modules
            .iter()
            .flat_map(|module| ours.iter().filter_map(move |row| row.again(module)));
        self.rows.extend(again);
    }

    /// Keeps what a pattern names, the base and what is compared with. False if nothing is left.
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
