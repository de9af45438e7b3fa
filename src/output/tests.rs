use std::io::Write;

use jiff::tz::TimeZone;

use super::row::{NAME_SHOWN, TYPE_SHOWN};
use super::table::{ROWS_MEASURED, wrapped};
use super::*;
use crate::lookup::Found;
use crate::observation::MAX_SENSOR_BYTES;
fn row(rrname: &str, rdata: &str) -> Row {
    Row {
        rrname: rrname.to_owned(),
        rrtype: "A".to_owned(),
        rdata: rdata.to_owned(),
        count: 42,
        time_first: 1_767_323_045,
        time_last: 1_772_600_767,
        ttl: 300,
        direct: true,
        alias: false,
        sensor: "default".to_owned(),
        days: 5,
        folded_names: None,
        during: None,
    }
}

fn table(rows: &[Row], width: Option<usize>) -> String {
    let mut out = Vec::new();
    let mut table = TextTable::new(&mut out, width, false);
    rows.iter().for_each(|row| table.push(row.clone()).unwrap());
    table.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn columns_are_as_wide_as_what_is_in_them() {
    let rows = [row("www.example.com", "192.0.2.10"), row("a.example", "192.0.2.1")];
    assert_eq!(
        table(&rows, None),
        "RRNAME           TYPE  RDATA       COUNT  FIRST (UTC)          LAST (UTC)           SEEN\n\
         www.example.com  A     192.0.2.10     42  2026-01-02 03:04:05  2026-03-04 05:06:07  direct\n\
         a.example        A     192.0.2.1      42  2026-01-02 03:04:05  2026-03-04 05:06:07  direct\n"
    );
    assert_eq!(table(&[], None), "");
}

#[test]
fn days_are_drawn_where_there_is_room() {
    let mut some = row("a.example", "192.0.2.1");
    some.days = 0x8000_0000_0000_073f;
    let draw = |width: Option<usize>, draws: bool| {
        let mut out = Vec::new();
        let mut table = TextTable::new(&mut out, width, false).with_days(draws);
        table.push(some.clone()).unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    };
    let wide = draw(Some(120), true);
    assert!(wide.ends_with("  ▂············▆▄█\n"), "{wide}");
    let mut lines = wide.lines();
    let (head, line) = (lines.next().unwrap(), lines.next().unwrap());
    let at = |text: &str, mark: &str| text.split(mark).next().unwrap().chars().count();
    assert_eq!(at(head, "64 DAYS"), at(line, "▂"), "{wide}");
    for (width, draws) in [(Some(96), true), (None, true), (Some(120), false)] {
        assert!(!draw(width, draws).contains('·'));
    }
}

#[test]
fn times_are_those_of_a_zone_where_one_is_given() {
    let show = |width| {
        let mut out = Vec::new();
        let zone = TimeZone::fixed(jiff::tz::offset(-10));
        let mut table = TextTable::new(&mut out, width, false).in_zone(zone);
        table.push(row("a.example", "192.0.2.1")).unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    };
    let wide = show(None);
    assert!(wide.contains("  FIRST (local)        LAST (local)         SEEN\n"), "{wide}");
    assert!(wide.contains("  2026-01-01 17:04:05  2026-03-03 19:06:07  direct\n"), "{wide}");
    let narrow = show(Some(70));
    assert!(narrow.contains("  FIRST       LAST        SEEN\n"), "{narrow}");
    assert!(narrow.contains("  2026-01-01  2026-03-03  direct\n"), "{narrow}");
}

#[test]
fn a_sensor_is_shown_where_it_says_something() {
    let mut other = row("a.example", "192.0.2.1");
    other.sensor = "dmz\u{202e}".to_owned();
    other.alias = true;
    let text = table(&[other], None);
    assert!(text.lines().next().unwrap().ends_with("SEEN    SENSOR"), "{text}");
    assert!(text.ends_with("both    dmz\\u{202e}\n"), "{text}");
}

#[test]
fn a_table_fits_the_terminal_at_any_width_that_has_room_for_its_columns() {
    let long = "x".repeat(60);
    let rows = [row(&format!("{long}.example.com"), &long), row("a.example", "192.0.2.1")];
    for width in 90..200 {
        let text = table(&rows, Some(width));
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
        // Nothing of a name is left out.
        let start = text.find("RDATA").unwrap();
        let first = text.lines().position(|line| line.starts_with("a.example")).unwrap();
        let joined: String =
            text.lines().take(first).skip(1).map(|line| line[..start.min(line.len())].trim_end()).collect();
        let joined = joined.replace(" A", "").replace(' ', "");
        assert_eq!(joined.trim_end_matches('A'), format!("{long}.example.com"), "{width}\n{text}");
    }
    assert!(table(&rows, None).contains(&long));
}

#[test]
fn addresses_are_whole_and_other_data_is_cut_in_the_middle_with_a_mark() {
    let address = "2001:db8:1234:5678:9abc:def0:1234:5678";
    let spf = format!("\"v=spf1 {} -all\"", "include:_spf.example.com ".repeat(9));
    let text =
        table(&[row("www.a-name-of-some-length.example.com", address), row("a.example", &spf)], Some(80));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let pieces = wrapped(address, 16);
    assert_eq!(pieces, ["2001:db8:1234:", "5678:9abc:def0:", "1234:5678"]);
    for piece in pieces {
        assert!(text.contains(&*piece), "{text}");
    }
    assert!(text.contains("\"v=spf1 i...all\""), "{text}");
    let draws = |draws| {
        let mut out = Vec::new();
        let mut table = TextTable::new(&mut out, Some(80), false).with_days(draws);
        table.push(row("a.example", &spf)).unwrap();
        table.push(row("b.example", address)).unwrap();
        assert_eq!(table.finish().unwrap(), 1, "it is known that one is cut");
        String::from_utf8(out).unwrap()
    };
    assert!(draws(true).contains('\u{2026}') && draws(false).is_ascii());
}

#[test]
fn rows_behind_the_measured_ones_are_whole_where_there_is_no_terminal() {
    let mut rows = vec![row("a.example", "192.0.2.1"); ROWS_MEASURED];
    rows.push(row("a.much.longer.name.example", "192.0.2.1"));
    assert!(table(&rows, None).contains("a.much.longer.name.example  A"));
    let narrow = table(&rows, Some(120));
    assert!(narrow.lines().count() >= ROWS_MEASURED + 2 && narrow.contains("\na.much."), "{narrow}");
}

#[test]
fn a_spreadsheet_meets_no_formula() {
    let csv = |row: &Row| {
        let mut out = Vec::new();
        row.push_csv(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        csv(&row("www.example.com", "192.0.2.10")),
        "www.example.com,A,192.0.2.10,42,2026-01-02 03:04:05,2026-03-04 05:06:07,300,direct,default,0x5\n"
    );
    assert!(csv(&row("=cmd()|x", "x")).starts_with("\"'=cmd()|x\",A,"));
    for start in ["+", "-", "@", "|", "\t", "\r", " =", "\t=cmd", "\u{ff1d}"] {
        assert!(csv(&row(start, "x")).starts_with(&format!("\"'{start}\",")), "{start:?}");
    }
    // Nor where cells are divided by semicolons.
    let divided = csv(&row("a;=cmd()", "\"v=DMARC1; p=none\""));
    assert!(divided.starts_with("\"a\\059=cmd()\",A,\"\"\"v=DMARC1\\059 p=none\"\"\","), "{divided}");
    // In any column.
    let hostile = Row { rrtype: "=A".to_owned(), sensor: "-s;".to_owned(), ..row("a", "b") };
    let hostile = csv(&hostile);
    assert!(hostile.starts_with("a,\"'=A\",b,") && hostile.contains(",\"'-s\\059\","), "{hostile}");
    assert!(
        csv(&row("a", "\"v=spf1 -all\" \"b,c\"")).starts_with("a,A,\"\"\"v=spf1 -all\"\" \"\"b,c\"\"\",")
    );
    assert_eq!(CSV_HEADER.matches(',').count(), csv(&row("a", "b")).matches(',').count());
}

#[test]
fn data_of_any_length_makes_a_table() {
    let long = format!("\"{}\"", "x".repeat(65_535));
    let rows = [row("a.example", &long), row("b.example", "192.0.2.1")];
    let text = table(&rows, None);
    assert!(text.contains(&long), "it is whole where there is no terminal");
    let short = text.lines().last().unwrap();
    assert!(short.contains("b.example") && short.len() < 600, "and makes no other row long: {}", short.len());
    assert!(table(&rows, Some(120)).lines().all(|line| line.chars().count() <= 120));
    let mut sensor = row("a.example", "192.0.2.1");
    sensor.sensor = "s".repeat(70_000);
    let mut out = Vec::new();
    let mut wide = TextTable::new(&mut out, Some(1 << 20), false).with_days(true);
    wide.push(sensor).unwrap();
    wide.finish().unwrap();
}

#[test]
fn what_another_server_sends_is_escaped_and_has_a_bound() {
    let hostile = Row {
        rrtype: format!("A\u{9b}{}", "B".repeat(100)),
        sensor: format!("\u{202e}{}", "s".repeat(1000)),
        ..row(&format!("\x1b]0;title\x07\u{430}{}", "x".repeat(10_000)), "\x1b[2J\r\nforged  line\u{200b}")
    };
    let tamed = hostile.tamed();
    assert!(tamed.rrname.starts_with("\\u{1b}]0;title\\u{7}\\u{430}xxx"), "{}", tamed.rrname);
    assert_eq!(tamed.rdata, "\\u{1b}[2J\\u{d}\\u{a}forged  line\\u{200b}");
    assert!(tamed.rrname.len() <= NAME_SHOWN && tamed.rrtype.len() <= TYPE_SHOWN);
    assert!(tamed.sensor.len() <= MAX_SENSOR_BYTES && tamed.sensor.starts_with("\\u{202e}"));
    let text = table(std::slice::from_ref(&tamed), None);
    assert!(text.bytes().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e)), "{text}");
    // What this program itself writes stays as it is.
    let own = row("\\004x.example", "\"a\\\"b; c\"");
    assert_eq!(own.clone().tamed(), own);
    let mut out = Vec::new();
    PrintableAscii(&mut out).write_all("{\"a\":1}\n\x1b[2J\u{9b}".as_bytes()).unwrap();
    assert_eq!(out, b"{\"a\":1}\n?[2J??");
    let document = serde_json::json!({ "a": "\u{202e}\x1b\u{e0001}" });
    let safe = sanitise_json(&format!("{document:#}"));
    assert!(safe.is_ascii() && serde_json::from_str::<serde_json::Value>(&safe).unwrap() == document);
}

