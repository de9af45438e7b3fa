//! What the daemon takes away from itself before it reads the first byte of a log.
//!
//! From then on no thread of it can write anywhere but below its data folder, run a program, or open a connection (Landlock,
//! Linux 5.13 and later; TCP from 6.7 on). Reading stays open: logs are links into other folders, and come later. Landlock
//! knows no sockets but those of TCP, so a filter of system calls (seccomp) leaves nothing but TCP and sockets of the machine:
//! no UDP, nothing raw, no io_uring, which would go around it. It does from within, on every system, what the systemd unit
//! does from outside.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

/// The newest rights that are known here; an older kernel takes those it knows.
const RIGHTS: ABI = ABI::V5;

/// How much of the sandbox the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restricted {
    /// All rules are enforced.
    Fully,
    /// What this kernel knows of it.
    Partly,
    /// Nothing: the kernel has no Landlock, or it is switched off.
    Not,
}

/// Restricts this thread and all that it starts from now on: writing only below `folder`, which must be there.
///
/// # Errors
///
/// When the folder cannot be opened, or the kernel refuses what it said it knows.
pub fn restrict(folder: &Path) -> Result<Restricted, Failed> {
    let write = AccessFs::from_write(RIGHTS);
    let status = Ruleset::default()
        .handle_access(write | AccessFs::Execute)?
        .handle_access(AccessNet::ConnectTcp)?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(folder)?, write))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Restricted::Fully,
        RulesetStatus::PartiallyEnforced => Restricted::Partly,
        RulesetStatus::NotEnforced => Restricted::Not,
    })
}

/// Why something could not be taken away.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The numbers of system calls on this machine: socket, sendto, sendmsg, sendmmsg, io_uring_setup.
const CALLS: Option<[i64; 5]> = match () {
    () if cfg!(target_arch = "x86_64") => Some([41, 44, 46, 307, 425]),
    () if cfg!(any(target_arch = "aarch64", target_arch = "riscv64")) => Some([198, 206, 211, 269, 425]),
    () => None,
};
/// What is added to a number for the same call in the third way of calling that x86 has.
const X32: i64 = 0x4000_0000;
/// EACCES: "Permission denied", as Landlock says.
const REFUSED: u32 = 13;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_STREAM: u64 = 1;
/// The bits of a socket's type; the others are flags.
const TYPES: u64 = 0xf;
const IPPROTO_TCP: u64 = 6;
/// Connects while it sends.
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// Leaves this thread, and all that it starts from now on, no sockets but those of TCP and of this machine. `false` where
/// this kind of machine is not known.
///
/// # Errors
///
/// When the kernel takes no such filter.
pub fn close_sockets() -> Result<bool, Failed> {
    let (Some([socket, sendto, sendmsg, sendmmsg, io_uring_setup]), Ok(machine)) =
        (CALLS, std::env::consts::ARCH.try_into())
    else {
        return Ok(false);
    };
    let is = |argument: u8, operation: SeccompCmpOp, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
    };
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    // A rule holds when all of its conditions do, and one of the rules is enough.
    let mut sockets = vec![
        SeccompRule::new(vec![
            is(0, SeccompCmpOp::Ne, AF_UNIX)?,
            is(0, SeccompCmpOp::Ne, AF_INET)?,
            is(0, SeccompCmpOp::Ne, AF_INET6)?,
        ])?,
        SeccompRule::new(vec![
            is(0, SeccompCmpOp::Ne, AF_UNIX)?,
            is(2, SeccompCmpOp::Ne, 0)?,
            is(2, SeccompCmpOp::Ne, IPPROTO_TCP)?,
        ])?,
    ];
    for other in (0..=TYPES).filter(|other| *other != SOCK_STREAM) {
        sockets.push(SeccompRule::new(vec![
            is(0, SeccompCmpOp::Ne, AF_UNIX)?,
            is(1, SeccompCmpOp::MaskedEq(TYPES), other)?,
        ])?);
    }
    refused.insert(socket, sockets);
    for (send, flags) in [(sendto, 3), (sendmsg, 2), (sendmmsg, 3)] {
        let opens = is(flags, SeccompCmpOp::MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)?;
        refused.insert(send, vec![SeccompRule::new(vec![opens])?]);
    }
    refused.insert(io_uring_setup, Vec::new());
    if cfg!(target_arch = "x86_64") {
        refused.extend([socket, io_uring_setup].map(|call| (call | X32, Vec::new())));
    }
    let filter = SeccompFilter::new(refused, SeccompAction::Allow, SeccompAction::Errno(REFUSED), machine)?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_written_outside_of_the_folder() {
        let [inside, outside] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        fs::write(outside.path().join("log"), "x").unwrap();
        let (a, b) = (inside.path().to_owned(), outside.path().to_owned());
        // The restriction is this thread's alone.
        let thread = std::thread::spawn(move || {
            let restricted = restrict(&a).unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok();
            let ran = std::process::Command::new("true").status().is_ok();
            assert!(fs::write(a.join("ledger"), "x").is_ok() && fs::read(b.join("log")).is_ok());
            (
                restricted,
                fs::write(b.join("new"), "x").is_ok(),
                fs::remove_file(b.join("log")).is_ok(),
                connected,
                ran,
            )
        });
        let (restricted, wrote, removed, connected, ran) = thread.join().unwrap();
        match restricted {
            Restricted::Fully => assert!(!wrote && !removed && !connected && !ran),
            Restricted::Partly => assert!(!wrote && !removed && !ran),
            Restricted::Not => eprintln!("SKIPPED: this kernel has no Landlock"),
        }
    }

    #[test]
    fn no_sockets_are_left_but_those_of_tcp_and_of_the_machine() {
        use std::net::{TcpListener, TcpStream, UdpSocket};
        use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        // The restriction is this thread's alone.
        let thread = std::thread::spawn(move || {
            assert!(UdpSocket::bind("127.0.0.1:0").is_ok(), "it is there before");
            match close_sockets() {
                Ok(true) => {}
                other => return eprintln!("SKIPPED: no filter of system calls here: {other:?}"),
            }
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let refused = UdpSocket::bind(address).unwrap_err();
                assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{address}");
            }
            let raw = |domain, kind, protocol: i32| {
                socket2::Socket::new(socket2::Domain::from(domain), kind, Some(protocol.into()))
                    .map_err(|error| error.raw_os_error())
                    .map(drop)
            };
            use socket2::Type;
            for (domain, kind, protocol) in [
                (2, Type::DGRAM, 0),
                (2, Type::RAW, 1),
                (10, Type::RAW, 58),
                (2, Type::STREAM, 132), // SCTP
                (2, Type::STREAM, 262), // MPTCP
                (2, Type::SEQPACKET, 0),
                (16, Type::RAW, 0),    // netlink
                (17, Type::DGRAM, 0),  // packets
                (40, Type::STREAM, 0), // virtual machines
                (43, Type::STREAM, 0), // SMC, which is TCP in the end
            ] {
                assert_eq!(
                    raw(domain, kind, protocol),
                    Err(Some(REFUSED as i32)),
                    "{domain} {kind:?} {protocol}"
                );
            }
            // What the daemon needs.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            std::io::Write::write_all(&mut client, b"x").unwrap();
            let local = UnixListener::bind(&path).unwrap();
            UnixStream::connect(&path).unwrap();
            drop(local);
            UnixDatagram::unbound().unwrap();
        });
        thread.join().unwrap();
    }
}
