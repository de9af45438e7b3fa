//! Work that gives way to all other.

/// From now on this thread gets what others leave: of the processors, and by that (`ioprio_set(2)`) of the disk. Where the
/// system refuses, it goes on as before.
pub fn give_way() {
    // On Linux this is of the thread, whatever POSIX says.
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        tracing::debug!(%error, "A thread could not be given a low priority.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;

    #[test]
    fn one_thread_gives_way_and_others_do_not() {
        let before = getpriority_process(None).unwrap();
        let low = std::thread::spawn(|| {
            give_way();
            getpriority_process(None).unwrap()
        });
        assert_eq!(low.join().unwrap(), 19);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
