//! Every way in which Zeek is deployed and its logs are rotated, one test each; `docs/dev/following.md` says which is which.
//!
//! Stepped by hand, as in the interpreter: no threads, no clock.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use super::{CLOSE, HEADER, contents, expected, gzip, log, record, records};
use crate::ingest::follow::Stepped;
use crate::ingest::*;
use crate::status::{SourceState, Status, UnreadKind};
use crate::store::WriteStore;
use crate::store::memory::MemoryStore;

/// Some folders, a ledger, and a daemon that follows one of the folders.
struct Host {
    root: tempfile::TempDir,
    store: Arc<MemoryStore>,
    daemon: Option<Stepped>,
    logs: Vec<&'static str>,
    grace: Duration,
}

impl Host {
    fn new(logs: &'static str) -> Host {
        let root = tempfile::tempdir().unwrap();
        Host { root, store: Arc::default(), daemon: None, logs: vec![logs], grace: Duration::ZERO }
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Writes a file whole, in place.
    fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(path), bytes).unwrap();
    }

    fn append(&self, path: &str, bytes: impl AsRef<[u8]>) {
        OpenOptions::new().append(true).open(self.path(path)).unwrap().write_all(bytes.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    fn inode(&self, path: &str) -> u64 {
        fs::metadata(self.path(path)).unwrap().ino()
    }

    fn daemon(&mut self) -> &mut Stepped {
        let source = |logs| SourceConfig {
            logs: self.root.path().join(logs),
            sensor: "s".to_owned(),
            ..SourceConfig::default()
        };
        let config = Config {
            sources: self.logs.iter().map(source).collect(),
            grace: self.grace,
            settling: Duration::ZERO,
            threads: 1,
            ..Config::default()
        };
        self.daemon.get_or_insert_with(|| {
            self.store.crash();
            Stepped::start(config, &(Arc::clone(&self.store) as Arc<dyn WriteStore>))
        })
    }

    /// Ends the daemon without a word; the next look starts another.
    fn kill(&mut self) {
        self.daemon = None;
    }

    fn status(&mut self) -> Status {
        self.daemon().status()
    }

    /// Lets the daemon read everything there is; it then holds the records of this range, each once.
    #[track_caller]
    fn holds(&mut self, range: std::ops::Range<u64>) {
        self.daemon().settle();
        let (rows, counted) = contents(&*self.store);
        let (wanted, lines) = expected(range);
        assert_eq!(counted, lines);
        assert!(rows == wanted, "{rows:#?}");
    }
}

fn json(range: std::ops::Range<u64>) -> String {
    let line = |n: u64| {
        let time = 1_700_000_000 + n * 3600;
        let (name, address) = (n % 7, n % 5);
        format!(
            "{{\"ts\":{time}.000001,\"uid\":\"C{n}\",\"id.resp_h\":\"10.0.0.1\",\"id.resp_p\":53,\
             \"query\":\"n{name}.example.com\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\
             \"answers\":[\"192.0.2.{address}\"],\"TTLs\":[60.0]}}\n"
        )
    };
    range.map(line).collect()
}

//--- zeekctl --------------------------------------------------------------------------------------------------------

#[test]
fn zeekctl_alone_renames_compresses_under_the_final_name_and_removes() {
    let mut host = Host::new("logs");
    host.put("spool/zeek/dns.log", log(0..10));
    fs::create_dir(host.path("logs")).unwrap();
    symlink(host.path("spool/zeek"), host.path("logs/current")).unwrap();
    host.holds(0..10);
    host.append("spool/zeek/dns.log", records(10..20) + CLOSE);
    let renamed = "spool/zeek/dns.2024-04-19-10-00-00.log";
    host.rename("spool/zeek/dns.log", renamed);
    host.holds(0..20);
    let archive = "logs/2024-04-19/dns.10:00:00-11:00:00.log.gz";
    let packed = gzip(&fs::read(host.path(renamed)).unwrap());
    for grown in [0, 1, packed.len() / 2, packed.len()] {
        host.put(archive, &packed[..grown]);
        host.holds(0..20);
    }
    host.remove(renamed);
    host.put("spool/zeek/dns.log", log(20..25));
    host.holds(0..25);
}

#[test]
fn zeekctl_without_compression_moves_across_file_systems() {
    let mut host = Host::new("logs");
    let text = log(0..50) + CLOSE;
    host.put("logs/current/dns.2024-04-19-10-00-00.log", &text);
    host.holds(0..50);
    // A move to another file system is a copy, visible while it grows, and a removal.
    for grown in [10, HEADER.len() + 3, text.len() / 2, text.len()] {
        host.put("logs/2024-04-19/dns.10:00:00-11:00:00.log", &text[..grown]);
        host.holds(0..50);
    }
    host.remove("logs/current/dns.2024-04-19-10-00-00.log");
    host.holds(0..50);
}

#[test]
fn each_logger_of_a_cluster_is_followed_though_their_headers_are_equal() {
    let mut host = Host::new("logs");
    host.put("spool/logger-1/dns.log", log(0..10));
    host.put("spool/logger-2/dns.log", log(10..30));
    fs::create_dir(host.path("logs")).unwrap();
    symlink(host.path("spool/logger-1"), host.path("logs/current")).unwrap();
    host.holds(0..30);
    for (logger, range) in [("1", 0..10), ("2", 10..30)] {
        let archive = format!("logs/2024-04-19/dns.10:00:00-11:00:00-logger-{logger}.log.gz");
        host.put(&archive, gzip((log(range) + CLOSE).as_bytes()));
        host.remove(&format!("spool/logger-{logger}/dns.log"));
    }
    host.holds(0..30);
}

#[test]
fn zeekctl_stop_moves_the_folder_away_under_the_open_log() {
    let mut host = Host::new("logs");
    host.put("spool/zeek/dns.log", log(0..10));
    fs::create_dir(host.path("logs")).unwrap();
    symlink(host.path("spool/zeek"), host.path("logs/current")).unwrap();
    host.holds(0..10);
    host.append("spool/zeek/dns.log", records(10..15) + CLOSE);
    fs::create_dir_all(host.path("spool/tmp")).unwrap();
    host.rename("spool/zeek", "spool/tmp/post-terminate-standalone-2024-04-19-10-30-00-77");
    fs::create_dir(host.path("spool/zeek")).unwrap();
    host.holds(0..15);
    let text = log(0..15) + CLOSE;
    host.put("logs/2024-04-19/dns.10:00:00-10:30:01.log.gz", gzip(text.as_bytes()));
    fs::remove_dir_all(host.path("spool/tmp")).unwrap();
    host.holds(0..15);
}

#[test]
fn a_crash_folder_and_its_archive_with_a_guessed_name_are_one_log() {
    let mut host = Host::new("");
    let torn = log(0..10) + "1700";
    host.put("spool/zeek/dns.log", &torn);
    host.holds(0..10);
    host.rename("spool/zeek", "spool/zeek-crash");
    host.put("logs/2024-04-19/dns.rotated.10:00:00-10:12:13.log.gz", gzip(torn.as_bytes()));
    host.put("spool/zeek/dns.log", log(10..12));
    host.holds(0..12);
}

#[test]
fn after_a_failed_gzip_the_log_is_archived_again_under_another_name() {
    let mut host = Host::new("logs");
    let whole = gzip((log(0..3000) + CLOSE).as_bytes());
    host.put("logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", &whole[..whole.len() / 2]);
    host.daemon().settle();
    assert!(host.status().totals.counted > 0);
    host.put("logs/2024-04-19/dns.rotated.10:00:00-12:00:00.log.gz", &whole);
    host.holds(0..3000);
    assert_eq!(host.status().totals.malformed(Malformed::Unterminated), 0);
}

#[test]
fn a_log_that_zeek_compresses_itself_is_read_when_it_is_whole() {
    let mut host = Host::new("logs");
    let whole = gzip((log(0..3000) + CLOSE).as_bytes());
    for grown in [0, 1, 10, whole.len() / 2] {
        host.put("logs/current/dns.log.gz", &whole[..grown]);
        host.daemon().settle();
    }
    host.put("logs/current/dns.log.gz", &whole);
    host.rename("logs/current/dns.log.gz", "logs/current/dns.2024-04-19-10-00-00.log.gz");
    host.holds(0..3000);
}

//--- others ---------------------------------------------------------------------------------------------------------

#[test]
fn a_supervisor_queues_logs_and_its_archiver_may_do_so_twice() {
    let mut host = Host::new("zeek");
    host.put("zeek/logger-1/dns.log", log(0..10));
    host.put("zeek/logger-1/.shadow.dns.log", ".log\n");
    host.holds(0..10);
    host.append("zeek/logger-1/dns.log", CLOSE);
    let queued = "zeek/log-queue/dns__2020-07-16-09-43-10__2020-07-16-10-43-10__log_suffix=logger-1__.log";
    let done = "zeek/logs/2020-07-16/dns.09:43:10-10:43:10-logger-1.log.gz";
    let part = "zeek/logs/2020-07-16/.tmp.dns.09:43:10-10:43:10-logger-1.log.gz";
    host.path(queued);
    host.rename("zeek/logger-1/dns.log", queued);
    let packed = gzip((log(0..10) + CLOSE).as_bytes());
    // It crashes between the rename of the archive and the removal of the log, and does it all again.
    for _ in 0..2 {
        host.put(part, &packed[..20]);
        host.holds(0..10);
        host.put(part, &packed);
        host.rename(part, done);
        host.holds(0..10);
    }
    host.remove(queued);
    host.put("zeek/logger-1/dns.log", log(10..11));
    host.holds(0..11);
}

#[test]
fn a_leftover_log_is_rotated_without_close_at_the_next_start() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.daemon().settle();
    host.append("logs/dns.log", records(10..12));
    host.kill();
    host.rename("logs/dns.log", "logs/dns.2024-04-19-10-00-00.log");
    host.put("logs/dns.log", log(12..15));
    host.holds(0..15);
}

