//! What feeds say is bad and was met, the newest first.

use maud::{Markup, html};

use super::link::{Subject, Trail, encoded};
use super::shell::{Frame, document, grouped, moment, safe};
use crate::dns::Name;
use crate::status::Freshness;
use crate::watch::{FeedStatus, HitLine};

/// What the page shows.
pub struct HitPage {
    /// The hits.
    pub hits: Vec<HitLine>,
    /// How many were noted in all.
    pub last: u64,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
    /// The feed whose hits are shown; all where there is none.
    pub feed: Option<String>,
    /// The name, address or network whose hits are shown.
    pub value: Option<String>,
    /// The feeds there are.
    pub feeds: Vec<FeedStatus>,
    /// Whether they are of one ledger, whose feeds are known; else of those that feed a cluster.
    pub is_own: bool,
    /// Only those that nobody has seen to.
    pub is_open: bool,
    /// The cursor that the page begins at.
    pub cursor: Option<String>,
    /// Whether the viewer may acknowledge hits.
    pub may_acknowledge: bool,
}

impl HitPage {
    /// Another one of these pages: of a feed, about something, of those nobody has seen to, from a number on.
    fn link(feed: Option<&str>, value: Option<&str>, is_open: bool, cursor: Option<&str>) -> String {
        let feed = feed.map(|feed| format!("feed={feed}"));
        let value = value.map(|value| format!("value={}", encoded(value)));
        let open = is_open.then(|| "open=true".to_owned());
        let cursor = cursor.map(|cursor| format!("cursor={cursor}"));
        let all: Vec<String> = [feed, value, open, cursor].into_iter().flatten().collect();
        if all.is_empty() { "/hits".to_owned() } else { format!("/hits?{}", all.join("&")) }
    }
}

