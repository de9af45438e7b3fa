//! Threads of which none may die unseen.
//!
//! A thread that panics takes with it what only it did: nobody reads archives any more, or applies batches, and the rest of
//! the process goes on as if nothing was. So a panic in a thread that was started here is logged and ends the process with
//! an exit code of its own. Who started it starts it again (systemd does), and nothing is lost: the logs are read again from
//! where the ledger stands.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

/// The exit code of a process in which a thread panicked (`EX_SOFTWARE` of `sysexits.h`).
pub const PANICKED: i32 = 70;

/// Starts a thread whose panic ends the process.
///
/// # Errors
///
/// When the system gives no thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(|| guarded(work))
}

/// Does something on a thread that was started otherwise; a panic in it ends the process.
pub fn guarded<T>(work: impl FnOnce() -> T) -> T {
    // Nothing that the panic left half done is looked at any more.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| end(&*panic))
}

/// Logs why a thread panicked, and ends the process.
pub fn end(panic: &(dyn Any + Send)) -> ! {
    let thread = std::thread::current();
    let text = panic.downcast_ref::<&str>().copied();
    let why =
        text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason is given");
    tracing::error!(
        thread = thread.name().unwrap_or("unnamed"),
        why = %why.escape_debug(),
        "A thread panicked, which is a bug of dnsledger; the process ends. Started again, it goes on where the ledger stands. \
         Please report this with the lines above."
    );
    std::process::exit(PANICKED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_panic_gives_what_it_made() {
        assert_eq!(spawn("seven", || 7).unwrap().join().unwrap(), 7);
        assert_eq!(guarded(|| 7), 7);
    }
}
