//! Status of policies: what to write, when, and the writes.

mod scheduler;
mod status;
mod write;

pub use self::scheduler::{Due, PACE, Standing, Standings, StatusScheduler, Write};
pub use self::status::{ACCEPTED, PROGRAMMED, RESOLVED_REFS, to_write};
pub use self::write::write_statuses;
