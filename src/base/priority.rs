//! Work that gives way to other work.

/// The lowest priority there is.
const LOWEST: i32 = 19;
/// A tenth of the processor where something of normal priority wants the rest (`sched(7)`).
const BELOW_NORMAL: i32 = 10;

/// From now on this thread gets what others leave: of the processors, and by that (`ioprio_set(2)`) of the disk. Where the
/// system refuses, it goes on as before.
pub fn give_way() {
    lower(LOWEST);
}

/// From now on this thread, and those that it starts, give way to what answers and follows, but get on also on a machine
/// that is busy all the time.
pub fn give_way_to_live() {
    lower(BELOW_NORMAL);
}

fn lower(to: i32) {
    // On Linux this is of the thread, whatever POSIX says.
    if let Err(error) = rustix::process::setpriority_process(None, to) {
        tracing::debug!(%error, "A thread could not be given a low priority.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    fn priority_after(lower: fn()) -> i32 {
        let low = std::thread::spawn(move || {
            lower();
            // Inherited.
            std::thread::spawn(|| getpriority_process(None).unwrap()).join().unwrap()
        });
        low.join().unwrap()
    }

    #[test]
    fn one_thread_gives_way_and_others_do_not() {
        let before = getpriority_process(None).unwrap();
        assert_eq!(priority_after(give_way), 19);
        assert_eq!(priority_after(give_way_to_live), 10);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
