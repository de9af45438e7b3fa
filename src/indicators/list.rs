//! Lists with a rule a line: plain, hosts, adblock, dnsmasq. Each line is known by its form, so a list may mix them.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::broken_lines::Folded;
use super::collect::Collect;
use super::input::ListLines;
use super::prose;
use super::reason::Reason;
use super::words::has_escapes;
use super::{Action, Format, ReadError, Reference};

/// Titles in the comments at the head of lists.
const TITLES: &[&str] = &["title:", "name:"];
/// Options of rules that change what a page gets or shows, and block nothing; exceptions from them except nothing that is blocked.
const NO_BLOCK: &[&str] = &[
    "badfilter",
    "cookie",
    "csp",
    "ehide",
    "elemhide",
    "generichide",
    "ghide",
    "hls",
    "inline-font",
    "inline-script",
    "jsonprune",
    "permissions",
    "queryprune",
    "redirect-rule",
    "referrerpolicy",
    "removeheader",
    "removeparam",
    "replace",
    "shide",
    "specifichide",
    "stealth",
    "uritransform",
    "urlskip",
    "urltransform",
    "xmlprune",
];
/// Lines in which a title is looked for.
const TITLE_LINES: u64 = 50;

/// Reads such a list.
///
/// # Errors
///
/// As [`super::read`].
pub fn read(input: &mut impl Read, format: Format, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    let (mut lines, mut folded, mut last) = (ListLines::of(input), Folded::default(), 0);
    while let Some((number, line)) = lines.next(collect)? {
        last = number;
        // A list of a few URLs out of a mail is a text that is broken as texts are.
        let line = if format == Format::Plain { folded.line(line) } else { line.into() };
        rule(line.trim_start_matches('\u{feff}').trim(), number, format, collect)?;
    }
    match folded.end() {
        Some(rest) => rule(rest.trim(), last, format, collect),
        None => Ok(()),
    }
}

fn rule(line: &str, number: u64, format: Format, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    if line.is_empty() {
        return Ok(());
    }
    if let Some(comment) = comment(line) {
        // `##` hides a part of every page.
        if format == Format::Adblock && (line.starts_with("##") || line.starts_with("#@#")) {
            collect.skip(Reason::Rule, number, line);
        } else if number <= TITLE_LINES {
            title(comment, collect);
        }
        return Ok(());
    }
    if line.starts_with("||") || line.starts_with("@@") || is_cosmetic(line) || format == Format::Adblock {
        return adblock(line, number, collect);
    }
    if let Some((key, rest)) = line.split_once("=/")
        && ["local", "address", "server"].contains(&key.trim())
    {
        return dnsmasq(key.trim(), rest, line, number, collect);
    }
    if format == Format::Dnsmasq && line.contains('=') {
        collect.skip(Reason::Rule, number, line);
        return Ok(());
    }
    let line = without_remark(line);
    if let Some(name) = dataset(line) {
        return collect.text(&name, false, Action::Watch, Reference::at(number));
    }
    if let Some((first, names)) = line.split_once(char::is_whitespace)
        && let Ok(address) = first.parse::<IpAddr>()
        && (format == Format::Hosts || is_nowhere(address))
    {
        return hosts(names, number, collect);
    }
    // Lists of eMule and its like: a label, and a range.
    if let Some((label, range)) = line.rsplit_once(':')
        && !label.is_empty()
        && is_range(range)
    {
        return collect.text(range, true, Action::Watch, Reference::at(number));
    }
    let are_urls = line.matches("://").count() > 1 && line.contains([',', '|']);
    if line.contains([' ', '\t', ';'])
        || line.contains(',') && !line.contains("://")
        || are_urls
        || has_breaks(line)
    {
        return prose::line(line, number, true, collect);
    }
    collect.text(line, true, Action::Watch, Reference::at(number))
}

/// The name in a line of a dataset of Suricata, which holds texts as Base64, with or without a reputation behind it.
pub(super) fn dataset(line: &str) -> Option<String> {
    let (text, reputation) = line.split_once(',').unwrap_or((line, "0"));
    let is_number = !reputation.is_empty() && reputation.bytes().all(|b| b.is_ascii_digit());
    if !is_number || text.len() < 8 || text.len() % 4 != 0 || text.contains('.') {
        return None;
    }
    let name = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (name.trim_matches('.').contains('.') && name.chars().all(is_name)).then_some(name)
}

/// Whether a text is two addresses of IPv4 with a hyphen between them.
fn is_range(text: &str) -> bool {
    let is_address = |text: &str| text.trim().parse::<Ipv4Addr>().is_ok();
    text.split_once('-').is_some_and(|(first, last)| is_address(first) && is_address(last))
}

/// Whether a line that is no regular expression has line breaks that were written as programs do.
fn has_breaks(line: &str) -> bool {
    !line.starts_with(['/', '^', '(']) && has_escapes(line)
}

