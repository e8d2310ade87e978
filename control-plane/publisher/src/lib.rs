//! Publication of plans: source → registry → plan → one snapshot for each scope, and what proxies made of them.
//!
//! ```text
//! Observed ──▶ scheduler (when) ──▶ publisher (plan) ──▶ snapshots (translated, one for each scope) ──▶ xds
//!                                         replica counts, refusals, unreachable versions ◀── proxies ──┘
//! ```
//!
//! Invariant: a publication never waits for a proxy, and a scope that cannot be translated keeps its last good snapshot.

mod changes;
mod modules;
mod publisher;
mod rejections;
mod replica_counts;
mod scheduler;
mod scopes;
mod snapshots;
mod unreachable;

pub use self::changes::ChangedResources;
pub use self::modules::{ModuleProblem, Offered};
pub use self::publisher::{Published, Publisher, tick};
pub use self::replica_counts::{count_proxies, filter_configurations};
pub use self::scopes::{
    FlagRules, Match, MetadataMatch, Patterns, RuleRole, RuleSource, ScopeRule, ScopeRules,
    parse_scope_file, scope_file_schema,
};
pub use self::snapshots::SnapshotStore;
pub use self::unreachable::{UnreachableVersion, unreachable_versions};
pub use headgate_translate::provenance::{ConfiguredModel, plan_revision};
pub use headgate_translate::{LeftOut, Rejected};
