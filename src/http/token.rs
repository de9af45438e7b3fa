//! API tokens: how they are made, kept, and recognised.
//!
//! A token is `dnl_` and 32 random bytes as 43 characters of base64url. It is shown once, when it is made. The tokens file
//! has a line for each:
//!
//! ```text
//! NAME SCOPE CREATED hmac-sha256:SALT:MAC
//! ```
//!
//! MAC is HMAC-SHA256 over the token, with the salt as its key; both are base64url. A slow hash would add nothing: what is
//! hashed is no password but 256 random bits, and each request is checked. Taking a line out revokes its token. Empty
//! lines, and lines that begin with `#`, are ignored.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The prefix of every token, so that a leaked one can be recognised.
pub const PREFIX: &str = "dnl_";
/// Random bytes of a token, and of a salt.
const RANDOM_BYTES: usize = 32;
/// The name of the hash in the file.
const HASH: &str = "hmac-sha256";
/// Tokens of one file. Each request is checked against all of them.
const MAX_TOKENS: usize = 256;
/// The longest name.
const MAX_NAME: usize = 64;
/// Bytes of a file that are read.
const MAX_FILE_BYTES: u64 = 256 << 10;

//--- Scope ----------------------------------------------------------------------------------------------------------

/// The scope of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Lookups, status, metrics.
    Read,
    /// Reading, and acknowledging hits.
    Watch,
    /// All of that, and lines of logs, which show who asked.
    Evidence,
    /// Lookups, status, metrics, and changing the ledger; no lines of logs.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scope::Read => "read",
            Scope::Watch => "watch",
            Scope::Evidence => "evidence",
            Scope::Admin => "admin",
        })
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Scope, &'static str> {
        match text {
            "read" => Ok(Scope::Read),
            "watch" => Ok(Scope::Watch),
            "evidence" => Ok(Scope::Evidence),
            "admin" => Ok(Scope::Admin),
            _ => Err("the scope is read, watch, evidence or admin"),
        }
    }
}

//--- TokenError -----------------------------------------------------------------------------------------------------

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        error: std::io::Error,
    },
    /// A line of the file has no meaning.
    #[error("{}:{line}: {why}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The reason.
        why: &'static str,
    },
    /// A name that cannot be given.
    #[error("{name:?} is not a name for a token: {why}")]
    BadName {
        /// The name.
        name: String,
        /// The reason.
        why: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl TokenError {
    /// Advice for the user.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            TokenError::Unreadable { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                "`dnsledger token new NAME` makes the file that http.tokens_file names"
            }
            TokenError::Unreadable { .. } => "check the path, and that the user of the daemon may read it",
            TokenError::Faulty { .. } => "take the line out, and make the token anew",
            TokenError::BadName { .. } => "letters, digits, dots, dashes and underscores, such as misp",
            TokenError::NoRandom => return None,
        })
    }
}

//--- Tokens ---------------------------------------------------------------------------------------------------------

/// The tokens that are let in.
#[derive(Default)]
pub struct Tokens(Vec<Token>);

/// One of them, as far as it is known.
pub struct Token {
    /// Whom it was made for.
    pub name: Arc<str>,
    /// Its scope.
    pub scope: Scope,
    /// When it was made, as the file has it.
    pub created: String,
    salt: hmac::Key,
    mac: Vec<u8>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line of it has no meaning: a token must not vanish unnoticed.
    pub fn load(path: &Path) -> Result<Tokens, TokenError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
            .map_err(|error| TokenError::Unreadable { path: path.to_owned(), error })?;
        Tokens::parse(&text).map_err(|(line, why)| TokenError::Faulty { path: path.to_owned(), line, why })
    }

    fn parse(text: &str) -> Result<Tokens, (usize, &'static str)> {
        let mut tokens: Vec<Token> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let token = Token::parse(line).map_err(|why| (i + 1, why))?;
            if tokens.iter().any(|other| other.name == token.name) {
                return Err((i + 1, "two tokens have this name"));
            }
            if tokens.len() == MAX_TOKENS {
                return Err((i + 1, "there are more than 256 tokens"));
            }
            tokens.push(token);
        }
        Ok(Tokens(tokens))
    }

    /// The token that this is. Every one is compared, each in constant time.
    pub fn recognise(&self, presented: &[u8]) -> Option<&Token> {
        let mut found = None;
        for token in &self.0 {
            if hmac::verify(&token.salt, presented, &token.mac).is_ok() {
                found = Some(token);
            }
        }
        found
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }
}