/// The page of hits.
pub fn hits_page(page: &HitPage, as_of: Option<&Freshness>) -> String {
    let HitPage { hits, last, next, feed, value, feeds, is_own, is_open, cursor, may_acknowledge } = page;
    let trail = Trail::default();
    let (only, about) = (feed.as_deref(), value.as_deref());
    let may_tick = *may_acknowledge && hits.iter().any(|hit| hit.acknowledged.is_none());
    let table = html! {
        div.scroll {
            table {
                caption.hidden { "Hits" }
                thead { tr {
                    @if may_tick { th scope="col" { span.hidden { "Acknowledge" } } }
                    th scope="col" { "Noted" } th scope="col" { "Seen" } th scope="col" { "Name" } th scope="col" { "Indicator" }
                    th scope="col" { "Feed" } th scope="col" { "What it says" } th scope="col" { "Sensor" }
                    th scope="col" { "Acknowledged" }
                } }
                tbody {
                    @for hit in hits {
                        tr id={ "hit-" (hit.ledger.as_deref().unwrap_or_default()) (hit.sequence) } {
                            @if may_tick { td { @if hit.acknowledged.is_none() {
                                input type="checkbox" name="hit" value=(hit.sequence)
                                    aria-label={ "Acknowledge the hit of " (safe(&hit.rrname)) };
                            } } }
                            td { (moment(hit.noted)) }
                            td { (moment(hit.time)) }
                            td.dns { (name(hit, &trail)) @if let Some(address) = &hit.address { " " (address) } }
                            td.dns { (hit.kind) " " (safe(&hit.indicator)) }
                            td { (safe(&hit.feeds_in_words().replace(',', ", "))) }
                            td { (safe(said(hit))) }
                            td { (safe(&hit.sensor)) }
                            td { @if let Some(at) = hit.acknowledged {
                                (moment(at)) " by " (safe(hit.acknowledged_by.as_deref().unwrap_or_default()))
                            } @else { "no" } }
                        }
                    }
                }
            }
        }
    };
    let content = html! {
        div.title {
            h1 { "Hits" @if let Some(feed) = feed { " of " (safe(feed)) } @if let Some(value) = value { " about " (safe(value)) } }
            p.lede { (grouped(*last)) " in all: what feeds say is bad and was met, each once, the newest first." }
        }
        @if !is_own {
            p.about { "Those that sensors have noted and shipped; each sensor's own page says which feeds it watches for." }
        } @else if feeds.is_empty() {
            p { "Nothing is watched for yet: " code { "dnsledger indicators import --feed NAME FILE" } }
        } @else {
            p.about {
                "By feed: "
                a href=(HitPage::link(None, about, *is_open, None)) { "all" }
                @for status in feeds {
                    " · "
                    a href=(HitPage::link(Some(&status.name), about, *is_open, None)) { (safe(&status.name)) }
                    " (" (grouped(status.indicators)) ")"
                    @if status.stale { span.warning { " stale" } }
                    @if !status.walked { span.warning { " history is not looked through yet" } }
                    @if status.held { span.warning { " a smaller one is held back" } }
                    @if let Some(fault) = &status.fault { span.warning { " " (safe(fault)) } }
                }
            }
        }
        @if value.is_some() {
            p.about { "Those about " span.dns { (safe(about.unwrap_or_default())) } " alone. " a href=(HitPage::link(only, None, *is_open, None)) { "All hits" } }
        }
        p.about {
            @if *is_open { "Those that nobody has acknowledged. " a href=(HitPage::link(only, about, false, None)) { "All hits" } }
            @else { a href=(HitPage::link(only, about, true, None)) { "Only those that nobody has acknowledged" } }
        }
        @if hits.is_empty() {
            p role="status" { (safe(&nothing(page))) }
        } @else if may_tick {
            form.hits method="post" action="/hits" {
                @if let Some(feed) = feed { input type="hidden" name="feed" value=(safe(feed)); }
                @if let Some(value) = value { input type="hidden" name="value" value=(safe(value)); }
                @if *is_open { input type="hidden" name="open" value="true"; }
                @if let Some(cursor) = cursor { input type="hidden" name="cursor" value=(cursor); }
                (table)
                p { button type="submit" { "Acknowledge" } }
            }
        } @else { div.hits { (table) } }
        @if let Some(next) = next {
            p.pager { a rel="next" href=(HitPage::link(only, about, *is_open, Some(next.as_str()))) { "Older hits" } }
        }
    };
    document(&Frame { title: "Hits", as_of, ..Frame::default() }, content)
}

/// The sentence of a page without hits.
fn nothing(page: &HitPage) -> String {
    let HitPage { last, feed, feeds, is_own, .. } = page;
    let indicators: u64 = feeds.iter().map(|feed| feed.indicators).sum();
    match feed {
        _ if !is_own && *last == 0 => "No hits: no sensor has shipped any.".to_owned(),
        _ if !is_own => "No hits that fit.".to_owned(),
        Some(feed) if !feeds.iter().any(|status| status.name == *feed) => {
            format!("Unknown feed {feed}, and no hit of a former one.")
        }
        _ if *last > 0 => "No hits that fit.".to_owned(),
        _ if indicators == 0 => "No hits: nothing is watched for.".to_owned(),
        _ => format!("No hits: none of the {} indicators was met.", grouped(indicators)),
    }
}

fn name(hit: &HitLine, trail: &Trail) -> Markup {
    match Name::parse(&hit.rrname) {
        Ok(name) => html! { a href=(Subject::name(&name).href(trail)) { (safe(&hit.rrname)) } },
        Err(_) => html! { (safe(&hit.rrname)) },
    }
}

fn said(hit: &HitLine) -> &str {
    hit.title.as_deref().or(hit.description.as_deref()).unwrap_or_default()
}

/// Says that feeds name something now.
pub fn listed(listed: &[(String, Vec<String>)]) -> Markup {
    html! {
        @for (indicator, feeds) in listed {
            p.warning role="status" {
                "Listed: " span.dns { (safe(indicator)) } " by " (safe(&feeds.join(", "))) ". "
                a href=(HitPage::link(None, Some(indicator), false, None)) { "Hits" }
            }
        }
    }
}