#[test]
fn a_restart_in_place_begins_a_new_log_of_any_size() {
    for after in [1, 5, 40] {
        let mut host = Host::new("logs");
        host.put("logs/dns.log", log(0..5));
        host.holds(0..5);
        let inode = host.inode("logs/dns.log");
        host.put("logs/dns.log", log(5..5 + after));
        assert_eq!(host.inode("logs/dns.log"), inode);
        host.holds(0..5 + after);
    }
}

#[test]
fn a_bare_zeek_names_its_rotated_logs_in_several_ways_and_leaves_them() {
    let mut host = Host::new("logs");
    let names = ["dns.2024-04-19-10-00-00.log", "dns-24-04-19_10.00.00.log", "dns.log.old", "x/dns.1.log"];
    for (at, name) in (0u64..).zip(names) {
        host.put("logs/dns.log", log(at * 10..at * 10 + 5));
        host.daemon().settle();
        host.append("logs/dns.log", records(at * 10 + 5..at * 10 + 10) + CLOSE);
        host.rename("logs/dns.log", &format!("logs/{name}"));
    }
    host.holds(0..40);
}

#[test]
fn json_streaming_logs_are_followed_through_their_chain() {
    let mut host = Host::new("logs");
    for round in 0..7u64 {
        host.put("logs/json_streaming_dns.log", json(round * 10..round * 10 + 10));
        host.holds(0..round * 10 + 10);
        // .3 becomes .4 and so on; the fifth generation is overwritten.
        for generation in (1..4).rev() {
            let from = format!("logs/json_streaming_dns.{generation}.log");
            if host.path(&from).exists() {
                host.rename(&from, &format!("logs/json_streaming_dns.{}.log", generation + 1));
            }
        }
        host.rename("logs/json_streaming_dns.log", "logs/json_streaming_dns.1.log");
        host.holds(0..round * 10 + 10);
    }
}

