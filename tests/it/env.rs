//! What tests of the whole program stand on: a folder of their own, the program run to its end, a daemon, an HTTP client.
//!
//! This is the only place that waits. It waits for a condition, with a deadline, and looks again every few milliseconds:
//! no test is right or wrong by how fast the machine is.

use std::any::Any;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

/// After so long a test has failed, however slow the machine.
const DEADLINE: Duration = Duration::from_secs(60);

//--- TestEnv --------------------------------------------------------------------------------------------------------

/// A folder of a test's own, gone with it, in which the program is run.
pub struct TestEnv {
    /// Set for the program, each time it is run.
    variables: Vec<(&'static str, String)>,
    /// What lives as long as it.
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
    folder: TempDir,
}

impl TestEnv {
    /// A new one. `DNSLEDGER_KEEP` names a folder to make it in, and there a test that fails leaves it to be looked at.
    pub fn new() -> TestEnv {
        let folder = std::env::var_os("DNSLEDGER_KEEP").map_or_else(tempfile::tempdir, tempfile::tempdir_in);
        TestEnv { variables: Vec::new(), kept: Mutex::default(), folder: folder.unwrap() }
    }

    /// Keeps something, such as a process of others, for as long as the folder is there.
    pub fn keep(&self, what: impl Any + Send) {
        self.kept.lock().push(Box::new(what));
    }

    /// Runs the program with this variable in its environment from now on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.variables.push((name, value.to_owned()));
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Copies a folder of it, with all that is in it.
    pub fn copy(&self, from: &str, to: &str) {
        copy_folder(&self.path(from), &self.path(to));
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.finish(&mut self.command(args))
    }

    /// Likewise, with variables in its environment.
    pub fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = self.command(args);
        self.finish(command.envs(variables.iter().copied()))
    }

    /// A program of others, in the folder, which is its home too: whatever the user has configured for it is not seen.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("HOME", self.folder.path()).env("NO_PROXY", "*").env("no_proxy", "*");
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        command
    }

    /// Lets a command read this.
    pub fn with_input<'a>(&self, command: &'a mut Command, input: &str) -> &'a mut Command {
        let path = self.path("input");
        std::fs::write(&path, input).unwrap();
        command.stdin(std::fs::File::open(path).unwrap())
    }

    /// Runs a command to its end.
    pub fn finish(&self, command: &mut Command) -> Ended {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let deadline = Instant::now() + DEADLINE;
        let collect = |pipe: mpsc::Receiver<Vec<u8>>| {
            pipe.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
        };
        let output = collect(stdout).zip(collect(stderr));
        if output.is_none() {
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        let (stdout, stderr) = output.unwrap_or_else(|| panic!("{command:?} did not end"));
        Ended { status, stdout, stderr: text(stderr) }
    }

    /// Runs the program to its end, which must be a good one, and gives what it printed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Vec<u8> {
        let ended = self.run(args);
        assert!(ended.status.success(), "{args:?}: {}\n{}", ended.status, ended.stderr);
        ended.stdout
    }

    /// All rows of a ledger that no daemon has open, as text.
    #[track_caller]
    pub fn export(&self, data: &str) -> String {
        text(self.ok(&["export", "--data", data]))
    }

    /// The state of a ledger that no daemon has open.
    #[track_caller]
    pub fn status(&self, data: &str) -> Value {
        serde_json::from_slice(&self.ok(&["status", "--data", data, "--format", "json"])).unwrap()
    }

    /// Starts a daemon that follows a log folder, on a port of its own, and waits until it answers.
    #[track_caller]
    pub fn daemon(&self, logs: &str, data: &str) -> Daemon {
        self.listening(data, self.spawn(logs, data))
    }

    /// Starts a daemon that lets in with a token only, over a ledger that has read these logs already; and the token.
    #[track_caller]
    pub fn guarded_daemon(&self, logs: &str) -> (Daemon, String) {
        let config = "data_dir = \"guarded\"\n[http]\nlisten = \"127.0.0.1:0\"\ntokens_file = \"tokens\"\n\
                      [[source]]\nlogs = \"no-logs\"\n";
        std::fs::write(self.path("guarded.toml"), config).unwrap();
        self.ok(&["import", "--data", "guarded", logs]);
        let token = text(self.ok(&["token", "new", "clients", "--config", "guarded.toml"]));
        let daemon = self.background(&mut self.command(&["run", "--config", "guarded.toml"]));
        (self.listening("guarded", daemon), token.trim().to_owned())
    }

    /// Starts a daemon with a configuration file that listens on a port of its own, and waits until it answers.
    #[track_caller]
    pub fn configured_daemon(&self, config: &str, data: &str) -> Daemon {
        self.listening(data, self.background(&mut self.command(&["run", "--config", config])))
    }

    /// Waits until a daemon answers.
    #[track_caller]
    pub fn listening(&self, data: &str, mut daemon: Daemon) -> Daemon {
        let listen = self.path(data).join("listen");
        daemon.address = until("the daemon listens", || {
            daemon.assert_runs();
            let address = std::fs::read_to_string(&listen).ok()?.trim().parse().ok()?;
            TcpStream::connect(address).ok().map(|_| address)
        });
        daemon
    }

    /// Starts a daemon and does not wait: it can only be killed.
    #[track_caller]
    pub fn spawn(&self, logs: &str, data: &str) -> Daemon {
        self.spawn_with(logs, data, &[])
    }

    /// Likewise, with variables in its environment.
    #[track_caller]
    pub fn spawn_with(&self, logs: &str, data: &str, variables: &[(&str, &str)]) -> Daemon {
        // One that was killed leaves its file.
        match std::fs::remove_file(self.path(data).join("listen")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{data}/listen: {error}"),
            _ => {}
        }
        let args = ["run", "--logs", logs, "--data", data, "--listen", "127.0.0.1:0"];
        self.background(self.command(&args).envs(variables.iter().copied()))
    }

    /// Starts this program and does not wait: what becomes of it is [`Daemon::wait`]'s to say.
    #[track_caller]
    pub fn begin(&self, args: &[&str]) -> Daemon {
        self.background(&mut self.command(args))
    }

    /// Starts an import and does not wait: it can only be killed.
    #[track_caller]
    pub fn spawn_import(&self, log: &str, data: &str) -> Daemon {
        self.background(&mut self.command(&["import", "--data", data, log]))
    }

    /// Starts a command, of this program or of others, that serves until it is killed.
    #[track_caller]
    pub fn background(&self, command: &mut Command) -> Daemon {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = drain(child.stderr.take());
        Daemon { child: Some(child), address: ([127, 0, 0, 1], 0).into(), stderr }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dnsledger"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for variable in ["RUST_LOG", "NO_COLOR", "DNSLEDGER_CONFIG", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if thread::panicking() && std::env::var_os("DNSLEDGER_KEEP").is_some() {
            self.folder.disable_cleanup(true);
        }
    }
}

