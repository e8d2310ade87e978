//! The command line: `clap` types, and their conversion to the plain configuration of [`crate::config`].

mod admin;
mod bootstrap;
mod identity;
mod input;
mod istio;
mod listener;
mod reference;
mod schema;
mod serve;
mod status;
mod translate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use headgate_report::output::{Format, print_error, printed};

use self::bootstrap::BootstrapArgs;
use self::input::LabelArgs;
use self::schema::SchemaArgs;
use self::serve::ServeArgs;
use self::status::{StatusArgs, VersionArgs, WaitArgs};
use self::translate::TranslateArgs;
use crate::config::{LogConfig, ValidateConfig};
use crate::names::parse_namespace;

pub(crate) use self::reference::reference;
pub(crate) use self::schema::Printed;

/// Model-aware traffic control for Envoy.
///
/// Translates labels on model workloads (`model-name`, `model-version`, `canary-weight`) to clusters, endpoints, weighted
/// version routes and filter configuration, and pushes them to Envoy over xDS.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, propagate_version = true)]
pub(crate) struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Format of log lines, which go to standard error.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text, env = "HEADGATE_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// Log level: `error`, `warn`, `info`, `debug` or `trace`, also per module as in `info,headgate_xds=debug`. The default is `info`
    /// for `serve` and `error` for other commands.
    #[arg(long, global = true, value_name = "LEVEL", env = "HEADGATE_LOG")]
    pub log: Option<String>,
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// The exit code, after help, the version or the error was printed.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            let shown = error.print().and_then(|()| std::io::stdout().flush());
            if let Err(error) = printed(shown) {
                print_error(&format!("headgate: {error}"));
                return ExitCode::from(2);
            }
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        })
    }

    /// The logging configuration.
    pub(crate) fn log_config(&self) -> LogConfig {
        // A client reports its errors itself, so it logs nothing below `error`.
        let default = match &self.command {
            Command::Serve(_) => "info",
            _ => "error",
        };
        LogConfig {
            filter: self.log.clone().unwrap_or_else(|| default.to_owned()),
            json: self.log_format == LogFormat::Json,
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch models and policies, and serve them to proxies over xDS.
    Serve(Box<ServeArgs>),
    /// Show the planned weights of models, and the state of each proxy.
    Status(StatusArgs),
    /// Wait until a weight has reached every proxy, for CI pipelines.
    Wait(WaitArgs),
    /// Check models and policies with the code that serves them. Exits with 1 if anything is invalid.
    Validate(ValidateArgs),
    /// Show the resources that would be served, without serving them.
    Translate(Box<TranslateArgs>),
    /// Write an Envoy bootstrap.
    Bootstrap(Box<BootstrapArgs>),
    /// Print JSON schemas, references, CustomResourceDefinitions or RBAC manifests.
    Schema(SchemaArgs),
    /// Print the version of this program and of the control planes.
    Version(VersionArgs),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
}

/// `headgate completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(headgate completion bash)
  headgate completion zsh > \"${fpath[1]}/_headgate\"
  headgate completion fish > ~/.config/fish/completions/headgate.fish")]
pub(crate) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell with completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

impl CompletionArgs {
    /// The script.
    pub(crate) fn script(&self) -> String {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "headgate", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

/// `headgate validate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 if everything is valid (there may be warnings), 1 if anything is invalid, 2 if a path cannot be read.")]
pub(crate) struct ValidateArgs {
    /// File or directory with workload manifests and policies, also as `kubectl get -o yaml` prints them; `-` is standard input.
    /// Repeatable.
    #[arg(short = 'f', long = "filename", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Also read subdirectories. Hidden directories and symbolic links to directories are skipped.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Namespace of manifests without one.
    #[arg(long, value_name = "NAMESPACE", default_value = "default", value_parser = parse_namespace)]
    default_namespace: String,
    /// Namespace whose policies apply to the models of all namespaces.
    #[arg(long, value_name = "NAMESPACE", env = "HEADGATE_ROOT_NAMESPACE", value_parser = parse_namespace)]
    root_namespace: Option<String>,
    /// Label keys.
    #[command(flatten)]
    labels: LabelArgs,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl ValidateArgs {
    /// The configuration.
    pub(crate) fn config(&self) -> ValidateConfig {
        ValidateConfig {
            paths: self.paths.clone(),
            recursive: self.recursive,
            default_namespace: self.default_namespace.clone(),
            root_namespace: self.root_namespace.clone(),
            labels: self.labels.keys(),
            format: self.output.into(),
        }
    }
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Text for people.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl From<Output> for Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Text => Self::Text,
            Output::Json => Self::Json,
            Output::Yaml => Self::Yaml,
        }
    }
}
