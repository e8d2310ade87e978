//! A table of carriers, with the expected shares and findings of each row.

use headgate_model::Carrier;

use crate::fixtures::{llama, objects, percents, planned, reasons};

/// Carriers, the expected share of each version in percent, and the expected reasons of findings.
pub(crate) struct Row {
    case: &'static str,
    carriers: Vec<Carrier>,
    shares: &'static [(&'static str, f64)],
    findings: &'static [&'static str],
}

pub(crate) fn check(rows: Vec<Row>) {
    for row in rows {
        let plan = planned(&objects(row.carriers));
        let want = row
            .shares
            .iter()
            .map(|(v, p)| ((*v).to_owned(), *p))
            .collect();
        assert_eq!(percents(llama(&plan)), want, "{}", row.case);
        assert_eq!(
            reasons(&plan),
            row.findings,
            "{}: {:#?}",
            row.case,
            plan.findings
        );
    }
}

pub(crate) fn row(
    case: &'static str,
    carriers: Vec<Carrier>,
    shares: &'static [(&'static str, f64)],
    findings: &'static [&'static str],
) -> Row {
    Row {
        case,
        carriers,
        shares,
        findings,
    }
}