#[test]
fn json_is_read_back() {
    let mut out = Vec::new();
    row("a\\\".example", "x").push_json(&mut out);
    assert_eq!(serde_json::from_slice::<Row>(&out).unwrap(), row("a\\\".example", "x"));
    assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
}

#[test]
fn json_written_straight_is_the_json_of_the_row() {
    use crate::dns::{Name, Rdata, RrType};
    use crate::observation::{Half, Halves, Seen, Tuple};
    use crate::store::Entry;
    for (rrtype, rdata, half) in [
        (RrType::TXT, Rdata::text(b"\"a\\b\" \xff"), Half::Direct),
        (RrType(65280), Rdata::Name(Name::from_log(b"a\"b.example").unwrap()), Half::Alias),
    ] {
        let tuple = Tuple { rrname: Name::from_log(b"x\x01y.example").unwrap(), rrtype, rdata };
        let halves = Halves::once(half, Seen::once(1_767_323_045, 60));
        let entry = Entry { tuple, sensor: "dmz \"\u{fc}\"".into(), halves, names: None };
        let found = Found { entry: &entry, seen: entry.halves.combined(), during: None };
        let (mut straight, mut by_row) = (Vec::new(), Vec::new());
        push_json(&found, &mut straight);
        Row::from(&found).push_json(&mut by_row);
        assert_eq!(String::from_utf8(straight).unwrap(), String::from_utf8(by_row).unwrap());
    }
}

#[test]
fn a_file_is_named_after_its_query_in_plain_characters() {
    assert_eq!(file_name("", "jsonl"), "dnsledger.jsonl");
    assert_eq!(file_name("www.example.com", "csv"), "dnsledger-www.example.com.csv");
    assert_eq!(file_name("*.example.com.", "csv"), "dnsledger-any.example.com.csv");
    assert_eq!(file_name("2001:db8::/32", "json"), "dnsledger-2001_db8___32.json");
    assert_eq!(file_name("../\"\u{202e}\r\n;x", "csv"), "dnsledger-..______x.csv");
    assert!(file_name(&"x".repeat(4_096), "csv").len() < 120);
}

#[test]
fn nothing_unseen_reaches_a_terminal() {
    assert_eq!(sanitise("plain ü"), "plain ü");
    assert_eq!(sanitise("\x1b[2Jx\u{202e}y\u{200b}\u{9b}"), "\\u{1b}[2Jx\\u{202e}y\\u{200b}\\u{9b}");
}
