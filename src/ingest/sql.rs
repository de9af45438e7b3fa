//! The text that a database writes out: its `CREATE TABLE` and `INSERT` statements, row by row.
//!
//! What `mysqldump`, `mariadb-dump` and `.dump` of `sqlite3` write is understood, not SQL at large: a statement of another
//! kind is passed over, whatever is in it. A value is bounded; so is the number of tables and columns that is remembered.

use std::io::{self, BufRead};

/// Bytes of a value that are kept; a longer one is [`Value::Other`].
const MAX_VALUE_BYTES: usize = 64 << 10;
/// Columns of a table that are remembered, and values of a row.
const MAX_COLUMNS: usize = 64;
/// Tables that are remembered.
const MAX_TABLES: usize = 256;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// A string, unescaped.
    Text(Vec<u8>),
    /// A number, as it is written.
    Number(Vec<u8>),
    /// An expression, bytes, or something too long.
    Other,
}

/// Reads the rows of a dump.
pub(super) struct Statements<R> {
    bytes: Bytes<R>,
    /// Whether a backslash escapes in strings, as in MySQL; in SQLite it is a character.
    backslashes: bool,
    tables: Vec<(String, Vec<String>)>,
    /// The table, and the columns, of the statement whose rows are being read.
    inserting: Option<(String, Vec<String>)>,
    /// What the dump says of its own end.
    end: Ending,
}

/// Whether a dump says where it ends, and has done so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Unsaid,
    Awaited,
    ReadOutcome,
}

/// A row, with its table and the columns by which its values are named.
pub(super) struct SqlRow<'a> {
    pub columns: &'a [String],
    pub values: Vec<Value>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A keyword, a plain name or a number.
    Word(Vec<u8>),
    /// A name in quotes of its own.
    Name(Vec<u8>),
    /// A string; `None` when it is too long.
    Text(Option<Vec<u8>>),
    Symbol(u8),
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(text) if text.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn name(self) -> Option<String> {
        match self {
            Token::Word(name) | Token::Name(name) => String::from_utf8(name).ok(),
            _ => None,
        }
    }
}

impl<R: BufRead> Statements<R> {
    pub fn new(reader: R, backslashes: bool) -> Statements<R> {
        Statements {
            bytes: Bytes { reader },
            backslashes,
            tables: Vec::new(),
            inserting: None,
            end: Ending::Unsaid,
        }
    }

