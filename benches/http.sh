#!/usr/bin/env bash
# What lookups over HTTP cost: benches/http.sh [FOLDER]. Needs wrk, curl and python3, and a release build
# (cargo build --release). FOLDER keeps the ledger of about a million tuples that is measured, for the next time.
#
# Figures of one run on one machine: the load generator shares the cores with the daemon. Compare runs, take medians.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${DNSLEDGER:-$PWD/target/release/dnsledger}
folder=${1:-$(mktemp -d)}
seconds=${SECONDS_EACH:-8}
listen=127.0.0.1:${PORT:-18081}
url=http://$listen
data=$folder/data
mkdir -p "$folder"

say() { printf '%-58s %s\n' "$1" "$2"; }

# A million tuples of made-up traffic, and 10,000 rows in one /24-like block of addresses and below one name.
if [ ! -d "$data" ]; then
    cargo run --quiet --release -p generate --example generate -- --rich --lines 2000000 >"$folder/dns.log"
    awk 'BEGIN { for (i = 0; i < 10000; i++) printf "{\"ts\":%d.5,\"uid\":\"Cwide%d\",\"id.resp_h\":\"192.0.2.53\",\"id.resp_p\":53,\"query\":\"h%05d.wide.example\",\"qclass\":1,\"qtype\":1,\"qtype_name\":\"A\",\"rcode\":0,\"answers\":[\"198.51.100.%d\"],\"TTLs\":[60.0]}\n", 1712880000 + i, i, i, i % 256 }' >"$folder/wide.log"
    "$program" import --data "$data" "$folder/dns.log" "$folder/wide.log" >/dev/null
fi
if [ ! -s "$folder/names" ]; then
    "$program" export --data "$data" --format csv >"$folder/rows.csv"
    wc -l <"$folder/rows.csv" >"$folder/rows"
    awk -F, 'NR > 1 && $1 !~ /["\\]/ && NR % 17 == 0 { print $1 }' "$folder/rows.csv" | sort -u | shuf --random-source=<(yes) -n 50000 >"$folder/names"
    awk -F, 'NR > 1 && $2 == "A" && $4 ~ /^[0-9]+$/ && NR % 13 == 0 { print $3 }' "$folder/rows.csv" | sort -u | shuf --random-source=<(yes) -n 50000 >"$folder/addresses"
    awk -F, 'NR > 1 && $1 !~ /["\\]/ { print "\"" $1 "\"" }' "$folder/rows.csv" | uniq | shuf --random-source=<(yes) -n 100000 >"$folder/queries.ndjson"
    rm "$folder/rows.csv"
fi
rows=$(cat "$folder/rows")

mkdir -p "$folder/no-logs"
"$program" run --data "$data" --logs "$folder/no-logs" --listen "$listen" 2>"$folder/daemon.log" &
daemon=$!
trap 'kill $daemon; wait $daemon 2>/dev/null || true' EXIT
until curl -sf "$url/readyz" >/dev/null; do kill -0 $daemon; sleep 0.1; done
memory() { awk '/VmRSS/ { print int($2 / 1024) " MiB" }' /proc/$daemon/status; }
peak() { awk '/VmHWM/ { print int($2 / 1024) " MiB" }' /proc/$daemon/status; }
say "rows in the ledger" "$rows"
say "memory at rest" "$(memory)"

cat >"$folder/paths.lua" <<'LUA'
local paths, i = {}, 0
function init(args)
    for line in io.lines(args[1]) do paths[#paths + 1] = args[2] .. line end
    math.randomseed(tonumber(args[3] or 1))
    i = math.random(#paths)
end
function request()
    i = i % #paths + 1
    return wrk.format("GET", paths[i])
end
function done(summary, latency, requests)
    local errors = summary.errors.status + summary.errors.read + summary.errors.timeout
    io.write(string.format("RESULT %.0f requests/s, p50 %.2f ms, p99 %.2f ms, max %.1f ms, %d errors\n",
        summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        latency.max / 1e3, errors))
end
LUA
load() { # connections, file, prefix
    wrk -t1 -c"$1" -d"${seconds}s" -s "$folder/paths.lua" "$url" -- "$folder/$2" "$3" | sed -n 's/^RESULT //p'
}
for connections in 1 16; do
    say "/api/v1/records, a name, $connections connections" "$(load $connections names '/api/v1/records?q=')"
    say "/api/v1/records, an address, $connections connections" "$(load $connections addresses '/api/v1/records?q=')"
    say "/dns, a name, $connections connections" "$(load $connections names '/dns/')"
done

wide() { # what, query
    for _ in 1 2 3 4 5; do
        curl -sG -o "$folder/answer" -w '%{time_starttransfer} %{time_total}\n' --data-urlencode "q=$2" -d limit=100000 -d format=ndjson "$url/api/v1/records"
    done | sort -k2n | sed -n 3p | while read -r first total; do
        say "$1" "$(awk -v f="$first" -v t="$total" -v n="$(($(wc -l <"$folder/answer") - 1))" 'BEGIN { printf "first byte %.1f ms, whole %.1f ms, %d rows", f * 1e3, t * 1e3, n }')"
    done
}
wide "a /24 with 10,000 rows" 198.51.100.0/24
wide "a suffix with 10,000 rows" '*.wide.example'

scan() { # what, query
    for _ in 1 2 3; do
        curl -sG -o "$folder/answer" -w '%{time_total}\n' --data-urlencode "q=$2" -d limit=100000 -d format=ndjson "$url/api/v1/records"
    done | sort -n | sed -n 2p | while read -r total; do
        say "$1" "$(awk -v t="$total" -v n="$rows" -v e="$(tail -n 1 "$folder/answer" | grep -o '"ended":"[a-z]*"')" 'BEGIN { printf "%.0f rows/s, %s", n / t, e }')"
    done
}
scan "a scan for text" '~zz-never-there'
scan "a scan by regex" '/zz[0-9]+never\.(there|here)$/'
scan "a scan by glob" 'zz?never*'

before=$(memory)
for _ in 1 2 3; do
    curl -s -o "$folder/answer" -w '%{time_total}\n' --data-binary "@$folder/queries.ndjson" "$url/api/v1/lookup"
done | sort -n | sed -n 2p | while read -r total; do
    say "100,000 queries at once" "$(awk -v t="$total" -v n="$(wc -l <"$folder/queries.ndjson")" 'BEGIN { printf "%.0f queries/s", n / t }')"
done
say "memory before and after" "$before, $(memory) (peak $(peak))"

# A thousand clients that ask for much and never read, and what others then wait.
cat >"$folder/deaf.py" <<'PYTHON'
import socket, sys, time
host, port = sys.argv[1].split(":")
deaf = []
for i in range(1000):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((host, int(port)))
    if i % 2:
        s.sendall(b"GET /api/v1/records?q=*&limit=100000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    else:
        s.sendall(b"GET /dns/half HTTP/1.1\r\nHo")
    deaf.append(s)
print("ready", flush=True)
sys.stdin.read()
PYTHON
before=$(memory)
load 1 names '/api/v1/records?q=' >"$folder/beside" &
load=$!
sleep 1
coproc deaf { python3 "$folder/deaf.py" "$listen"; }
read -r _ <&"${deaf[0]}"
wait "$load"
say "beside 1,000 clients that never read, a name" "$(cat "$folder/beside")"
say "memory before and then" "$before, $(memory)"
eval "exec ${deaf[1]}>&-"
wait "$deaf_PID" || true
