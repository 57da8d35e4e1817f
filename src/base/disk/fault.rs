//! Where a test puts faults: before and after every step on disk and every commit. In the program itself this is nothing.

use std::io;
use std::path::Path;

/// A step that can fail, or be the last one before a crash.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at steps"))]
pub(crate) enum Step<'a> {
    /// A directory is made.
    MakeDir(&'a Path),
    /// A file is created or emptied.
    Create(&'a Path),
    /// A small file's bytes are written.
    Write(&'a Path),
    /// A file's bytes are made durable.
    Sync(&'a Path),
    /// A directory's names are made durable.
    SyncDir(&'a Path),
    /// A file takes a name, maybe another file's.
    Rename(&'a Path, &'a Path),
    /// A file loses its name.
    Remove(&'a Path),
    /// The database commits; durable when it returns.
    Commit(&'a Path),
}

/// Takes a step. Tests may refuse it before, or say afterwards that it failed.
#[cfg(not(test))]
#[inline]
pub(crate) fn around<T, E>(
    _step: Step<'_>,
    _refuse: impl Fn(io::Error) -> E,
    act: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    act()
}

/// True when a test wants to see what happens without a part of the program.
#[cfg(not(test))]
#[inline]
pub(crate) fn leaves_out(_part: &str) -> bool {
    false
}

#[cfg(test)]
pub(crate) use scripted::{Script, around, install, leaves_out};

#[cfg(test)]
mod scripted {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::{Step, io};

    /// What a test wants to happen.
    pub(crate) trait Script {
        /// Asked before a step; an error means that the step is not taken.
        fn before(&self, step: &Step<'_>) -> io::Result<()>;
        /// Asked after a step that was taken; an error means that it seems to have failed.
        fn after(&self, step: &Step<'_>) -> io::Result<()>;
        /// Asked where a part of the program can be left out.
        fn leaves_out(&self, part: &str) -> bool;
    }

    thread_local! {
        static SCRIPT: RefCell<Option<Rc<dyn Script>>> = const { RefCell::new(None) };
    }

    /// Puts back what was there before.
    pub(crate) struct Installed(Option<Rc<dyn Script>>);

    impl Drop for Installed {
        fn drop(&mut self) {
            SCRIPT.set(self.0.take());
        }
    }

    /// A script, or none, for this thread until the result is dropped.
    pub(crate) fn install(script: Option<Rc<dyn Script>>) -> Installed {
        Installed(SCRIPT.replace(script))
    }

    pub(crate) fn around<T, E>(
        step: Step<'_>,
        refuse: impl Fn(io::Error) -> E,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(script) = SCRIPT.with_borrow(Clone::clone) else { return act() };
        // What the script itself does on disk is no step.
        let _quiet = install(None);
        script.before(&step).map_err(&refuse)?;
        let done = act()?;
        script.after(&step).map_err(&refuse)?;
        Ok(done)
    }

    pub(crate) fn leaves_out(part: &str) -> bool {
        SCRIPT.with_borrow(|script| script.as_ref().is_some_and(|script| script.leaves_out(part)))
    }
}