#[test]
fn of_a_plain_and_a_streaming_log_each_event_counts_once_also_while_one_of_them_is_away() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.put("logs/json_streaming_dns.log", json(0..10));
    host.holds(0..10);
    let unread = format!("{:?}", host.status().sources[0].unread);
    assert!(unread.contains("json_streaming_dns.log") && unread.contains("counted once"), "{unread}");
    // Between a rotation into another folder and the next record there is no plain log.
    host.append("logs/dns.log", CLOSE);
    host.rename("logs/dns.log", "elsewhere/dns.log");
    host.append("logs/json_streaming_dns.log", json(10..11));
    host.holds(0..11);
    host.kill();
    host.holds(0..11);
    host.put("logs/dns.log", log(10..12));
    host.holds(0..12);
    host.append("logs/json_streaming_dns.log", json(11..12));
    host.holds(0..12);
    assert_eq!(host.status().totals.lines(), 12);
}

#[test]
fn whichever_log_of_one_zeek_tells_an_event_first_it_counts_once() {
    for (plain_first, gap, kills) in [(true, 0, false), (true, 1, false), (false, 0, true), (false, 1, false)]
    {
        let mut host = Host::new("logs");
        host.daemon().turn();
        let (plain, streaming) = ("logs/dns.log", "logs/json_streaming_dns.log");
        for first in [plain_first, !plain_first] {
            if first {
                host.put(plain, log(0..3));
            } else {
                host.put(streaming, json(0..3));
            }
            (0..gap).for_each(|_| host.daemon().turn());
        }
        for n in 3..40 {
            if n == 20 {
                host.rename(streaming, "logs/json_streaming_dns.1.log");
                host.put(streaming, "");
            }
            for plain_now in [n % 2 == 0, n % 2 == 1] {
                match plain_now {
                    true => host.append(plain, record(n)),
                    false => host.append(streaming, json(n..n + 1)),
                }
                if n % 3 == 0 {
                    host.daemon().turn();
                }
                if kills && n % 5 == 0 {
                    host.daemon().settle();
                    host.kill();
                }
            }
        }
        host.holds(0..40);
        assert_eq!(host.status().totals.lines(), 40, "plain first: {plain_first}, gap {gap}");
    }
}

#[test]
fn zeek_may_be_switched_from_the_plain_to_the_streaming_log_and_back() {
    for kills in [false, true] {
        let mut host = Host::new("logs");
        let (plain, streaming) = ("logs/current/dns.log", "logs/current/json_streaming_dns.log");
        let step = |host: &mut Host, end: u64| {
            if kills {
                host.kill();
            }
            host.holds(0..end);
        };
        host.put(plain, log(0..10));
        host.holds(0..10);
        host.append(plain, CLOSE);
        host.put("logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", gzip(&fs::read(host.path(plain)).unwrap()));
        host.remove(plain);
        host.put(streaming, json(10..20));
        step(&mut host, 20);
        host.append(streaming, json(20..25));
        step(&mut host, 25);
        host.put(plain, log(25..35));
        step(&mut host, 35);
        // The plain one stays, and only the other grows.
        host.append(streaming, json(35..40));
        step(&mut host, 40);
        host.append(plain, records(40..45));
        host.append(streaming, json(40..45));
        step(&mut host, 45);
    }
}

