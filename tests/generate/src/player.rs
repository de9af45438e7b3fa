//! Writing logs the way Zeek and zeekctl do.
//!
//! Zeek opens `dns.log` at the first record after a rotation, so that there may be none for a while; writes each header
//! line and each record by one `write`, unbuffered; at rotation writes `#close`, closes, and renames the file to
//! `dns.YYYY-MM-DD-HH-MM-SS.log`, the moment of the rotation before (`src/logging/writers/ascii/Ascii.cc`,
//! `src/logging/Manager.cc`). zeekctl's `archive-log` then compresses that to
//! `YYYY-MM-DD/dns.HH:MM:SS-HH:MM:SS.log.gz` in the folder of the first day, under its final name while it grows, and
//! removes it. Times in names are UTC here, where Zeek takes local time. Others rotate otherwise: see [`Layout`].

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use flate2::{Compression, GzBuilder};

use super::record::{dashed, time_as};
use super::{Format, Generator, MICROS, Record};

//--- Player ---------------------------------------------------------------------------------------------------------

/// Where rotated logs and their archives go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// `current/dns.2024-04-12-19-29-12.log`, then `2024-04-12/dns.19:29:12-20:29:12.log.gz`, as zeekctl has it.
    #[default]
    Zeekctl,
    /// `current/dns.log-20240412-1712950152`, then that with `.gz`, as logrotate's `dateext` has it with the time behind the
    /// day.
    Dateext,
    /// `2024/04/12/dns.19:29:12-20:29:12.log.gz`: a folder for each year, month and day.
    Deep,
}

/// A Zeek that writes into the `current` folder of a log folder.
///
/// It does not look at a clock: each step is told what time it is, in seconds since the epoch. As with Zeek, two
/// rotations within one second overwrite each other's files.
#[derive(Debug)]
pub struct Player {
    logs: PathBuf,
    format: Format,
    layout: Layout,
    torn: bool,
    open: Option<Open>,
    /// When the log was rotated last, whether there was one or not.
    rotated: Option<u64>,
    line: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    opened: u64,
    /// Where the next write begins.
    offset: usize,
}

impl Player {
    /// A Zeek that logs to this folder; it and its `current` are made when they are not there.
    ///
    /// # Errors
    ///
    /// When they cannot be made.
    pub fn new(logs: &Path, format: Format) -> io::Result<Player> {
        fs::create_dir_all(logs.join("current"))?;
        Ok(Player {
            logs: logs.to_owned(),
            format,
            layout: Layout::default(),
            torn: false,
            open: None,
            rotated: None,
            line: Vec::new(),
        })
    }

    /// Rotates and archives in another way than zeekctl does.
    pub fn laid_out(mut self, layout: Layout) -> Player {
        self.layout = layout;
        self
    }

    /// Breaks each write where a page of the file ends, as a reader may see it happen to a single `write`.
    pub fn torn(mut self) -> Player {
        self.torn = true;
        self
    }

    /// The path of the live log.
    pub fn live(&self) -> PathBuf {
        self.logs.join("current").join("dns.log")
    }

    /// Writes a record, and before it the header when no log is open; what `dns.log` held then is gone.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or written.
    pub fn write(&mut self, record: &Record, now: u64) -> io::Result<()> {
        self.line.clear();
        record.push_line(self.format, &mut self.line);
        let path = self.live();
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                let mut open = Open { file: File::create(path)?, opened: now, offset: 0 };
                for line in self.format.header(now) {
                    open.write(line.as_bytes(), self.torn)?;
                }
                closed.insert(open)
            }
        };
        open.write(&self.line, self.torn)
    }

    /// Writes bytes as they are, where Zeek would not: the half of a line that a crash leaves, say.
    ///
    /// # Errors
    ///
    /// When no log is open, or it cannot be written.
    pub fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let torn = self.torn;
        let open = self.open.as_mut().ok_or_else(|| io::Error::other("no log is open"))?;
        open.write(bytes, torn)
    }

    /// Closes the log and renames it; nothing to do when none is open.
    ///
    /// # Errors
    ///
    /// When `#close` cannot be written or the file cannot be renamed.
    pub fn rotate(&mut self, now: u64) -> io::Result<Option<Rotated>> {
        let before = self.rotated;
        let Some(mut open) = self.open.take() else {
            // Before its first record a Zeek has no log, and nothing that rotates.
            self.rotated = before.map(|_| now);
            return Ok(None);
        };
        self.rotated = Some(now);
        if let Some(line) = self.format.close(now) {
            open.write(line.as_bytes(), self.torn)?;
        }
        let since = before.unwrap_or(open.opened);
        let name = match self.layout {
            Layout::Zeekctl | Layout::Deep => format!("dns.{}.log", dashed(since)),
            Layout::Dateext => format!("dns.log-{}-{now}", time_as("%Y%m%d", now)),
        };
        let path = self.logs.join("current").join(name);
        fs::rename(self.live(), &path)?;
        Ok(Some(Rotated { path, since, closed: now, layout: self.layout }))
    }

    /// Lets go of the log without a word, as a Zeek that was killed does. The next record truncates it.
    pub fn crash(&mut self) {
        (self.open, self.rotated) = (None, None);
    }

    /// Compresses a rotated log into its dated folder, and removes it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the archive cannot be written; both files may be there then.
    pub fn archive(&self, rotated: Rotated) -> io::Result<PathBuf> {
        let mut archive = Archive::begin(&self.logs, rotated)?;
        while archive.step(usize::MAX)? {}
        archive.finish()
    }
}

