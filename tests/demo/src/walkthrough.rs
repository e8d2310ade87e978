//! The documented canary with `kubectl` (`docs/walkthrough.md`), run: each command prints what the page says.
//!
//! Place in the flow: between the page and a stage on a Kubernetes API. Invariant: everything but ages, hashes and the width of
//! columns is compared, line by line; `…` in the page stands for lines that are left out.

use std::process::Command;
use std::time::Duration;

use headgate_testkit::deadline::eventually;
use headgate_testkit::kube::KubeError;
use headgate_testkit::stage::{Stage, StageError, tools};

use crate::claim::{Claim, Claimed};
use crate::objects::cluster;

/// What [`walk`] claims.
pub const CLAIM: Claim = Claim("each command of docs/walkthrough.md prints what the page says");
/// The heading above the commands.
const HEADING: &str = "# A canary with kubectl";
/// What Headgate needs to act on a command, and an Event until it is written.
const SAID: Duration = Duration::from_secs(60);

/// A command, and the lines that it is said to print.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    line: String,
    prints: Vec<String>,
}

/// Walks it on a fresh stage; returns how many commands there were.
///
/// # Errors
/// A command that says something else.
pub async fn walk(stage: &Stage) -> Claimed<usize> {
    let page = CLAIM
        .seen("the checkout", tools::checkout())?
        .join("docs/walkthrough.md");
    let page = CLAIM.seen("docs/walkthrough.md", std::fs::read_to_string(page))?;
    let steps = steps(&page);
    CLAIM.ensure(steps.len() > 4, || format!("only {} commands", steps.len()))?;
    for step in &steps {
        // What changes something is typed once; what it brings about may take a moment to be seen.
        let changes = ["kubectl label ", "kubectl delete "];
        let changes = changes.iter().any(|verb| step.line.starts_with(verb));
        let said = match changes {
            true => told(stage, step).await,
            false => eventually(SAID, &step.line, async || told(stage, step).await)
                .await
                .map_err(|late| late.to_string()),
        };
        CLAIM.seen(&step.line, said)?;
    }
    Ok(steps.len())
}

/// The commands for `kubectl` and `headgate` in the fenced blocks below the heading.
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

/// Runs a command, which must say what it is said to.
async fn told(stage: &Stage, step: &Step) -> Result<(), String> {
    let said = run(stage, &step.line).await.map_err(|broken| broken.why)?;
    match missing(step, &said) {
        Some(what) => Err(format!("{what} in\n{said}")),
        None => Ok(()),
    }
}

/// What a command says, on either stream.
async fn run(stage: &Stage, line: &str) -> Claimed<String> {
    if line.starts_with("kubectl ") {
        return match cluster(CLAIM, stage)?.kubectl(line).await {
            Ok(typed) => Ok(typed.output),
            Err(StageError::Kube(KubeError::Refused { stderr, .. })) => Ok(stderr),
            Err(error) => Err(CLAIM.broken(error)),
        };
    }
    let binary = CLAIM.seen("headgate", tools::headgate_binary())?;
    let output = Command::new(binary)
        .args(line.split(' ').skip(1))
        .env(
            "HEADGATE_ADMIN_ADDRESS",
            stage.addresses().admin.to_string(),
        )
        .output();
    let output = CLAIM.seen(line, output)?;
    let both = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&both).into_owned())
}

/// What differs first between what should have been said and what was.
fn missing(step: &Step, said: &str) -> Option<String> {
    let said: Vec<String> = said
        .lines()
        .map(lasting)
        .filter(|l| !l.is_empty())
        .collect();
    let mut rest = said.as_slice();
    let mut left_out = false;
    for line in &step.prints {
        if line.trim() == "…" {
            left_out = true;
            continue;
        }
        let wanted = lasting(line);
        if wanted.is_empty() {
            continue;
        }
        match rest.iter().position(|line| *line == wanted) {
            Some(at) if at == 0 || left_out => rest = &rest[at + 1..],
            _ => return Some(format!("no {line:?} in its place")),
        }
        left_out = false;
    }
    let more = rest.first().filter(|_| !left_out);
    more.map(|line| format!("also {line:?}"))
}

/// A line without what differs from run to run.
fn lasting(line: &str) -> String {
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
    // kubectl marks a dash line below each heading of an Event's table, as long as the longest word.
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
    fn commands_and_what_they_print_are_read_from_the_section_alone() {
        let steps = steps(PAGE);
        let lines: Vec<&str> = steps.iter().map(|step| step.line.as_str()).collect();
        assert_eq!(lines, ["kubectl get x", "headgate status"]);
        assert_eq!(steps[0].prints, ["NAME  AGE", "x     20s", "…"]);
    }

    #[test]
    fn ages_hashes_and_widths_may_differ_and_nothing_else() {
        let steps = steps(PAGE);
        let in_place = |step: usize, said: &str| missing(&steps[step], said);
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
