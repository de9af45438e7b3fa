use std::time::Duration;

use super::*;
use crate::ingest::Backfill;
use crate::observation::check_sensor_name;
use crate::store::MaxDisk;
use proptest::prelude::*;

fn fault(text: &str) -> (Option<usize>, String, String) {
    let fault = Config::parse(text).unwrap_err();
    (fault.line, fault.message, fault.hint.unwrap_or_default())
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn hosts_and_proxies_are_names_and_addresses() {
    let named = "[http]\nallowed_hosts = [\"ledger.example\"]\ntrusted_proxies = [\"::1\", \"10.0.0.0/8\"]";
    let named = Config::parse(named).unwrap();
    assert_eq!(named.http.allowed_hosts, ["ledger.example"]);
    assert_eq!(named.http.trusted_proxies, ["::1", "10.0.0.0/8"]);
    for (key, value) in [("allowed_hosts", "https://ledger.example"), ("trusted_proxies", "proxy.example")] {
        let (_, message, hint) = fault(&format!("[http]\n{key} = [\"{value}\"]"));
        assert!(message.contains(key) && message.contains(value), "{message}");
        assert!(hint.starts_with(key), "{hint}");
    }
}

#[test]
fn an_origin_that_no_browser_sends_is_refused() {
    let named = Config::parse("[http]\ncors_origins = [\"https://dash.example\"]").unwrap();
    assert_eq!(named.http.cors_origins, ["https://dash.example"]);
    for (origin, says) in [("*", "every page"), ("https://dash.example/", "not of the form")] {
        let (_, message, hint) = fault(&format!("[http]\ncors_origins = [\"{origin}\"]"));
        assert!(message.contains(says) && message.contains("cors_origins"), "{message}");
        assert!(hint.contains("https://"), "{hint}");
    }
}

#[test]
fn the_packaged_file_names_every_key_at_its_default() {
    let packaged = include_str!("../../../packaging/dnsledger.toml");
    assert_eq!(Config::parse(packaged).unwrap(), Config::default(), "everything is commented out");
    // What reads like a key or a section is one; everything else is prose.
    let is_key = |line: &str| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let uncommented: Vec<&str> =
        packaged.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| is_key(line)).collect();
    let uncommented = uncommented.join("\n");
    let logs = PathBuf::from("/opt/zeek/logs");
    let feeds = vec![FeedEntry { name: "urlhaus".to_owned(), ..FeedEntry::default() }];
    let outlet = OutletEntry {
        name: "soar".to_owned(),
        to: "https://soar.example/hook".to_owned(),
        ..OutletEntry::default()
    };
    let expected = Config {
        sources: vec![Source { logs, ..Source::default() }],
        feeds,
        outlets: vec![outlet],
        ..Config::default()
    };
    assert_eq!(Config::parse(&uncommented).unwrap(), expected);
    let mut table: toml::Table = uncommented.parse().unwrap();
    let mut known = keys::known();
    for table in [&mut table, &mut known] {
        table["source"][0].as_table_mut().unwrap().insert("logs".to_owned(), "".into());
        table["feed"][0].as_table_mut().unwrap().insert("name".to_owned(), "".into());
        let outlet = table["outlet"][0].as_table_mut().unwrap();
        outlet.insert("name".to_owned(), "".into());
        outlet.insert("to".to_owned(), "".into());
    }
    assert_eq!(table, known, "a key is missing");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    assert_eq!(
        fault("\n[http]\nlisten = \"127.0.0.1:1\"\nmax_scan = 3\n"),
        (Some(4), "unknown key http.max_scan".to_owned(), "http.max_scans".to_owned())
    );
    assert_eq!(
        fault("[[source]]\nlogs = \"x\"\n[[source]]\nlogs = \"y\"\nsensors = \"z\""),
        (Some(5), "unknown key source.sensors".to_owned(), "source.sensor".to_owned())
    );
    let (_, message, hint) = fault("completely = 1");
    assert_eq!(message, "unknown key completely");
    assert!(hint.contains("data_dir"), "{hint}");
}