impl Token {
    fn parse(line: &str) -> Result<Token, &'static str> {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(scope), Some(created), Some(hash), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err("a line is NAME SCOPE CREATED HASH");
        };
        check_name(name)?;
        let mut parts = hash.split(':');
        let (Some(HASH), Some(salt), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("the hash is not hmac-sha256:SALT:MAC");
        };
        let decode = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| "the hash is not base64url");
        let (salt, mac) = (decode(salt)?, decode(mac)?);
        if salt.len() < 16 || mac.len() != hmac::HMAC_SHA256.digest_algorithm().output_len() {
            return Err("the hash has been cut");
        }
        Ok(Token {
            name: name.into(),
            scope: scope.parse()?,
            created: created.to_owned(),
            salt: hmac::Key::new(hmac::HMAC_SHA256, &salt),
            mac,
        })
    }
}

/// Makes a token: what its owner gets, and the line for the file.
///
/// # Errors
///
/// For a name that cannot be given, and when the system gives no random bytes.
pub fn make(name: &str, scope: Scope, created: &str) -> Result<(String, String), TokenError> {
    check_name(name).map_err(|why| TokenError::BadName { name: name.to_owned(), why })?;
    let random = SystemRandom::new();
    let (mut secret, mut salt) = ([0; RANDOM_BYTES], [0; RANDOM_BYTES]);
    random.fill(&mut secret).and_then(|()| random.fill(&mut salt)).map_err(|_| TokenError::NoRandom)?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salt), token.as_bytes());
    let (salt, mac) = (URL_SAFE_NO_PAD.encode(salt), URL_SAFE_NO_PAD.encode(mac));
    Ok((token, format!("{name} {scope} {created} {HASH}:{salt}:{mac}\n")))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match name.len() {
        0 => Err("it is empty"),
        n if n > MAX_NAME => Err("it is longer than 64 characters"),
        _ if !name.bytes().all(is_plain) => Err("it has other characters than letters, digits and .-_"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_by_its_line_and_nothing_else_is() {
        let (misp, misp_line) = make("misp", Scope::Read, "2026-01-02T03:04:05Z").unwrap();
        let (ops, ops_line) = make("ops", Scope::Admin, "2026-01-02T03:04:05Z").unwrap();
        assert!(misp.len() == 47 && misp.starts_with("dnl_") && misp != ops);
        let tokens = Tokens::parse(&format!("# who asks\n\n{misp_line}{ops_line}")).unwrap();
        let who = |token: &str| tokens.recognise(token.as_bytes()).map(|t| (t.name.to_string(), t.scope));
        assert_eq!(who(&misp), Some(("misp".to_owned(), Scope::Read)));
        assert_eq!(who(&ops), Some(("ops".to_owned(), Scope::Admin)));
        for wrong in ["", "dnl_", &misp[..46], &format!("{misp}x"), &misp.to_uppercase(), misp_line.trim()] {
            assert_eq!(who(wrong), None, "{wrong}");
        }
        assert!(Tokens::default().recognise(misp.as_bytes()).is_none());
    }

    #[test]
    fn the_file_holds_nothing_to_log_in_with() {
        let (token, line) = make("misp", Scope::Read, "now").unwrap();
        assert!(!line.contains(&token[4..]));
        assert_ne!(make("misp", Scope::Read, "now").unwrap().1, line, "salts differ");
    }

    #[test]
    fn a_line_without_meaning_is_refused_with_its_number() {
        let (_, good) = make("a", Scope::Read, "now").unwrap();
        for (line, says) in [
            ("b read now", "NAME SCOPE CREATED HASH"),
            (good.as_str(), "two tokens"),
            (&good.replace("a read", "b write"), "watch, evidence or admin"),
            (&good.replace("a read", "b/ read"), "characters"),
            (&good.replace("a read", "b read").replace("hmac-sha256", "md5"), "not hmac-sha256"),
            ("b read now hmac-sha256:AAAA:AAAA", "cut"),
            ("b read now hmac-sha256:%:AAAA", "base64url"),
        ] {
            let Err((at, why)) = Tokens::parse(&format!("{good}{line}\n")) else { panic!("{line}") };
            assert!(at == 2 && why.contains(says), "{line}: {why}");
        }
    }

    #[test]
    fn only_plain_names_are_given() {
        for name in ["", "a b", "a\nb", "ä", "a:b", &"x".repeat(65)] {
            assert!(matches!(make(name, Scope::Read, "now"), Err(TokenError::BadName { .. })), "{name}");
        }
    }
}
