//! Flags of `headgate translate`.

use std::path::PathBuf;

use clap::Args;
use headgate_kubernetes::policies::Controller;
use headgate_publisher::FlagRules;

use super::Output;
use super::identity::{parse_node_namespaces, rule_source};
use super::input::InputArgs;
use crate::config::{RuleSourceConfig, TranslateConfig};

/// `headgate translate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Warnings and errors go to standard error. Exit codes: 0, also if objects are left out; 2 if a directory or the Kubernetes API \
cannot be read, or the plan cannot be translated. Without the module of --wasm, filters are shown without code.")]
pub(crate) struct TranslateArgs {
    /// The source.
    #[command(flatten)]
    input: InputArgs,
    /// What proxies of a mesh see.
    #[command(flatten)]
    scopes: ScopeArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl TranslateArgs {
    /// The configuration.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub(crate) fn config(&self) -> Result<TranslateConfig, String> {
        let input = self.input.config()?;
        if let (None, Some(flag)) = (input.istio.mode, self.scopes.given_flag()) {
            return Err(format!(
                "{flag} applies to the objects of Istio: add --istio, or remove it"
            ));
        }
        Ok(TranslateConfig {
            input,
            rules: self.scopes.rules()?,
            controller: self.scopes.controller_name.clone(),
            format: self.output.into(),
        })
    }
}

/// The settings of `headgate serve --istio` on which its objects depend.
#[derive(Debug, Args)]
#[command(next_help_heading = "Istio")]
struct ScopeArgs {
    /// File of scope rules (YAML), as for `headgate serve`. The rules say which namespaces of models the proxies of a namespace may see.
    #[arg(long, value_name = "FILE", env = "HEADGATE_SCOPES")]
    scopes: Option<PathBuf>,
    /// Namespaces that are served to node ids, as for `headgate serve`. Repeatable.
    #[arg(long = "node-namespaces", value_name = "PATTERN=NAMESPACE,…", value_parser = parse_node_namespaces)]
    node_namespaces: Vec<(String, Vec<String>)>,
    /// Name of the installation, as for `headgate serve`. The objects have it as an annotation, unless it is the default.
    #[arg(
        long,
        value_name = "DOMAIN/PATH",
        default_value_t,
        env = "HEADGATE_CONTROLLER_NAME"
    )]
    controller_name: Controller,
}

impl ScopeArgs {
    fn rules(&self) -> Result<RuleSourceConfig, String> {
        let flags = [("--node-namespaces", self.node_namespaces.is_empty())];
        let rules = FlagRules {
            node_namespaces: self.node_namespaces.clone(),
            ..FlagRules::default()
        };
        rule_source(self.scopes.as_deref(), &flags, rules)
    }

    /// A flag that has an effect with `--istio` only.
    fn given_flag(&self) -> Option<&'static str> {
        let given = self.scopes.is_some().then_some("--scopes");
        given.or_else(|| (!self.node_namespaces.is_empty()).then_some("--node-namespaces"))
    }
}
