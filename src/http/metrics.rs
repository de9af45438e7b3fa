//! `/metrics`: figures for Prometheus and its kind, in OpenMetrics. docs/metrics.md lists them; a test compares.
//!
//! Labels are bounded: reasons, states and endpoints are closed lists, sensors and logs are those of the configuration.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use warp::reply::Response;

use super::answer::in_report;
use super::error::ApiError;
use super::machine::exactly;
use super::request::Request;
use super::{Delivering, State};
use crate::base::clock::now;
use crate::status::{SourceState, Status, UnreadKind};
use crate::store::{Folded, Stats};
use crate::tally::{Malformed, Skip};

/// Seconds below which answers begin: an index answers in a fraction of a millisecond, a scan in seconds.
const SECONDS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];

type Labels<const N: usize> = [(&'static str, String); N];

/// What is counted while requests are answered.
pub struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram>,
    connections: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("dnsledger");
        let requests = Family::default();
        registry.register(
            "http_requests",
            "Requests that were answered, by endpoint and status",
            requests.clone(),
        );
        let durations = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        registry.register_with_unit(
            "http_answer",
            "Time until an answer begins",
            Unit::Seconds,
            durations.clone(),
        );
        let connections = Gauge::default();
        registry.register("http_connections", "Open connections", connections.clone());
        let started: Gauge = Gauge::default();
        started.set(seconds_now());
        registry.register_with_unit(
            "start_time",
            "When the daemon started, epoch seconds",
            Unit::Seconds,
            started,
        );
        Metrics { registry, requests, durations, connections }
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, path: &str, status: StatusCode, took: Duration) {
        let endpoint = endpoint(path).to_owned();
        let labels = [("endpoint", endpoint.clone()), ("status", status.as_str().to_owned())];
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&[("endpoint", endpoint)]).observe(took.as_secs_f64());
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

/// A connection that is open.
pub struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a path belongs to: the name of a group of paths, whatever is asked.
fn endpoint(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or_default() {
        "" | "name" | "address" | "hits" | "status" | "assets" => "page",
        "api" => "api",
        "dns" => "dns",
        "pdns" | "passivedns" | "query" | "fquery" | "info" => "cof",
        "dnsdb" | "lookup" | "summarize" => "dnsdb",
        "control" => "control",
        "healthz" | "readyz" | "metrics" => "machine",
        _ => "other",
    }
}

/// Answers `/metrics`.
///
/// # Errors
///
/// When the store cannot be read, or takes too long.
pub async fn respond(state: State, request: Request) -> Result<Response, ApiError> {
    request.read_only()?;
    exactly(&request, &[])?;
    let work = |state: &State| {
        let status = state.0.ingest.overview();
        let stats = state.0.ledger.stats()?;
        let failing = state.failing().is_some();
        let mut text = String::with_capacity(16 << 10);
        let metrics = &state.0.metrics;
        let written = encode_registry(&mut text, &metrics.registry)
            .and_then(|()| encode_registry(&mut text, &snapshot(&status, &stats, failing)))
            .and_then(|()| encode_registry(&mut text, &watched(state)))
            .and_then(|()| encode_registry(&mut text, &forwarded(state)))
            .and_then(|()| encode_registry(&mut text, &fed(state)))
            .and_then(|()| encode_registry(&mut text, &delivered(state)))
            .and_then(|()| encode_eof(&mut text));
        written.map_err(|fmt::Error| ApiError::unavailable("the metrics cannot be written"))?;
        Ok::<_, ApiError>(text)
    };
    let mut response = Response::new(in_report(&state, work).await??.into());
    let openmetrics = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, openmetrics);
    Ok(response)
}

