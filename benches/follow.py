#!/usr/bin/env python3
"""How soon a line is visible: benches/follow.py [FOLDER]. Needs a release build (cargo build --release), and strace for
the count of reads. FOLDER keeps the logs that are made, for the next time.

1. The daemon starts over 10,000 archives that it knows: how long until a new line is visible, with the scan cache and
   without it (all archives have been copied, so that nothing the cache says of them holds), and how often each is read.
2. A thousand lines a second are written while 5 million lines of history are read: from write(2) to visible.
3. The daemon is killed again and again while it reads that history, and when it has: from its next start to an answer.

Figures of one run on one machine, which the writer, the prober and the daemon share.
"""
import gzip
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

PROGRAM = os.environ.get("DNSLEDGER", str(Path(__file__).resolve().parent.parent / "target/release/dnsledger"))
GENERATE = ["cargo", "run", "--quiet", "--release", "-p", "generate", "--example", "generate", "--"]
ARCHIVES = int(os.environ.get("ARCHIVES", 10_000))
HISTORY = int(os.environ.get("HISTORY", 5_000_000))
FIELDS = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id query qclass qtype rcode answers TTLs"
TYPES = "time string addr port addr port enum count string count count count vector[string] vector[interval]"


def head(opened):
    return (
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n"
        f"#open\t{opened}\n#fields\t" + FIELDS.replace(" ", "\t") + "\n#types\t" + TYPES.replace(" ", "\t") + "\n"
    )


def line(number, name, answer="192.0.2.1"):
    return (
        f"{1700000000 + number % 1000000}.{number % 1000000:06d}\tC{number}x\t10.0.0.1\t5353\t10.0.0.2\t53\tudp\t7\t"
        f"{name}\t1\t1\t0\t{answer}\t60.000000\n"
    )