/// How a run of the program ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// What was said, but that no daemon has the ledger.
    pub fn said(&self) -> String {
        let lines = self.stderr.lines().filter(|line| !line.starts_with("No daemon follows logs into"));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// Reads a pipe to its end in a thread, so that neither side waits for the other.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let mut pipe = pipe.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = pipe.read_to_end(&mut bytes);
        // Who dropped the receiver does not want to know.
        let _ = read.map(|_| sender.send(bytes));
    });
    receiver
}

/// What the program prints is UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

//--- Daemon ---------------------------------------------------------------------------------------------------------

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Option<Child>,
    address: SocketAddr,
    stderr: mpsc::Receiver<Vec<u8>>,
}

impl Daemon {
    /// The URL of a path.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where it serves, of one that says so elsewhere.
    pub fn set_address(&mut self, address: std::net::SocketAddr) {
        self.address = address;
    }

    /// Asks for a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        get(self.address, path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Posts a body to a path.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Response {
        let (address, length) = (self.address, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        send(address, &request).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Asks for a path of a daemon that may have ended, or may not answer.
    pub fn try_get(&self, path: &str) -> std::io::Result<Response> {
        get(self.address, path)
    }

    /// Asks for a path that answers with JSON.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {}", text(response.body));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Waits until so many lines are read and nothing is left to read.
    #[track_caller]
    pub fn wait_for_lines(&self, lines: u64) {
        let mut last = Value::Null;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let status = self.json("/api/v1/status");
            let read = status["totals"]["lines_read"].as_u64().unwrap();
            assert!(read <= lines, "{read} lines were read of {lines} that were written: {status:#}");
            if read == lines && status["caught_up"] == true {
                return;
            }
            assert!(Instant::now() < deadline, "{read} of {lines} lines were read: {last}");
            last = status;
            pause(Duration::from_millis(5));
        }
    }

    /// Waits until everything visible is read.
    #[track_caller]
    pub fn catch_up(&self) {
        // It has looked at what was there when this began once a whole look began later.
        let began = self.json("/api/v1/status")["as_of"].clone();
        until("everything is read", || {
            let status = self.json("/api/v1/status");
            (status["caught_up"] == true && status["as_of"] != began).then_some(())
        });
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits until it ends by itself; whether that was a good end.
    pub fn wait(mut self) -> bool {
        let ended = until("it ends", || self.child.as_mut().and_then(|child| child.try_wait().unwrap()));
        ended.success()
    }

    /// Waits until it ends by itself, and gives what it logged.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        let status = until("it ends", || self.child.as_mut().and_then(|child| child.try_wait().unwrap()));
        self.child = None;
        let stderr = self.stderr.recv_timeout(DEADLINE).unwrap_or_default();
        Ended { status, stdout: Vec::new(), stderr: text(stderr) }
    }