#[test]
fn where_only_archives_of_the_plain_log_are_left_the_streaming_log_is_read() {
    let mut host = Host::new("logs");
    host.put("logs/current/dns.log", log(0..100));
    host.holds(0..100);
    host.append("logs/current/dns.log", CLOSE);
    let archive = "logs/2023-11-14/dns.00:00:00-01:00:00.log.gz";
    host.put(archive, gzip(&fs::read(host.path("logs/current/dns.log")).unwrap()));
    host.remove("logs/current/dns.log");
    host.holds(0..100);
    let streaming = "logs/current/json_streaming_dns.log";
    host.put(streaming, "");
    for from in (100..300).step_by(8) {
        // Records come out of order.
        let rows: String = (from..(from + 8).min(300)).rev().map(|n| json(n..n + 1)).collect();
        host.append(streaming, rows);
        host.daemon().turn();
    }
    host.holds(0..300);
    host.remove(archive);
    host.holds(0..300);
    host.kill();
    host.holds(0..300);
    assert!(host.status().caught_up);
}

#[test]
fn two_zeeks_below_one_source_are_both_read_each_in_its_way() {
    let mut host = Host::new("logs");
    host.put("logs/zeekA/dns.log", log(0..50));
    host.put("logs/zeekB/json_streaming_dns.log", json(50..120));
    host.holds(0..120);
    host.kill();
    host.append("logs/zeekB/json_streaming_dns.log", json(120..130));
    host.append("logs/zeekA/dns.log", records(130..140));
    host.holds(0..140);
}

#[test]
fn streaming_archives_are_read_for_the_time_in_which_there_was_no_plain_log() {
    let mut host = Host::new("logs");
    for (hour, range) in [(1, 0..10), (2, 10..20), (4, 30..40)] {
        let text = log(range) + CLOSE;
        host.put(&format!("logs/2024-04-19/dns.{hour:02}:00:00.log.gz"), gzip(text.as_bytes()));
    }
    host.put("logs/current/json_streaming_dns.2.log", json(5..15));
    host.put("logs/current/json_streaming_dns.1.log", json(20..30));
    host.put("logs/current/dns.log", log(40..50));
    host.put("logs/current/json_streaming_dns.log", json(40..48));
    let imported = super::ledger();
    let summary = super::import_paths(&imported, &[&host.path("logs")]);
    assert_eq!(contents(&*imported), expected(0..50));
    assert_eq!(summary.passed_over.len(), 2, "{summary:?}");
    host.holds(0..50);
    let unread = format!("{:?}", host.status().sources[0].unread);
    assert!(
        unread.contains("json_streaming_dns.2.log") && !unread.contains("json_streaming_dns.1.log"),
        "{unread}"
    );
    host.append("logs/current/json_streaming_dns.log", json(48..50));
    host.append("logs/current/dns.log", record(50));
    host.append("logs/current/json_streaming_dns.log", json(50..51));
    host.holds(0..51);
    host.kill();
    host.holds(0..51);
    assert!(host.status().caught_up);
}

#[test]
fn logrotate_renames_and_zeek_goes_on_in_the_renamed_file() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    host.rename("logs/dns.log", "logs/dns.log.1");
    for n in 10..14 {
        host.append("logs/dns.log.1", record(n));
        host.holds(0..n + 1);
    }
    host.put("logs/dns.log.1.gz", gzip(log(0..14).as_bytes()));
    host.remove("logs/dns.log.1");
    host.holds(0..14);
}

#[test]
fn logrotate_copies_truncates_and_zeek_leaves_a_hole() {
    let mut host = Host::new("logs");
    let file = File::create(host.path("logs/dns.log")).unwrap();
    let begin = log(0..10);
    file.write_all_at(begin.as_bytes(), 0).unwrap();
    host.holds(0..10);
    fs::copy(host.path("logs/dns.log"), host.path("logs/dns.log.1")).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(records(10..14).as_bytes(), begin.len() as u64).unwrap();
    host.holds(0..14);
    host.kill();
    host.holds(0..14);
}

#[test]
fn volumes_that_move_and_collectors_that_replace_files_change_inodes_only() {
    let mut host = Host::new("logs");
    host.grace = Duration::from_secs(3600);
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    for end in [20, 30, 31] {
        // rsync writes beside it and renames over it. Nothing waits for the grace of the file that was replaced.
        let before = host.inode("logs/dns.log");
        host.put("logs/.dns.log.rsync", log(0..end));
        host.rename("logs/.dns.log.rsync", "logs/dns.log");
        assert_ne!(host.inode("logs/dns.log"), before);
        host.holds(0..end);
    }
    host.kill();
    fs::copy(host.path("logs/dns.log"), host.path("logs/dns.copy")).unwrap();
    host.rename("logs/dns.copy", "logs/dns.log");
    host.holds(0..31);
}

