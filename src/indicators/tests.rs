use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// What is taken out of a list, a line each, and what came of it.
fn told(list: &[u8], options: &Options) -> (Vec<String>, Result<ListSummary, ReadError>) {
    let mut lines = Vec::new();
    let taken = read(&mut &*list, options, &mut |indicator| {
        let Indicator { value, action, reference } = indicator;
        let sign = if action == Action::Allow { "allow " } else { "" };
        let mut line = format!("{} {sign}{} {value}", reference.line, value.kind().name());
        for text in
            [&reference.id, &reference.title, &reference.description, &reference.link].into_iter().flatten()
        {
            write!(line, " | {text}").unwrap();
        }
        if !reference.tags.is_empty() {
            write!(line, " | {}", reference.tags.join("+")).unwrap();
        }
        for (sign, number) in [
            ("sure", reference.confidence.map(u64::from)),
            ("until", reference.valid_until),
            ("time", reference.time),
        ] {
            number.iter().for_each(|number| write!(line, " {sign}={number}").unwrap());
        }
        lines.push(line);
        Ok(())
    });
    (lines, taken)
}

fn summed(taken: &Result<ListSummary, ReadError>) -> String {
    match taken {
        Ok(taken) => {
            let skipped: Vec<String> =
                taken.skipped.iter().map(|(reason, count)| format!(" {}={count}", reason.name())).collect();
            let title = taken.title.as_ref().map(|title| format!(" {title:?}")).unwrap_or_default();
            format!(
                "{}{title}: lines={} taken={} allowed={}{}",
                taken.format.name(),
                taken.lines,
                taken.taken,
                taken.allowed,
                skipped.concat()
            )
        }
        Err(error) => format!("refused: {error}; try {}", error.hint()),
    }
}

fn samples() -> Vec<(String, Vec<u8>)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/feeds");
    let mut files = Vec::new();
    walk(&folder, &mut files);
    files.sort();
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().display().to_string();
    let files = files.iter().filter(|path| path.file_name().unwrap() != "expected");
    files.map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[test]