class Daemon:
    def __init__(self, logs, data, wrapper=()):
        (data / "listen").unlink(missing_ok=True)
        self.began = time.perf_counter()
        command = [*wrapper, PROGRAM, "run", "--logs", str(logs), "--data", str(data), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not (data / "listen").exists():
            time.sleep(0.001)
        host, port = (data / "listen").read_text().strip().split(":")
        self.connection = http.client.HTTPConnection(host, int(port))

    def get(self, path):
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def is_visible(self, name):
        status, body = self.get(f"/dns/{name}")
        return status == 200 and bool(json.loads(body)["records"])

    def status(self):
        return json.loads(self.get("/api/v1/status")[1])

    def read_all(self, lines):
        while True:
            status = self.status()
            if status["caught_up"] and status["totals"]["lines_read"] >= lines:
                return
            time.sleep(0.05)

    def stop(self):
        # A wrapper passes no signal on: the daemon itself is told.
        subprocess.run(["pkill", "-TERM", "-P", str(self.process.pid)], check=False)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def known_archives(folder):
    logs, data = folder / "known", folder / "known.ledger"
    if not logs.exists():
        made = folder / "known.new"
        for number in range(ARCHIVES):
            day = made / f"2024-{1 + number // 24 // 28 % 12:02d}-{1 + number // 24 % 28:02d}"
            day.mkdir(parents=True, exist_ok=True)
            text = head(number) + "".join(line(number * 20 + i, f"h{number % 997}.known.example") for i in range(20))
            name = f"dns.{number % 24:02d}:00:00-{number % 24 + 1:02d}:00:00.{number // 8064}.log.gz"
            (day / name).write_bytes(gzip.compress((text + "#close\tx\n").encode(), 1))
        made.rename(logs)
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(logs / "current", ignore_errors=True)
    (logs / "current").mkdir()
    data.mkdir()
    daemon = Daemon(logs, data)
    daemon.read_all(ARCHIVES * 20)
    print(f"{ARCHIVES} archives, all new: {time.perf_counter() - daemon.began:.1f} s")
    daemon.stop()

    def start(what, logs, wrapper=()):
        live = (logs / "current" / "dns.log").open("w")
        live.write(head(what))
        live.flush()
        name = f"{what.replace(' ', '-')}.new.example"
        daemon = Daemon(logs, data, wrapper)
        live.write(line(1, name))
        live.flush()
        while not daemon.is_visible(name):
            time.sleep(0.001)
        visible = time.perf_counter() - daemon.began
        daemon.read_all(0)
        caught_up = time.perf_counter() - daemon.began
        print(f"{what}: the first new line visible after {visible:.2f} s, all archives looked at after {caught_up:.1f} s")
        daemon.stop()

    start("with the cache", logs)
    copied = folder / "copied"
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(logs, copied)
    start("without the cache", copied)
    shutil.rmtree(copied)
    if shutil.which("strace"):
        # Elsewhere: at the same place the same inodes may come back, and then the cache holds.
        copied = folder / "traced"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(logs, copied)
        trace = folder / "trace"
        start("traced", copied, ["strace", "-f", "-y", "-qq", "-e", "trace=read,pread64", "-o", str(trace)])
        reads = Counter()
        for call in trace.open(errors="replace"):
            if ".log.gz>" in call and " = 0" not in call[-6:]:
                reads[call.split("<", 1)[1].split(">", 1)[0]] += 1
        print(f"reads of an archive: {sorted(Counter(reads.values()).items())} (reads, archives)")
        shutil.rmtree(copied)


def beside_history(folder):
    logs, data = folder / "history", folder / "history.ledger"
    if not logs.exists():
        made = folder / "history.new"
        (made / "2024-01-01").mkdir(parents=True)
        for part in range(5):
            log = subprocess.run(
                [*GENERATE, "--rich", "--lines", str(HISTORY // 5), "--seed", str(part)],
                stdout=subprocess.PIPE, check=True, cwd=Path(__file__).resolve().parent.parent).stdout
            (made / "2024-01-01" / f"dns.{part:02d}:00:00-{part + 1:02d}:00:00.log.gz").write_bytes(gzip.compress(log, 1))
        made.rename(logs)
    shutil.rmtree(data, ignore_errors=True)
    shutil.rmtree(logs / "current", ignore_errors=True)
    (logs / "current").mkdir()
    data.mkdir()
    live = os.open(logs / "current" / "dns.log", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(live, head("live").encode())
    daemon = Daemon(logs, data)
    written, done = [], threading.Event()

    def write():
        began = time.perf_counter()
        while not done.is_set():
            due = int((time.perf_counter() - began) * 1000)
            while len(written) < due:
                os.write(live, line(len(written), f"n{len(written)}.live.example").encode())
                written.append(time.perf_counter())
            time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    waits, lags, checked = [], [], time.perf_counter()
    while True:
        number = len(written)
        while len(written) <= number:
            time.sleep(0.0002)
        while not daemon.is_visible(f"n{number}.live.example"):
            time.sleep(0.0005)
        waits.append((time.perf_counter() - written[number]) * 1000)
        if time.perf_counter() - checked > 0.5:
            checked = time.perf_counter()
            status = daemon.status()
            if status["totals"]["lines_read"] >= HISTORY + 1000:
                break
    took = time.perf_counter() - daemon.began
    done.set()
    writer.join()
    waits.sort()
    at = lambda share: waits[min(int(len(waits) * share), len(waits) - 1)]
    print(f"{HISTORY} lines of history in {took:.1f} s beside {len(written) / took:.0f} live lines/s; of {len(waits)} from "
          f"write to visible: p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, max {waits[-1]:.1f} ms")
    daemon.read_all(HISTORY + len(written))
    daemon.stop()


def after_kills(folder):
    logs, data = folder / "history", folder / "killed.ledger"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    moments = random.Random(1)
    daemon, took = Daemon(logs, data), {"reads": [], "has read": []}
    while len(took["has read"]) < 5:
        time.sleep(moments.uniform(0, 4))
        state = "has read" if daemon.status()["caught_up"] else "reads"
        daemon.process.kill()
        daemon.process.wait()
        daemon = Daemon(logs, data)
        daemon.get("/dns/www.example.com")
        took[state].append(time.perf_counter() - daemon.began)
    rows = daemon.status()["store"]["rows"]
    daemon.stop()
    for state, times in took.items():
        times.sort()
        print(f"killed when it {state} ({len(times)} times, {rows} rows in the end): the first answer after "
              f"{times[0]:.2f} to {times[-1]:.2f} s, median {times[len(times) // 2]:.2f} s")


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    known_archives(folder)
    beside_history(folder)
    after_kills(folder)


main()
