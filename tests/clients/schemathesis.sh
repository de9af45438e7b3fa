#!/usr/bin/env bash
# Lets schemathesis (PyPI) make requests up from the OpenAPI document and hold the answers against it: no 5xx, no status, media
# type or body that is not documented. tests/clients/schemathesis.sh [PROGRAM]; without a program it is built.
#
# It runs in a virtual environment, made once in target/. Where that cannot be made, it says so and is skipped; with CI=true
# that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=4.32.5
environment=$PWD/target/schemathesis-$version
document=$PWD/src/http/openapi.json
program=${1:-}

if [ ! -x "$environment/bin/schemathesis" ]; then
    if ! { python3 -m venv "$environment" && "$environment/bin/pip" install --quiet "schemathesis==$version"; }; then
        rm -rf "$environment"
        echo "SKIPPED: schemathesis cannot be installed (python3 with venv, and PyPI, are needed)" >&2
        [ "${CI:-}" != true ]
        exit
    fi
fi
if [ -z "$program" ]; then
    cargo build --locked --quiet
    program=target/debug/dnsledger
fi

folder=$(mktemp -d)
"$program" run --data "$folder/data" --logs testdata/zeek-tree --listen 127.0.0.1:0 2>"$folder/log" &
daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$folder"' EXIT
until [ -s "$folder/data/listen" ]; do
    kill -0 $daemon 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.05
done
# It leaves a folder where it runs.
cd "$folder"
"$environment/bin/schemathesis" run "$document" --url "http://$(cat "$folder/data/listen")" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
    --phases coverage,fuzzing --max-examples "${EXAMPLES:-5}" --generation-deterministic --warnings off
