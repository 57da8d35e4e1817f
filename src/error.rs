//! What to do about an error. The errors themselves stand beside the code that raises them.

/// Advice that goes with an error: the caller acts on this, never on the wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// It may pass: try again after a while.
    Retry,
    /// The user has to change something first (a flag, a credential, a permission).
    Fix,
    /// The disk is full: make room, and try again.
    MakeRoom,
    /// Something on disk is not as it should be: look before going on.
    Inspect,
    /// Nothing more can be trusted in this process: stop, and open again.
    Stop,
}
