//! The name that the servers of a version want for the model, from the annotations of its carriers.

use headgate_contract::names::ANNOTATION_SERVED_NAME;
use headgate_model::reason;

use crate::fixtures::{Build, carrier, llama, objects, planned, reasons};

#[test]
fn the_annotation_names_the_model_for_the_versions_of_its_carrier() {
    let named = carrier("a", "v1").annotated(ANNOTATION_SERVED_NAME, " meta-llama/Llama-3.1-70B ");
    let plan = planned(&objects([named, carrier("b", "v2")]));
    let served = &llama(&plan).plan.served_names;
    let served: Vec<_> = served
        .iter()
        .map(|(version, name)| (version.as_str(), name.as_str()))
        .collect();
    assert_eq!(served, [("v1", "meta-llama/Llama-3.1-70B")]);
}

#[test]
fn a_name_that_cannot_be_used_is_reported_and_has_no_effect() {
    for text in ["", "  ", "a\nb", &"x".repeat(254)] {
        let named = carrier("a", "v1").annotated(ANNOTATION_SERVED_NAME, text);
        let plan = planned(&objects([named]));
        assert!(llama(&plan).plan.served_names.is_empty(), "{text:?}");
        assert!(
            reasons(&plan).contains(&reason::INVALID_SERVED_NAME),
            "{text:?}"
        );
    }
}