/// The figures of this moment.
fn snapshot(status: &Status, stats: &Stats, failing: bool) -> Registry {
    let mut registry = Registry::with_prefix("dnsledger");
    let build = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("commit", env!("DNSLEDGER_BUILT_FROM").to_owned()),
        ("format", stats.format.to_string()),
    ];
    registry.register("build", "What runs", Info::new(build.to_vec()));

    let lines: Family<Labels<2>, Counter> = Family::default();
    let count = |outcome: &str, reason: &str, n: u64| {
        let labels = [("outcome", outcome.to_owned()), ("reason", reason.to_owned())];
        lines.get_or_create(&labels).inc_by(n);
    };
    count("counted", "", status.totals.counted);
    for &reason in Skip::ALL {
        count("skipped", reason.name(), status.totals.skipped(reason));
    }
    for &reason in Malformed::ALL {
        count("malformed", reason.name(), status.totals.malformed(reason));
    }
    registry.register("lines", "Lines read, by how they ended", lines.clone());
    let cut: Counter = Counter::default();
    cut.inc_by(status.totals.answers_cut);
    registry.register("answers_cut", "Answers left out of records that held too many", cut);

    let gauge = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let gauge: Gauge<u64, AtomicU64> = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let seconds = |registry: &mut Registry, name: &str, help: &str, value: f64| {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(value);
        registry.register_with_unit(name, help, Unit::Seconds, gauge);
    };
    gauge(&mut registry, "caught_up", "1 when everything visible is read", status.caught_up.into());
    gauge(&mut registry, "failing", "1 while the ledger does not take what is read", failing.into());
    let help = "Things that need the operator: the status says which";
    gauge(&mut registry, "warnings", help, status.warnings.len() as u64);
    if let Some(millis) = status.as_of_ms {
        let help = "As of when answers are true, epoch seconds";
        seconds(&mut registry, "as_of", help, millis as f64 / 1000.0);
    }
    if let Some(newest) = status.newest {
        seconds(&mut registry, "newest_record", "Time of the latest record, epoch seconds", newest as f64);
    }

    let source_gauge = |registry: &mut Registry, name: &str, help: &str| {
        let family: Family<Labels<2>, Gauge<f64, AtomicU64>> = Family::default();
        registry.register(name, help, family.clone());
        family
    };
    let up = source_gauge(&mut registry, "source_up", "1 when a source can be read");
    let lag = source_gauge(&mut registry, "source_lag_bytes", "Bytes in live logs that are not read yet");
    let behind = source_gauge(
        &mut registry,
        "source_lag_seconds",
        "Seconds since everything visible in a source was read",
    );
    let done =
        source_gauge(&mut registry, "source_backfill_ratio", "The share of archives that is read, by bytes");
    let unread: Family<Labels<3>, Gauge<u64, AtomicU64>> = Family::default();
    registry.register("source_unread", "Files and folders that were seen and are not read", unread.clone());
    let changed: Family<Labels<2>, Counter> = Family::default();
    let help = "Logs whose known part was found changed, and which were read on behind it";
    registry.register("source_prefix_changed", help, changed.clone());
    for source in &status.sources {
        let labels = [
            ("sensor", source.sensor.clone()),
            ("logs", crate::output::sanitise(&source.logs.to_string_lossy()).into_owned()),
        ];
        let is_up =
            matches!(source.state, SourceState::Following | SourceState::Backfilling | SourceState::Imported);
        up.get_or_create(&labels).set(f64::from(u8::from(is_up)));
        lag.get_or_create(&labels).set(source.lag_bytes as f64);
        if let Some(seconds) = source.lag_seconds {
            behind.get_or_create(&labels).set(seconds);
        }
        if let Some(backfill) = &source.backfill {
            let share = backfill.bytes_done as f64 / backfill.bytes_total.max(1) as f64;
            done.get_or_create(&labels).set(share);
        }
        for &kind in UnreadKind::ALL {
            let [sensor, logs] = labels.clone();
            let labels = [sensor, logs, ("kind", kind.name().to_owned())];
            unread.get_or_create(&labels).set(source.unread_counts.of(kind));
        }
        changed.get_or_create(&labels).inc_by(source.prefix_changed);
    }

    let help = "Rows, at most: one that lies in several runs counts in each";
    gauge(&mut registry, "store_rows", help, stats.rows);
    gauge(&mut registry, "store_pending_rows", "Rows in memory that are in no run yet", stats.pending_rows);
    gauge(&mut registry, "store_runs", "Sorted runs", stats.runs);
    gauge(&mut registry, "store_disk_bytes", "Bytes on disk", stats.disk_bytes);
    gauge(
        &mut registry,
        "store_live_bytes",
        "Bytes of rows on disk, without what is to be freed",
        stats.live_bytes,
    );
    let help = "Logs of which rows are missing that were there: the ledger was damaged";
    gauge(&mut registry, "store_missing_logs", help, stats.missing_logs);
    if let Some(bytes) = stats.max_disk {
        gauge(
            &mut registry,
            "store_max_disk_bytes",
            "The most bytes on disk that the ledger may take",
            bytes,
        );
    }
    let expired: Family<Labels<1>, Counter> = Family::default();
    for (what, n) in [("row", stats.expired.rows), ("question", stats.expired.questions)] {
        expired.get_or_create(&[("what", what.to_owned())]).inc_by(n);
    }
    registry.register(
        "store_expired",
        "Rows and questions dropped since they were not seen for long",
        expired,
    );
    let folded: Family<Labels<2>, Counter> = Family::default();
    let Folded { rows, questions, pressed_rows, pressed_questions, unresolved, domains, .. } = stats.folded;
    for (what, why, n) in [
        ("row", "names", rows),
        ("question", "names", questions),
        ("row", "room", pressed_rows),
        ("question", "room", pressed_questions),
    ] {
        folded.get_or_create(&[("what", what.to_owned()), ("why", why.to_owned())]).inc_by(n);
    }
    let help =
        "Rows and questions folded into the row of their domain: beyond its budget of names, or for room";
    registry.register("store_folded", help, folded);
    gauge(&mut registry, "store_folded_domains", "Domains with a folded row or question", domains);
    let dropped: Counter = Counter::default();
    dropped.inc_by(unresolved);
    let help = "Questions dropped for room that never resolved and were asked once";
    registry.register("store_unresolved_dropped", help, dropped);
    let grow: Family<Labels<1>, Gauge<f64, AtomicU64>> = Family::default();
    for growth in &stats.growth {
        grow.get_or_create(&[("domain", growth.domain.clone())]).set(growth.names_a_day as f64);
    }
    let help = "Names that were first seen within a day, of the ten domains that have most";
    registry.register("store_domain_names_a_day", help, grow);
    let help = "What was last seen before this is not kept, epoch seconds";
    seconds(&mut registry, "store_expired_before", help, stats.expired.before as f64);
    if let Some(bytes) = resident_bytes() {
        gauge(&mut registry, "resident_memory_bytes", "Memory that the daemon holds", bytes);
    }
    registry
}