#[test]
fn a_value_without_meaning_is_refused_with_its_line() {
    for (text, line, says) in [
        ("[store]\nmemory = \"lots\"", Some(2), "not a size"),
        ("[[source]]\nlogs = \"x\"\nbackfill = \"some\"", Some(3), "backfill is"),
        ("[ingest]\n\ncommit_interval = 5", Some(3), "invalid type"),
        ("[http]\nlisten = \"here\"", Some(2), "such as \"127.0.0.1:8081\""),
        ("data_dir =", Some(1), ""),
        ("[log]\nlevel = \"loud\"", Some(2), "unknown variant"),
        ("[http]\nmax_scans = 0", None, "http.max_scans is 0"),
        ("[http]\ntls_cert = \"x\"", None, "belong together"),
        ("[store]\nmemory = \"1MiB\"", None, "store.memory is below 16MiB"),
        ("[store]\nretention = \"12h\"", None, "store.retention is below 1d"),
        ("[store]\nretention = \"long\"", Some(2), "not a duration"),
        ("[observe]\nnot_before = \"2000\"", Some(2), "YYYY-MM-DD"),
        ("[observe]\nmax_ahead = \"1\"", Some(2), "not a duration"),
        ("[store]\nmax_disk = \"1MiB\"", None, "store.max_disk is below 16MiB"),
        ("[store]\nnames_per_domain = 7", None, "store.names_per_domain is below 100"),
        ("[store]\nnames_per_domain_except = [\"a..b\"]", None, "\"a..b\" is not a name"),
        ("[[source]]\nsensor = \"x\"", None, "source 1 has no logs"),
        ("[[source]]\nlogs = \"x\"\n[[source]]\nlogs = \"x\"", None, "belongs to another source"),
        ("[[source]]\nlogs = \"x\"\nsensor = \"\"", None, "no proper sensor"),
    ] {
        let (at, message, _) = fault(text);
        assert_eq!(at, line, "{text}: {message}");
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn only_loopback_is_listened_on_without_tokens() {
    for refused in ["0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081"] {
        let text = format!("[http]\nlisten = \"{refused}\"\n");
        let (_, message, hint) = fault(&text);
        assert!(message.contains("loopback") && hint.contains("token"), "{message}");
        assert!(Config::parse(&format!("{text}tokens_file = \"tokens\"")).is_ok());
    }
    for served in ["127.0.0.1:0", "[::1]:8081", "127.3.2.1:80"] {
        assert!(Config::parse(&format!("[http]\nlisten = \"{served}\"")).is_ok(), "{served}");
    }
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dnsledger.toml");
    std::fs::write(
        &path,
        "data_dir = \"ledger\"\n[[source]]\nlogs = \"/opt/zeek/logs\"\n[[source]]\nlogs = \"logs\"",
    )
    .unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.data_dir, folder.path().join("ledger"));
    assert_eq!(config.sources[0].logs, Path::new("/opt/zeek/logs"));
    assert_eq!(config.sources[1].logs, folder.path().join("logs"));
    std::fs::write(&path, "nope = 1").unwrap();
    let error = Config::load(&path).unwrap_err();
    assert!(error.to_string().ends_with("dnsledger.toml:1: unknown key nope"), "{error}");
    assert!(matches!(Config::load(&folder.path().join("none")), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn the_parts_are_told_what_the_file_says() {
    let config = Config::parse(
        "[[source]]\nlogs = \"x\"\nfields = [\"ts\"]\nseparator = \",\"\nbackfill = \"2d\"\n[observe]\naliases = false\n\
         [ingest]\nthreads = 3\nmax_line = \"64KiB\"\n[http]\nmax_limit = 7\n[store]\nmemory = \"64MiB\"",
    )
    .unwrap();
    let told = config.ingest();
    assert_eq!(told.sources[0].zeek.fields, ["ts"]);
    assert_eq!(told.sources[0].zeek.separator.as_deref(), Some(&b","[..]));
    assert_eq!(told.sources[0].backfill, Backfill::Age(Duration::from_secs(2 * 86_400)));
    assert_eq!((told.threads, told.max_line_bytes, told.observe.aliases), (3, 64 << 10, false));
    assert_eq!(config.http.max_limit, 7);
    assert_eq!((told.memory, config.store().memory), (24 << 20, 24 << 20));
    assert!(Config::default().ingest().threads > 0);
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::char::range(' ', 'ÿ').prop_filter("", |c| !c.is_control()), 1..12)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        data_dir in text(), logs in text(), sensor in text(), separator in text(), fields in proptest::collection::vec(text(), 0..3),
        age in 86_400_000u64..1 << 40, kept: bool, aliases: bool, ports: Vec<u16>, port: u16, limit in 1u64..1 << 40, memory in 16u64 << 20..1 << 50, max_observations in 1usize..1 << 30,
    ) {
        prop_assume!(check_sensor_name(&sensor).is_ok());
        let source = Source {
            logs: logs.into(), sensor, separator, fields, backfill: Backfill::Age(Duration::from_millis(age)),
            ..Source::default()
        };
        let config = Config {
            data_dir: data_dir.into(),
            sources: vec![source],
            observe: Observe {
                skip_ports: ports,
                aliases,
                max_observations,
                not_before: age / 86_400_000 % 20_000 * 86_400,
                max_ahead: kept.then_some(Duration::from_millis(age)),
            },
            http: http::Config { listen: ([127, 0, 0, 1], port).into(), max_limit: limit, ..http::Config::default() },
            store: Store {
                memory,
                retention: kept.then_some(Duration::from_millis(age)),
                max_disk: match memory % 3 {
                    0 => MaxDisk::Auto,
                    1 => MaxDisk::Unbounded,
                    _ => MaxDisk::Bytes(memory),
                },
                names_per_domain: limit.max(100),
                names_per_domain_except: vec!["example.com".to_owned()],
            },
            ..Config::default()
        };
        prop_assert_eq!(Config::parse(&config.print().unwrap()).unwrap(), config);
    }
}
