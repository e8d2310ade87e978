//! State of this replica: what it serves, and what its proxies have acknowledged.

use std::sync::Arc;

use headgate_model::{Observed, Plan, ReplicaCounts};

/// The state of this replica, from which all writes follow.
#[derive(Debug, Clone)]
pub struct ReplicaState {
    /// The plan that is served.
    pub plan: Arc<Plan>,
    /// The objects that the plan was made from.
    pub observed: Arc<Observed>,
    /// Counts of the proxies of this replica.
    pub counts: Arc<ReplicaCounts>,
}