/// What is watched, and what was met.
fn watched(state: &State) -> Registry {
    let mut registry = Registry::with_prefix("dnsledger");
    let counter = |n: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(n);
        counter
    };
    registry.register("hits", "Hits of indicators that were noted", counter(state.0.ledger.last_hit().0));
    let Some(watching) = state.watching() else { return registry };
    let (muted, failed) = watching.counts();
    registry.register("hits_muted", "Sightings of indicators that are excepted", counter(muted));
    let help = "Events of what is new, among the hits";
    registry.register("new_events", help, counter(watching.novelty().events()));
    registry.register("feed_failures", "Looks into a feed that failed", counter(failed));
    let indicators: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
    let age: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
    let faulty: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
    let pulled: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
    let failing: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
    for feed in watching.feeds() {
        let label = || [("feed", feed.name.clone())];
        if let Some(pull) = &feed.pull {
            pulled.get_or_create(&label()).set(pull.pulled_at);
            failing.get_or_create(&label()).set(u64::from(pull.error.is_some()));
        }
        indicators.get_or_create(&label()).set(feed.indicators);
        age.get_or_create(&label()).set(feed.age);
        faulty.get_or_create(&label()).set(u64::from(feed.fault.is_some() || feed.stale || feed.held));
    }
    registry.register("feed_indicators", "Indicators of each feed", indicators);
    registry.register_with_unit("feed_age", "How long ago each feed was read", Unit::Seconds, age);
    let help = "When each feed was pulled from its server last, epoch seconds";
    registry.register_with_unit("feed_pulled", help, Unit::Seconds, pulled);
    registry.register("feed_pull_failing", "Whether the last pull of a feed failed", failing);
    registry.register("feed_faulty", "Whether a feed is stale, held back, or cannot be read", faulty);
    registry
}

/// What a front end knows of the sensors that feed the cluster; nothing of a ledger.
fn fed(state: &State) -> Registry {
    let mut registry = Registry::with_prefix("dnsledger");
    let Some(fed) = state.0.ledger.fed() else { return registry };
    let times: Family<Labels<1>, Gauge<f64, AtomicU64>> = Family::default();
    for sensor in fed.sensors.iter().filter(|sensor| !sensor.is_closed) {
        let label = [("sensor", sensor.sensor.to_string())];
        times.get_or_create(&label).set(sensor.as_of as f64);
    }
    let help = "As of when the cluster has what a sensor has seen, epoch seconds; 0 where it never had";
    registry.register_with_unit("fleet_sensor_as_of", help, Unit::Seconds, times);
    if let Some(as_of) = fed.as_of() {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(as_of as f64);
        registry.register_with_unit(
            "as_of",
            "As of when answers are true, epoch seconds",
            Unit::Seconds,
            gauge,
        );
    }
    let lacks: Gauge<u64, AtomicU64> = Gauge::default();
    lacks.set(fed.lacks.len() as u64);
    registry.register("fleet_lacks", "Sensors that are late, and parts of the cluster that are away", lacks);
    registry
}