fn each_sample_is_read_as_it_is_meant() {
    let mut out = String::new();
    for (name, bytes) in samples() {
        let (lines, taken) = told(&bytes, &Options::default());
        writeln!(out, "=== {name}").unwrap();
        lines.iter().for_each(|line| writeln!(out, "{line}").unwrap());
        writeln!(out, "{}", summed(&taken)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/feeds/expected");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &out).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (at, (line, wanted)) in (1..).zip(out.lines().zip(expected.lines())) {
        assert_eq!(line, wanted, "line {at} of testdata/feeds/expected");
    }
    assert_eq!(out.lines().count(), expected.lines().count());
}

fn values(list: &[u8], options: &Options) -> Vec<String> {
    let mut values = Vec::new();
    let taken = read(&mut &*list, options, &mut |indicator| {
        values.push(format!("{} {}", indicator.value.kind().name(), indicator.value));
        Ok(())
    });
    taken.unwrap();
    values
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn objects_of_json_are_indicators_only_where_they_stand_in_a_list_or_alone() {
    let of = |text: &str| values(text.as_bytes(), &Options::default());
    assert_eq!(
        of("{\"domains\": [], \"domain\": [\"a.test\", {\"domain\": \"b.test\"}]}"),
        ["domain a.test", "domain b.test"]
    );
    assert_eq!(
        of("[{\"iocs\": [{\"ioc\": \"198.51.100.9:53\", \"ioc_type\": \"ip:port\"}]}]"),
        ["address 198.51.100.9"]
    );
    assert_eq!(
        of("[[{\"IP Address\": \"198.51.100.9\"}]]\n[]\n{\"url\": \"hxxp://c[.]test/x\"}\n"),
        ["address 198.51.100.9", "name c.test"]
    );
    // What is about something else, or is an error, is refused as before.
    for none in [
        "{\"repository\": {\"type\": \"git\", \"url\": \"https://code.example/x\"}, \"name\": \"x\"}",
        "{\"error\": \"no such key\", \"url\": \"https://api.example/\"}",
        "{\"message\": \"Not Found\", \"indicator\": \"api.example\"}",
        "{\"query_status\": \"illegal_search_term\"}",
        "[{\"port\": 53}, {\"domain\": null}]",
    ] {
        let read = read(&mut none.as_bytes(), &Options::default(), &mut |_| Ok(()));
        assert!(matches!(read, Err(ReadError::NoList { .. })), "{none}: {read:?}");
    }
    // Deeper than anything means to be, and with more texts than are kept.
    let deep = format!("{}{{\"domain\": \"d.test\"}}{}", "[".repeat(50), "]".repeat(50));
    assert!(read(&mut deep.as_bytes(), &Options::default(), &mut |_| Ok(())).is_err());
    let wide: String = (0..10_000).map(|n| format!("\"{n}\": [{{\"domain\": \"e{n}.test\"}}], ")).collect();
    assert_eq!(of(&format!("{{{wide}\"end\": 1}}")).len(), 10_000);
    // As it is called: the tables of URLhaus and its like are there as JSON, too.
    let feodo = Options { format: Format::from_name("feodo"), ..Options::default() };
    assert_eq!(values(b"[{\"ip_address\": \"198.51.100.9\"}]", &feodo), ["address 198.51.100.9"]);
}

#[test]
fn exports_with_several_columns_give_names_and_addresses_or_say_what_they_left_out() {
    let of = |text: &str, column: Option<&str>| {
        let options = Options { column: column.map(str::to_owned), ..Options::default() };
        let mut found = Vec::new();
        let taken = read(&mut text.as_bytes(), &options, &mut |indicator| {
            found.push(indicator.value.to_string());
            Ok(())
        });
        let taken = taken.unwrap();
        (found, taken.left_out_in_words().collect::<Vec<_>>(), taken.skipped.total())
    };
    // The name that was asked for is what is looked for, whatever type the question had.
    let firewall = "time,src_host,dst_ip,query,type\n1,pc,198.51.100.9,up.evil.example,A\n2,pc,198.51.100.8,c2.evil.example,AAAA\n";
    let all = ["198.51.100.9", "up.evil.example", "198.51.100.8", "c2.evil.example"];
    assert_eq!(of(firewall, None), (all.map(str::to_owned).to_vec(), vec![], 0));
    let objects = "{\"ip\":\"198.51.100.9\",\"query\":\"up.evil.example\"}\n{\"result\":{\"dest\":\"198.51.100.8\",\"dns.question.name\":\"c2.evil.example\"}}\n";
    assert_eq!(of(objects, None), (all.map(str::to_owned).to_vec(), vec![], 0));
    // Zeek's own columns: the server that answers is none of it, nor is who asked.
    let zeek = "ts,id.orig_h,id.resp_h,query,answers\n1,203.0.113.9,192.0.2.53,up.evil.example,\"a.evil.example,198.51.100.9\"\n";
    let (found, words, _) = of(zeek, None);
    assert_eq!(found, ["up.evil.example"]);
    assert_eq!(
        words,
        [
            "Column id.resp_h has addresses that were not taken: --column id.resp_h takes them, --format prose all that is in the list.",
            "Column answers has names and addresses that were not taken: --column answers takes them, --format prose all that is in the list.",
        ]
    );
    assert_eq!(of(zeek, Some("query,id.resp_h")).0, ["up.evil.example", "192.0.2.53"]);
    let (_, words, _) = of(zeek, Some("id.resp_h"));
    assert!(words[0].starts_with("Column query has names that were not taken: --column query"), "{words:?}");
    let nested = "{\"ip\":\"198.51.100.9\",\"dns\":{\"question\":{\"name\":\"up.evil.example\"}},\"tags\":[\"x.example\"]}";
    let (found, words, _) = of(nested, None);
    assert_eq!(found, ["198.51.100.9"]);
    assert_eq!(
        words,
        [
            "Key dns.question.name has names that were not taken: --format prose takes all that is in the list."
        ]
    );
    // What an answer of a server repeats of the question is no indicator.
    assert_eq!(
        of("{\"query\":\"a.example\",\"data\":[{\"ip\":\"198.51.100.9\"}]}", None).0,
        ["198.51.100.9"]
    );
}

#[test]
fn gzip_is_inflated_and_has_a_bound() {
    let list = b"a.bad.example\nb.bad.example\n";
    assert_eq!(values(&packed(list), &Options::default()), values(list, &Options::default()));
    // Two that were packed one after the other.
    let both = [packed(b"a.bad.example\n"), packed(b"b.bad.example\n")].concat();
    assert_eq!(values(&both, &Options::default()).len(), 2);
    let bomb = packed(&vec![b'a'; 8 << 20]);
    assert!(bomb.len() < 100_000);
    let options = Options { most_bytes: 1 << 20, ..Options::default() };
    let (_, taken) = told(&bomb, &options);
    assert!(matches!(taken, Err(ReadError::TooLarge { inflated: true, .. })), "{taken:?}");
    let json = packed(format!("{{\"response\":[{}1]}}", "1,".repeat(1 << 20)).as_bytes());
    let (_, taken) = told(&json, &options);
    assert!(matches!(taken, Err(ReadError::TooLarge { inflated: true, .. })), "{taken:?}");
    let cut = packed(&b"a.bad.example\n".repeat(100_000));
    let (_, taken) = told(&cut[..cut.len() / 2], &Options::default());
    assert!(matches!(taken, Err(ReadError::Io(_))), "{taken:?}");
}

#[test]
fn more_than_may_be_is_said_and_not_cut_off_in_silence() {
    let list = b"a.bad.example\nb.bad.example\nc.bad.example\n";
    let (_, taken) = told(list, &Options { most: 2, ..Options::default() });
    assert!(matches!(taken, Err(ReadError::TooMany { most: 2 })), "{taken:?}");
    let (_, taken) = told(list, &Options { most_bytes: 20, ..Options::default() });
    assert!(matches!(taken, Err(ReadError::TooLarge { inflated: false, .. })), "{taken:?}");
    let (lines, taken) =
        told(&[&vec![b'x'; 1 << 20][..], b"\na.bad.example\n"].concat(), &Options::default());
    assert_eq!((lines.len(), taken.unwrap().skipped.of(Reason::Line)), (1, 1));
}

#[test]
fn what_is_no_list_is_refused_by_name() {
    for (bytes, what) in [
        (&b"<html><body>no</body></html>"[..], "HTML"),
        (b"\xef\xbb\xbf \n<!doctype HTML>\nx", "HTML"),
        (b"<?xml version=\"1.0\"?><stix/>", "XML"),
        (b"PK\x03\x04....", "zip"),
        (b"ab\0\0\0c", "not text"),
        (b"{\"error\": \"API key is not valid\"}", "API key"),
        (b"{\"response\": [", "not JSON"),
        (b"%PDF-1.7", "PDF"),
    ] {
        let (lines, taken) = told(bytes, &Options::default());
        let error = taken.unwrap_err().to_string();
        assert!(error.contains(what) && lines.is_empty(), "{what}: {error}");
    }
    let (_, taken) = told(b"<html>", &Options { format: Some(Format::Plain), ..Options::default() });
    assert!(taken.is_err(), "a format that is told does not make it a list");
}

#[test]
fn options_decide_over_what_a_list_says() {
    let list = b"0.0.0.0 a.bad.example\n";
    let with = |options: Options| values(list, &options);
    assert_eq!(with(Options::default()), ["name a.bad.example"]);
    assert_eq!(with(Options { below: Some(true), ..Options::default() }), ["domain a.bad.example"]);
    let plain = b"a.bad.example\n";
    assert_eq!(values(plain, &Options { below: Some(false), ..Options::default() }), ["name a.bad.example"]);
    let table = b"when,what,other\n1,a.bad.example,b.bad.example\n";
    let column = |name: &str| Options { column: Some(name.to_owned()), ..Options::default() };
    assert_eq!(values(table, &column("other")), ["domain b.bad.example"]);
    assert_eq!(values(table, &column("2")), ["domain a.bad.example"]);
    let (_, taken) = told(table, &column("nothing"));
    assert!(taken.unwrap_err().to_string().contains("when, what, other"));
    let bundle = std::fs::read("testdata/feeds/bundle.json").unwrap();
    let sure = Options { confidence_min: Some(50), ..Options::default() };
    let (_, taken) = told(&bundle, &sure);
    assert_eq!(taken.unwrap().skipped.of(Reason::Confidence), 1);
    let observed = Options { observed: true, ..Options::default() };
    assert!(values(&bundle, &observed).contains(&"address 198.51.100.99".to_owned()));
    let (lines, _) = told(b"10.0.0.0/8\n", &Options { allow: true, ..Options::default() });
    assert_eq!(lines, ["1 allow network 10.0.0.0/8"], "one's own networks are harmless");
}

#[test]
fn who_takes_them_may_end_it() {
    let mut left = 2;
    let list = b"{\"objects\":[{\"type\":\"indicator\",\"pattern\":\"[domain-name:value IN ('a.bad.example','b.bad.example','c.bad.example')]\"}]}";
    let taken = read(&mut &list[..], &Options::default(), &mut |_| {
        left -= 1;
        if left == 0 { Err(ReadError::Stopped) } else { Ok(()) }
    });
    assert!(matches!(taken, Err(ReadError::Stopped)));
}

proptest! {
    #[test]
    fn values_are_read_back_as_themselves(text in "[a-z0-9.:/*@|\\[\\]-]{1,40}") {
        if let Ok(value::Values::One(value)) = value::read(&text, false) {
            let again = value::read(&value.to_string(), false);
            prop_assert_eq!(again.clone(), Ok(value::Values::One(match &value {
                Value::Domain(name) => Value::Name(name.clone()),
                value => value.clone(),
            })), "{} {:?}", text, again);
        }
    }
}

/// Gives its bytes, then an error, and then, as streams of the network do, an end.
struct Broken<'a>(&'a [u8], bool);

impl Read for Broken<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match (self.0.read(out)?, std::mem::replace(&mut self.1, false)) {
            (0, true) => Err(io::Error::other("it broke off")),
            (read, is_whole) => {
                self.1 = is_whole;
                Ok(read)
            }
        }
    }
}