impl Open {
    fn write(&mut self, mut bytes: &[u8], torn: bool) -> io::Result<()> {
        const PAGE: usize = 4_096;
        let until_page_ends = PAGE - self.offset % PAGE;
        self.offset += bytes.len();
        if torn && let Some((before, after)) = bytes.split_at_checked(until_page_ends) {
            self.file.write_all(before)?;
            bytes = after;
        }
        self.file.write_all(bytes)
    }
}

/// A log that was closed and waits for being archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Where it is.
    pub path: PathBuf,
    /// When its time began: at the rotation before, or when it was opened; in seconds since the epoch.
    pub since: u64,
    /// When it was closed.
    pub closed: u64,
    /// Where its archive goes.
    pub layout: Layout,
}

impl Rotated {
    /// The path of its archive in a log folder.
    fn archive(&self, logs: &Path) -> PathBuf {
        let clock = |secs| time_as("%H:%M:%S", secs);
        let name = || format!("dns.{}-{}.log.gz", clock(self.since), clock(self.closed));
        let day = time_as("%Y-%m-%d", self.since);
        match self.layout {
            Layout::Zeekctl => logs.join(day).join(name()),
            Layout::Deep => logs.join(day.replace('-', "/")).join(name()),
            Layout::Dateext => {
                let mut path = self.path.as_os_str().to_owned();
                path.push(".gz");
                path.into()
            }
        }
    }
}

//--- Archive --------------------------------------------------------------------------------------------------------

/// An archive being written, visible under its final name. Dropped early, it stays as it is: cut short.
#[derive(Debug)]
pub struct Archive {
    rotated: Rotated,
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// How many of the bytes are in the file.
    written: usize,
}

impl Archive {
    /// Makes the empty archive of a rotated log.
    ///
    /// # Errors
    ///
    /// When the log cannot be read, or the archive cannot be made.
    pub fn begin(logs: &Path, rotated: Rotated) -> io::Result<Archive> {
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        io::copy(&mut File::open(&rotated.path)?, &mut gzip)?;
        let path = rotated.archive(logs);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create(&path)?;
        Ok(Archive { rotated, path, file, bytes: gzip.finish()?, written: 0 })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log it is made of.
    pub fn rotated(&self) -> &Rotated {
        &self.rotated
    }

    /// Writes so many more bytes; says whether there is something left.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn step(&mut self, bytes: usize) -> io::Result<bool> {
        let left = self.bytes.get(self.written..).unwrap_or_default();
        let step = left.get(..bytes).unwrap_or(left);
        self.file.write_all(step)?;
        self.written += step.len();
        Ok(self.written < self.bytes.len())
    }

    /// Writes what is left and removes the log.
    ///
    /// # Errors
    ///
    /// When the rest cannot be written or the log cannot be removed.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        while self.step(usize::MAX)? {}
        fs::remove_file(&self.rotated.path)?;
        Ok(self.path)
    }
}

//--- Whole logs -----------------------------------------------------------------------------------------------------

