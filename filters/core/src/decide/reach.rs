//! Sessions whose version cannot be reached. They are rare, and kept out of the common path.

use std::rc::Rc;

use super::Decider;
use crate::effects::Effect;
use crate::metrics;
use crate::outages::Target;
use crate::pick::{Lane, Picker, Version};
use crate::vm::Vm;

impl<'a> Decider<'a> {
    /// The version that was picked, or an alternative while that one is passed over.
    #[cold]
    pub(super) fn reachable(
        &self,
        vm: &mut Vm,
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
        if vm.outages.tries(own, now, self.host) || !vm.outages.passes_over(own, now) {
            return (picked, lane);
        }
        let passed = |version: &str| vm.outages.passes_over(Target { version, ..own }, now);
        let Some((version, lane)) = picker.pick_reachable(session, &passed) else {
            return (picked, lane);
        };
        if version.name != picked.name {
            const NAME: &str = "passed_over_total";
            let render = || metrics::by_version(NAME, model, &picked.name);
            let metric = vm.counters.version(picked).get(NAME, "", render);
            effects.push(Effect::Count(metric, 1));
        }
        (version, lane)
    }
}
