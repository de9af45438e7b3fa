//! Lists of indicators: a line each, a column of a CSV, or a text that they are taken out of.

use super::indicator::with_unclear;
use super::query::QueryError;
use crate::indicators::broken_lines::Folded;
use crate::indicators::{cells, said_sign};

/// Titles of the column that holds indicators, as feeds have them.
const TITLES: &[&str] = &[
    "address",
    "domain",
    "fqdn",
    "host",
    "hostname",
    "indicator",
    "indicators",
    "ioc",
    "ip",
    "name",
    "observable",
    "query",
    "url",
    "value",
];
/// Bytes of a row of a CSV whose cells have line ends in them.
const MAX_ROW: usize = 8 << 10;
const SIGNS: [char; 4] = [',', ';', '\t', '|'];

/// How a list is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListForm {
    /// It is a CSV, and this column of it is asked for: a title, or a number from 1.
    pub column: Option<String>,
    /// It is a text, and whatever in it is a name or an address is asked for, once.
    pub extract: bool,
}

/// A list being taken apart, line by line.
#[derive(Debug)]
pub struct List {
    form: ListForm,
    /// What divides the cells of a CSV, and which of them is wanted.
    cells: Option<(char, usize)>,
    /// What divides them by a first line that says it, as Excel writes it: `sep=;`.
    sign: Option<char>,
    /// The lines of a row of a CSV so far, of which a quotation mark is open.
    row: String,
    /// What was taken out of a text already.
    taken: std::collections::HashSet<String>,
    /// The lines of that text.
    folded: Folded,
    /// Why nothing can be taken out of it at all.
    fault: Option<QueryError>,
}

impl List {
    /// A list of this form.
    pub fn new(form: ListForm) -> List {
        List {
            form,
            cells: None,
            sign: None,
            row: String::new(),
            taken: Default::default(),
            folded: Folded::default(),
            fault: None,
        }
    }

    /// Why no line of it can be read, if that is so: it has no such column.
    pub fn fault(&self) -> Option<&QueryError> {
        self.fault.as_ref()
    }

    /// Whether its lines are the queries themselves.
    pub fn is_plain(&self) -> bool {
        self.form == ListForm::default()
    }

    /// What the next line asks for: nothing where it is empty or a comment.
    ///
    /// # Errors
    ///
    /// When a cell is missing.
    pub fn line(&mut self, line: &str) -> Result<Vec<String>, QueryError> {
        let text = line.trim_start_matches('\u{feff}').trim();
        if self.form.extract {
            return Ok(self.extract(text));
        }
        if self.row.is_empty() && (text.is_empty() || text.starts_with('#') || text.starts_with("// ")) {
            return Ok(Vec::new());
        }
        if self.form.column.is_some() {
            return self.cell(line.trim_matches(['\r', '\n', '\u{feff}']));
        }
        // A remark behind it.
        let text =
            [" #", "\t#", " //"].iter().fold(text, |text, sign| text.split(sign).next().unwrap_or_default());
        let text = text.trim_end();
        // A line of a hosts file.
        let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let is_hosts = matches!(first, "0.0.0.0" | "127.0.0.1" | "::" | "::1") && !rest.trim().is_empty();
        Ok(vec![if is_hosts { rest.trim() } else { text }.to_owned()])
    }

