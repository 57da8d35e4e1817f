//! Watch: looks at a recording that another process writes, and says whether all is well: a page for people.
//!
//! Nothing here writes to the recording. What was seen at a moment is plain data; pages are pure functions of it.

pub mod head;
#[cfg(feature = "reports")]
pub mod model;
