//! Status of policies: contents, schedule and writes.

mod scheduler;
mod status;
mod write;

pub use self::scheduler::{Due, MIN_INTERVAL, PolicyState, PolicyStates, StatusScheduler, Write};
pub use self::status::{ACCEPTED, PROGRAMMED, RESOLVED_REFS, to_write};
pub use self::write::write_statuses;
