#!/usr/bin/env python3
"""What a cluster costs: benches/fleet.py [FOLDER]. Needs clickhouse-server (Debian), and a release build (cargo build --release).
FOLDER keeps the log and the ledger that are made, for the next time.

1. ROWS rows (5 million), each with a random name and a question of its own, and 20,000 hits are shipped into one server: rows a second,
   and how many bytes they take there.
2. A front end is asked, by one connection and by eight: exact names, addresses, below a domain of 10,000 rows, texts, what is new, hits.
3. The sensor goes on, 1,000 lines a second: how soon a line is visible to its own daemon, alone, while it ships, while the server does
   not answer, and while it is away.
4. The server is away while an hour's worth of lines is read (HOUR, 1.8 million: 500 a second): how long until all is there.

Figures of one run on one machine, which all of them share; the load before is told.
"""
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

PROGRAM = os.environ.get("DNSLEDGER", str(Path(__file__).resolve().parent.parent / "target/release/dnsledger"))
ROWS = int(os.environ.get("ROWS", 5_000_000))
HOUR = int(os.environ.get("HOUR", 1_800_000))
ASKED = int(os.environ.get("ASKED", 1_000))
START = 1_761_000_000
HEAD = "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.resp_p\tproto\tquery\tqtype\tqtype_name\trcode\trcode_name\tanswers\tTTLs\n"


def line(at, number, name, address):
    return f"{at}.{number % 1000000:06d}\tC{number:x}\t10.0.0.1\t53\tudp\t{name}\t1\tA\t0\tNOERROR\t{address}\t60.0\n"