#[test]
fn other_compressors_are_told_by_content_or_reported() {
    let mut host = Host::new("logs");
    host.put("logs/dns.a.log.zst", zstd::encode_all(log(0..10).as_bytes(), 1).unwrap());
    host.put("logs/dns.b.log.gz", [gzip(log(10..15).as_bytes()), gzip(records(15..20).as_bytes())].concat());
    host.put("logs/dns.c.log.xz", b"\xfd7zXZ\x00and so on");
    host.put("logs/dns.d.log", gzip(log(20..25).as_bytes()));
    host.holds(0..25);
}

#[test]
fn the_hour_that_comes_twice_overwrites_its_archive_in_place() {
    let mut host = Host::new("logs");
    let archive = "logs/2024-10-27/dns.01:00:00-02:00:00.log.gz";
    host.put(archive, gzip((log(0..10) + CLOSE).as_bytes()));
    host.holds(0..10);
    let inode = host.inode(archive);
    host.put(archive, gzip((log(10..20) + CLOSE).as_bytes()));
    assert_eq!(host.inode(archive), inode);
    host.holds(0..20);
}

//--- rotation in general --------------------------------------------------------------------------------------------

#[test]
fn a_new_log_may_have_the_inode_of_the_one_before() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    // With the follower away nobody holds the inode: the file system may give it again, and most do.
    host.kill();
    for round in 1..20 {
        host.put("logs/dns.old.log.gz", gzip(&fs::read(host.path("logs/dns.log")).unwrap()));
        host.remove("logs/dns.log");
        host.put("logs/dns.log", log(round * 10..round * 10 + 10));
        host.holds(0..round * 10 + 10);
        host.kill();
    }
}

#[test]
fn a_header_alone_is_no_log_and_may_come_in_pieces() {
    let mut host = Host::new("logs");
    let text = log(0..3);
    host.put("logs/dns.log", "");
    for at in 0..text.len() {
        host.append("logs/dns.log", &text.as_bytes()[at..at + 1]);
        if at % 17 == 0 {
            host.daemon().turn();
        }
        if at == HEADER.len() {
            assert_eq!(host.status().sources[0].files.len(), 0);
        }
    }
    host.holds(0..3);
    host.put("logs/dns.1.log", HEADER);
    host.holds(0..3);
}

#[test]
fn a_file_that_is_shorter_than_what_was_read_holds_nothing_new() {
    let mut host = Host::new("logs");
    host.put("logs/dns.1.log", log(0..100));
    host.holds(0..100);
    host.kill();
    // Power was lost, and with it the tail that had not reached the disk.
    host.put("logs/dns.1.log", &log(0..100).as_bytes()[..3000]);
    host.holds(0..100);
    host.put("logs/dns.1.log", log(0..120));
    host.holds(0..120);
}

#[test]
fn nothing_waits_while_there_is_no_log_at_all() {
    let mut host = Host::new("logs/current");
    host.daemon().turn();
    assert_eq!(host.status().sources[0].state, SourceState::Waiting);
    host.put("logs/current/dns.log", log(0..5));
    host.holds(0..5);
    host.append("logs/current/dns.log", CLOSE);
    host.rename("logs/current/dns.log", "logs/current/dns.2024-04-19-10-00-00.log");
    host.holds(0..5);
    assert!(host.status().caught_up);
    host.put("logs/current/dns.log", log(5..6));
    host.holds(0..6);
}

#[test]
fn a_log_that_was_put_off_and_was_renamed_is_not_waited_for() {
    let mut host = Host::new("logs");
    // Zeek compresses it as it writes: it is put off until it is an archive.
    host.put("logs/dns.log", gzip(log(0..10).as_bytes()));
    host.daemon().turn();
    host.daemon().turn();
    assert!(!host.status().caught_up);
    host.rename("logs/dns.log", "logs/dns.2024-04-19-10-00-00.log");
    host.holds(0..10);
    assert!(host.status().caught_up);
}

#[test]
fn an_archive_may_come_long_after_its_log_went() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    host.append("logs/dns.log", records(10..12) + CLOSE);
    host.remove("logs/dns.log");
    host.daemon().settle();
    host.kill();
    host.daemon().settle();
    host.put("logs/2024-04-19/dns.10:00:00-11:00:00.log.gz", gzip((log(0..12) + CLOSE).as_bytes()));
    host.holds(0..12);
}

#[test]
fn logs_that_are_finished_are_not_held_open_and_of_more_than_may_be_all_are_read() {
    let mut host = Host::new("logs");
    let name = |at: u64| format!("logs/run{at:02}/dns.log");
    for at in 0..30 {
        let end = if at % 2 == 0 { CLOSE } else { "" };
        host.put(&name(at), log(at * 10..at * 10 + 10) + end);
    }
    host.daemon().limit_open(8);
    host.holds(0..300);
    assert!(host.daemon().open_logs() <= 8, "{}", host.daemon().open_logs());
    assert!(host.status().caught_up);
    // One that grows is read on, whichever it is.
    for (at, from) in (0..30).zip((300..).step_by(3)) {
        host.append(&name(at), records(from..from + 3));
    }
    host.holds(0..390);
    // One that is written anew in its place, too.
    host.put(&name(3), log(390..400) + CLOSE);
    host.put(&name(4), log(400..401));
    host.holds(0..401);
    // Closed logs are let go whether there is room for them or not.
    host.daemon().limit_open(100);
    host.put("logs/run99/dns.log", log(401..402) + CLOSE);
    host.holds(0..402);
    let open = host.daemon().open_logs();
    host.put("logs/run98/dns.log", log(402..403) + CLOSE);
    host.holds(0..403);
    assert_eq!(host.daemon().open_logs(), open);
}