#[test]
fn a_list_that_breaks_off_is_never_read_as_a_shorter_one() {
    for text in ["evil.example\n", "evil.ex", "{\"objects\":[]}", "a,domain\n1,x.example\n"] {
        for format in [None, Some(Format::Plain)] {
            let options = Options { format, ..Options::default() };
            let taken = read(&mut Broken(text.as_bytes(), true), &options, &mut |_| Ok(()));
            assert!(taken.is_err(), "{text}: {taken:?}");
        }
    }
}

#[test]
fn variants_of_lists_are_read_as_they_are_meant() {
    for (text, wanted) in [
        // Titles with blanks.
        (
            "Domain Name,First Seen,Score\na.example,2026-01-01,9\nb.example,2026-01-01,1\n",
            &["domain a.example", "domain b.example"][..],
        ),
        ("\"IP Address\";\"Note\"\n\"198.51.100.1\";\"x\"\n", &["address 198.51.100.1"]),
        // As squid has it.
        (".a.example\n.b.example\n", &["domain a.example", "domain b.example"]),
        // Datasets of Suricata, with and without a reputation.
        ("ZXZpbC5leGFtcGxl\nYmFkLmV4YW1wbGU=\n", &["name evil.example", "name bad.example"]),
        ("ZXZpbC5leGFtcGxl,100\nYmFkLmV4YW1wbGU=,7\n", &["name evil.example", "name bad.example"]),
        // Rules of an adblocker with lines of a hosts file between.
        (
            "! Title: x\n||a.example^\n0.0.0.0 b.example # c\n||c.example^\n",
            &["domain a.example", "name b.example", "domain c.example"],
        ),
    ] {
        assert_eq!(values(text.as_bytes(), &Options::default()), wanted, "{text}");
    }
    // Comments stand where blanks may.
    let pattern = "/* a */ [ domain-name:value /* b */ = 'a.example' ] // c";
    let bundle = serde_json::json!({"type": "bundle", "objects": [{"type": "indicator", "pattern_type": "stix", "pattern": pattern}]});
    assert_eq!(values(bundle.to_string().as_bytes(), &Options::default()), ["name a.example"]);
}