    /// Ends it without a warning, as `kill -9` does.
    pub fn kill(mut self) {
        self.end();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends it a signal, by its name.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The signal is sent by a shell, since every system has one.
        let signal = format!("kill -{name} {}", self.pid());
        assert!(Command::new("sh").args(["-c", &signal]).status().unwrap().success());
    }

    /// Asks it to stop, waits until it has, and gives what it logged.
    #[track_caller]
    pub fn stop(mut self) -> Ended {
        self.signal("TERM");
        let mut child = self.child.take().unwrap();
        let Ok(stderr) = self.stderr.recv_timeout(DEADLINE) else {
            child.kill().unwrap();
            panic!("the daemon does not stop");
        };
        Ended { status: child.wait().unwrap(), stdout: Vec::new(), stderr: text(stderr) }
    }

    /// Fails if it has ended by itself.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
            let stderr = self.stderr.recv_timeout(DEADLINE).unwrap_or_default();
            panic!("the daemon ended: {status}\n{}", text(stderr));
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

//--- HTTP -----------------------------------------------------------------------------------------------------------

/// An answer, whole.
pub struct Response {
    pub status: u16,
    /// The head as it came, status line included, lower-cased.
    pub head: String,
    pub body: Vec<u8>,
}

/// Posts to a path of the control socket in a data folder, and gives the status.
#[track_caller]
pub fn post_control(data: &Path, path: &str) -> u16 {
    let mut stream = UnixStream::connect(data.join("control.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&answer).unwrap().status
}

pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Response> {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn send(address: SocketAddr, request: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| std::io::Error::other(format!("a broken answer: {}", answer.escape_ascii())))
}

/// Takes an answer apart; nothing when a part of it is missing.
fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let mut rest = &answer[end + 4..];
    let body = if header("transfer-encoding") == Some("chunked") {
        let mut body = Vec::new();
        loop {
            let line = rest.windows(2).position(|window| window == b"\r\n")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
            let chunk = rest.get(line + 2..line + 2 + length)?;
            rest = rest[line + 2 + length..].strip_prefix(b"\r\n")?;
            if length == 0 {
                break body;
            }
            body.extend_from_slice(chunk);
        }
    } else {
        match header("content-length") {
            Some(length) if length.parse() == Ok(rest.len()) => rest.to_vec(),
            Some(_) => return None,
            None => rest.to_vec(),
        }
    };
    Some(Response { status, head, body })
}

/// Says loudly that something is not tested here, and why.
pub fn skipped(why: &str) {
    note(&format!("SKIPPED: {why}"));
}

/// Says something, whether the test passes or not.
pub fn note(what: &str) {
    // Not by a macro: what those print is hidden where a test passes.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "{what}").unwrap();
}

//--- Waiting --------------------------------------------------------------------------------------------------------

/// Waits until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        pause(Duration::from_millis(2));
    }
}

/// Lets time pass: to look again later, or to strike at a random moment. Nothing may depend on its length.
pub fn pause(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::park_timeout(left);
    }
}

/// A port that nobody has just now, and that no connection is given: who is killed comes back to it.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id().wrapping_mul(97).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (next % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A number from the environment, for longer runs and for replaying one.
#[track_caller]
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")),
        Err(_) => default,
    }
}

/// A made-up log as Zeek writes it; the same seed gives the same log.
pub fn made_up_log(lines: u64, seed: u64) -> Vec<u8> {
    let (config, mut log) = (generate::Config { lines, seed, ..generate::Config::default() }, Vec::new());
    generate::write_log(config.generate(), generate::Format::Tsv, true, &mut log).unwrap();
    log
}

/// The path of something in `testdata/`.
pub fn testdata(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name).to_str().unwrap().to_owned()
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Copies a ledger from `testdata/store`, whose large files are compressed.
pub fn unpack_store(fixture: &str, to: &Path) {
    copy_folder(Path::new(&testdata(&format!("store/{fixture}"))), to);
    for entry in std::fs::read_dir(to.join("ledger-1")).unwrap() {
        let packed = entry.unwrap().path();
        let mut file = std::fs::File::create(packed.with_extension("")).unwrap();
        let mut reader = flate2::read::GzDecoder::new(std::fs::File::open(&packed).unwrap());
        std::io::copy(&mut reader, &mut file).unwrap();
        std::fs::remove_file(packed).unwrap();
    }
}

#[test]
fn answers_are_taken_apart_and_broken_ones_refused() {
    let whole = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
    assert_eq!((whole.status, whole.body.as_slice()), (200, b"hi".as_slice()));
    assert!(whole.head.contains("content-length: 2"));
    let chunked =
        b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(parse(chunked).unwrap().body, b"abc0123456789");
    assert_eq!(parse(chunked).unwrap().status, 404);
    assert!(parse(&chunked[..chunked.len() - 5]).is_none());
    assert!(parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi").is_none());
    assert!(parse(b"HTTP/1.1 200 OK\r\n").is_none());
}
