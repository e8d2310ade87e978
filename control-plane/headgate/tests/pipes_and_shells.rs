//! Behaviour of the binary in pipes, scripts and shells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headgate"));
    command.args(args).env_remove("HEADGATE_ADMIN_ADDRESS");
    command
}

fn headgate(args: &[&str]) -> Output {
    command(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn models() -> PathBuf {
    let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    Path::new(&crate_dir).join("../../envoy-config/models")
}

/// Commands without a control plane and with much output.
fn printing() -> Vec<Vec<String>> {
    let models = models().to_str().unwrap().to_owned();
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace();
        words.map(|word| word.replace("MODELS", &models)).collect()
    };
    vec![
        words("translate --models MODELS --wasm /none -o json"),
        words("translate --models MODELS --wasm /none"),
        words("validate -f MODELS"),
        words("schema crds"),
        words("schema reference"),
        words("schema filter-config"),
        words("completion bash"),
        words("bootstrap"),
        words("version --client"),
        words("--help"),
        words("serve --help"),
        words("--version"),
    ]
}

#[test]
fn a_closed_pipe_ends_each_command_silently() {
    for args in printing() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As `head -1` does: it reads one line and closes the pipe.
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        let output = text(&out.stderr);
        assert!(out.status.success(), "{args:?}: {:?} {output}", out.status);
        for word in ["panicked", "Broken pipe", "cannot be written"] {
            assert!(!output.contains(word), "{args:?}: {output}");
        }
    }
}

#[test]
fn a_full_disk_is_an_error() {
    for args in printing() {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let out = command(&args).stdout(full).output().unwrap();
        let output = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {output}");
        assert!(
            output.contains("standard output cannot be written: No space left on device"),
            "{args:?}: {output}"
        );
    }
}

#[test]
fn a_closed_standard_error_does_not_end_a_command() {
    let models = models();
    let args = [
        "translate",
        "--models",
        models.to_str().unwrap(),
        "--wasm",
        "/none",
    ];
    let mut child = command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let mut shown = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown.contains("model/default/llama3-70b/v2"), "{shown}");
}

#[test]
fn logs_have_colors_only_on_a_terminal_that_supports_them() {
    let models = models();
    let dir = tempfile::tempdir().unwrap();
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
    // The only module that `--wasm` needs.
    std::fs::write(dir.path().join("headgate.wasm"), module).unwrap();
    for (name, value, colored) in [
        ("NO_COLOR", "1", false),
        ("NO_COLOR", "", true),
        ("TERM", "dumb", false),
        ("TERM", "xterm", true),
    ] {
        let (terminal, log) = pty();
        let mut child = command(&["serve", "--models", models.to_str().unwrap()])
            .args(["--wasm", dir.path().to_str().unwrap()])
            .args([
                "--xds-address",
                "127.0.0.1:0",
                "--admin-address",
                "127.0.0.1:0",
            ])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .env(name, value)
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(log).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("serving"));
        let line = line.unwrap().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(line.contains('\x1b'), colored, "{name}={value}: {line:?}");
    }
}

/// A pseudoterminal: the program's side and the reader's side.
fn pty() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let reader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&reader).unwrap();
    unlockpt(&reader).unwrap();
    let name = ptsname(&reader, Vec::new()).unwrap();
    let path = Path::new(name.to_str().unwrap());
    let terminal = OpenOptions::new().read(true).write(true).open(path);
    (terminal.unwrap(), std::fs::File::from(reader))
}

#[test]
fn version_prints_the_client_and_each_server() {
    let out = headgate(&["version", "--client"]);
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(text(&out.stdout), format!("client: {own}\n"));
    let args = ["version", "-o", "json", "--admin-address", "127.0.0.1:1"];
    let out = headgate(&args);
    assert_eq!(out.status.code(), Some(1));
    let versions: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(versions["client"]["version"], own);
    assert_eq!(versions["servers"][0]["address"], "127.0.0.1:1");
    let error = versions["servers"][0]["error"].as_str().unwrap();
    assert!(error.contains("refused"), "{error}");
    let yaml = headgate(&["version", "--client", "-o", "yaml"]);
    let parsed: Value = serde_saphyr::from_str(&text(&yaml.stdout)).unwrap();
    assert_eq!(parsed["client"]["version"], own);
}

#[test]
fn completion_supports_each_shell_and_each_command() {
    for shell in ["bash", "zsh", "fish"] {
        let out = headgate(&["completion", shell]);
        let script = text(&out.stdout);
        assert!(out.status.success());
        for word in ["status", "validate", "wait", "admin-address"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(headgate(&["completion", "tcsh"]).status.code(), Some(2));
}

#[test]
fn an_unknown_output_format_is_refused_with_the_name_of_the_flag() {
    for (args, part) in [
        (&["status", "-o", "xml"][..], "--output"),
        (&["status", "-o", "name", "--watch"], "-o name prints once"),
        (
            &["wait", "m", "--for", "acked=130"],
            "\"130\" is not a percent",
        ),
        (&["wait", "m", "--for", "ready"], "--for"),
        (
            &["wait", "m", "--for", "acked=3", "--timeout", "soon"],
            "--timeout",
        ),
        (&["wait", "m"], "--for"),
    ] {
        let out = headgate(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        let output = text(&out.stderr);
        assert!(output.contains(part), "{args:?}: {output}");
    }
}

#[test]
fn translate_and_validate_print_yaml() {
    let models = models();
    let models = models.to_str().unwrap();
    for args in [
        &["translate", "--models", models, "--wasm", "/none"][..],
        &["validate", "-f", models],
    ] {
        let json = headgate(&[args, &["-o", "json"]].concat());
        let yaml = headgate(&[args, &["-o", "yaml"]].concat());
        let json: Value = serde_json::from_slice(&json.stdout).unwrap();
        let yaml: Value = serde_saphyr::from_str(&text(&yaml.stdout)).unwrap();
        assert_eq!(json, yaml, "{args:?}");
    }
}

#[test]
fn wait_ends_with_1_and_the_reason_on_a_timeout() {
    for timeout in ["0", "1s"] {
        let begin = Instant::now();
        let args = [
            "wait",
            "m",
            "--for",
            "acked=30",
            "--admin-address",
            "127.0.0.1:1",
        ];
        let out = headgate(&[&args[..], &["--timeout", timeout]].concat());
        let output = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{output}");
        assert!(
            output.contains("acked=30 does not hold for model m"),
            "{output}"
        );
        assert!(output.contains("no control plane answers"), "{output}");
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}