    /// What the cell that is wanted asks for, a line of it each; nothing of the line with the titles, and of a row that goes on in
    /// the next line.
    fn cell(&mut self, line: &str) -> Result<Vec<String>, QueryError> {
        if let (None, true, Some(sign)) = (self.cells, self.row.is_empty(), said_sign(line)) {
            self.sign = Some(sign);
            return Ok(Vec::new());
        }
        let mut row = std::mem::take(&mut self.row);
        if !row.is_empty() {
            row.push('\n');
        }
        row.push_str(line);
        let line = row.as_str();
        let is_first = self.cells.is_none();
        let (sign, at) = match self.cells {
            Some(cells) => cells,
            None => {
                let cells = self.find_column(line)?;
                *self.cells.insert(cells)
            }
        };
        let (cells, is_open) = cells(line, sign);
        if is_open && row.len() < MAX_ROW {
            self.row = row;
            return Ok(Vec::new());
        }
        if is_open {
            return Err(QueryError::new(
                "",
                0,
                "a quotation mark is not closed",
                "\"a cell\", in its own marks",
            ));
        }
        let by_title = self.form.column.as_deref().is_some_and(|column| column.parse::<usize>().is_err());
        let cell = cells.get(at).map(|cell| cell.trim()).unwrap_or_default();
        if is_first && (by_title || TITLES.iter().any(|title| title.eq_ignore_ascii_case(cell))) {
            return Ok(Vec::new());
        }
        if cell.is_empty() {
            let message = format!("there is nothing in column {}", at + 1);
            return Err(QueryError::new(line, 0, message, "--column, a title or a number from 1"));
        }
        Ok(cell.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn find_column(&mut self, line: &str) -> Result<(char, usize), QueryError> {
        let column = self.form.column.clone().unwrap_or_default();
        // What divides the most cells; a comma where nothing does.
        let most = SIGNS.iter().rev().max_by_key(|sign| cells(line, **sign).0.len());
        let sign = self.sign.unwrap_or_else(|| most.copied().unwrap_or(','));
        if let Ok(number) = column.parse::<usize>() {
            let at = number.checked_sub(1);
            return at.map(|at| (sign, at)).ok_or_else(|| {
                let fault = QueryError::new(&column, 0, "columns are counted from 1", "--column 1");
                self.fault.insert(fault).clone()
            });
        }
        let (titles, _) = cells(line, sign);
        let wanted = column.trim();
        match titles.iter().position(|title| title.trim().eq_ignore_ascii_case(wanted)) {
            Some(at) => Ok((sign, at)),
            None => {
                let titles: Vec<&str> = titles.iter().map(|title| title.trim()).take(20).collect();
                let message = format!("unknown column {wanted}; there are: {}", titles.join(", "));
                let fault =
                    QueryError::new(line, 0, message, "the title as it is in the first line, or a number");
                Err(self.fault.insert(fault).clone())
            }
        }
    }

    /// What the last line left to ask for.
    pub fn end(&mut self) -> Vec<String> {
        if !self.row.is_empty() {
            // Nothing closes it any more: its last line is as good as a row of its own.
            return std::mem::take(&mut self.row)
                .lines()
                .map(|line| line.trim_matches('"').to_owned())
                .collect();
        }
        let rest = self.folded.end();
        rest.map(|rest| self.taken_out(&rest)).unwrap_or_default()
    }

    /// The names and addresses in a line of a text that were not in it before, and what looks like one: it is read as a query, and
    /// told where it is none.
    fn extract(&mut self, text: &str) -> Vec<String> {
        let text = self.folded.line(text).into_owned();
        self.taken_out(&text)
    }

    fn taken_out(&mut self, text: &str) -> Vec<String> {
        let mut found = with_unclear(text);
        found.retain(|asked| self.taken.insert(asked.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(form: &ListForm, text: &str) -> Vec<String> {
        let mut list = List::new(form.clone());
        let mut taken: Vec<String> = text
            .lines()
            .flat_map(|line| {
                list.line(line).unwrap_or_else(|error| vec![format!("error: {}", error.message)])
            })
            .collect();
        taken.extend(list.end());
        taken
    }

    #[test]
    fn a_cell_with_line_ends_in_it_is_one_cell_and_asks_for_each_line() {
        let form = ListForm { column: Some("ioc value".to_owned()), extract: false };
        let text = "Threat,IOC Value,Confidence\nCobalt,\"a[.]example\n\nb[.]example\",high\n\"x\n# y\",c.example,low\n";
        assert_eq!(taken(&form, text), ["a[.]example", "b[.]example", "c.example"]);
        let open = format!("Threat,IOC Value\nz,\"d.example\n{}", "x\n".repeat(40_000));
        assert!(taken(&form, &open).contains(&"error: a quotation mark is not closed".to_owned()));
    }

    #[test]
    fn comments_remarks_and_empty_lines_ask_for_nothing() {
        let text = "\u{feff}# of today\n\na.example\n  b.example # c2\n// more\n0.0.0.0 c.example\nhttps://d.example/#x\n//e.example/x";
        assert_eq!(
            taken(&ListForm::default(), text),
            ["a.example", "b.example", "c.example", "https://d.example/#x", "//e.example/x"]
        );
    }

    #[test]
    fn a_column_is_found_by_its_title_or_its_number() {
        let by = |column: &str| ListForm { column: Some(column.to_owned()), extract: false };
        let text = "# feed\nid;IOC;note\n1;\"a[.]example\";\"x;\"\"y\"\"\"\n2;b.example\n3\n";
        let found = ["a[.]example", "b.example", "error: there is nothing in column 2"];
        assert_eq!(taken(&by("ioc"), text), found);
        assert_eq!(taken(&by("2"), text), found, "a title that feeds have is none");
        assert_eq!(taken(&by("1"), "a.example,x\nb.example,y"), ["a.example", "b.example"]);
        assert_eq!(taken(&by("2"), "x\ta.example\r\n"), ["a.example"]);
        assert_eq!(taken(&by("ioc"), "sep=;\nid;ioc\n1,2,3;a.example"), ["a.example"]);
        let mut list = List::new(by("host"));
        assert!(list.line("id,name").is_err());
        assert_eq!(list.fault().unwrap().message, "unknown column host; there are: id, name");
    }

    #[test]
    fn a_report_gives_the_targets_of_wrapped_links_and_lines_that_were_broken() {
        let form = ListForm { column: None, extract: true };
        let report = "<https://nam01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fa.evil.example%2Fx&amp;data=05%7C01>\n\
            click https://urldefense.com/v3/__https://b.evil.example/x__;!!Ab!c$ or\n\
            href=https://www.google.com/url?q=https://c.evil.example/&sa=D and https://d.evil-\n\
            c2.example/x, https://e.ev=\n\
            il.example/ https://to.example/?u=https://f.evil.example/ https://evil-";
        let names = [
            "a.evil.example",
            "b.evil.example",
            "c.evil.example",
            "d.evil-c2.example",
            "e.evil.example",
            "to.example",
            "f.evil.example",
            // What is cut is no name, and is told.
            "https://evil-",
        ];
        assert_eq!(taken(&form, report), names);
    }

    #[test]
    fn what_looks_like_an_indicator_and_is_none_is_handed_out_to_be_told() {
        let form = ListForm { column: None, extract: true };
        let report = "dom=a.evil.example&ip=203.0.113.66 b\\x2eevil\\x2eexample \\u003cc.evil.example\\u003e 203.0.113.256\n\
            d.evil.example\\be.evil.example hxxp://f.evil.exam- 1.2.3 v2.0 std::fmt x.exe 0.0.0.0\n\
            https://www.virustotal.com/gui/domain/g.evil.example see update.ev\u{ad}\nil.example\n";
        assert_eq!(
            taken(&form, report),
            [
                "a.evil.example",
                "203.0.113.66",
                "b.evil.example",
                "c.evil.example",
                "203.0.113.256",
                "d.evil.example",
                "be.evil.example",
                "hxxp://f.evil.exam-",
                "www.virustotal.com",
                "g.evil.example",
                "update.evil.example",
            ]
        );
    }

    #[test]
    fn indicators_are_taken_out_of_a_report() {
        let form = ListForm { column: None, extract: true };
        let report = "On 2026-03-04 at 12:30:01 the host (10.0.0.5) asked for update[.]evil-c2[.]badtld, e.g. by update.exe v1.2\n\
            and hxxps://cdn.evil.example:8443/a,b.html?x=1. See also: 203.0.113[.]66, 2001:db8::66; C2=ns1.evil.example.\n\
            Mail: mallory(at)evil(.)example - again update.evil-c2.badtld! Hash d41d8cd98f00b204e9800998ecf8427e, /usr/lib/x.so\n\
            C:\\Windows\\evil.dll *bold* what? std::fmt 10.5 and 198.51.100.0/24.";
        assert_eq!(
            taken(&form, report),
            [
                "10.0.0.5",
                "update.evil-c2.badtld",
                "cdn.evil.example",
                "203.0.113.66",
                "2001:db8::66",
                "ns1.evil.example",
                "evil.example",
                "198.51.100.0/24",
            ]
        );
    }
}