    /// The next row of any table; `None` at the end.
    ///
    /// # Errors
    ///
    /// When the dump cannot be read, or ends before its end.
    pub fn next(&mut self) -> io::Result<Option<SqlRow<'_>>> {
        loop {
            if self.inserting.is_some() {
                if let Some(values) = self.values()? {
                    let columns = self.inserting.as_ref().map_or(&[][..], |(_, columns)| columns);
                    return Ok(Some(SqlRow { columns, values }));
                }
                self.inserting = None;
                continue;
            }
            let Some(token) = self.token()? else {
                return match self.end {
                    Ending::Awaited => {
                        Err(cut("it does not say that it is complete, as it would at its end"))
                    }
                    Ending::Unsaid | Ending::ReadOutcome => Ok(None),
                };
            };
            if token.is_word("CREATE") {
                self.create()?;
            } else if token.is_word("INSERT") || token.is_word("REPLACE") {
                self.insert()?;
            } else {
                match &token {
                    word if word.is_word("BEGIN") => self.end = Ending::Awaited,
                    word if word.is_word("COMMIT") => self.end = Ending::ReadOutcome,
                    _ => {}
                }
                self.pass_over(token)?;
            }
        }
    }

    /// Whether the dump begins with these bytes; only before the first row is asked for.
    ///
    /// # Errors
    ///
    /// When the dump cannot be read.
    pub fn starts_with(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.bytes.peek()?;
        Ok(self.bytes.reader.fill_buf()?.starts_with(bytes))
    }

    /// Whether a table has these columns.
    pub fn has_table(&self, columns: &[&str]) -> bool {
        self.tables.iter().any(|(_, have)| columns.iter().all(|name| have.iter().any(|other| other == name)))
    }

    /// Remembers the columns of a table.
    fn create(&mut self) -> io::Result<()> {
        let mut token = self.some()?;
        if !token.is_word("TABLE") {
            return self.pass_over(token);
        }
        let mut name = None;
        while token != Token::Symbol(b'(') {
            if token == Token::Symbol(b';') {
                return Ok(());
            }
            // The last word before the parenthesis: `IF NOT EXISTS` and the database's name come before.
            name = token.name().or(name);
            token = self.some()?;
        }
        let (mut columns, mut depth, mut is_first) = (Vec::new(), 1u32, true);
        while depth > 0 {
            let token = self.some()?;
            match token {
                Token::Symbol(b'(') => depth += 1,
                Token::Symbol(b')') => depth -= 1,
                Token::Symbol(b',') if depth == 1 => {
                    is_first = true;
                    continue;
                }
                Token::Name(_) | Token::Word(_) if is_first && !is_constraint(&token) => {
                    columns.extend(token.name().map(|name| name.to_ascii_lowercase()));
                    columns.truncate(MAX_COLUMNS);
                }
                _ => {}
            }
            is_first = false;
        }
        if let Some(name) = name.filter(|_| self.tables.len() < MAX_TABLES) {
            self.tables.retain(|(other, _)| *other != name);
            self.tables.push((name, columns));
        }
        let token = self.some()?;
        self.pass_over(token)
    }

    /// Reads as far as the first row.
    fn insert(&mut self) -> io::Result<()> {
        let (mut name, mut named) = (None, None);
        loop {
            match self.some()? {
                token if token.is_word("VALUES") => break,
                token @ Token::Symbol(b';') => return self.pass_over(token),
                Token::Symbol(b'(') => {
                    let mut columns = Vec::new();
                    loop {
                        match self.some()? {
                            Token::Symbol(b')') => break,
                            Token::Symbol(b';') => return Ok(()),
                            token => columns.extend(token.name().map(|name| name.to_ascii_lowercase())),
                        }
                        columns.truncate(MAX_COLUMNS);
                    }
                    named = Some(columns);
                }
                token => name = token.name().or(name),
            }
        }
        let name = name.unwrap_or_default();
        let known =
            || self.tables.iter().find(|(table, _)| *table == name).map(|(_, columns)| columns.clone());
        let columns = named.or_else(known).unwrap_or_default();
        self.inserting = Some((name, columns));
        Ok(())
    }

    /// The values of the next row of the statement; `None` when it has ended.
    fn values(&mut self) -> io::Result<Option<Vec<Value>>> {
        loop {
            match self.some()? {
                Token::Symbol(b'(') => break,
                Token::Symbol(b';') => return Ok(None),
                // A comma, or what comes behind the rows.
                _ => {}
            }
        }
        let (mut values, mut depth) = (Vec::new(), 0u32);
        let mut value: Option<Value> = None;
        loop {
            match self.some()? {
                Token::Symbol(b'(') => {
                    // An expression: whatever its parts are.
                    depth += 1;
                    value = Some(Value::Other);
                }
                Token::Symbol(b')') if depth > 0 => depth -= 1,
                token @ Token::Symbol(b')' | b',') if depth == 0 => {
                    if values.len() < MAX_COLUMNS {
                        values.push(value.take().unwrap_or(Value::Other));
                    }
                    if token == Token::Symbol(b')') {
                        return Ok(Some(values));
                    }
                }
                Token::Symbol(b';') if depth == 0 => return Err(cut("it has a row without an end")),
                _ if depth > 0 => {}
                Token::Text(text) => {
                    value = Some(match (value, text) {
                        (None, Some(text)) => Value::Text(text),
                        _ => Value::Other,
                    });
                }
                // The character set of the string behind it.
                Token::Word(word) if word.first() == Some(&b'_') => {}
                token if token.is_word("NULL") && value.is_none() => value = Some(Value::Null),
                Token::Word(number) if value.is_none() && is_number(&number) => {
                    value = Some(Value::Number(number));
                }
                _ => value = Some(Value::Other),
            }
        }
    }

    /// Passes over the rest of a statement that begins with this.
    fn pass_over(&mut self, mut token: Token) -> io::Result<()> {
        while token != Token::Symbol(b';') {
            token = match self.token()? {
                Some(token) => token,
                None => return Ok(()),
            };
        }
        Ok(())
    }

    /// A token inside a statement.
    fn some(&mut self) -> io::Result<Token> {
        self.token()?.ok_or_else(|| cut("it ends in the middle of a statement"))
    }

    fn token(&mut self) -> io::Result<Option<Token>> {
        loop {
            let Some(byte) = self.bytes.next()? else { return Ok(None) };
            let token = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'-' if self.bytes.peek()? == Some(b'-') => {
                    self.comment()?;
                    continue;
                }
                b'#' if self.backslashes => {
                    self.comment()?;
                    continue;
                }
                b'/' if self.bytes.peek()? == Some(b'*') => {
                    self.bytes.next()?;
                    let mut last = 0;
                    while let Some(byte) = self.bytes.next()? {
                        if last == b'*' && byte == b'/' {
                            break;
                        }
                        last = byte;
                    }
                    continue;
                }
                b'\'' => Token::Text(self.quoted(byte)?),
                b'`' | b'"' => Token::Name(self.quoted(byte)?.unwrap_or_default()),
                byte if is_wordly(byte) || byte == b'-' => {
                    let mut word = vec![byte];
                    while let Some(next) = self.bytes.peek()? {
                        let exponent = matches!(next, b'+' | b'-')
                            && matches!(word.last(), Some(b'e' | b'E'))
                            && is_number(&word);
                        if !is_wordly(next) && !exponent || word.len() == MAX_VALUE_BYTES {
                            break;
                        }
                        word.push(next);
                        self.bytes.next()?;
                    }
                    Token::Word(word)
                }
                byte => Token::Symbol(byte),
            };
            return Ok(Some(token));
        }
    }

    /// Passes over a comment to the end of its line, and sees what the programs say in theirs.
    fn comment(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        while let Some(byte) = self.bytes.next()? {
            if byte == b'\n' {
                break;
            }
            if text.len() < 64 {
                text.push(byte);
            }
        }
        let says = |what: &[u8]| memchr::memmem::find(&text, what).is_some();
        if says(b"MySQL dump") || says(b"MariaDB dump") {
            self.end = Ending::Awaited;
        } else if says(b"Dump completed") {
            self.end = Ending::ReadOutcome;
        }
        Ok(())
    }

    /// The rest of a string or a name in quotes; `None` when it is too long.
    fn quoted(&mut self, quote: u8) -> io::Result<Option<Vec<u8>>> {
        let mut text = Some(Vec::new());
        loop {
            let mut byte = self.bytes.some()?;
            if byte == quote {
                if self.bytes.peek()? != Some(quote) {
                    return Ok(text);
                }
                self.bytes.next()?;
            } else if byte == b'\\' && self.backslashes && quote == b'\'' {
                byte = match self.bytes.some()? {
                    b'0' => 0,
                    b'b' => 8,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'Z' => 26,
                    other => other,
                };
            }
            match &mut text {
                Some(text) if text.len() < MAX_VALUE_BYTES => text.push(byte),
                _ => text = None,
            }
        }
    }
}