/// Values, and the reasons of what was not taken with their counts.
fn values_and_reasons(list: &str, options: &Options) -> (Vec<String>, String) {
    let mut values = Vec::new();
    let taken = read(&mut list.as_bytes(), options, &mut |indicator| {
        let sign = if indicator.action == Action::Allow { "allow " } else { "" };
        values.push(format!("{sign}{} {}", indicator.value.kind().name(), indicator.value));
        Ok(())
    });
    let taken = taken.unwrap_or_else(|error| panic!("{list}: {error}"));
    let reasons = taken.skipped.iter().map(|(reason, count)| format!("{}={count}", reason.name()));
    (values, reasons.collect::<Vec<_>>().join(" "))
}

#[test]
fn what_is_written_otherwise_is_taken_or_counted() {
    let mail = "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQmxvY2sgZXZpbC5jb20gYW5kIDIwMy4wLjEx\nMy43Nw==\n";
    let picture =
        "MIME-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n";
    let drop =
        "; Spamhaus DROP List 2026/11/27\n; Expires: Sat\n198.51.100.0/24 ; SBL1\n203.0.113.0/24;SBL2\n";
    let ndjson = "{\"domain\":\"a.test\"}\n{\"domain\":\"b.test\"\n{\"domain\":\"c.test}\nnothing\n{\"domain\":\"d.test\"}\n";
    for (list, wanted, reasons) in [
        // Addresses with something behind them.
        ("203.0.113.4-7\nevil.com\n", &["network 203.0.113.4/30", "domain evil.com"][..], ""),
        ("203.0.113.90-80\n203.0.113.9_80\n", &[], "no_indicator=2"),
        (
            "We saw 203.0.113.4-7 and also 203.0.113.9_80 today.\n",
            &["network 203.0.113.4/30"],
            "no_indicator=1",
        ),
        ("203.0.113.4 - 203.0.113.7\n", &["network 203.0.113.4/30"], ""),
        ("Other:203.0.113.4-203.0.113.7\n", &["network 203.0.113.4/30"], ""),
        (drop, &["network 198.51.100.0/24", "network 203.0.113.0/24"], ""),
        // A dot in front.
        ("Block everything below .evil.com, too.\n", &["domain evil.com"], ""),
        ("where Name endswith \".evil.com\" or so\n", &["domain evil.com"], ""),
        ("acl bad dstdomain .evil.com\n", &["domain evil.com"], ""),
        ("local=/.paypa1.com/\n", &["domain paypa1.com"], ""),
        ("the files .bashrc and .config.js are not\n", &[], "file=1"),
        // Line breaks of other programs.
        ("We saw C2:\\nevil.com\\nhostonly.com\\n there\n", &["domain evil.com", "domain hostonly.com"], ""),
        ("C2:\\r\\nevil.com\n", &["domain evil.com"], ""),
        (
            "{\\rtf1\\ansi\n\\pard evil.com\\par 203.0.113.77\\par\n}\n",
            &["domain evil.com", "address 203.0.113.77"],
            "",
        ),
        (mail, &["domain evil.com", "address 203.0.113.77"], ""),
        (picture, &[], "line=1"),
        // Hosts below which everybody is.
        (
            "ec2-192-0-2-7.compute-1.amazonaws.com\n*.github.io\nco.uk\n",
            &["name ec2-192-0-2-7.compute-1.amazonaws.com"],
            "public_suffix=2",
        ),
        // Lines that are broken.
        (ndjson, &["domain a.test", "domain d.test"], "line=3"),
        // Rules that block nothing.
        (
            "||a.test^$removeparam=utm\n||b.test^$csp=x\n||c.test^$redirect-rule=noop\n@@||d.test^$elemhide\n||e.test^$third-party\n",
            &["domain e.test"],
            "rule=4",
        ),
    ] {
        let (values, skipped) = values_and_reasons(list, &Options::default());
        assert_eq!(skipped, reasons, "{list}: {values:?}");
        assert_eq!(values, wanted, "{list}");
    }
}

