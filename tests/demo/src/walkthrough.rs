//! Runs the `kubectl` walk-through of the documentation (`docs/walkthrough.md`); each command must print what the page shows.
//!
//! Place in the flow: between the page and a testbed on a Kubernetes API. Invariant: everything is compared but ages, hashes and
//! column widths, line by line in order; `…` in the page stands for omitted lines.

use std::process::Command;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::KubeError;
use headgate_testkit::testbed::{Testbed, TestbedError, artifacts};

use crate::claim::{Claim, ClaimResult};
use crate::objects::cluster;

/// The claim of [`walk`].
pub const CLAIM: Claim = Claim("each command of docs/walkthrough.md prints what the page shows");
/// The heading of the walk-through.
const HEADING: &str = "# A canary with kubectl";
/// Deadline for the effect of a command, and for an Event to be written.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command, and the lines that it should print.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    line: String,
    prints: Vec<String>,
}

/// Runs the walk-through on a fresh testbed. Returns the number of commands.
///
/// # Errors
/// A command that prints something else.
pub async fn walk(testbed: &Testbed) -> ClaimResult<usize> {
    let page = CLAIM
        .require_ok("the checkout", artifacts::checkout())?
        .join("docs/walkthrough.md");
    let page = CLAIM.require_ok("docs/walkthrough.md", std::fs::read_to_string(page))?;
    let steps = steps(&page);
    CLAIM.ensure(steps.len() > 4, || format!("only {} commands", steps.len()))?;
    for step in &steps {
        // A command that changes something runs once; the output of the others may need a moment to show the effect.
        let changes = ["kubectl label ", "kubectl delete "];
        let changes = changes.iter().any(|verb| step.line.starts_with(verb));
        let output = match changes {
            true => check_output(testbed, step).await,
            false => eventually(TIMEOUT, &step.line, async || {
                check_output(testbed, step).await
            })
            .await
            .map_err(|late| late.to_string()),
        };
        CLAIM.require_ok(&step.line, output)?;
    }
    Ok(steps.len())
}

/// The `kubectl` and `headgate` commands in the fenced blocks below the heading.
fn steps(page: &str) -> Vec<Step> {
    let below = page.split_once(HEADING).map_or("", |(_, below)| below);
    let section = below
        .split_once("\n## ")
        .map_or(below, |(section, _)| section);
    let blocks = section.split("```console\n").skip(1);
    let blocks = blocks.filter_map(|block| Some(block.split_once("\n```")?.0));
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks.flat_map(str::lines) {
        match line.strip_prefix("$ ") {
            Some(line) => steps.push(Step {
                line: line.to_owned(),
                prints: Vec::new(),
            }),
            None => {
                if let Some(step) = steps.last_mut() {
                    step.prints.push(line.to_owned());
                }
            }
        }
    }
    let ours =
        |step: &Step| step.line.starts_with("kubectl ") || step.line.starts_with("headgate ");
    steps.retain(ours);
    steps
}

/// Runs a command and compares its output.
async fn check_output(testbed: &Testbed, step: &Step) -> Result<(), String> {
    let output = run(testbed, &step.line)
        .await
        .map_err(|broken| broken.why)?;
    match difference(step, &output) {
        Some(what) => Err(format!("{what} in\n{output}")),
        None => Ok(()),
    }
}

/// The output of a command, from both streams.
async fn run(testbed: &Testbed, line: &str) -> ClaimResult<String> {
    if line.starts_with("kubectl ") {
        return match cluster(CLAIM, testbed)?.kubectl(line).await {
            Ok(typed) => Ok(typed.output),
            Err(TestbedError::Kube(KubeError::Refused { stderr, .. })) => Ok(stderr),
            Err(error) => Err(CLAIM.broken(error)),
        };
    }
    let binary = CLAIM.require_ok("headgate", artifacts::headgate_binary())?;
    let output = Command::new(binary)
        .args(line.split(' ').skip(1))
        .env(
            "HEADGATE_ADMIN_ADDRESS",
            testbed.addresses().admin.to_string(),
        )
        .output();
    let output = CLAIM.require_ok(line, output)?;
    let both = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&both).into_owned())
}

/// The first difference between expected and actual output.
fn difference(step: &Step, output: &str) -> Option<String> {
    let output: Vec<String> = output
        .lines()
        .map(normalized)
        .filter(|l| !l.is_empty())
        .collect();
    let mut rest = output.as_slice();
    let mut left_out = false;
    for line in &step.prints {
        if line.trim() == "…" {
            left_out = true;
            continue;
        }
        let expected = normalized(line);
        if expected.is_empty() {
            continue;
        }
        match rest.iter().position(|line| *line == expected) {
            Some(at) if at == 0 || left_out => rest = &rest[at + 1..],
            _ => return Some(format!("no {line:?} in its place")),
        }
        left_out = false;
    }
    let more = rest.first().filter(|_| !left_out);
    more.map(|line| format!("also {line:?}"))
}

/// A line without the parts that differ between runs.
fn normalized(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let bare = word.trim_start_matches('>');
        let number = bare.trim_end_matches(['s', 'm', 'h']);
        let age =
            number != bare && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let hash = word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
        match (age, hash) {
            (true, _) => "AGE",
            (_, true) => "HASH",
            _ => word,
        }
    });
    // kubectl draws a dashed line below each heading of an Event table, as long as the longest word.
    words
        .filter(|word| word.bytes().any(|b| b != b'-'))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n### A canary with kubectl\n```console\n$ make up-k8s\n```\nand\n```console\n$ kubectl get x\nNAME  AGE\nx     20s\n…\n$ headgate status\nok  0123456789ab  >3s\n```\n## Next\n```console\n$ kubectl no\n```\n";

    #[test]
    fn commands_and_their_output_are_read_from_one_section_only() {
        let steps = steps(PAGE);
        let lines: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
        assert_eq!(lines, ["kubectl get x", "headgate status"]);
        assert_eq!(steps[0].prints, ["NAME  AGE", "x     20s", "…"]);
    }

    #[test]
    fn only_ages_hashes_and_column_widths_may_differ() {
        let steps = steps(PAGE);
        let in_place = |step: usize, output: &str| difference(&steps[step], output);
        assert_eq!(in_place(0, "NAME AGE\nx   1m\n"), None);
        assert_eq!(in_place(0, "NAME AGE\n\nx   1m\ny 2m"), None, "left out");
        let wrong = in_place(0, "NAME AGE\ny   1m\n").unwrap();
        assert!(wrong.contains("x     20s"), "{wrong}");
        assert!(
            in_place(0, "x 1m\nNAME AGE").is_some(),
            "the other way round"
        );
        assert!(in_place(0, "NAME AGE\ny 1m\nx 1m").is_some(), "one between");
        assert_eq!(in_place(1, "ok fedcba987654 12s"), None);
        assert!(in_place(1, "ko fedcba987654 12s").is_some());
        let more = in_place(1, "ok fedcba987654 12s\nand more").unwrap();
        assert!(more.contains("and more"), "{more}");
    }
}
