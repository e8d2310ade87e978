//! Rows for each API, and for tag rules.

use std::path::Path;

use super::{Cost, Group, Row};
use crate::filters::{FilterSetup, Rules};
use crate::requests::{self, Shape};

/// Size of the bodies, KiB.
const KIB: usize = 4;

/// What any API may add, as a multiple of OpenAI chat with a body of the same size.
const MAX_RATIO: f64 = 1.15;

/// What 200 rules may add to 20, µs, if an index finds the one that matches.
const MAX_RULES_US: f64 = 2.0;

/// A body of the same size in each API.
pub(crate) fn apis(module: &Path) -> Group {
    let chat = Shape::OpenAiChat.request(KIB << 10);
    let mut rows = vec![Row::new("apis-none", "no filter", &chat)];
    for shape in Shape::ALL {
        let (id, title) = shape.names();
        let request = shape.request(KIB << 10);
        let row = Row::new(format!("apis-{id}"), title, &request);
        let row = row.with_filter(module, FilterSetup::by("model"));
        rows.push(match shape {
            Shape::OpenAiChat => row,
            _ => row.ratio(Cost::Added, "apis-openai", Some(MAX_RATIO)),
        });
    }
    Group {
        title: format!("by API, {KIB} KiB; ratio to OpenAI chat"),
        rows,
    }
}

/// Tag rules, of which the last one matches.
pub(crate) fn rules(module: &Path) -> Group {
    let request = requests::by_headers(requests::MODEL, &[("x-team", requests::TEAM)]);
    let mut rows = vec![Row::new("rules-none", "no filter", &request)];
    let mut add = |id: &str, title: &str, rules| {
        let setup = FilterSetup {
            rules,
            ..FilterSetup::by("tenant")
        };
        let row = Row::new(format!("rules-{id}"), title, &request);
        rows.push(row.with_filter(module, setup));
    };
    add("0", "no rule", Rules::None);
    for count in [1, 20, 200] {
        add(
            &format!("equal-{count}"),
            &format!("`equal`, {count}"),
            Rules::Equal(count),
        );
    }
    for count in [1, 20, 200] {
        add(
            &format!("regex-{count}"),
            &format!("`regex`, {count}"),
            Rules::Regex(count),
        );
    }
    for row in &mut rows {
        let compared = match row.id.as_str() {
            "rules-equal-200" => Some(("rules-equal-20", Some(MAX_RULES_US))),
            "rules-regex-200" => Some(("rules-regex-20", None)),
            _ => None,
        };
        if let Some((to, target)) = compared {
            *row = row.clone().ratio(Cost::Beyond, to, target);
        }
    }
    Group {
        title: "tag rules, of which the last one matches; µs beyond 20 rules".to_owned(),
        rows,
    }
}