/// How forwarding goes; nothing where nobody forwards.
fn forwarded(state: &State) -> Registry {
    let mut registry = Registry::with_prefix("dnsledger");
    let Some(told) = state.0.forwarding.lock().clone() else { return registry };
    let counter = |n: u64| {
        let counter: Counter = Counter::default();
        counter.inc_by(n);
        counter
    };
    let gauge = |n: u64| {
        let gauge: Gauge<u64, AtomicU64> = Gauge::default();
        gauge.set(n);
        gauge
    };
    registry.register("forward_shipped", "Rows and questions shipped", counter(told.shipped));
    registry.register("forward_mended", "Rows and questions shipped again", counter(told.mended));
    registry.register("forward_failures", "Shipments that failed", counter(told.failures));
    let failing = u64::from(!told.error.is_empty());
    registry.register("forward_failing", "1 while nothing can be shipped", gauge(failing));
    let help = "Rows and questions that the cluster lacks, about";
    registry.register("forward_lag_rows", help, gauge(told.lag_rows));
    let help = "As of when the cluster has all of the ledger, epoch seconds";
    registry.register_with_unit("forward_acknowledged", help, Unit::Seconds, gauge(told.acknowledged_at));
    registry.register_with_unit(
        "forward_told",
        "When the forwarder told this, epoch seconds",
        Unit::Seconds,
        gauge(told.at),
    );
    registry
}

/// A name, what it says, and where it is.
type Figure = (&'static str, &'static str, fn(&Delivering) -> u64);

/// How delivery of hits goes; nothing where nobody delivers.
fn delivered(state: &State) -> Registry {
    let mut registry = Registry::with_prefix("dnsledger");
    let told = state.0.delivering.lock().clone();
    let Some(at) = told.iter().map(|outlet| outlet.at).max() else { return registry };
    let counters: [Figure; 4] = [
        ("deliver_hits", "Hits delivered to an outlet", |told| told.delivered),
        ("deliver_summed", "Hits delivered to an outlet as a sum", |told| told.summed),
        ("deliver_refused", "Hits that an outlet refused for good, or that were given up", |told| {
            told.refused
        }),
        ("deliver_failures", "Attempts to deliver that failed", |told| told.failures),
    ];
    for (name, help, of) in counters {
        let family: Family<Labels<1>, Counter> = Family::default();
        for outlet in &told {
            family.get_or_create(&[("outlet", outlet.outlet.clone())]).inc_by(of(outlet));
        }
        registry.register(name, help, family);
    }
    let gauges: [Figure; 2] = [
        ("deliver_waiting", "Hits that wait for an outlet", |told| told.waiting),
        ("deliver_failing", "1 while an outlet takes nothing", |told| u64::from(told.failing_since > 0)),
    ];
    for (name, help, of) in gauges {
        let family: Family<Labels<1>, Gauge<u64, AtomicU64>> = Family::default();
        for outlet in &told {
            family.get_or_create(&[("outlet", outlet.outlet.clone())]).set(of(outlet));
        }
        registry.register(name, help, family);
    }
    let gauge: Gauge<u64, AtomicU64> = Gauge::default();
    gauge.set(at);
    registry.register_with_unit(
        "deliver_told",
        "When dnsledger deliver told this, epoch seconds",
        Unit::Seconds,
        gauge,
    );
    registry
}

/// The memory that this process holds, as the kernel says.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn seconds_now() -> i64 {
    i64::try_from(now()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_endpoints_are_few() {
        for (path, is) in [
            ("/", "page"),
            ("/dns/www.example.com", "dns"),
            ("/dnsdb/v2/ping", "dnsdb"),
            ("/lookup/rrset/name/x", "dnsdb"),
            ("/api/v1/status", "api"),
            ("/%2e%2e/etc", "other"),
            ("", "page"),
        ] {
            assert_eq!(endpoint(path), is, "{path}");
        }
    }

    #[test]
    fn memory_is_told() {
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