/// What a comment says, if a line is one.
fn comment(line: &str) -> Option<&str> {
    let comment = line.strip_prefix(['#', ';', '!']);
    // `//host/x` is a URL without its scheme.
    let comment =
        comment.or_else(|| line.strip_prefix("//").filter(|rest| !rest.starts_with(char::is_alphanumeric)));
    comment.or_else(|| {
        (line.starts_with('[') && line.to_ascii_lowercase().starts_with("[adblock")).then_some("")
    })
}

fn title(comment: &str, collect: &mut Collect<'_>) {
    let comment = comment.trim();
    for key in TITLES {
        if comment.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key)) {
            collect.title(comment.get(key.len()..).unwrap_or_default());
        }
    }
}

/// A rule without the remark behind it.
fn without_remark(line: &str) -> &str {
    let signs = [" #", "\t#", " //", "\t//", " ;", "\t;"];
    signs.iter().fold(line, |line, sign| line.split(sign).next().unwrap_or_default()).trim_end()
}

//--- hosts ----------------------------------------------------------------------------------------------------------

/// Whether an address is where hosts files send names that are not to be reached.
fn is_nowhere(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

fn hosts(names: &str, number: u64, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    for name in names.split_whitespace() {
        if name.parse::<IpAddr>().is_ok() {
            collect.skip(Reason::Local, number, name);
        } else {
            collect.text(name, false, Action::Watch, Reference::at(number))?;
        }
    }
    Ok(())
}

//--- adblock --------------------------------------------------------------------------------------------------------

/// Whether a rule is about what a page shows: `example.com##.ad`, `example.com#?#div`.
fn is_cosmetic(line: &str) -> bool {
    ["##", "#@#", "#?#", "#$#", "#%#"].iter().any(|sign| line.contains(sign)) && !line.contains("://")
}

fn adblock(line: &str, number: u64, collect: &mut Collect<'_>) -> Result<(), ReadError> {
    // Such lists may have lines of hosts files between their rules.
    if let Some((first, names)) = line.split_once(char::is_whitespace)
        && first.parse::<IpAddr>().is_ok_and(is_nowhere)
    {
        return hosts(without_remark(names), number, collect);
    }
    let (action, rule) = match line.strip_prefix("@@") {
        Some(rule) => (Action::Allow, rule),
        None => (Action::Watch, line),
    };
    if is_cosmetic(rule) {
        collect.skip(Reason::Rule, number, line);
        return Ok(());
    }
    if rule.len() > 1 && rule.starts_with('/') && (rule.ends_with('/') || rule.contains("/$")) {
        collect.skip(Reason::Regex, number, line);
        return Ok(());
    }
    let (target, options) = rule.split_once('$').unwrap_or((rule, ""));
    let is_other = |option: &str| {
        let name = option.split('=').next().unwrap_or_default().trim();
        NO_BLOCK.contains(&name.trim_start_matches('~'))
    };
    if options.split(',').any(is_other) {
        collect.skip(Reason::Rule, number, line);
        return Ok(());
    }
    let target = without_remark(target.trim());
    let Some(rest) = target.strip_prefix("||") else {
        let target = target.trim_matches('|');
        // A bare name, or a piece of an address that is matched anywhere.
        return match target.contains(['^', '/']) && !target.contains("://") {
            true => {
                collect.skip(Reason::Rule, number, line);
                Ok(())
            }
            false => rule_text(target, target.trim_end_matches('^'), number, action, collect),
        };
    };
    let end = rest.find(['^', '/', '|']).unwrap_or(rest.len());
    let (name, path) = rest.split_at(end);
    match path.trim_start_matches('^').trim_end_matches(['|', '*']) {
        "" | "/" => rule_text(rest, name, number, action, collect),
        // A page of a host: the host alone.
        _ => collect.text(&format!("http://{name}/"), false, action, Reference::at(number)),
    }
}

fn rule_text(
    given: &str,
    name: &str,
    number: u64,
    action: Action,
    collect: &mut Collect<'_>,
) -> Result<(), ReadError> {
    // A star at the end of a rule means nothing.
    let name = name.trim_end_matches('*');
    if name.ends_with('.') && !given.contains('^') {
        collect.skip(Reason::Regex, number, given);
        return Ok(());
    }
    collect.text(name, true, action, Reference::at(number))
}

//--- dnsmasq --------------------------------------------------------------------------------------------------------

fn dnsmasq(
    key: &str,
    rest: &str,
    line: &str,
    number: u64,
    collect: &mut Collect<'_>,
) -> Result<(), ReadError> {
    let (names, target) = without_remark(rest).rsplit_once('/').unwrap_or((rest, ""));
    let action = match (key, target.trim()) {
        // To the usual servers: an exception.
        ("server" | "local", "#") => Action::Allow,
        ("server" | "local", "") | ("address", _) => Action::Watch,
        // To servers of its own: that is no list.
        _ => {
            collect.skip(Reason::Rule, number, line);
            return Ok(());
        }
    };
    for name in names.split('/').filter(|name| !name.is_empty()) {
        collect.text(name, true, action, Reference::at(number))?;
    }
    Ok(())
}
