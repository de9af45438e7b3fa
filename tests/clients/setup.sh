#!/usr/bin/env bash
# Installs the real clients that tests/it/clients.rs runs: the Python ones into target/clients, pinned, and from Debian those
# that are not there. Needs the network when something changed; the tests themselves do not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

missing=()
for tool in dnsdbq curl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
command -v clickhouse-server >/dev/null || missing+=(clickhouse-server)
command -v rsyslogd >/dev/null || missing+=(rsyslog rsyslog-gnutls)
# Nothing of it starts by itself; tests start it in folders of their own.
[ -e /usr/share/java/zookeeper.jar ] || missing+=(zookeeper)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ] && command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

venv="${CARGO_TARGET_DIR:-target}/clients"
wanted="$(cat tests/clients/requirements.txt)"
if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
    printf '%s\n' "$wanted" >"$venv/installed"
fi
# The newest ClickHouse, in process: 180 MB to get, 560 MB unpacked. What it needs of other packages is for what tests do not use.
chdb="${CARGO_TARGET_DIR:-target}/chdb"
wanted="chdb-core==26.9.0"
if [ "$(cat "$chdb/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$chdb"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$chdb" "$wanted"
    printf '%s\n' "$wanted" >"$chdb/installed"
fi
dnsdbq -v 2>/dev/null || true
"$venv/bin/python" --version