/// Writes all records as one log, header and all; with `#close` only when asked.
///
/// # Errors
///
/// When the output fails.
pub fn write_log(generator: Generator, format: Format, closed: bool, output: impl Write) -> io::Result<()> {
    let mut output = BufWriter::with_capacity(1 << 18, output);
    let mut records = generator.peekable();
    let opened = records.peek().map_or(0, |record| record.written_micros / MICROS);
    for line in format.header(opened) {
        output.write_all(line.as_bytes())?;
    }
    let (mut line, mut now) = (Vec::new(), opened);
    for record in records {
        line.clear();
        record.push_line(format, &mut line);
        output.write_all(&line)?;
        now = record.written_micros / MICROS;
    }
    if closed && let Some(line) = format.close(now + 1) {
        output.write_all(line.as_bytes())?;
    }
    output.flush()
}

/// Writes a log folder as zeekctl leaves it: an archive for each full `rotation` seconds since the epoch in which there
/// were records, and the rest in a live `current/dns.log` that is not closed.
///
/// # Errors
///
/// When something cannot be written.
pub fn write_tree(generator: Generator, format: Format, logs: &Path, rotation: u64) -> io::Result<()> {
    let mut player = Player::new(logs, format)?;
    let rotation = rotation.max(1);
    let mut next_rotation = None;
    for record in generator {
        let now = record.written_micros / MICROS;
        if let Some(at) = next_rotation.filter(|at| now >= *at) {
            if let Some(rotated) = player.rotate(at)? {
                player.archive(rotated)?;
            }
            // Those in between had nothing to rotate.
            player.rotate(now / rotation * rotation)?;
        }
        next_rotation = Some((now / rotation + 1) * rotation);
        player.write(&record, now)?;
    }
    Ok(())
}

