//! Links in links: what gateways of mail, sites and archives put around a URL so that a click passes by them. What is inside is
//! what somebody would reach, and so what is meant.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use super::host::{has_known_end, is_host, is_reached, without_scheme};
use crate::dns::Name;

/// How often a URL may be encoded in another.
const MOST_TIMES: usize = 3;

/// How a URL in another begins.
const STARTS: &[&str] = &[
    "http%3a",
    "https%3a",
    "http:/",
    "https:/",
    "http%253a",
    "https%253a",
    "hxxp%3a",
    "hxxps%3a",
    "hxxp:/",
    "hxxps:/",
];

/// Where the URL is in another.
#[derive(Debug, Clone, Copy)]
enum Where {
    /// In one of these parameters.
    In(&'static [&'static str]),
    /// Behind the host, as it is or encoded.
    Behind,
    /// In `u` as Proofpoint writes it: `https-3A__evil.example_x`.
    Dashes,
    /// Behind `/c/` or the like, and `s/` where it is by HTTPS: `/amp/s/evil.example/x`, `/c/s/evil.example/x`.
    Amp,
    /// Between `__` and `__;`, where stars stand for characters that are listed behind.
    Underscores,
}

/// Who wraps: a host and all below it, the start of the path, and where the URL is.
const WRAPPERS: &[(&str, &str, Where)] = &[
    // Gateways of mail.
    ("safelinks.protection.outlook.com", "/", Where::In(&["url"])),
    ("safelinks.protection.office365.us", "/", Where::In(&["url"])),
    ("safelinks.protection.partner.outlook.cn", "/", Where::In(&["url"])),
    ("teams.cdn.office.net", "/evergreen-assets/safelinks/", Where::In(&["url"])),
    ("urldefense.com", "/v1/", Where::In(&["u"])),
    ("urldefense.com", "/v2/", Where::Dashes),
    ("urldefense.com", "/v3/", Where::Underscores),
    ("urldefense.us", "/v2/", Where::Dashes),
    ("urldefense.us", "/v3/", Where::Underscores),
    ("urldefense.proofpoint.com", "/v1/", Where::In(&["u"])),
    ("urldefense.proofpoint.com", "/v2/", Where::Dashes),
    ("urldefense.proofpoint.com", "/v3/", Where::Underscores),
    ("secure-web.cisco.com", "/", Where::Behind),
    ("linkprotect.cudasvc.com", "/url", Where::In(&["a"])),
    ("mimecast.com", "/s/", Where::In(&["domain"])),
    ("mimecastprotect.com", "/s/", Where::In(&["domain"])),
    ("protection.sophos.com", "/", Where::In(&["d"])),
    ("trendmicro.com", "/wis/clicktime/", Where::In(&["url"])),
    ("clicktime.symantec.com", "/", Where::In(&["u"])),
    ("clicktime.cloud.postoffice.net", "/", Where::In(&["u"])),
    ("fireeye.com", "/v", Where::In(&["u"])),
    ("trellix.com", "/v", Where::In(&["u"])),
    ("urlsand.esvalabs.com", "/", Where::In(&["u"])),
    ("safe.menlosecurity.com", "/", Where::Behind),
    ("outlook.office.com", "/mail/safelink.html", Where::In(&["url"])),
    ("outlook.office365.com", "/mail/safelink.html", Where::In(&["url"])),
    ("outlook.live.com", "/mail/", Where::In(&["url"])),
    ("deref-gmx.net", "/", Where::In(&["redirecturl"])),
    ("deref-gmx.com", "/", Where::In(&["redirecturl"])),
    ("deref-web.de", "/", Where::In(&["redirecturl"])),
    ("deref-mail.com", "/", Where::In(&["redirecturl"])),
    // Sites that lead away.
    ("l.facebook.com", "/l.php", Where::In(&["u"])),
    ("lm.facebook.com", "/l.php", Where::In(&["u"])),
    ("l.messenger.com", "/l.php", Where::In(&["u"])),
    ("facebook.com", "/flx/warn", Where::In(&["u"])),
    ("l.instagram.com", "/", Where::In(&["u"])),
    ("linkedin.com", "/redir/", Where::In(&["url"])),
    ("linkedin.com", "/safety/go", Where::In(&["url"])),
    ("slack-redir.net", "/link", Where::In(&["url"])),
    ("youtube.com", "/redirect", Where::In(&["q"])),
    ("out.reddit.com", "/", Where::In(&["url"])),
    ("vk.com", "/away.php", Where::In(&["to"])),
    ("steamcommunity.com", "/linkfilter/", Where::In(&["url", "u"])),
    ("duckduckgo.com", "/l/", Where::In(&["uddg"])),
    ("bing.com", "/ck/a", Where::In(&["u"])),
    ("t.umblr.com", "/redirect", Where::In(&["z"])),
    ("googleadservices.com", "/pagead/", Where::In(&["adurl"])),
    ("translate.google.com", "/", Where::In(&["u"])),
    ("bing-amp.com", "/", Where::Amp),
    ("web.archive.org", "/web/", Where::Behind),
    ("href.li", "/", Where::Behind),
    ("anonym.to", "/", Where::Behind),
];

