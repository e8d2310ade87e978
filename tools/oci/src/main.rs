//! `headgate-oci`: packs the modules of `dist`, and pushes them to a registry if one is named.

use std::path::PathBuf;
use std::process::ExitCode;

use cargo_metadata::MetadataCommand;
use clap::Parser;
use headgate_oci::{
    Artifact, Credentials, Description, Failure, artifact, push, sbom, write_layout,
};

/// Packs the filter modules as OCI artifacts.
#[derive(Debug, Parser)]
struct Args {
    /// Directory of the modules.
    #[arg(long, default_value = "dist")]
    modules: PathBuf,
    /// OCI image layout to write.
    #[arg(long, default_value = "dist/oci")]
    output: PathBuf,
    /// The commit that the modules were built from.
    #[arg(long, default_value = "unknown")]
    revision: String,
    /// Push to HOST[:PORT]/PATH/NAME:VERSION.
    #[arg(long, value_name = "HOST[:PORT]/PATH")]
    push: Option<String>,
    /// Account at the registry; its password is in REGISTRY_PASSWORD.
    #[arg(long, env = "REGISTRY_USER")]
    user: Option<String>,
    /// Password of that account.
    #[arg(
        long,
        env = "REGISTRY_PASSWORD",
        hide_env_values = true,
        requires = "user"
    )]
    password: Option<String>,
    /// Names of the modules.
    #[arg(required = true)]
    names: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headgate-oci: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    let metadata = MetadataCommand::new()
        .other_options(["--locked", "--filter-platform", "wasm32-wasip1"].map(str::to_owned))
        .exec()?;
    let artifacts: Result<Vec<Artifact>, Failure> = args
        .names
        .iter()
        .map(|name| {
            let file = args.modules.join(format!("{name}.wasm"));
            let module = std::fs::read(&file)
                .map_err(|e| format!("{}: {e}; run `make wasm`", file.display()))?;
            let description = Description {
                name: name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                revision: args.revision.clone(),
                licences: env!("CARGO_PKG_LICENSE").to_owned(),
                source: env!("CARGO_PKG_REPOSITORY").to_owned(),
            };
            artifact(&module, sbom(&metadata, name, &module)?, &description)
        })
        .collect();
    let artifacts = artifacts?;
    write_layout(&args.output, &artifacts)?;
    for artifact in &artifacts {
        let Artifact {
            name,
            version,
            manifest,
            ..
        } = artifact;
        println!(
            "{}  {name}:{version}  {}",
            args.output.display(),
            manifest.digest
        );
    }
    let Some(repository) = &args.push else {
        return Ok(());
    };
    let credentials = match (&args.user, &args.password) {
        (Some(user), Some(password)) => Some(Credentials {
            user: user.clone(),
            password: password.clone(),
        }),
        (Some(_), None) => return Err("--user needs a password: set REGISTRY_PASSWORD".into()),
        _ => None,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    for pushed in runtime.block_on(push(repository, &artifacts, credentials.as_ref()))? {
        println!("{}@{}", pushed.reference, pushed.digest);
    }
    Ok(())
}
