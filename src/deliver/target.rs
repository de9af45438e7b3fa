//! Where an outlet is, and what it is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The ports of syslog over TCP (RFC 6587) and over TLS (RFC 5425).
const SYSLOG_PORTS: [u16; 2] = [601, 6514];

/// What an outlet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutletKind {
    /// A URL that hits are posted to.
    Webhook,
    /// A receiver of syslog.
    Syslog,
    /// The journal of systemd.
    Journal,
    /// A MISP, which hits are told as sightings.
    Misp,
}

impl OutletKind {
    const ALL: [OutletKind; 4] =
        [OutletKind::Webhook, OutletKind::Syslog, OutletKind::Journal, OutletKind::Misp];

    /// What it is called in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            OutletKind::Webhook => "webhook",
            OutletKind::Syslog => "syslog",
            OutletKind::Journal => "journal",
            OutletKind::Misp => "misp",
        }
    }
}

impl fmt::Display for OutletKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OutletKind {
    type Err = String;

    fn from_str(text: &str) -> Result<OutletKind, String> {
        let all = || OutletKind::ALL.map(OutletKind::name).join(", ");
        OutletKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("unknown kind {text:?}: {}", all()))
    }
}

/// Where an outlet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A URL of `http` or `https`.
    Webhook(String),
    /// A receiver of syslog.
    Syslog(SyslogTo),
    /// The socket of a journal.
    Journal(PathBuf),
    /// The URL of a MISP.
    Misp(String),
}

/// Where a receiver of syslog is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTo {
    /// A host and a port, over TCP.
    Tcp(String, u16),
    /// TCP with TLS: host and port.
    Tls(String, u16),
    /// A socket of this machine.
    Unix(PathBuf),
}

impl Target {
    /// Reads where an outlet of a kind is.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub fn parse(kind: OutletKind, to: &str) -> Result<Target, String> {
        match kind {
            OutletKind::Webhook => url(to).map(Target::Webhook),
            OutletKind::Misp if to.contains('?') => Err("the URL of a MISP has no parameters".to_owned()),
            OutletKind::Misp => url(to).map(Target::Misp),
            OutletKind::Syslog => syslog(to).map(Target::Syslog),
            OutletKind::Journal if to.is_empty() => Ok(Target::Journal(JOURNAL.into())),
            OutletKind::Journal => path(to).map(Target::Journal),
        }
    }

    /// What it is.
    pub fn kind(&self) -> OutletKind {
        match self {
            Target::Webhook(_) => OutletKind::Webhook,
            Target::Syslog(_) => OutletKind::Syslog,
            Target::Journal(_) => OutletKind::Journal,
            Target::Misp(_) => OutletKind::Misp,
        }
    }
}

/// A receiver of syslog.
fn syslog(to: &str) -> Result<SyslogTo, String> {
    if let Some(at) = to.strip_prefix("unix:") {
        return path(at.strip_prefix("//").unwrap_or(at)).map(SyslogTo::Unix);
    }
    let [tcp, tls] = SYSLOG_PORTS;
    let (rest, port, is_secure) = match (to.strip_prefix("tcp://"), to.strip_prefix("tls://")) {
        (Some(rest), _) => (rest, tcp, false),
        (_, Some(rest)) => (rest, tls, true),
        _ => return Err("it does not begin with tcp://, tls:// or unix:".to_owned()),
    };
    let (host, port) = match rest.rsplit_once(':') {
        // An address of IPv6 is in brackets.
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| format!("{port:?} is not a port"))?)
        }
        _ => (rest, port),
    };
    let is_v6 = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || is_v6 && "[]:".contains(c);
    if host.is_empty() || port == 0 || !host.chars().all(is_host) {
        return Err("it names no host and port".to_owned());
    }
    let host = host.to_owned();
    Ok(if is_secure { SyslogTo::Tls(host, port) } else { SyslogTo::Tcp(host, port) })
}

/// A socket of this machine.
fn path(to: &str) -> Result<PathBuf, String> {
    match to.starts_with('/') && !to.contains('\0') {
        true => Ok(PathBuf::from(to)),
        false => Err("a socket is named by its whole path".to_owned()),
    }
}

/// A URL that may be posted to.
fn url(to: &str) -> Result<String, String> {
    let rest = to.strip_prefix("http://").or_else(|| to.strip_prefix("https://"));
    let rest = rest.ok_or("it does not begin with http:// or https://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("it has no host".to_owned());
    }
    if authority.contains('@') {
        return Err("a password belongs into the file of the key".to_owned());
    }
    if to.contains('#') || to.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it holds what no URL that is asked for may".to_owned());
    }
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_posted_to_is_a_webhook() {
        for to in ["http://127.0.0.1:9/x", "https://soar.example/hook?a=b", "http://[::1]:8/"] {
            assert_eq!(Target::parse(OutletKind::Webhook, to), Ok(Target::Webhook(to.to_owned())));
        }
        for to in [
            "",
            "soar.example",
            "file:///etc/passwd",
            "http://",
            "http://u:p@x/",
            "http://x/a b",
            "https://x/#y",
        ] {
            assert!(Target::parse(OutletKind::Webhook, to).is_err(), "{to}");
        }
        assert_eq!("webhook".parse(), Ok(OutletKind::Webhook));
        assert!("mail".parse::<OutletKind>().unwrap_err().contains("webhook"));
    }

    #[test]
    fn syslog_is_a_host_or_a_socket() {
        let tcp = |host: &str, port| Ok(Target::Syslog(SyslogTo::Tcp(host.to_owned(), port)));
        let tls = |host: &str, port| Ok(Target::Syslog(SyslogTo::Tls(host.to_owned(), port)));
        let unix = |path: &str| Ok(Target::Syslog(SyslogTo::Unix(path.into())));
        let parse = |to: &str| Target::parse(OutletKind::Syslog, to);
        assert_eq!(parse("tcp://siem.example"), tcp("siem.example", 601));
        assert_eq!(parse("tcp://127.0.0.1:5514"), tcp("127.0.0.1", 5514));
        assert_eq!(parse("tls://[::1]:6515"), tls("[::1]", 6515));
        assert_eq!(parse("tls://[::1]"), tls("[::1]", 6514));
        assert_eq!(parse("unix:/dev/log"), unix("/dev/log"));
        assert_eq!(parse("unix:///dev/log"), unix("/dev/log"));
        for to in [
            "",
            "siem.example",
            "udp://x:514",
            "tcp://",
            "tcp://x:0",
            "tcp://x:99999",
            "tcp://a b",
            "tcp://::1",
            "unix:log",
        ] {
            assert!(parse(to).is_err(), "{to}");
        }
        assert_eq!(Target::parse(OutletKind::Journal, ""), Ok(Target::Journal(JOURNAL.into())));
        assert!(Target::parse(OutletKind::Journal, "x").is_err());
    }
}
