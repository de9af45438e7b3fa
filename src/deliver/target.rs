//! Where an outlet is, and what it is.

use std::fmt;
use std::str::FromStr;

/// What an outlet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A URL that hits are posted to.
    Webhook,
}

impl Kind {
    const ALL: [Kind; 1] = [Kind::Webhook];

    /// What it is called in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Webhook => "webhook",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let all = || Kind::ALL.map(Kind::name).join(", ");
        Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("there is no kind {text:?}: {}", all()))
    }
}

/// Where an outlet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A URL of `http` or `https`.
    Webhook(String),
}

impl Target {
    /// Reads where an outlet of a kind is.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub fn parse(kind: Kind, to: &str) -> Result<Target, String> {
        match kind {
            Kind::Webhook => url(to).map(Target::Webhook),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Target::Webhook(_) => Kind::Webhook,
        }
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
            assert_eq!(Target::parse(Kind::Webhook, to), Ok(Target::Webhook(to.to_owned())));
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
            assert!(Target::parse(Kind::Webhook, to).is_err(), "{to}");
        }
        assert_eq!("webhook".parse(), Ok(Kind::Webhook));
        assert!("mail".parse::<Kind>().unwrap_err().contains("webhook"));
    }
}
