//! The frame of every page, and the small pieces that all of them are made of.

use std::borrow::Cow;

use maud::{DOCTYPE, Markup, html};

use super::asset_path;
use super::link::{Subject, Trail};
use crate::base::time::{civil, format_date, format_rfc3339};
use crate::output::sanitise;
use crate::status::{Freshness, SensorTime};

/// What surrounds the content of a page.
#[derive(Debug, Default)]
pub struct Frame<'a> {
    /// What the page is about, for its title; empty for the first page.
    pub title: &'a str,
    /// What stands in the search box.
    pub query: &'a str,
    /// The pages that led here.
    pub trail: Trail,
    /// As of when it is true, RFC 3339; absent where nothing is followed.
    pub as_of: Option<&'a Freshness>,
    /// Whether it is worth loading anew by itself.
    pub live: bool,
}

/// A whole page.
pub fn document(frame: &Frame<'_>, content: Markup) -> String {
    let title = match frame.title {
        "" => "dnsledger".into(),
        title => Cow::from(format!("{} · dnsledger", safe(title))),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="stylesheet" href=(asset_path("page.css"));
                link rel="icon" type="image/svg+xml" href=(asset_path("icon.svg"));
                script src=(asset_path("page.js")) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.brand href="/" { "dnsledger" }
                    form #search role="search" action="/" method="get" {
                        label.hidden for="q" { "Name, address or query" }
                        input #q name="q" type="search" value=(frame.query) maxlength="4096"
                            placeholder="name, address, network, *.domain, ~text, /regex/"
                            autocomplete="off" autocapitalize="none" autocorrect="off" spellcheck="false"
                            aria-keyshortcuts="/" autofocus[frame.title.is_empty()];
                        button type="submit" { "Search" }
                    }
                    nav aria-label="Pages" {
                        a href="/list" { "List" } " " a href="/hits" { "Hits" } " " a href="/status" { "Status" } " "
                        // Only a script knows where its reader is.
                        button #zone type="button" aria-pressed="false" hidden { "Local times" }
                    }
                }
                main #content tabindex="-1" data-live[frame.live] { (crumbs(&frame.trail)) (content) }
                footer {
                    @match frame.as_of {
                        Some(Freshness { as_of: Some(as_of), .. }) => span { "True as of " time datetime=(as_of) { (readable(as_of)) } " " (utc()) },
                        Some(Freshness { is_followed: false, .. }) => span { "Nothing is followed: the ledger is as it was last fed" },
                        None => span {},
                        Some(Freshness { sensors: Some(_), .. }) => span { "Of some sensor nothing is there yet" },
                        Some(_) => span { "Not everything that is visible was read yet" },
                    }
                    @if let Some(sensors) = frame.as_of.and_then(|fresh| fresh.sensors.as_ref()) {
                        details {
                            summary { (counted(sensors.len() as u64, "sensor", "sensors")) }
                            ul { @for sensor in sensors { li { (sensor_time(sensor)) } } }
                        }
                    }
                    @if let Some(first) = frame.as_of.and_then(|fresh| fresh.incomplete.first()) {
                        span.warning { a href="/status" { (lacking(frame.as_of)) } ": " (safe(first)) }
                    }
                    span.keys aria-hidden="true" {
                        kbd { "/" } " search " kbd { "j" } " " kbd { "k" } " rows " kbd { "Enter" } " open "
                        kbd { "n" } " next page"
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A sensor, and as of when what it has seen is there.
pub fn sensor_time(sensor: &SensorTime) -> Markup {
    html! {
        (safe(&sensor.sensor)) ": "
        @match &sensor.as_of {
            Some(as_of) => { time datetime=(as_of) { (readable(as_of)) } " " (utc()) }
            None => "nothing yet",
        }
        @if sensor.closed { ", closed" }
    }
}

/// What an answer lacks, in short.
fn lacking(fresh: Option<&Freshness>) -> &'static str {
    match fresh.is_some_and(|fresh| fresh.sensors.is_some()) {
        true => "Not all is there",
        false => "Not all logs are read",
    }
}

/// Why an answer may lack what the logs hold, where it may.
pub fn incomplete(fresh: Option<&Freshness>) -> Markup {
    let reasons = fresh.map(|fresh| fresh.incomplete.as_slice()).unwrap_or_default();
    html! {
        @if !reasons.is_empty() {
            div.warning role="status" {
                p { (lacking(fresh)) ", and what is missing may be there:" }
                ul { @for reason in reasons { li { (safe(reason)) } } }
            }
        }
    }
}

/// An instant of RFC 3339 as people read it, to the second.
fn readable(as_of: &str) -> String {
    as_of.get(..19).unwrap_or(as_of).replace('T', " ")
}

/// The places that led here.
fn crumbs(trail: &Trail) -> Markup {
    html! {
        @if !trail.places().is_empty() {
            nav.crumbs aria-label="The way here" {
                ol {
                    @for (at, place) in trail.places().iter().enumerate() {
                        li { a.dns href=(place.href(&trail.up_to(at))) { (safe(place.text())) } }
                    }
                }
            }
        }
    }
}

/// Text from elsewhere as it may be shown: without characters that change what stands around them.
pub fn safe(text: &str) -> Cow<'_, str> {
    sanitise(text)
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what is counted.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// Bytes, in the unit that suits them.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" || value >= 100.0 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Seconds, in the unit that suits them.
pub fn length(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 2.0 * 3_600.0 => format!("{:.0} min", s / 60.0),
        s if s < 2.0 * 86_400.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// The zone of the times beside it: a browser that shows them in its reader's zone says that here.
pub fn utc() -> Markup {
    html! { span.zone { "UTC" } }
}

/// The day of a moment.
pub fn day(seconds: u64) -> Markup {
    html! { time.day datetime=(format_rfc3339(seconds)) { (format_date(seconds)) } }
}

/// A moment, its time of day behind its date.
pub fn moment(seconds: u64) -> Markup {
    let civil = civil(seconds);
    html! {
        time datetime=(format_rfc3339(seconds)) {
            (civil.date()) " "
            span.clock { (civil.time()) }
        }
    }
}

/// A list of figures, each with its name.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// A link to a place, as text of the ledger.
pub fn pivot(place: &Subject, trail: &Trail) -> Markup {
    html! { a.dns href=(place.href(trail)) { (place.text()) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_at_a_glance() {
        assert_eq!([grouped(0), grouped(999), grouped(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([size(1023), size(1 << 20), size(345 << 20)], ["1023 B", "1.0 MiB", "345 MiB"]);
        assert_eq!([length(0.25), length(90.0), length(7_200.0)], ["0.2 s", "90 s", "2 h"]);
        assert_eq!(moment(0).into_string().matches("1970-01-01").count(), 2);
    }

    #[test]
    fn text_from_elsewhere_stays_text() {
        let frame = Frame { title: "a\u{202e}b<i>", query: "\"><script>", ..Frame::default() };
        let page = document(&frame, html! {});
        assert!(page.contains("<title>a\\u{202e}b&lt;i&gt; · dnsledger</title>"));
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\""), "{page}");
    }
}