#[test]
fn a_log_that_was_not_held_open_keeps_its_header_over_a_copytruncate() {
    let mut host = Host::new("logs");
    let path = host.path("logs/dns.log");
    let file = File::create(&path).unwrap();
    let begin = log(0..10);
    file.write_all_at(begin.as_bytes(), 0).unwrap();
    host.holds(0..10);
    // It is let go to make room for others.
    host.daemon().limit_open(1);
    host.put("logs/other/dns.log", log(20..30) + CLOSE);
    host.daemon().settle();
    assert!(host.daemon().open_logs() <= 1);
    fs::copy(&path, host.path("logs/dns.log.1")).unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(records(10..20).as_bytes(), begin.len() as u64).unwrap();
    host.holds(0..30);
}

//--- several sources, and what the status says -----------------------------------------------------------------------

#[test]
fn a_source_that_fails_says_why_and_leaves_the_others_alone() {
    let mut host = Host::new("logs");
    host.logs.push("loop");
    symlink(host.path("loop"), host.path("loop")).unwrap();
    host.put("logs/dns.log", log(0..10));
    for end in [10, 12] {
        host.put("logs/dns.log", log(0..end));
        for _ in 0..4 {
            host.daemon().turn();
        }
        host.daemon().commit();
        let status = host.status();
        assert_eq!(status.totals.counted, end);
        let [good, bad] = &status.sources[..] else { panic!("{status:?}") };
        assert_eq!((good.state, &good.reason, good.lag_bytes), (SourceState::Following, &None, 0));
        assert!(good.lag_seconds.is_some() && bad.lag_seconds.is_none());
        assert_eq!(bad.state, SourceState::Failing);
        assert!(bad.reason.as_ref().is_some_and(|reason| reason.contains("tried again")), "{bad:?}");
        // What is true of all of them cannot be said while one is not read.
        assert!(!status.caught_up && status.as_of_ms.is_none());
    }
    fs::remove_file(host.path("loop")).unwrap();
    host.put("loop/dns.log", log(12..14));
    host.holds(0..14);
    assert!(host.status().caught_up && host.status().as_of_ms.is_some());
}

#[test]
fn while_an_archive_cannot_be_decoded_not_everything_is_read_and_the_reason_goes_with_the_file() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    let before = host.status();
    assert!(before.caught_up && before.sources[0].unread.is_empty());
    let whole = gzip((log(10..3000) + CLOSE).as_bytes());
    host.put("logs/dns.1.log.gz", &whole[..whole.len() / 2]);
    host.put("logs/dns.2.log.gz", &gzip(log(3000..3001).as_bytes())[..12]);
    for wanted in [2, 1, 0] {
        host.daemon().settle();
        let status = host.status();
        let source = &status.sources[0];
        assert_eq!(source.unread_counts.of(UnreadKind::Undecodable), wanted);
        assert_eq!(status.caught_up, wanted == 0);
        assert_eq!(source.reason.is_some(), wanted > 0, "{:?}", source.reason);
        if wanted > 0 {
            assert_eq!(status.as_of_ms, before.as_of_ms, "what became visible since is not read");
            let reason = source.reason.as_ref().unwrap();
            assert!(reason.contains(".log.gz") && reason.contains("ends too early"), "{reason}");
        } else {
            assert!(status.as_of_ms > before.as_of_ms);
        }
        // One is mended, the other goes.
        match wanted {
            2 => host.put("logs/dns.1.log.gz", &whole),
            1 => host.remove("logs/dns.2.log.gz"),
            _ => {}
        }
    }
    host.holds(0..3000);
}

