//! From flags to what the stages are told.

use std::time::Duration;

use headgate_translate::{Code, Options, ScopeSpec};

use crate::cli::InputArgs;
use crate::domains;

/// What makes a command fail as a whole: one line that names the flag or file, and the fix.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The translation's settings. `linger` bounds how long a request may take to arrive: while it does, it may hold a
/// route to a cluster that is going away.
///
/// # Errors
/// Bad flags.
pub(crate) fn options(
    args: &InputArgs,
    module: Code,
    linger: Duration,
) -> Result<Options, Failure> {
    Ok(Options {
        access_log: (args.access_log != "none").then(|| args.access_log.clone()),
        max_body_bytes: args.max_body_bytes,
        request_timeout: linger * 5 / 6,
        idle_timeout: Duration::from_secs(args.idle_timeout),
        upstream_ca: args.upstream_ca.clone(),
        ..Options::new(module, domains::of(args)?)
    })
}

/// The scope of a proxy that says nothing about itself.
pub(crate) fn plain_scope(args: &InputArgs, options: &Options) -> ScopeSpec {
    ScopeSpec {
        follow: false,
        namespaces: options.domains.keys().cloned().collect(),
        listen: args.listen,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn a_request_has_arrived_before_the_cluster_it_was_routed_to_may_go() {
        for linger in ["2", "60", "3600"] {
            let words = ["headgate", "serve", "--models", "m", "--linger", linger];
            let Command::Serve(args) = Cli::try_parse_from(words).unwrap().command else {
                unreachable!()
            };
            let module = Code::Inline(b"".as_slice().into());
            let options = options(&args.input, module, args.linger()).unwrap();
            assert!(options.request_timeout < args.linger(), "{linger}");
        }
    }
}