/// The URL in a URL, if it is one of those that others are put into.
///
/// # Errors
///
/// The host of one whose target cannot be told.
pub fn target(text: &str) -> Result<Option<String>, String> {
    let bare = without_scheme(text);
    let at = bare.find(['/', '?', '#']).unwrap_or(bare.len());
    let (host, rest) = bare.split_at_checked(at).unwrap_or((bare, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    if rest.len() < 2 || !host.contains('.') {
        return Ok(None);
    }
    for (known, path, place) in WRAPPERS {
        let is_of = host.strip_suffix(known).is_some_and(|front| front.is_empty() || front.ends_with('.'));
        let lower = rest.get(..path.len()).map(str::to_ascii_lowercase);
        // `host?url=` has no path at all.
        let is_there = lower.as_deref() == Some(path) || *path == "/" && rest.starts_with('?');
        if is_of && is_there {
            return inside(rest, path, *place).map_err(|()| host);
        }
    }
    let is_google = host.trim_start_matches("www.").strip_prefix("google.").is_some_and(|end| end.len() <= 6);
    let is_lead = rest.starts_with("/url?") || rest.starts_with("/imgres?");
    if is_google && is_lead {
        return inside(rest, "/", Where::In(&["q", "url", "imgrefurl"])).map_err(|()| host);
    }
    if is_google && rest.starts_with("/amp/") {
        return inside(rest, "/", Where::Amp).map_err(|()| host);
    }
    Ok(None)
}

/// Sites that put the name of another site into their own, which is the one that is asked for in the DNS.
const MIRRORS: &[&str] = &["translate.goog", "cdn.ampproject.org", "cdn.ampproject.net"];

/// The name of a site that another one shows under a name of its own: `evil-example.translate.goog`.
pub fn mirrored(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let label = MIRRORS.iter().find_map(|mirror| host.strip_suffix(mirror)?.strip_suffix('.'))?;
    // What would look like an A-label has these around it.
    let label = label.strip_prefix("0-").and_then(|label| label.strip_suffix("-0")).unwrap_or(label);
    let name = label.replace("--", "\0").replace('-', ".").replace('\0', "-");
    is_name(&name).then_some(name)
}

/// Whether this can be nothing but a name.
pub(super) fn is_name(host: &str) -> bool {
    is_host(host) && Name::parse(host).is_ok_and(|name| has_known_end(&name))
}

/// What is inside; `None` where nothing is put into it, as in the first page of such a site.
fn inside(rest: &str, path: &str, place: Where) -> Result<Option<String>, ()> {
    match place {
        Where::In(names) => {
            let mut is_there = false;
            for (name, value) in parameters(rest) {
                if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    is_there = true;
                    if let Some(target) = decoded(value) {
                        return Ok(Some(target));
                    }
                }
            }
            if is_there { Err(()) } else { Ok(None) }
        }
        Where::Behind => {
            let lower = rest.to_ascii_lowercase();
            let at = STARTS.iter().filter_map(|start| lower.find(start)).min();
            at.map(|at| decoded(rest.get(at..).unwrap_or_default()).ok_or(())).transpose()
        }
        Where::Amp => {
            let mut parts =
                rest.split(['?', '#']).next().unwrap_or_default().split('/').filter(|part| !part.is_empty());
            let (first, second) = (parts.next(), parts.next());
            let host = if second == Some("s") { parts.next() } else { second };
            // The form of a page, `c`, `v`, `amp` and the like.
            let is_form =
                first.is_some_and(|form| form.len() <= 3 && form.bytes().all(|b| b.is_ascii_lowercase()));
            match host.filter(|_| is_form) {
                Some(host) => decoded(host).filter(|host| is_name(host)).ok_or(()).map(Some),
                None => Ok(None),
            }
        }
        Where::Dashes => match parameters(rest).find(|(name, _)| name.eq_ignore_ascii_case("u")) {
            Some((_, value)) => {
                let value = value.strip_prefix("3D").unwrap_or(value);
                decoded(&value.replace('-', "%").replace('_', "/")).ok_or(()).map(Some)
            }
            None => Ok(None),
        },
        Where::Underscores => {
            let Some(rest) = rest.get(path.len()..).and_then(|rest| rest.strip_prefix("__")) else {
                return Ok(None);
            };
            let (url, list) = rest.rsplit_once("__").unwrap_or((rest, ""));
            let list = list.trim_start_matches(';').split('!').next().unwrap_or_default();
            decoded(&with_stars(url, list)).ok_or(()).map(Some)
        }
    }
}

/// The parameters of a URL.
fn parameters(rest: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query.split('&').filter_map(|pair| pair.trim_start_matches("amp;").split_once('='))
}

/// A URL, or a host, out of the text that another has of it.
fn decoded(value: &str) -> Option<String> {
    // `=3D` of quoted-printable.
    let mut text = value.strip_prefix("3D").filter(|rest| rest.len() > 3).unwrap_or(value).to_owned();
    for _ in 0..MOST_TIMES {
        if is_target(&text) {
            return Some(text);
        }
        let once = percent_decode_str(&text).decode_utf8().ok()?.into_owned();
        if once == text {
            break;
        }
        text = once;
    }
    if is_target(&text) {
        return Some(text);
    }
    // As Bing has it, and many who lead on: `http` in Base64.
    let coded = text.strip_prefix("a1").unwrap_or(&text).trim_end_matches('=');
    if !coded.starts_with("aHR0c") {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(coded.replace('+', "-").replace('/', "_")).ok()?;
    String::from_utf8(bytes).ok().filter(|text| is_target(text))
}

/// Whether a text is a URL with a host that can be reached, or such a host.
pub(super) fn is_target(text: &str) -> bool {
    let bare = without_scheme(text);
    let host = bare.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    !host.contains('%') && !text.contains(char::is_whitespace) && is_reached(host)
}

/// A text with its stars replaced, one after the other, by the characters of a list in Base64; `**B` stands for three of them.
fn with_stars(url: &str, list: &str) -> String {
    const COUNTS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = URL_SAFE_NO_PAD.decode(list.trim_end_matches('=')).unwrap_or_default();
    let replaced = String::from_utf8(bytes).unwrap_or_default();
    let mut replaced = replaced.chars();
    let (mut out, mut chars) = (String::with_capacity(url.len()), url.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '*' {
            out.push(c);
            continue;
        }
        let many = match chars.next_if_eq(&'*').and_then(|_| chars.next()) {
            Some(count) => COUNTS.find(count).map_or(1, |at| at + 2),
            None => 1,
        };
        out.extend(replaced.by_ref().take(many));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_inside_is_found_in_whatever_is_put_around_it() {
        for (wrapped, inner) in [
            (
                "https://nam01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2Fa%3Fb%3D1&data=05%7C01%7C&reserved=0",
                "https://evil.example/a?b=1",
            ),
            (
                "https://eur04.safelinks.protection.outlook.com?data=x&amp;url=http%3A%2F%2Fevil.example%2F",
                "http://evil.example/",
            ),
            (
                "nam01.safelinks.protection.outlook.com/?url=3Dhttps%3A%2F%2Fevil.example%2Fa",
                "https://evil.example/a",
            ),
            (
                "https://urldefense.proofpoint.com/v2/url?u=https-3A__up-2Ddate.evil.example_a-5Fb&d=DwMF&c=x",
                "https://up-date.evil.example/a_b",
            ),
            ("https://urldefense.com/v2/url?u=http-3A__evil.example&d=x", "http://evil.example"),
            ("https://urldefense.proofpoint.com/v1/url?u=http://evil.example/&k=x", "http://evil.example/"),
            (
                "https://urldefense.com/v3/__https://evil.example/a__b__;!!Abc!xyz$",
                "https://evil.example/a__b",
            ),
            ("https://urldefense.com/v3/__https:/evil.example/a__;!!Abc!xyz$", "https:/evil.example/a"),
            (
                "https://urldefense.us/v3/__http://b*cher.example/*x__;w7wv!!A!b$",
                "http://b\u{fc}cher.example//x",
            ),
            ("https://urldefense.com/v3/__https://evil.example/a__", "https://evil.example/a"),
            (
                "https://secure-web.cisco.com/1aBc-D_e/https%3A%2F%2Fevil.example%2Fx",
                "https://evil.example/x",
            ),
            ("https://www.google.com/url?q=https://evil.example/x&sa=D", "https://evil.example/x"),
            ("https://google.de/url?sa=t&url=https%3A%2F%2Fevil.example%2F", "https://evil.example/"),
            ("http://www.google.co.uk/url?q=evil.example", "evil.example"),
            (
                "https://l.facebook.com/l.php?u=https%3A%2F%2Fevil.example%2F%3Ffbclid%3Dx&h=AT",
                "https://evil.example/?fbclid=x",
            ),
            (
                "https://linkprotect.cudasvc.com/url?a=https%3a%2f%2fevil.example&c=E,1",
                "https://evil.example",
            ),
            ("https://protect-eu.mimecast.com/s/abcDEF?domain=evil.example", "evil.example"),
            ("https://slack-redir.net/link?url=https%253A%252F%252Fevil.example", "https://evil.example"),
            (
                "https://www.bing.com/ck/a?!&&p=1&u=a1aHR0cHM6Ly9ldmlsLmV4YW1wbGUveA&ntb=1",
                "https://evil.example/x",
            ),
            ("https://web.archive.org/web/20260301000000*/http://evil.example/", "http://evil.example/"),
            ("https://l.instagram.com/?u=http%3A%2F%2F203.0.113.66%3A8080%2F", "http://203.0.113.66:8080/"),
        ] {
            assert_eq!(target(wrapped), Ok(Some(inner.to_owned())), "{wrapped}");
        }
        for (wrapped, inner) in [
            ("safe.menlosecurity.com/https://evil.example/x", "https://evil.example/x"),
            ("https://www.google.com/amp/s/evil.example/x", "evil.example"),
            ("https://google.co.uk/amp/evil.example", "evil.example"),
            ("https://www.bing-amp.com/c/s/evil.example/x", "evil.example"),
            (
                "https://outlook.office.com/mail/safelink.html?url=https%3A%2F%2Fevil.example%2F&corid=1",
                "https://evil.example/",
            ),
        ] {
            assert_eq!(target(wrapped), Ok(Some(inner.to_owned())), "{wrapped}");
        }
        for plain in [
            "https://www.google.com/search?q=evil.example",
            "https://safelinks.protection.outlook.com/",
            "https://evil.example/?url=https://www.example.com/",
            "https://notgoogle.com/url?q=https://evil.example/",
            "https://xurldefense.com/v3/__https://evil.example/__;",
            "evil.example",
            "",
        ] {
            assert_eq!(target(plain), Ok(None), "{plain}");
        }
        let lost = "https://nam01.safelinks.protection.outlook.com/?url=%FF&data=x";
        assert_eq!(target(lost), Err("nam01.safelinks.protection.outlook.com".to_owned()));
    }
}