#[test]
fn what_cannot_be_decoded_is_remembered_over_restarts_until_it_changes() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", log(0..10));
    host.put("logs/dns.1.log.xz", b"\xfd7zXZ\x00rest");
    host.put("logs/dns.2.log.gz", &gzip(log(10..2000).as_bytes())[..300]);
    host.put("logs/dnsmasq.log", "started, version 2.90\n");
    let kinds = |host: &mut Host| {
        host.daemon().settle();
        let status = host.status();
        assert_eq!(status.caught_up, status.sources[0].unread_counts.may_hold_records() == 0);
        let unread = status.sources[0].unread.iter();
        let mut kinds: Vec<_> =
            unread.map(|u| (u.path.file_name().unwrap().to_str().unwrap().to_owned(), u.kind)).collect();
        kinds.sort();
        kinds
    };
    let named = |name: &str, kind| (name.to_owned(), kind);
    let expected = [
        named("dns.1.log.xz", UnreadKind::Undecodable),
        named("dns.2.log.gz", UnreadKind::Undecodable),
        named("dnsmasq.log", UnreadKind::PassedOver),
    ];
    for _ in 0..2 {
        assert_eq!(kinds(&mut host), expected);
        let read = host.status().totals.lines();
        host.kill();
        assert_eq!(host.status().totals.lines(), read);
    }
    // A file that changes is tried again; one that goes has no reason any more.
    host.put("logs/dns.2.log.gz", gzip((log(10..2000) + CLOSE).as_bytes()));
    host.remove("logs/dns.1.log.xz");
    assert_eq!(kinds(&mut host), expected[2..]);
    host.kill();
    assert_eq!(kinds(&mut host), expected[2..]);
    host.remove("logs/dnsmasq.log");
    assert_eq!(kinds(&mut host), []);
    host.holds(0..2000);
}

#[test]
fn a_damaged_archive_whose_log_is_read_elsewhere_hides_nothing() {
    let whole = gzip((log(0..3000) + CLOSE).as_bytes());
    for first in ["logs/dns.1.log.gz", "logs/dns.2.log.gz"] {
        let mut host = Host::new("logs");
        for (name, bytes) in [("logs/dns.1.log.gz", &whole[..whole.len() / 2]), ("logs/dns.2.log.gz", &whole)]
        {
            if name >= first {
                host.put(name, bytes);
                host.daemon().settle();
            }
        }
        host.put("logs/dns.1.log.gz", &whole[..whole.len() / 2]);
        for _ in 0..2 {
            host.holds(0..3000);
            let source = &host.status().sources[0];
            assert_eq!(source.unread_counts.of(UnreadKind::PassedOver), 1, "{:?}", source.unread);
            assert!(host.status().caught_up && source.unread[0].reason.contains("from another file"));
            host.kill();
        }
    }
}

#[test]
fn a_file_that_is_no_dns_log_leaves_nothing_in_the_ledger_and_is_read_when_it_becomes_one() {
    let mut host = Host::new("logs");
    let conn = "#separator \\x09\n#path\tconn\n#fields\tts\tuid\n1.0\tC1\n";
    host.put("logs/dns.log", conn);
    host.put("logs/dns-notes.txt", "# what we did\n\nnothing yet\n");
    host.put("logs/dns.log.swp", b"b0VIM 9.0\0\0\0\n\0\x01\n");
    host.put("logs/dnsmasq.log", "started\n");
    host.put("logs/.dns.log", log(50..60));
    host.holds(0..0);
    let status = host.status();
    assert!(status.caught_up && status.sources[0].files.is_empty());
    assert_eq!(status.sources[0].unread_counts.of(UnreadKind::PassedOver), 4);
    let reason = |name: &str| {
        let unread = status.sources[0].unread.iter().find(|unread| unread.path.ends_with(name)).unwrap();
        unread.reason.clone()
    };
    assert!(reason("dns.log").contains("conn log") && reason("dnsmasq.log").contains("not a log of Zeek"));
    host.append("logs/dnsmasq.log", "still no log\n".repeat(100));
    host.holds(0..0);
    host.put("logs/dns.log", log(0..10));
    host.put("logs/dns-notes.txt", log(10..20));
    host.daemon().forget_pauses();
    host.holds(0..20);
    assert_eq!(host.status().sources[0].unread_counts.total(), 2);
}

#[test]
fn columns_that_nobody_has_named_are_not_taken_for_read() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", records(0..10));
    host.daemon().settle();
    let status = host.status();
    assert!(!status.caught_up && status.totals.lines() == 0);
    assert!(status.sources[0].reason.as_ref().unwrap().contains("`fields`"));
}

#[test]
fn a_log_that_is_copied_and_truncated_again_and_again_counts_once() {
    let mut host = Host::new("logs");
    let path = host.path("logs/dns.log");
    let file = File::create(&path).unwrap();
    let mut place = 0;
    let mut write = |range| {
        let text = json(range);
        file.write_all_at(text.as_bytes(), place).unwrap();
        place += text.len() as u64;
    };
    for round in 0..4 {
        write(round * 10..round * 10 + 5);
        host.daemon().turn();
        fs::copy(&path, host.path(&format!("logs/dns.log.{round}"))).unwrap();
        // Zeek goes on where it was; what is before it is a hole. That it begins as it did says nothing from the second time on.
        file.set_len(0).unwrap();
        write(round * 10 + 5..round * 10 + 10);
        host.daemon().turn();
    }
    host.holds(0..40);
    host.kill();
    host.holds(0..40);
}

