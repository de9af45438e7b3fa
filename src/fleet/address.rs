//! Where a cluster is, as one line says it.
//!
//! ```text
//! clickhouse://HOST[:PORT][,HOST…][;HOST…]/DATABASE[?user=NAME&password_file=FILE&ca=FILE&compress=false]
//! ```
//!
//! A semicolon separates shards, a comma the replicas of one. `clickhouses://` is with TLS.

use std::path::PathBuf;

/// The port that ClickHouse has for HTTP, and with TLS.
const PORTS: [u16; 2] = [8123, 8443];
/// Shards and replicas at most: each has clients of its own.
const MOST_HOSTS: usize = 256;

/// Where a cluster is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The replicas of each shard, as `host:port`.
    pub shards: Vec<Vec<String>>,
    /// The database.
    pub database: String,
    /// Whether TLS is spoken.
    pub is_secure: bool,
    /// The user; empty for the server's default one.
    pub user: String,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
    /// The file with the certificates that are trusted, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Whether what is sent is compressed.
    pub compresses: bool,
}

/// Why a line says no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a cluster: {why}")]
pub struct BadAddress {
    /// What was given.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

impl BadAddress {
    /// What would be right.
    pub fn hint(&self) -> &'static str {
        "clickhouse://HOST:8123,REPLICA:8123/DATABASE?user=NAME&password_file=FILE, and a semicolon between shards"
    }
}

impl Address {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// When it says no cluster.
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        // Somebody may have written a password into it.
        let told = match text.contains('@') {
            true => "what has an @ in it",
            false => text.split('?').next().unwrap_or_default(),
        };
        let bad = |why: &str| BadAddress { text: told.to_owned(), why: why.to_owned() };
        if text.contains('@') {
            return Err(bad("user and password stand behind it: ?user=NAME&password_file=FILE"));
        }
        let (is_secure, rest) = match text.split_once("://") {
            Some(("clickhouse", rest)) => (false, rest),
            Some(("clickhouses", rest)) => (true, rest),
            _ => return Err(bad("it does not begin with clickhouse:// or clickhouses://")),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').ok_or_else(|| bad("it names no database"))?;
        // It stands in statements as it is.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if database.is_empty() || database.len() > 64 || !database.chars().all(is_word) {
            return Err(bad("the name of a database has letters, digits and _ only"));
        }
        let [port, secure_port] = PORTS;
        let port = if is_secure { secure_port } else { port };
        let host = |host: &str| {
            let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            if host.is_empty() || !host.chars().all(is_host) {
                return Err(bad(&format!("{host:?} is not a host")));
            }
            let has_port = host.rsplit_once(':').is_some_and(|(before, after)| {
                after.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
            });
            Ok(if has_port { host.to_owned() } else { format!("{host}:{port}") })
        };
        let shards = hosts.split(';').map(|shard| shard.split(',').map(host).collect());
        let shards = shards.collect::<Result<Vec<Vec<String>>, BadAddress>>()?;
        if shards.iter().map(Vec::len).sum::<usize>() > MOST_HOSTS {
            return Err(bad("there are more than 256 hosts"));
        }
        let mut address = Address {
            shards,
            database: database.to_owned(),
            is_secure,
            user: String::new(),
            password_file: None,
            ca: None,
            compresses: true,
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("user", user)) => user.clone_into(&mut address.user),
                Some(("password_file", file)) => address.password_file = Some(file.into()),
                Some(("ca", file)) if is_secure => address.ca = Some(file.into()),
                Some(("ca", _)) => {
                    return Err(bad("without clickhouses:// there is no certificate to trust"));
                }
                Some(("compress", "true")) => address.compresses = true,
                Some(("compress", "false")) => address.compresses = false,
                _ => {
                    let name = option.split('=').next().unwrap_or_default();
                    return Err(bad(&format!("{name:?} is not an option, or not with this value")));
                }
            }
        }
        Ok(address)
    }

    /// The URL of a host.
    pub fn url(&self, host: &str) -> String {
        format!("{}://{host}", if self.is_secure { "https" } else { "http" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_shards_replicas_and_how_they_are_reached() {
        let address =
            Address::parse("clickhouse://a,b:9;[::1]:8123,d/dns?user=u&password_file=/etc/p&compress=false")
                .unwrap();
        assert_eq!(address.shards, [["a:8123", "b:9"], ["[::1]:8123", "d:8123"]]);
        assert_eq!((address.database.as_str(), address.user.as_str()), ("dns", "u"));
        assert_eq!((address.password_file, address.compresses), (Some("/etc/p".into()), false));
        assert_eq!(Address::parse("clickhouses://a/dns?ca=x").unwrap().shards, [["a:8443"]]);
        for none in [
            "http://a/dns",
            "clickhouse://a",
            "clickhouse://a/",
            "clickhouse://a/d;drop",
            "clickhouse://a,/d",
            "clickhouse://a b/d",
            "clickhouse://a/d?ca=x",
            "clickhouse://a/d?x",
        ] {
            assert!(Address::parse(none).is_err(), "{none}");
        }
    }

    #[test]
    fn a_password_that_stands_in_a_line_is_not_said_again() {
        for line in
            ["clickhouse://me:secret@a/dns", "clickhouse://a/dns?password=secret", "http://a/dns?key=secret"]
        {
            let said = Address::parse(line).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
