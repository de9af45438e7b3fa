//! From a line to the batch, step by step: `cargo bench --bench reading`.
//!
//! The lines are made here, always the same: names by a skewed distribution, a quarter without answers, CNAME chains
//! and TTLs about as common as in real logs. Compare figures of one run with each other, never with another machine's.

use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

use dnsledger::observation::{Observations, SensorId};
use dnsledger::observe::{self, Observer};
use dnsledger::store::batch::Batch;
use dnsledger::zeek::{self, Line, LogRecord, Reader};

const LINES: usize = 2_000;

const HEADER: &str = "#separator \\x09
#set_separator\t,
#empty_field\t(empty)
#unset_field\t-
#path\tdns
#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\ttrans_id\trtt\tquery\tqclass\tqclass_name\tqtype\tqtype_name\trcode\trcode_name\tAA\tTC\tRD\tRA\tZ\tanswers\tTTLs\trejected";

fn main() {
    divan::main();
}

//--- the sample -----------------------------------------------------------------------------------------------------

/// One line in both forms.
struct Sample {
    tsv: Vec<u8>,
    json: Vec<u8>,
}

fn sample() -> Vec<Sample> {
    let mut random = Random(0x5eed);
    (0..LINES).map(|at| make(at, &mut random)).collect()
}

/// A linear congruential generator (Knuth's MMIX): all that is wanted is the same lines each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn make(at: usize, random: &mut Random) -> Sample {
    // The product of two draws is skewed: few names are common, most are rare.
    let name = random.below(40) * random.below(40);
    let query = format!("host{name}.site{}.example", name % 97);
    let (qtype, qtype_name) = match random.below(10) {
        0..=6 => (1, "A"),
        7 | 8 => (28, "AAAA"),
        _ => (16, "TXT"),
    };
    let mut answers = Vec::new();
    if random.below(4) > 0 {
        match qtype {
            16 => answers
                .push(format!("TXT {} v=spf1 include:{name}.example -all", 27 + name.to_string().len())),
            _ => {
                answers.extend(
                    (0..random.below(3)).map(|link| format!("edge{link}.pop{}.cdn.example", name % 31)),
                );
                answers.extend((0..1 + random.below(3)).map(|host| match qtype {
                    1 => format!("192.0.{}.{}", name % 256, host + name % 200),
                    _ => format!("2001:db8:{:x}::{:x}", name, host + 1),
                }));
            }
        }
    }
    let ttls: Vec<u64> = answers.iter().map(|_| 60 * (1 + random.below(60))).collect();
    let (seconds, micros) = (1_700_000_000 + at as u64 / 20, random.below(1_000_000));
    let (port, id) = (1024 + random.below(64_000), random.below(65_536));

    let vector =
        |elements: Vec<String>| if elements.is_empty() { "-".to_string() } else { elements.join(",") };
    let tsv_ttls = ttls.iter().map(|ttl| format!("{ttl}.000000")).collect();
    let tsv = format!(
        "{seconds}.{micros:06}\tCqKst53mF3det3eDV9\t198.51.100.7\t{port}\t198.51.100.53\t53\tudp\t{id}\t0.000870\t{query}\t1\tC_INTERNET\t{qtype}\t{qtype_name}\t0\tNOERROR\tF\tF\tT\tT\t0\t{}\t{}\tF",
        vector(answers.clone()),
        vector(tsv_ttls),
    );
    let mut json = format!(
        r#"{{"ts":{seconds}.{micros:06},"uid":"CqKst53mF3det3eDV9","id.orig_h":"198.51.100.7","id.orig_p":{port},"id.resp_h":"198.51.100.53","id.resp_p":53,"proto":"udp","trans_id":{id},"rtt":0.0008699893951416016,"query":"{query}","qclass":1,"qclass_name":"C_INTERNET","qtype":{qtype},"qtype_name":"{qtype_name}","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0"#,
    );
    if !answers.is_empty() {
        let ttls: Vec<String> = ttls.iter().map(|ttl| format!("{ttl}.0")).collect();
        let _ = write!(json, r#","answers":["{}"],"TTLs":[{}]"#, answers.join(r#"",""#), ttls.join(","));
    }
    json.push_str(r#","rejected":false}"#);
    Sample { tsv: tsv.into_bytes(), json: json.into_bytes() }
}

fn reader() -> Reader {
    let mut reader = Reader::new(&zeek::Options::default());
    let mut record = LogRecord::default();
    for line in HEADER.lines() {
        assert_eq!(reader.read(line.as_bytes(), &mut record), Line::Directive);
    }
    reader
}

fn records() -> Vec<LogRecord> {
    let mut reader = reader();
    sample()
        .iter()
        .map(|sample| {
            let mut record = LogRecord::default();
            assert_eq!(reader.read(&sample.tsv, &mut record), Line::Record);
            record
        })
        .collect()
}

//--- the benches ----------------------------------------------------------------------------------------------------

fn read(bencher: Bencher, lines: Vec<Vec<u8>>) {
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let mut reader = reader();
    let mut record = LogRecord::default();
    bencher.counter(ItemsCount::new(LINES)).counter(BytesCount::new(bytes)).bench_local(|| {
        for line in &lines {
            assert_eq!(reader.read(black_box(line), &mut record), Line::Record);
        }
    });
}

/// Split and decode a TSV line.
#[divan::bench]
fn read_tsv(bencher: Bencher) {
    read(bencher, sample().into_iter().map(|sample| sample.tsv).collect());
}

/// Scan and decode a JSON line.
#[divan::bench]
fn read_json(bencher: Bencher) {
    read(bencher, sample().into_iter().map(|sample| sample.json).collect());
}

/// Type the answers of a record.
#[divan::bench(name = "observe")]
fn observe_record(bencher: Bencher) {
    let records = records();
    let mut observer = Observer::new(&observe::Options::default());
    let mut out = Observations::new(SensorId(0));
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for record in &records {
            black_box(observer.observe(black_box(record), &mut out));
        }
    });
}

/// Fold the observations of a record into a batch.
#[divan::bench]
fn merge(bencher: Bencher) {
    let observations: Vec<Observations> = records()
        .iter()
        .map(|record| {
            let mut out = Observations::new(SensorId(0));
            Observer::new(&observe::Options::default()).observe(record, &mut out);
            out
        })
        .collect();
    bencher.counter(ItemsCount::new(LINES)).with_inputs(Batch::default).bench_local_refs(|batch| {
        for observations in &observations {
            batch.add(black_box(observations));
        }
    });
}

/// All of it: what a line costs between the decompressor and the writer.
#[divan::bench]
fn tsv_line_to_batch(bencher: Bencher) {
    let sample = sample();
    let mut reader = reader();
    let mut record = LogRecord::default();
    let mut observer = Observer::new(&observe::Options::default());
    let mut out = Observations::new(SensorId(0));
    bencher.counter(ItemsCount::new(LINES)).with_inputs(Batch::default).bench_local_refs(|batch| {
        for line in &sample {
            reader.read(black_box(&line.tsv), &mut record);
            observer.observe(&record, &mut out);
            batch.add(&out);
        }
    });
}
