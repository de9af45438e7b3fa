//! Patterns of STIX 2.1 (section 9), as far as they name what a DNS log has.
//!
//! A pattern is a hit when any one of several values is seen, or it is none that is taken here: what needs two things at once, in
//! an order, or so many times, is refused by its reason. Of an OR each side stands for itself.

use super::reason::Reason;

/// How deep parentheses may be.
const MAX_DEPTH: usize = 50;
/// Bytes of a pattern.
const MAX_BYTES: usize = 64 << 10;

/// What one side of a pattern comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A name, an address, a network or a URL.
    Text(String),
    /// A name and all below it.
    Below(String),
    /// Nothing that is taken.
    Not(Reason),
}

/// The sides of a pattern.
///
/// # Errors
///
/// [`Reason::PatternMalformed`] when it is none.
pub fn terms(pattern: &str) -> Result<Vec<Term>, Reason> {
    if pattern.len() > MAX_BYTES {
        return Err(Reason::PatternMalformed);
    }
    let tokens = tokens(pattern).ok_or(Reason::PatternMalformed)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let terms = parser.observations().ok_or(Reason::PatternMalformed)?;
    if !parser.tokens.is_empty() || terms.is_empty() {
        return Err(Reason::PatternMalformed);
    }
    Ok(terms)
}

//--- tokens ---------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A keyword, a path, a number.
    Word(String),
    /// A text between quotation marks, and the letter before it.
    Text(String),
    /// A sign.
    Sign(&'static str),
}

fn tokens(pattern: &str) -> Option<Vec<Token>> {
    const SIGNS: [&str; 15] =
        ["==", "!=", "<>", "<=", ">=", "[", "]", "(", ")", ",", "=", "<", ">", "+", "*"];
    let mut tokens = Vec::new();
    let mut rest = without_comment(pattern)?;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('\'') {
            let (text, after) = quoted(inner)?;
            tokens.push(Token::Text(text));
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = rest.get(sign.len()..)?;
        } else {
            let end = word(rest)?;
            tokens.push(Token::Word(rest.get(..end)?.to_owned()));
            rest = rest.get(end..)?;
        }
        rest = without_comment(rest)?;
    }
    Some(tokens)
}

/// What follows blanks and comments; `None` where a comment has no end.
fn without_comment(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    loop {
        rest = if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/")?.1.trim_start()
        } else if let Some(comment) = rest.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, after)| after).trim_start()
        } else {
            return Some(rest);
        };
    }
}

/// A text up to its quotation mark, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((out, text.get(at + 1..)?)),
            // `\u00fc` is of no grammar, and of tools that write JSON into JSON.
            '\\' => match chars.next()?.1 {
                c @ ('\'' | '\\') => out.push(c),
                'u' => {
                    let digits = text.get(at + 2..at + 6)?;
                    out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                    chars.nth(3)?;
                }
                c => out.extend(['\\', c]),
            },
            c => out.push(c),
        }
    }
    None
}

/// Where a word ends. In a path, brackets hold an index, and a part may be in quotation marks: `file:hashes.'SHA-256'`.
fn word(text: &str) -> Option<usize> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        match rest.chars().next() {
            Some(c) if is_plain(c) => at += c.len_utf8(),
            Some('[') if at > 0 && text.get(..at)?.contains(':') => at += rest.find(']')? + 1,
            Some('\'') if at > 0 && text.get(..at)?.ends_with('.') => at += rest.get(1..)?.find('\'')? + 2,
            _ if at == 0 => return None,
            _ => return Some(at),
        }
    }
}

