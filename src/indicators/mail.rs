//! Parts of mails in Base64 (RFC 2045): text that stands there is text as any other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::text::readable;

/// Bytes of a text without a line end that wait for one.
const MAX_WAITING: usize = 64 << 10;

/// A text that may be a mail, line by line.
#[derive(Debug, Default)]
pub struct Mail {
    at: At,
    /// The type of the part at hand.
    kind: String,
    /// Characters that make no whole bytes yet.
    coded: String,
    /// Bytes of a line that has not ended.
    waiting: Vec<u8>,
}

/// Where a line is.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    /// Not in a part in Base64.
    #[default]
    Outside,
    /// In its header.
    Header,
    /// Behind its header, before its first line.
    Start,
    /// In it.
    Inside,
}

/// What a line is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MailLine {
    /// Whether it is none that is read as it stands.
    pub is_coded: bool,
    /// Text that came out of it, or of what was before it.
    pub text: Option<String>,
    /// The type of a part that begins here and is not read.
    pub unread: Option<String>,
}

impl Mail {
    /// Takes a line.
    pub fn line(&mut self, line: &str) -> MailLine {
        let text = line.trim();
        match self.at {
            At::Outside | At::Header => {
                self.header(line);
                MailLine::default()
            }
            At::Start if text.is_empty() => MailLine { is_coded: true, ..MailLine::default() },
            At::Start | At::Inside if is_coded(text) => {
                let is_text =
                    ["", "text", "message"].contains(&self.kind.split('/').next().unwrap_or_default());
                let is_first = std::mem::replace(&mut self.at, At::Inside) == At::Start;
                let unread = (!is_text && is_first).then(|| self.kind.clone());
                MailLine { is_coded: true, text: if is_text { self.decoded(text) } else { None }, unread }
            }
            At::Start | At::Inside => {
                let text = self.end();
                self.at = At::Outside;
                self.header(line);
                MailLine { text, ..MailLine::default() }
            }
        }
    }

    /// What is left of a part.
    pub fn end(&mut self) -> Option<String> {
        self.coded.clear();
        let waiting = std::mem::take(&mut self.waiting);
        (!waiting.is_empty()).then(|| readable(&waiting))
    }

    /// Takes a line that may be of a header.
    fn header(&mut self, line: &str) {
        if line.starts_with("--") {
            (self.at, self.kind) = (At::Outside, String::new());
        } else if line.trim().is_empty() {
            self.at = if self.at == At::Header { At::Start } else { At::Outside };
        } else if let Some((key, value)) = line.split_once(':').filter(|(key, _)| key.len() < 30) {
            let value = || value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if key.eq_ignore_ascii_case("content-type") {
                self.kind = value();
                self.kind.truncate(self.kind.floor_char_boundary(100));
            } else if key.eq_ignore_ascii_case("content-transfer-encoding") {
                self.at = if value() == "base64" { At::Header } else { At::Outside };
            }
        }
    }

    /// The whole lines that there are now.
    fn decoded(&mut self, line: &str) -> Option<String> {
        self.coded.push_str(line);
        let whole = self.coded.len() / 4 * 4;
        let rest = self.coded.split_off(whole);
        let coded = std::mem::replace(&mut self.coded, rest);
        // What is none is as a line break.
        self.waiting.extend(STANDARD.decode(coded).unwrap_or_else(|_| vec![b'\n']));
        let end = match self.waiting.iter().rposition(|b| *b == b'\n') {
            Some(at) => at + 1,
            None if self.waiting.len() > MAX_WAITING => self.waiting.len(),
            None => return None,
        };
        let rest = self.waiting.split_off(end);
        Some(readable(&std::mem::replace(&mut self.waiting, rest)))
    }
}

fn is_coded(text: &str) -> bool {
    let is_of_it = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    !text.is_empty() && text.bytes().all(is_of_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_base64_is_read_and_other_parts_are_told() {
        let long = format!("Block evil.example\r\nand {} 203.0.113.7", "x".repeat(100));
        let coded = STANDARD.encode(&long);
        let (front, behind) = coded.split_at(76);
        let mail = format!(
            "From: a@b.example\nContent-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: BASE64\n\n{front}\n{behind}\n\n--x\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n\
             iVBORw0KGgo=\nAAAA\n--x--\nfoot.example\n"
        );
        let (mut mailer, mut out, mut unread) = (Mail::default(), String::new(), Vec::new());
        for line in mail.lines() {
            let part = mailer.line(line);
            out.push_str(&part.text.unwrap_or_default());
            unread.extend(part.unread);
            if !part.is_coded {
                out.push_str(line);
                out.push('\n');
            }
        }
        assert!(out.contains(&long), "{out}");
        assert!(out.ends_with("--x--\nfoot.example\n") && !out.contains("iVBOR"), "{out}");
        assert_eq!(unread, ["image/png"]);
    }

    #[test]
    fn a_part_that_ends_with_the_mail_is_read_to_its_end() {
        let mut mail = Mail::default();
        for line in ["content-transfer-encoding: base64", "", "ZXZpbC5leGFtcGxl"] {
            assert_eq!(mail.line(line).text, None);
        }
        assert_eq!(mail.end().as_deref(), Some("evil.example"));
    }
}
