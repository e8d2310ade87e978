//! Sessions whose version cannot be reached. Rare, so kept out of the common path.

use std::rc::Rc;

use super::Decider;
use crate::effects::Effect;
use crate::metrics;
use crate::outages::{Outages, Target};
use crate::pick::{Lane, Picker, Version};

impl<'a> Decider<'a> {
    /// The version picked, or the alternative while it is passed over.
    #[cold]
    pub(super) fn reachable(
        &self,
        outages: &mut Outages,
        picker: &'a Picker,
        (session, (namespace, model)): (u64, (&str, &str)),
        (picked, lane): (&'a Rc<Version>, Lane),
        effects: &mut Vec<Effect>,
    ) -> (&'a Rc<Version>, Lane) {
        let now = self.host.now();
        let own = Target {
            namespace,
            model,
            version: &picked.name,
        };
        if outages.tries(own, now, self.host) || !outages.passes_over(own, now) {
            return (picked, lane);
        }
        let passed = |version: &str| outages.passes_over(Target { version, ..own }, now);
        let Some((version, lane)) = picker.around(session, &passed) else {
            return (picked, lane);
        };
        if version.name != picked.name {
            const NAME: &str = "passed_over";
            let render = || metrics::by_version(NAME, model, &picked.name);
            effects.push(Effect::Count(picked.series.get(NAME, "", render), 1));
        }
        (version, lane)
    }
}