#[test]
fn types_of_a_table_are_known_however_they_are_written() {
    for (kind, value, wanted) in [
        ("IPv4 Address", "203.0.113.7", "address 203.0.113.7"),
        ("IPv4-Address", "203.0.113.7", "address 203.0.113.7"),
        ("ip_v4", "203.0.113.7", "address 203.0.113.7"),
        ("IP Addresses", "203.0.113.7", "address 203.0.113.7"),
        ("Domain Name", "evil.com", "domain evil.com"),
        ("Domains", "evil.com", "domain evil.com"),
        ("**domain**", "evil.com", "domain evil.com"),
        ("C2 Domain", "evil.com", "domain evil.com"),
        ("Host Name", "evil.com", "name evil.com"),
        ("URI", "https://evil.com/x", "name evil.com"),
        ("IP Range", "203.0.113.4-203.0.113.7", "network 203.0.113.4/30"),
        ("Beacon", "evil.com", "domain evil.com"),
        ("Beacon", "setup.exe", "type=1"),
        ("File Name", "evil.com", "type=1"),
        ("File Hash", "evil.com", "hash=1"),
        ("Sender E Mail", "evil.com", "mail=1"),
    ] {
        let table = format!("indicator,type\n{value},{kind}\n");
        let (values, skipped) = values_and_reasons(&table, &Options::default());
        assert_eq!(format!("{}{skipped}", values.concat()), wanted, "{kind}");
    }
    for title in ["valid_until", "Expires", "Expiration Date", "expiration_date", "valid-until"] {
        let (lines, _) =
            told(format!("domain,{title}\nevil.com,2020-01-01\n").as_bytes(), &Options::default());
        assert_eq!(lines, ["2 domain evil.com until=1577836800"], "{title}");
    }
}

