# Short names for what contributors do. Everything works with cargo alone; `.ci/run` is the gate.

# List the recipes.
default:
    @just --list

# The gate, as before every merge.
check:
    bash .ci/run

# Install the real clients that tests run.
clients:
    bash tests/clients/setup.sh

# Run the tests whose name contains FILTER.
test FILTER="":
    cargo test --locked {{FILTER}}

# The page in headless Chromium; look at target/browser-shots afterwards.
browser:
    bash tests/browser/run

# Format the code.
fmt:
    cargo fmt --all

# Make the sample logs and the expected outputs anew, to be read before they are committed.
bless:
    BLESS=1 cargo test --locked --test it

# Many random kills of the real binary; one seed replays a failure.
crash KILLS="200" SEED="1":
    DNSLEDGER_KILLS={{KILLS}} DNSLEDGER_SEED={{SEED}} cargo test --locked --release --test it crash -- --nocapture

# Requests of every kind at the server, for so many seconds.
fuzz-http SECONDS="300":
    DNSLEDGER_FUZZ_SECONDS={{SECONDS}} cargo test --locked --release --test it http_fuzz -- --nocapture

# Fuzz a target, led by coverage: needs cargo-fuzz (`cargo install cargo-fuzz`).
fuzz TARGET SECONDS="30":
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{TARGET}} -- -max_total_time={{SECONDS}}

# Each fuzz target for half a minute.
fuzz-smoke SECONDS="30":
    set -e; for target in $(cargo fuzz list); do RUSTC_BOOTSTRAP=1 cargo fuzz run "$target" -- -max_total_time={{SECONDS}}; done

# Whole logs that nobody would write, for so many seconds: each line must be accounted for.
fuzz-logs SECONDS="300":
    DNSLEDGER_FUZZ_SECONDS={{SECONDS}} cargo test --locked --release --test it log_fuzz -- --nocapture

# What a whole import costs, beside decompressing and splitting alone.
bench-import *LOGS:
    cargo bench --locked --bench import -- {{LOGS}}

# Many kills while the ledger folds, merges, expires, is rewritten and copied all the time, and power losses (as root, where loop devices can be mounted).
store-crash KILLS="200" LOSSES="20" SEED="1":
    DNSLEDGER_KILLS={{KILLS}} DNSLEDGER_LOSSES={{LOSSES}} DNSLEDGER_SEED={{SEED}} cargo test --locked --release --test it store_crash -- --nocapture

# Many kills of the daemon and of who delivers, while hits come and the outlet answers, fails and breaks off.
deliver-crash KILLS="300" SEED="1":
    DNSLEDGER_DELIVER_KILLS={{KILLS}} DNSLEDGER_DELIVER_SEED={{SEED}} cargo test --locked --release --test it deliver::every -- --nocapture

# Many kills of all that makes hits or takes them: the daemon, imports of logs and feeds, the walk through history, pulls and delivery.
hit-crash KILLS="300" SEED="1":
    DNSLEDGER_HIT_KILLS={{KILLS}} DNSLEDGER_SEED={{SEED}} cargo test --locked --test it hit_kills:: -- --nocapture

# From a line to its hit at a webhook and on the stream: so many lines with hits, and so many beside each.
bench-hits LINES="1000" LOAD="100":
    DNSLEDGER_HIT_LINES={{LINES}} DNSLEDGER_HIT_LOAD={{LOAD}} cargo test --locked --release --test it deliver::a_hit_is_at -- --nocapture

# Floods of so many names over a week, from one domain and from as many as are said; and so many kills while names are folded.
flood NAMES="20000000" DOMAINS="5000" KILLS="100" SEED="1":
    DNSLEDGER_FLOOD={{NAMES}} DNSLEDGER_FLOOD_DOMAINS={{DOMAINS}} DNSLEDGER_KILLS={{KILLS}} DNSLEDGER_SEED={{SEED}} cargo test --locked --release --test it flood:: -- --nocapture --test-threads 1

# Many disks that are full, broken or read-only for a while, at random moments (as root, with strace).
disk-trouble FILLS="200" SEED="1":
    DNSLEDGER_FILLS={{FILLS}} DNSLEDGER_SEED={{SEED}} cargo test --locked --test it disk_trouble -- --nocapture

# A byte flipped in many places of a data folder after a kill.
flips FLIPS="500" SEED="1":
    DNSLEDGER_FLIPS={{FLIPS}} DNSLEDGER_SEED={{SEED}} cargo test --locked --release --test it spoiled:: -- --nocapture

# Many crashes and refused writes of the store, at random calls of its engine.
crashes CASES="2000":
    PROPTEST_CASES={{CASES}} cargo test --locked --release --lib store::tests::crash

# Many random histories of files against the model; `proptest-regressions` replays what failed.
interpret CASES="5000":
    PROPTEST_CASES={{CASES}} cargo test --locked --release --lib ingest::tests::interpreter

# A daemon over the sample logs, on a port of its own.
demo:
    cargo run --release -- run --logs testdata/zeek-tree --data "$(mktemp -d)" --listen 127.0.0.1:0

# Bans, licences and sources: works offline.
deny:
    cargo deny --locked --offline check bans licenses sources

# Known vulnerabilities and crates without a keeper: fetches the advisory database.
advisories:
    cargo deny --locked check advisories

# The static binary and the packages; needs cargo-deb and cargo-generate-rpm.
packages:
    packaging/build-static deb rpm

# The static binary in an empty root and as an image, the package in a fresh Debian 12 and under its systemd: as root, with
# debootstrap and buildah.
test-packages:
    packaging/test-static
    packaging/test-container
    packaging/test-debian target/debian/dnsledger_*.deb
    packaging/test-systemd target/debian/dnsledger_*.deb