/// Writes a log folder as it happens: each record when its time has come, counted from now, with a rotation and an
/// archive each `rotation`; until the records end, or the stop signal comes or its sender is gone.
///
/// # Errors
///
/// When something cannot be written.
pub fn play(
    player: &mut Player,
    generator: Generator,
    rotation: Option<Duration>,
    stop: &Receiver<()>,
) -> io::Result<()> {
    let began = Instant::now();
    let mut next_rotation = rotation;
    let mut first = None;
    for record in generator {
        let first = *first.get_or_insert(record.written_micros);
        let due = Duration::from_micros(record.written_micros - first);
        let wait = due.saturating_sub(began.elapsed());
        if !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
            break;
        }
        let now = record.written_micros / MICROS;
        if let (Some(at), Some(rotation)) = (next_rotation, rotation)
            && due >= at
        {
            if let Some(rotated) = player.rotate(now)? {
                player.archive(rotated)?;
            }
            next_rotation = Some(due + rotation);
        }
        player.write(&record, now)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::Config;

    fn records(lines: u64) -> Generator {
        Config { lines, ..Config::default() }.generate()
    }

    fn unzip(path: &Path) -> String {
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    /// All files below a folder, by name, in order.
    fn files(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                names.extend(files(&path).into_iter().map(|below| format!("{name}/{below}")));
            } else {
                names.push(name);
            }
        }
        names.sort();
        names
    }

    #[test]
    fn a_log_is_opened_by_its_first_record_and_named_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut player = Player::new(folder.path(), Format::Tsv).unwrap();
        assert_eq!(player.rotate(5).unwrap(), None);
        assert!(files(folder.path()).is_empty());
        let record = records(1).next().unwrap();
        player.write(&record, 1_712_950_152).unwrap();
        let rotated = player.rotate(1_712_953_752).unwrap().unwrap();
        assert_eq!(files(folder.path()), ["current/dns.2024-04-12-19-29-12.log"]);
        let text = fs::read_to_string(&rotated.path).unwrap();
        assert!(text.starts_with("#separator") && text.ends_with("#close\t2024-04-12-20-29-12\n"));
        player.archive(rotated).unwrap();
        assert_eq!(files(folder.path()), ["2024-04-12/dns.19:29:12-20:29:12.log.gz"]);
        assert_eq!(unzip(&folder.path().join("2024-04-12/dns.19:29:12-20:29:12.log.gz")), text);
        player.write(&record, 1_712_953_755).unwrap();
        assert!(fs::read_to_string(player.live()).unwrap().contains("#open\t2024-04-12-20-29-15\n"));
        let rotated = player.rotate(1_712_957_352).unwrap().unwrap();
        assert_eq!(rotated.path.file_name().unwrap(), "dns.2024-04-12-20-29-12.log");
    }

    #[test]
    fn others_name_rotated_logs_and_archives_otherwise() {
        let record = records(1).next().unwrap();
        for (layout, renamed, archived) in [
            (Layout::Dateext, "dns.log-20240412-1712953752", "current/dns.log-20240412-1712953752.gz"),
            (Layout::Deep, "dns.2024-04-12-19-29-12.log", "2024/04/12/dns.19:29:12-20:29:12.log.gz"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut player = Player::new(folder.path(), Format::Tsv).unwrap().laid_out(layout);
            player.write(&record, 1_712_950_152).unwrap();
            let rotated = player.rotate(1_712_953_752).unwrap().unwrap();
            assert_eq!(rotated.path.file_name().unwrap(), renamed);
            player.archive(rotated).unwrap();
            assert_eq!(files(folder.path()), [archived]);
        }
    }

    #[test]
    fn a_crash_leaves_the_log_and_the_next_record_truncates_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut player = Player::new(folder.path(), Format::Tsv).unwrap();
        let record = records(1).next().unwrap();
        player.write(&record, 10).unwrap();
        player.write_raw(b"17129501").unwrap();
        player.crash();
        assert!(fs::read(player.live()).unwrap().ends_with(b"\n17129501"));
        assert!(player.write_raw(b"x").is_err());
        player.write(&record, 20).unwrap();
        let text = fs::read_to_string(player.live()).unwrap();
        assert!(text.contains("#open\t1970-01-01-00-00-20\n") && text.lines().count() == 9);
    }

    #[test]
    fn torn_writes_hold_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = Player::new(&folder.path().join("whole"), Format::Tsv).unwrap();
        let mut torn = Player::new(&folder.path().join("torn"), Format::Tsv).unwrap().torn();
        for record in records(100) {
            whole.write(&record, 1).unwrap();
            torn.write(&record, 1).unwrap();
        }
        let bytes = fs::read(whole.live()).unwrap();
        assert!(bytes.len() > 4 * 4_096);
        assert_eq!(fs::read(torn.live()).unwrap(), bytes);
    }

    #[test]
    fn an_archive_grows_under_its_final_name_and_may_be_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let mut player = Player::new(folder.path(), Format::Tsv).unwrap();
        for record in records(50) {
            player.write(&record, 1).unwrap();
        }
        let rotated = player.rotate(2).unwrap().unwrap();
        let mut archive = Archive::begin(folder.path(), rotated.clone()).unwrap();
        assert!(archive.step(100).unwrap());
        assert_eq!(fs::metadata(archive.path()).unwrap().len(), 100);
        drop(archive);
        assert!(rotated.path.exists());
        let path = player.archive(rotated.clone()).unwrap();
        assert!(!rotated.path.exists());
        assert_eq!(unzip(&path).lines().count(), 8 + 50 + 1);
    }

    #[test]
    fn a_tree_holds_each_record_once_in_archives_by_the_hour() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { lines: 400, lines_per_second: 0.03, ..Config::default() };
        write_tree(config.clone().generate(), Format::Tsv, folder.path(), 3_600).unwrap();
        let names = files(folder.path());
        assert_eq!(names.last().unwrap(), "current/dns.log");
        let mut text = String::new();
        for name in names.iter().filter(|name| name.ends_with(".gz")) {
            let archive = unzip(&folder.path().join(name));
            assert!(archive.lines().last().unwrap().starts_with("#close\t"));
            assert!(name.ends_with(":00:00.log.gz"), "{name}");
            text += &archive;
        }
        let live = fs::read_to_string(folder.path().join("current/dns.log")).unwrap();
        assert!(!live.contains("#close"));
        text += &live;
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let mut expected = Vec::new();
        write_log(config.generate(), Format::Tsv, true, &mut expected).unwrap();
        let expected = String::from_utf8(expected).unwrap();
        let mut expected: Vec<&str> = expected.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), 400);
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }

    #[test]
    fn playing_goes_at_the_records_pace_and_stops_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut player = Player::new(folder.path(), Format::Tsv).unwrap();
        let (stop, stopped) = mpsc::channel();
        let config = Config { lines: 200, lines_per_second: 2_000.0, ..Config::default() };
        let last = config.clone().generate().last().unwrap().written_micros;
        let first = config.clone().generate().next().unwrap().written_micros;
        let began = Instant::now();
        play(&mut player, config.clone().generate(), None, &stopped).unwrap();
        assert!(began.elapsed() >= Duration::from_micros(last - first));
        assert_eq!(fs::read_to_string(player.live()).unwrap().lines().count(), 8 + 200);
        drop(stop);
        player.rotate(1).unwrap();
        play(&mut player, config.generate(), None, &stopped).unwrap();
        assert!(!player.live().exists());
    }
}