#[test]
fn what_stands_behind_the_end_of_a_log_in_an_archive_is_not_said_to_be_read() {
    let (first, second) = (log(0..10) + CLOSE, log(10..20) + CLOSE);
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, archive) in [
        ("dns.1.log.gz", [gzip(first.as_bytes()), zstd(&second)].concat()),
        ("dns.1.log.gz", [gzip(first.as_bytes()), second.clone().into_bytes()].concat()),
        ("dns.1.log.gz", [gzip(first.as_bytes()), gzip(second.as_bytes())[..12].to_vec()].concat()),
        ("dns.1.log.zst", [zstd(&first), gzip(second.as_bytes())].concat()),
    ] {
        let mut host = Host::new("logs");
        host.put(&format!("logs/{name}"), archive);
        for _ in 0..2 {
            host.holds(0..10);
            let status = host.status();
            assert!(!status.caught_up, "{status:?}");
            let unread = &status.sources[0].unread;
            assert_eq!((unread.len(), unread[0].kind), (1, UnreadKind::Undecodable), "{unread:?}");
            host.kill();
        }
    }
}

#[test]
fn what_has_the_name_of_a_live_log_and_is_packed_is_an_archive_for_as_long_as_it_is() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log", gzip(log(0..10).as_bytes()));
    host.put("logs/lan/dns.log", b"\xff\xfe#\0s\0e\0p\0");
    host.holds(0..10);
    let status = host.status();
    let unread = &status.sources[0].unread;
    assert!(unread.len() == 1 && unread[0].reason.contains("UTF-16"), "{unread:?}");
    assert!(!status.caught_up && unread[0].kind == UnreadKind::Undecodable);
    host.remove("logs/dns.log");
    host.put("logs/dns.log", log(10..20));
    host.put("logs/lan/dns.log", log(20..30));
    host.holds(0..30);
    assert!(host.status().caught_up);
    // They are followed again.
    host.append("logs/dns.log", records(30..35));
    host.daemon().turn();
    host.daemon().commit();
    assert_eq!(host.status().totals.counted, 35);
}

#[test]
fn logrotate_with_dateext_renames_and_zeek_goes_on_in_the_renamed_file_over_restarts() {
    let mut host = Host::new("logs");
    host.put("logs/dns.log-20240417.gz", gzip((log(0..5) + CLOSE).as_bytes()));
    host.put("logs/dns.log", log(5..10));
    host.holds(0..10);
    host.rename("logs/dns.log", "logs/dns.log-20240418");
    host.append("logs/dns.log-20240418", records(10..20));
    host.holds(0..20);
    for end in [30, 40] {
        host.kill();
        host.append("logs/dns.log-20240418", records(end - 10..end - 5));
        host.daemon().turn();
        // It is followed again, at once: what comes is read at the next turn.
        host.append("logs/dns.log-20240418", records(end - 5..end));
        host.daemon().turn();
        host.daemon().commit();
        assert_eq!(host.status().totals.counted, end);
        host.holds(0..end);
    }
    // A file of the next day beside it; the old one is compressed in the end.
    host.put("logs/dns.log", log(40..45));
    host.holds(0..45);
    let renamed = fs::read(host.path("logs/dns.log-20240418")).unwrap();
    host.put("logs/dns.log-20240418.gz", gzip(&renamed));
    host.remove("logs/dns.log-20240418");
    host.holds(0..45);
}

#[test]
fn after_a_crash_it_is_known_how_far_behind_the_ledger_is() {
    let mut host = Host::new("logs");
    assert_eq!(host.status().as_of_ms, None);
    host.put("logs/dns.log", log(0..10));
    host.holds(0..10);
    let before = host.status();
    assert!(before.caught_up);
    assert_eq!(before.newest, Some(1_700_000_000 + 9 * 3600));
    host.kill();
    host.append("logs/dns.log", records(10..20));
    // The new daemon has not looked yet: what it says is what the ledger was true of when it was last committed.
    let after = host.status();
    assert!(!after.caught_up);
    assert!(after.as_of_ms.is_some() && after.as_of_ms <= before.as_of_ms);
    assert!(after.sources[0].lag_seconds.is_some());
    host.holds(0..20);
    assert!(host.status().as_of_ms > after.as_of_ms);
}

#[test]
fn the_reading_of_archives_says_how_far_it_is() {
    let mut host = Host::new("logs");
    let mut bytes = 0;
    for at in 0..4 {
        let packed = gzip((log(at * 100..at * 100 + 100) + CLOSE).as_bytes());
        bytes += packed.len() as u64;
        host.put(&format!("logs/dns.{at}.log.gz"), packed);
    }
    host.daemon().turn();
    for read in 0..4 {
        let status = host.status();
        assert!(!status.caught_up);
        assert_eq!(status.sources[0].state, SourceState::Backfilling);
        let backfill = status.sources[0].backfill.unwrap();
        assert_eq!((backfill.files_done, backfill.files_total, backfill.bytes_total), (read, 4, bytes));
        assert_eq!((backfill.lines, backfill.bytes_done > 0), (read * 100, read > 0));
        assert_eq!((backfill.lines_per_second > 0.0, backfill.seconds_left.is_some()), (read > 0, read > 0));
        host.daemon().read_archive();
    }
    host.holds(0..400);
    let backfill = host.status().sources[0].backfill.unwrap();
    assert_eq!((backfill.bytes_done, backfill.seconds_left), (bytes, Some(0.0)));
}
