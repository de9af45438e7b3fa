//! Which server is asked where none is typed: the environment, else a file of the user.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// The keys of `client.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// The URL of the daemon, or a host and a port.
    pub server: Option<String>,
    /// The file with the token that it wants.
    pub token_file: Option<PathBuf>,
    /// The certificates that are trusted of it.
    pub ca: Option<PathBuf>,
}

impl ClientConfig {
    /// What `DNSLEDGER_SERVER`, `DNSLEDGER_TOKEN_FILE` and `DNSLEDGER_CA` say, and beside them the user's file, if there
    /// is one: `dnsledger/client.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or says something that has no meaning.
    pub fn load() -> anyhow::Result<ClientConfig> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || variable("HOME").map(|home| Path::new(&home).join(".config"));
        let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
        let file = match folder.map(|folder| folder.join("dnsledger/client.toml")) {
            Some(path) if path.exists() => ClientConfig::read(&path)?,
            _ => ClientConfig::default(),
        };
        let server = variable("DNSLEDGER_SERVER").map(|server| server.to_string_lossy().into_owned());
        Ok(ClientConfig {
            server: server.or(file.server),
            token_file: variable("DNSLEDGER_TOKEN_FILE").map(PathBuf::from).or(file.token_file),
            ca: variable("DNSLEDGER_CA").map(PathBuf::from).or(file.ca),
        })
    }

    fn read(path: &Path) -> anyhow::Result<ClientConfig> {
        let reading = || format!("reading {}", path.display());
        let text = std::fs::read_to_string(path).with_context(reading)?;
        let mut config: ClientConfig = toml::from_str(&text).with_context(reading)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for path in [&mut config.token_file, &mut config.ca].into_iter().flatten() {
            *path = folder.join(&path);
        }
        Ok(config)
    }
}
