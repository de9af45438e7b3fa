//! The short form of the fuzz targets: the functions they call, over mutated samples.
//!
//! A seed and a number of rounds always give the same inputs; `DNSLEDGER_FUZZ_ROUNDS` asks for more of them. The long form,
//! which is led by coverage, is `just fuzz TARGET SECONDS`. What it finds becomes a sample here.

use std::fs;
use std::path::Path;

use generate::Random;

use crate::env::setting;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Samples that look like what each target takes, and what was found once.
const NAMES: &[&[u8]] = &[
    b"www.example.com",
    b"*.example.com.",
    b"\\004\\.a.\\\\.example",
    b"xn--bcher-kva.example",
    "b\u{fc}cher.example".as_bytes(),
    b"\x00com\x00example\x00\x00",
    b"a..b",
    b".",
];
const QUERIES: &[&[u8]] = &[
    b"www.example.com",
    b"*.example.com",
    b".example.com",
    b"www.example.*",
    b"192.0.2.0/24",
    b"192.0.2.3-192.0.2.9",
    b"2001:db8::/32",
    b"::ffff:192.0.2.1-::ffff:192.0.2.7",
    b"rdata:*.example.net",
    b"~text",
    b"/^(a|b)+[c-f]{2,3}\\.$/",
    b"2024-02-30",
    b"2024-04-12T19:29:12.5+02:00",
    b"7d",
    b"A,AAAA,TYPE65,ANY-DNSSEC",
    b"AQBj",
];

/// Runs a target over each sample, whole, and over so many mutations of them.
fn run(target: fn(&[u8]), samples: &[Vec<u8>]) {
    samples.iter().for_each(|sample| target(sample));
    let mut random = Random::new(setting("DNSLEDGER_SEED", 1));
    for _ in 0..setting("DNSLEDGER_FUZZ_ROUNDS", 4_000) {
        let mut input = pick(&mut random, samples).to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut input, samples);
        }
        target(&input);
    }
}

fn pick<'a>(random: &mut Random, samples: &'a [Vec<u8>]) -> &'a [u8] {
    &samples[random.below(samples.len() as u64) as usize]
}

/// Changes an input a little: a byte, a piece that goes, is doubled or comes from another sample, or a cut.
fn mutate(random: &mut Random, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
    const INTERESTING: &[u8] = b"\0\t\n\r\\\"'{}[]:,.-#*/|=~ 09azAZ\x7f\x80\xc3\xff";
    let at = random.below(input.len() as u64 + 1) as usize;
    let end = (at + random.below(12) as usize).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] = random.below(256) as u8,
        1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 => drop(input.drain(at..end)),
        3 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        4 => {
            let other = pick(random, samples);
            let from = random.below(other.len() as u64 + 1) as usize;
            let to = (from + random.below(40) as usize).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        5 => input.truncate(at),
        _ => input.insert(at, INTERESTING[random.below(INTERESTING.len() as u64) as usize]),
    }
}

fn owned(samples: &[&[u8]]) -> Vec<Vec<u8>> {
    samples.iter().map(|sample| sample.to_vec()).collect()
}

/// The sample logs written by hand, those whose names end so.
fn logs(ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/zeek");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.to_str().unwrap().ends_with(ending));
    assert!(!paths.is_empty(), "no {ending}");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Their lines, each alone.
fn lines(ending: &str) -> Vec<Vec<u8>> {
    logs(ending).iter().flat_map(|log| log.split(|&byte| byte == b'\n').map(<[u8]>::to_vec)).collect()
}

#[test]
fn lines_of_tsv_logs_obey() {
    let behind_a_header = |line: Vec<u8>| [&b"\0"[..], &line].concat();
    run(targets::tsv_line, &lines(".log").into_iter().map(behind_a_header).collect::<Vec<_>>());
}

#[test]
fn logs_with_their_headers_obey() {
    run(targets::header, &logs(".log"));
}

#[test]
fn lines_of_json_logs_obey() {
    let samples: Vec<_> = lines(".log").into_iter().filter(|line| line.starts_with(b"{")).collect();
    run(targets::json_line, &samples);
}

#[test]
fn names_obey() {
    run(targets::name, &owned(NAMES));
}

#[test]
fn queries_obey() {
    run(targets::query, &owned(QUERIES));
}

#[test]
fn lists_of_indicators_obey() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/feeds");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    // Each as itself, and as each of the others.
    let lists = paths.iter().map(|path| fs::read(path).unwrap());
    let samples = lists.zip(0..).map(|(list, at)| [&[at, 0x0c][usize::from(at % 2)..][..1], &list].concat());
    run(targets::indicators, &samples.collect::<Vec<_>>());
}

#[test]
fn answers_of_servers_of_feeds_obey() {
    let sample = |name: &str| fs::read(crate::env::testdata(&format!("feeds/{name}"))).unwrap();
    let names = [
        "misp-feed/manifest.json",
        "misp-feed/11111111-1111-4111-8111-111111111111.json",
        "misp-events.json",
        "misp-attributes.json",
        "taxii-page.json",
        "bundle.json",
        "refused.json",
    ];
    run(targets::pull, &names.map(sample));
}
