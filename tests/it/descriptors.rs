//! That there is a descriptor for what needs one, however many logs and clients there are.

use std::io::Write;
use std::net::TcpStream;

use crate::env::{TestEnv, until};
use crate::full_disk::HEADER;

/// So many files the daemon may have open.
const LIMIT: usize = 256;

fn record(n: usize) -> String {
    format!("17{n:08}.5\tC{n}\t10.0.0.1\t53\tn{n}.example\t1\t1\t0\t192.0.2.1\t60.0\n")
}

#[test]
fn neither_finished_logs_nor_idle_clients_keep_a_rotated_log_from_being_read_and_a_command_from_being_answered()
 {
    let env = TestEnv::new();
    let put = |path: &str, text: String| {
        let path = env.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for n in 1..=LIMIT + 50 {
        put(
            &format!("logs/run{n:03}/dns.log"),
            format!("{HEADER}{}#close\t2024-04-12-19-34-07\n", record(n)),
        );
    }
    put("logs/current/dns.log", format!("{HEADER}{}", record(1000)));
    let mut command = env.tool("sh");
    command.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_dnsledger")]);
    command.args(["run", "--logs", "logs", "--data", "ledger", "--listen", "127.0.0.1:0"]);
    let daemon = env.listening("ledger", env.background(&mut command));
    daemon.wait_for_lines(LIMIT as u64 + 51);
    let address = daemon.url("").trim_start_matches("http://").to_owned();
    // They are let in as far as there is room, wait, or are sent away; whatever they do, they stay.
    let clients: Vec<TcpStream> = (0..LIMIT)
        .map(|_| {
            let mut client = TcpStream::connect(&address).unwrap();
            let _ = client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            client
        })
        .collect();
    std::fs::rename(env.path("logs/current/dns.log"), env.path("logs/current/dns.1.log")).unwrap();
    put("logs/current/dns.log", format!("{HEADER}{}", record(1001)));
    until("the rotated log is read, and a command says so", || {
        let ended = env.run(&["status", "--data", "ledger", "--format", "json"]);
        assert!(ended.status.success(), "{}", ended.stderr);
        let status: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
        (status["totals"]["lines_read"] == LIMIT + 52).then_some(())
    });
    drop(clients);
    let ended = daemon.stop();
    assert!(ended.status.success() && !ended.stderr.contains("Too many open files"), "{}", ended.stderr);
}