//--- grammar --------------------------------------------------------------------------------------------------------

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_it = matches!(self.tokens.first(), Some(Token::Sign(found)) if *found == sign);
        if is_it {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        is_it
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_it =
            matches!(self.tokens.first(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        if is_it {
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        is_it
    }

    /// Observations with OR, AND and FOLLOWEDBY between them. What AND and FOLLOWEDBY join comes to nothing that is taken, and OR
    /// binds less than AND and more than FOLLOWEDBY.
    fn observations(&mut self) -> Option<Vec<Term>> {
        let mut terms = self.observations_of_or()?;
        while self.take_word("FOLLOWEDBY") {
            self.observations_of_or()?;
            terms = vec![Term::Not(Reason::PatternTime)];
        }
        Some(terms)
    }

    fn observations_of_or(&mut self) -> Option<Vec<Term>> {
        let mut terms = self.observations_of_and()?;
        while self.take_word("OR") {
            terms.extend(self.observations_of_and()?);
        }
        Some(terms)
    }

    fn observations_of_and(&mut self) -> Option<Vec<Term>> {
        let mut terms = self.observation()?;
        while self.take_word("AND") {
            self.observation()?;
            terms = vec![Term::Not(Reason::PatternAnd)];
        }
        Some(terms)
    }

    /// An observation or several in parentheses, and what qualifies it.
    fn observation(&mut self) -> Option<Vec<Term>> {
        let mut terms = if self.take_sign("(") {
            let terms = self.deeper(Parser::observations)?;
            self.take_sign(")").then_some(())?;
            terms
        } else {
            self.take_sign("[").then_some(())?;
            let terms = self.comparisons()?;
            self.take_sign("]").then_some(())?;
            terms
        };
        loop {
            if self.take_word("WITHIN") {
                // One thing alone is within any time.
                self.next()?;
                self.take_word("SECONDS").then_some(())?;
            } else if self.take_word("REPEATS") {
                let Some(Token::Word(times)) = self.next() else { return None };
                let is_once = times == "1";
                self.take_word("TIMES").then_some(())?;
                if !is_once {
                    terms = vec![Term::Not(Reason::PatternTime)];
                }
            } else if self.take_word("START") {
                self.moment()?;
                self.take_word("STOP").then_some(())?;
                self.moment()?;
                terms = vec![Term::Not(Reason::PatternTime)];
            } else {
                return Some(terms);
            }
        }
    }

    /// `t'2014-01-13T07:03:17Z'`
    fn moment(&mut self) -> Option<()> {
        self.take_word("t");
        matches!(self.next()?, Token::Text(_)).then_some(())
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let found = parse(self);
        self.depth -= 1;
        found
    }

    fn comparisons(&mut self) -> Option<Vec<Term>> {
        let mut terms = self.comparisons_of_and()?;
        while self.take_word("OR") {
            terms.extend(self.comparisons_of_and()?);
        }
        Some(terms)
    }

    fn comparisons_of_and(&mut self) -> Option<Vec<Term>> {
        let mut terms = self.comparison()?;
        while self.take_word("AND") {
            self.comparison()?;
            terms = vec![Term::Not(Reason::PatternAnd)];
        }
        Some(terms)
    }

    fn comparison(&mut self) -> Option<Vec<Term>> {
        if self.take_sign("(") {
            let terms = self.deeper(Parser::comparisons)?;
            self.take_sign(")").then_some(())?;
            return Some(terms);
        }
        if self.take_word("EXISTS") {
            self.next()?;
            return Some(vec![Term::Not(Reason::PatternObject)]);
        }
        // `NOT path = x` is of older grammars.
        let is_not_in_front = self.take_word("NOT");
        let Token::Word(path) = self.next()?.clone() else { return None };
        path.contains(':').then_some(())?;
        let is_not = self.take_word("NOT") || is_not_in_front;
        let operator = match self.next()? {
            Token::Sign(sign @ ("=" | "==" | "!=" | "<>" | "<" | ">" | "<=" | ">=")) => (*sign).to_owned(),
            Token::Word(word) => word.to_ascii_uppercase(),
            _ => return None,
        };
        let mut values = Vec::new();
        match operator.as_str() {
            "IN" => {
                self.take_sign("(").then_some(())?;
                if !self.take_sign(")") {
                    values.push(self.literal()?);
                    while self.take_sign(",") {
                        values.push(self.literal()?);
                    }
                    self.take_sign(")").then_some(())?;
                }
            }
            "LIKE" | "MATCHES" | "ISSUBSET" | "ISSUPERSET" | "=" | "==" | "!=" | "<>" | "<" | ">" | "<="
            | ">=" => {
                values.push(self.literal()?);
            }
            _ => return None,
        }
        if is_not || matches!(operator.as_str(), "!=" | "<>") {
            return Some(vec![Term::Not(Reason::PatternNot)]);
        }
        Some(values.iter().map(|value| term(&path, &operator, value)).collect())
    }

    /// A text; what is anything else is one that is nothing here.
    fn literal(&mut self) -> Option<String> {
        // A sign of a number, and the letter of `h'ff'`, `b'..'` and `t'..'`.
        self.take_sign("+");
        match self.next()?.clone() {
            Token::Text(text) => Some(text),
            Token::Word(word) if matches!(word.as_str(), "h" | "b" | "t") => match self.next()? {
                Token::Text(text) => Some(text.clone()),
                _ => None,
            },
            Token::Word(word) => Some(word),
            Token::Sign(_) => None,
        }
    }
}

/// What one comparison comes to.
fn term(path: &str, operator: &str, value: &str) -> Term {
    let path = path.to_ascii_lowercase();
    let (object, property) = path.split_once(':').unwrap_or((&path, ""));
    let is_name = matches!((object, property), ("domain-name" | "hostname" | "x-host", "value"));
    let is_address = matches!(object, "ipv4-addr" | "ipv6-addr") && property == "value";
    let is_end = object == "network-traffic" && matches!(property, "dst_ref.value" | "src_ref.value");
    let is_resolved =
        object == "domain-name" && property.starts_with("resolves_to_refs[") && property.ends_with("].value");
    let is_url = (object, property) == ("url", "value");
    if property.contains("hashes") {
        return Term::Not(Reason::Hash);
    }
    if object == "email-addr" {
        return Term::Not(Reason::Mail);
    }
    if !(is_name || is_address || is_end || is_resolved || is_url) {
        return Term::Not(Reason::PatternObject);
    }
    match operator {
        "=" | "==" | "IN" if is_url && !value.contains("://") => Term::Text(format!("http://{value}")),
        "=" | "==" | "IN" => Term::Text(value.to_owned()),
        "ISSUBSET" if is_address || is_end || is_resolved => Term::Text(value.to_owned()),
        "LIKE" if is_name || is_url => like(value, is_url),
        _ => Term::Not(Reason::PatternMatches),
    }
}

/// `%` is any text and `_` any character: only a whole label in front says as much as a domain does, and behind the host of a URL
/// anything may be.
fn like(value: &str, is_url: bool) -> Term {
    let has_sign = |text: &str| text.contains(['%', '_']);
    if is_url {
        let host_end = value.split_once("://").and_then(|(scheme, rest)| {
            let end = rest.find(['/', '?', '#'])?;
            Some(scheme.len() + 3 + end)
        });
        return match host_end.and_then(|end| value.get(..end)) {
            Some(host) if !has_sign(host) => Term::Text(format!("{host}/")),
            _ => Term::Not(Reason::PatternMatches),
        };
    }
    match value.strip_prefix("%.") {
        Some(rest) if !has_sign(rest) => Term::Below(rest.to_owned()),
        None if !has_sign(value) => Term::Text(value.to_owned()),
        _ => Term::Not(Reason::PatternMatches),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(pattern: &str) -> String {
        let show = |term: &Term| match term {
            Term::Text(text) => text.clone(),
            Term::Below(text) => format!("*.{text}"),
            Term::Not(reason) => format!("({})", reason.name()),
        };
        match terms(pattern) {
            Ok(terms) => terms.iter().map(show).collect::<Vec<_>>().join(" "),
            Err(reason) => format!("!{}", reason.name()),
        }
    }

    #[test]
    fn what_any_one_value_makes_a_hit_is_taken_and_nothing_else() {
        for (pattern, terms) in [
            ("[domain-name:value = 'a.example']", "a.example"),
            ("[ domain-name:value='a.example' ]", "a.example"),
            (
                "[domain-name:value = 'a.example' OR ipv4-addr:value = '198.51.100.7']",
                "a.example 198.51.100.7",
            ),
            ("[domain-name:value = 'a.example'] OR [domain-name:value = 'b.example']", "a.example b.example"),
            (
                "([domain-name:value = 'a.example'] OR [url:value = 'http://b.example/x'])",
                "a.example http://b.example/x",
            ),
            ("[(domain-name:value = 'a.example' OR domain-name:value = 'b.example')]", "a.example b.example"),
            ("[domain-name:value IN ('a.example', 'b.example')]", "a.example b.example"),
            ("[domain-name:value LIKE '%.a.example']", "*.a.example"),
            ("[domain-name:value LIKE 'a.example']", "a.example"),
            ("[domain-name:value LIKE '%a.example']", "(pattern_matches)"),
            ("[domain-name:value LIKE '%.a_.example']", "(pattern_matches)"),
            ("[domain-name:value MATCHES '^[a-z]{12}\\\\.example$']", "(pattern_matches)"),
            ("[url:value LIKE 'https://a.example/%']", "https://a.example/"),
            ("[url:value LIKE 'https://%.example/x']", "(pattern_matches)"),
            ("[ipv4-addr:value ISSUBSET '203.0.113.0/24']", "203.0.113.0/24"),
            ("[ipv4-addr:value ISSUPERSET '203.0.113.0/24']", "(pattern_matches)"),
            ("[network-traffic:dst_ref.value = '198.51.100.22']", "198.51.100.22"),
            ("[domain-name:resolves_to_refs[*].value = '198.51.100.9']", "198.51.100.9"),
            (
                "[domain-name:value = 'a.example' AND domain-name:resolves_to_refs[*].value = '198.51.100.9']",
                "(pattern_and)",
            ),
            ("[domain-name:value = 'a.example'] AND [domain-name:value = 'b.example']", "(pattern_and)"),
            (
                "[domain-name:value = 'c.example' OR domain-name:value = 'a.example' AND ipv4-addr:value = '198.51.100.9']",
                "c.example (pattern_and)",
            ),
            (
                "[domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example'] WITHIN 300 SECONDS",
                "(pattern_time)",
            ),
            (
                "([domain-name:value = 'a.example'] FOLLOWEDBY [domain-name:value = 'b.example']) WITHIN 300 SECONDS",
                "(pattern_time)",
            ),
            ("[domain-name:value = 'a.example'] WITHIN 300 SECONDS", "a.example"),
            ("[domain-name:value = 'a.example'] REPEATS 1 TIMES", "a.example"),
            ("[domain-name:value = 'a.example'] REPEATS 5 TIMES WITHIN 1800 SECONDS", "(pattern_time)"),
            (
                "[domain-name:value = 'a.example'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'",
                "(pattern_time)",
            ),
            ("[domain-name:value != 'a.example']", "(pattern_not)"),
            ("[domain-name:value NOT = 'a.example']", "(pattern_not)"),
            ("[domain-name:value NOT IN ('a.example')]", "(pattern_not)"),
            ("[file:hashes.'SHA-256' = 'aa']", "(hash)"),
            ("[file:hashes.MD5 = 'aa' OR domain-name:value = 'a.example']", "(hash) a.example"),
            ("[email-addr:value = 'x@a.example']", "(mail)"),
            ("[process:pid > 5]", "(pattern_object)"),
            ("[EXISTS file:name]", "(pattern_object)"),
            ("[windows-registry-key:key = 'HKEY_X\\\\y']", "(pattern_object)"),
            ("[domain-name:value = 'it\\'s.example']", "it's.example"),
            (r"[domain-name:value = 'b\u00fccher.example']", "b\u{fc}cher.example"),
            ("", "!pattern_malformed"),
            ("[domain-name:value = 'a.example'", "!pattern_malformed"),
            ("[domain-name:value = a.example']", "!pattern_malformed"),
            ("domain-name:value = 'a.example'", "!pattern_malformed"),
            ("[domain-name:value = 'a.example']]", "!pattern_malformed"),
            ("[domain-name:value LIKES 'a.example']", "!pattern_malformed"),
        ] {
            assert_eq!(shown(pattern), terms, "{pattern}");
        }
        assert_eq!(shown(&"(".repeat(10_000)), "!pattern_malformed");
        assert_eq!(shown(&format!("[{}", "(".repeat(10_000))), "!pattern_malformed");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]()'=<>!a-zA-Z :.*%\\\\-]{0,60}", any: String) {
            let _ = terms(&text);
            let _ = terms(&any);
        }
    }
}
