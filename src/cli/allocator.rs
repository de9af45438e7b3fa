//! Settings of glibc's allocator, which reads them when a process starts. Without them a process keeps twice the memory that it
//! uses (docs/dev/performance.md). A variable that the user has set stays.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// For what runs for weeks.
pub(super) const DAEMON: &[(&str, &str)] = &[ARENAS, ("MALLOC_MMAP_THRESHOLD_", "131072")];
/// For a command that reads logs: the other setting would cost it a fifth of its speed.
pub(super) const IMPORT: &[(&str, &str)] = &[ARENAS];

const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Starts this program once more, in this process, with these settings. Does nothing where they are set, or where that cannot
/// be done (without `/proc` the program is not found).
pub(super) fn set(settings: &[(&'static str, &'static str)]) {
    let is_unset = |(name, _): &(&str, &str)| std::env::var_os(name).is_none();
    if settings.iter().any(is_unset)
        && let Ok(program) = std::env::current_exe()
    {
        let unset = settings.iter().copied().filter(is_unset);
        let failed = Command::new(program).args(std::env::args_os().skip(1)).envs(unset).exec();
        tracing::debug!(error = %failed, "The allocator could not be told to keep less.");
    }
}