fn is_wordly(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.') || !byte.is_ascii()
}

fn is_number(word: &[u8]) -> bool {
    matches!(word, [b'0'..=b'9', ..] | [b'-' | b'.', b'0'..=b'9', ..])
}

/// Whether a definition inside `CREATE TABLE` is not that of a column.
fn is_constraint(token: &Token) -> bool {
    let words =
        ["PRIMARY", "KEY", "UNIQUE", "INDEX", "CONSTRAINT", "CHECK", "FOREIGN", "FULLTEXT", "SPATIAL"];
    words.iter().any(|word| token.is_word(word))
}

fn cut(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the dump was cut: {why}; try: write it out again"))
}

/// Bytes, one at a time.
struct Bytes<R> {
    reader: R,
}

impl<R: BufRead> Bytes<R> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.reader.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.reader.consume(1);
        }
        Ok(byte)
    }

    fn some(&mut self) -> io::Result<u8> {
        self.next()?.ok_or_else(|| cut("it ends in the middle of a string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a dump, with the columns' names, and how it ended.
    fn rows(text: &str, backslashes: bool) -> (Vec<String>, Option<String>) {
        let mut statements = Statements::new(text.as_bytes(), backslashes);
        let mut rows = Vec::new();
        loop {
            match statements.next() {
                Ok(Some(SqlRow { columns, values })) => {
                    let shown: Vec<String> = values
                        .iter()
                        .map(|value| match value {
                            Value::Null => "NULL".to_owned(),
                            Value::Text(text) => format!("'{}'", text.escape_ascii()),
                            Value::Number(number) => number.escape_ascii().to_string(),
                            Value::Other => "?".to_owned(),
                        })
                        .collect();
                    rows.push(format!("{}: {}", columns.join(","), shown.join(" ")));
                }
                Ok(None) => return (rows, None),
                Err(error) => return (rows, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn rows_of_mysql_are_read_with_their_columns() {
        let (rows, error) = rows(
            "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8; it's here */;\nDROP TABLE IF EXISTS `t`;\n\
             CREATE TABLE `t` (\n  `a` varchar(255) NOT NULL DEFAULT 'x,)',\n  `Key` decimal(10,2),\n  \
             PRIMARY KEY (`a`,`Key`),\n  KEY `ix` (`a`)\n) ENGINE=InnoDB COMMENT='it''s';\nLOCK TABLES `t` WRITE;\n\
             INSERT INTO `t` VALUES ('a\\'b\\\\c''d\\n;',1),(NULL,-1.5e+09),(_binary 'x',CONCAT('a',(1),';'));\n\
             INSERT INTO `t` (`Key`, `a`) VALUES\n(0x41,'(\"'),\n('','--');\n# INSERT INTO t VALUES (1);\n\
             -- Dump completed on 2026-01-02\n",
            true,
        );
        assert_eq!(error, None);
        assert_eq!(
            rows,
            [
                "a,key: 'a\\'b\\\\c\\'d\\n;' 1",
                "a,key: NULL -1.5e+09",
                "a,key: 'x' ?",
                "key,a: 0x41 '(\\\"'",
                "key,a: '' '--'",
            ]
        );
    }

    #[test]
    fn rows_of_sqlite_are_read_with_their_columns() {
        let (rows, error) = rows(
            "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE IF NOT EXISTS \"t 1\" (a text,\n b REAL) ;\n\
             INSERT INTO \"t 1\" VALUES('a\\','1');\nINSERT INTO \"t 1\" VALUES(replace('a\\nb','\\n',char(10)),1.5);\n\
             INSERT INTO \"t 1\" VALUES(X'00ff','ü');\nCREATE INDEX i ON t(a);\nCOMMIT;\n",
            false,
        );
        assert_eq!(error, None);
        assert_eq!(rows, ["a,b: 'a\\\\' '1'", "a,b: ? 1.5", "a,b: ? '\\xc3\\xbc'"]);
    }

    #[test]
    fn a_dump_that_was_cut_is_no_whole_one() {
        let whole = "BEGIN TRANSACTION;\nCREATE TABLE t (a);\nINSERT INTO t VALUES('x');\nCOMMIT;\n";
        for length in 1..whole.len() {
            let (_, error) = rows(&whole[..length], false);
            // Before the first statement it says nothing, and behind the last it has said all.
            let is_cut = ("BEGIN".len()..whole.len() - ";\n".len()).contains(&length);
            assert_eq!(error.is_some(), is_cut, "{}", &whole[..length]);
        }
        assert_eq!(rows(whole, false), (vec!["a: 'x'".to_owned()], None));
    }

    #[test]
    fn a_value_is_bounded_and_nothing_is_an_error_but_the_end() {
        let long = "x".repeat(MAX_VALUE_BYTES + 1);
        let (long_rows, error) =
            rows(&format!("CREATE TABLE t (a,b); INSERT INTO t VALUES ('{long}', 2);"), false);
        assert_eq!((long_rows.as_slice(), error), (&["a,b: ? 2".to_owned()][..], None));
        for nonsense in
            ["", ";;;", "\u{0}\u{1}", ") ( , ;", "CREATE;", "CREATE TABLE;", "INSERT;", "INSERT INTO t (;"]
        {
            assert_eq!(rows(nonsense, true), (vec![], None), "{nonsense}");
        }
    }
}