#[test]
fn observables_in_an_object_are_taken_where_they_are_asked_for_and_counted_where_not() {
    let bundle = r#"{"type":"bundle","objects":[{"type":"observed-data","id":"observed-data--1","objects":{"0":{"type":"ipv4-addr","value":"203.0.113.7"},"1":{"type":"domain-name","value":"evil.com"},"2":{"type":"file","name":"x"}}}]}"#;
    assert_eq!(values_and_reasons(bundle, &Options::default()), (vec![], "observed=2".to_owned()));
    let observed = Options { observed: true, ..Options::default() };
    let (values, skipped) = values_and_reasons(bundle, &observed);
    assert_eq!(
        (values, skipped.as_str()),
        (["address 203.0.113.7", "name evil.com"].map(str::to_owned).to_vec(), "")
    );
}

#[test]
fn a_document_that_is_broken_is_refused_with_the_line_it_is_in() {
    for (list, line) in [
        ("{\n\"domain\":\"a.test\"}\n{\n\"domain\": no\n}\n", 4),
        ("{\"domain\":\"a.test\"}\n{\"domain\":\"b.test\"}\n{\"dom", 3),
    ] {
        let (_, taken) = told(list.as_bytes(), &Options::default());
        assert!(
            matches!(taken, Err(ReadError::Malformed { line: at, .. }) if at == line),
            "{list}: {taken:?}"
        );
    }
}