def made_up(n, seed, first):
    """Lines over 30 days, or an hour, in 300,000 domains; every 500th is below wide.example."""
    chance, ends = random.Random(seed), ["com", "net", "org", "de", "example", "io", "co.uk", "info"]
    span = 30 * 86400 if first == START else 3600
    for i in range(n):
        domain = chance.getrandbits(24) % 300_000
        name = f"{chance.getrandbits(44):012x}.{domain * 2654435761 % 2**32:x}.{ends[domain % 8]}"
        a = chance.getrandbits(20)
        if i % 500 == 499:
            name = f"h{i // 500:05d}.wide.example"
        yield line(first + i * span // n, i, name, f"{11 + (a >> 16)}.{a >> 8 & 255}.{a & 255}.{i & 255}")


def write_log(path, n, seed, first):
    if not path.exists():
        with open(str(path) + ".part", "w") as log:
            log.write(HEAD)
            log.writelines(made_up(n, seed, first))
        os.rename(str(path) + ".part", path)


def free_port():
    """One that no connection is given: a server that is stopped comes back to it."""
    while True:
        with socket.socket() as probe:
            port = random.randrange(10_000, 30_000)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Server:
    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        for part in ["data", "tmp", "schemas"]:
            (folder / part).mkdir(parents=True)
        self.folder, self.port = folder, free_port()
        (folder / "users.xml").write_text(
            "<yandex><profiles><default></default></profiles><users><default><password></password><networks><ip>127.0.0.1</ip></networks>"
            "<profile>default</profile><quota>default</quota></default></users><quotas><default></default></quotas></yandex>"
        )
        (folder / "config.xml").write_text(
            f"<yandex><logger><level>error</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>"
            f"<http_port>{self.port}</http_port><tcp_port>{free_port()}</tcp_port><listen_host>127.0.0.1</listen_host><path>{folder}/data/</path>"
            f"<tmp_path>{folder}/tmp/</tmp_path><format_schema_path>{folder}/schemas/</format_schema_path>"
            f"<users_config>{folder}/users.xml</users_config><default_profile>default</default_profile>"
            "<default_database>default</default_database><mark_cache_size>67108864</mark_cache_size></yandex>"
        )
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["clickhouse-server", f"--config-file={self.folder}/config.xml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                return self.ask("SELECT 1")
            except OSError:
                time.sleep(0.05)

    def ask(self, statement):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", statement.encode()) as answer:
            return answer.read().decode().strip()

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Daemon:
    def __init__(self, arguments, told):
        told.unlink(missing_ok=True)
        self.process = subprocess.Popen([PROGRAM, *arguments], stderr=subprocess.DEVNULL)
        while not told.exists():
            time.sleep(0.01)
        self.host = told.read_text().strip()

    def connect(self):
        host, port = self.host.split(":")
        return http.client.HTTPConnection(host, int(port))

    def stop(self):
        self.process.terminate()
        self.process.wait()


def get(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, body


def shown(times):
    times = sorted(times)
    return f"{times[len(times) // 2] * 1e3:.1f} ms (median), {times[min(len(times) - 1, len(times) * 99 // 100)] * 1e3:.1f} ms (99 of 100)"


def say(what, figure):
    print(f"{what:<58} {figure}", flush=True)


def ask(front, what, paths, connections=1):
    times, wrong = [], []

    def one(of_one):
        connection = front.connect()
        for path in of_one:
            began = time.perf_counter()
            status, body = get(connection, path)
            times.append(time.perf_counter() - began)
            if status != 200:
                wrong.append((path, status, body[:100]))

    began = time.perf_counter()
    threads = [threading.Thread(target=one, args=(paths[at::connections],)) for at in range(connections)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    rate = len(times) / (time.perf_counter() - began)
    say(what, f"{shown(times)}, {rate:.0f} a second, {len(wrong)} errors {wrong[:1] or ''}")


def visible(daemon, log, seconds, seed):
    """A thousand lines a second are written; every tenth is looked for until it is there."""
    connection, times, chance = daemon.connect(), [], random.Random(seed)
    with open(log, "a") as out:
        began, number = time.perf_counter(), 0
        while (gone := time.perf_counter() - began) < seconds:
            if number >= gone * 1000:
                time.sleep(0.0002)
                continue
            name = f"v{chance.getrandbits(60):x}.visible.example"
            out.write(line(int(time.time()), number, name, "192.0.2.1"))
            out.flush()
            number += 1
            if number % 10 == 0:
                written = time.perf_counter()
                while get(connection, f"/api/v1/records?q={name}&limit=1")[1].find(b'"records":[]') >= 0:
                    pass
                times.append(time.perf_counter() - written)
    return f"{shown(times)}, {number} lines"


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    say("load before", " ".join(f"{load:.1f}" for load in os.getloadavg()))
    write_log(folder / "dns.log", ROWS, 7, START)
    if not (folder / "kept").exists():
        subprocess.run([PROGRAM, "import", "--data", folder / "kept", "--sensor", "lan", folder / "dns.log"], check=True, stdout=subprocess.DEVNULL)
    data = folder / "ledger"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(folder / "kept", data)
    (folder / "feed.txt").write_text("wide.example\n")
    subprocess.run([PROGRAM, "indicators", "import", "--data", data, "--feed", "wide", folder / "feed.txt"], check=True, stdout=subprocess.DEVNULL)
    server = Server(folder / "server")
    to = f"clickhouse://127.0.0.1:{server.port}/dns"
    subprocess.run([PROGRAM, "fleet", "init", "--store", to], check=True, stdout=subprocess.DEVNULL)

    def rows():
        return int(server.ask("SELECT sum(rows) FROM system.parts WHERE active AND database = 'dns' AND table IN ('by_name', 'questions')") or 0)

    began, most = time.perf_counter(), 0
    shipping = subprocess.Popen([PROGRAM, "forward", "--once", "--data", data, "--to", to], stdout=subprocess.DEVNULL)
    shipped = None
    while shipping.poll() is None:
        time.sleep(0.2)
        if (now := rows()) > most:
            most, shipped = now, time.perf_counter() - began
    say("shipping: rows and questions a second", f"{most / shipped:.0f} ({most} in {shipped:.1f} s; with comparing {time.perf_counter() - began:.1f} s)")
    size = int(server.ask("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'dns'"))
    say("disk, over all tables, bytes a row with its question", f"{size / (most / 2):.1f}")

    told = folder / "front"
    front = Daemon(["serve", "--store", to, "--listen", "127.0.0.1:0", "--announce", told], told)
    names, addresses = [], []
    for text in made_up(ROWS, 7, START):
        fields = text.split("\t")
        names.append(fields[5])
        addresses.append(fields[10])
        if len(names) >= 400_000:
            break
    chance = random.Random(1)
    record = "/api/v1/records?q="
    ask(front, "exact name", [record + chance.choice(names) for _ in range(ASKED)])
    ask(front, "exact address", [record + chance.choice(addresses) for _ in range(ASKED)])
    ask(front, "exact name, 8 connections", [record + chance.choice(names) for _ in range(8 * ASKED)], 8)
    ask(front, "below a domain, first 1,000", [record + "*.wide.example&limit=1000"] * 30)
    ask(front, "below a domain, first 10,000", [record + "*.wide.example&limit=10000"] * 30)
    for query in ["~192.0.2.17", "~365", "~3fa9", "/^[a-z]{20}$/", "/[0-9]{10}/", "/^.{40,}$/"]:
        ask(front, f"scan: {query}", [record + urllib.parse.quote(query) + "&limit=100000"] * 3)
    ask(front, "hits, the newest 1,000", ["/api/v1/hits?limit=1000"] * 30)
    last = START + 30 * 86400
    for what in ["domain", "name", "rdata"]:
        for days in [1, 30]:
            ask(front, f"new: {what}, of {days} days", [f"/api/v1/new?what={what}&since={last - days * 86400}"] * 3)

    logs = folder / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    (logs / "dns.log").write_text(HEAD + line(START, 1, "first.example", "192.0.2.1"))
    (folder / "c.toml").write_text(
        f'data_dir = "{data}"\n[http]\nlisten = "127.0.0.1:0"\n[[source]]\nlogs = "{logs}"\nsensor = "lan"\n[forward]\nto = "{to}"\nevery = "5s"\n'
    )
    daemon = Daemon(["run", "--config", folder / "c.toml"], data / "listen")
    say("visible, alone", visible(daemon, logs / "dns.log", 20, 1))
    forwarder = subprocess.Popen([PROGRAM, "forward", "--config", folder / "c.toml"], stderr=subprocess.DEVNULL)
    time.sleep(10)
    say("visible, while it ships", visible(daemon, logs / "dns.log", 40, 2))

    server.process.send_signal(signal.SIGSTOP)
    say("visible, while the server does not answer", visible(daemon, logs / "dns.log", 20, 3))
    server.process.send_signal(signal.SIGCONT)
    server.stop()
    say("visible, while the server is away", visible(daemon, logs / "dns.log", 20, 4))
    write_log(folder / "hour.log", HOUR, 9, START + 31 * 86400)
    shutil.copy(folder / "hour.log", logs / "dns.hour.log")
    time.sleep(60)
    server.start()
    began, before = time.perf_counter(), rows()
    while rows() < before + 2 * HOUR * 499 // 500 - 10:
        time.sleep(0.2)
    say(f"an outage of an hour, {HOUR} rows and as many questions", f"{time.perf_counter() - began:.1f} s until all are there")
    for process in [forwarder, daemon.process, front.process, server.process]:
        process.terminate()
        process.wait()


main()
