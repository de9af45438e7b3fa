//! Keys of outlets, and what they sign.
//!
//! A webhook is signed as Standard Webhooks (<https://www.standardwebhooks.com>) has it: HMAC-SHA256 over `ID.TIMESTAMP.BODY`, so that neither can be
//! exchanged, in base64 behind `v1,`. Receivers have libraries that check this.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::DeliverError;

/// Bytes of a file that are read.
const MAX_BYTES: u64 = 4096;
/// What keys of Standard Webhooks begin with; the rest is base64.
const PREFIX: &str = "whsec_";
/// What of a mode lets others read the file, or change it.
const OTHERS: u32 = 0o027;

/// Reads a key: the first line of a file that nobody else may read.
///
/// # Errors
///
/// When the file cannot be read, others may read or change it, or it is empty.
pub(super) fn read(path: &Path) -> Result<String, DeliverError> {
    let fault = |why: String| DeliverError::Secret { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| fault(error.to_string()))?;
    if !metadata.is_file() {
        return Err(fault("it is not a file".to_owned()));
    }
    // What is mode is that of the file that is open.
    if metadata.mode() & OTHERS != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(fault(format!("others may read or change this key (mode {mode:04o})")));
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    let key = text.lines().next().unwrap_or_default().trim();
    match key.is_empty() {
        true => Err(fault("there is no key in its first line".to_owned())),
        false => Ok(key.to_owned()),
    }
}

/// Signs what is sent to a webhook.
pub(super) struct Signer(hmac::Key);

impl Signer {
    /// One with the key in a file: `whsec_` and base64, or any other text as it is.
    ///
    /// # Errors
    ///
    /// As [`read`], and when what is behind `whsec_` is no base64.
    pub fn open(path: &Path) -> Result<Signer, DeliverError> {
        let key = read(path)?;
        let why = "what is behind whsec_ is not base64".to_owned();
        let bytes = match key.strip_prefix(PREFIX) {
            Some(encoded) => {
                STANDARD.decode(encoded).map_err(|_| DeliverError::Secret { path: path.to_owned(), why })?
            }
            None => key.into_bytes(),
        };
        Ok(Signer(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The signature of a message that is sent then.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        // The example in the specification of Standard Webhooks.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let signer = Signer::open(&path).unwrap();
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_that_others_may_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "  secret \nmore\n").unwrap();
        for (mode, is_good) in [
            (0o600, true),
            (0o640, true),
            (0o400, true),
            (0o644, false),
            (0o604, false),
            (0o660, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), is_good, "{mode:o}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&path).unwrap(), "secret");
        for empty in ["", "\n", " \nsecret"] {
            fs::write(&path, empty).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("no key"));
        }
        assert!(read(folder.path()).is_err() && read(&folder.path().join("none")).is_err());
        fs::write(&path, "whsec_?").unwrap();
        assert!(Signer::open(&path).is_err());
    }
}
