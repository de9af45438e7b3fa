//! What feeds say is bad and was met, the newest first.

use maud::{Markup, html};

use super::link::{Place, Trail};
use super::shell::{Frame, document, grouped, moment, safe};
use crate::dns::Name;
use crate::status::Freshness;
use crate::watch::{FeedStatus, HitLine};

/// What the page shows.
pub struct HitPage {
    /// The hits.
    pub hits: Vec<HitLine>,
    /// The number of the last hit there is.
    pub last: u64,
    /// Where to go on from.
    pub next: Option<u64>,
    /// Only of this feed.
    pub feed: Option<String>,
    /// The feeds there are.
    pub feeds: Vec<FeedStatus>,
}

/// The page of hits.
pub fn hits_page(page: &HitPage, as_of: Option<&Freshness>) -> String {
    let HitPage { hits, last, next, feed, feeds } = page;
    let trail = Trail::default();
    let content = html! {
        div.title {
            h1 { "Hits" @if let Some(feed) = feed { " of " (safe(feed)) } }
            p.lede { (grouped(*last)) " in all: what feeds say is bad and was met, each once, the newest first." }
        }
        @if feeds.is_empty() {
            p { "Nothing is watched for yet: " code { "dnsledger indicators import --feed NAME FILE" } }
        } @else {
            p.about {
                "By feed: "
                a href="/hits" { "all" }
                @for status in feeds {
                    " · "
                    a href={ "/hits?feed=" (status.name) } { (safe(&status.name)) }
                    " (" (grouped(status.indicators)) ")"
                    @if status.stale { span.warning { " stale" } }
                    @if status.held { span.warning { " a smaller one is held back" } }
                    @if let Some(fault) = &status.fault { span.warning { " " (safe(fault)) } }
                }
            }
        }
        @if hits.is_empty() {
            p role="status" { "No hits." }
        } @else {
            div.scroll {
                table {
                    caption.hidden { "Hits" }
                    thead { tr {
                        th scope="col" { "Noted" } th scope="col" { "Name" } th scope="col" { "Indicator" }
                        th scope="col" { "Feed" } th scope="col" { "What it says" } th scope="col" { "Sensor" }
                    } }
                    tbody {
                        @for hit in hits {
                            tr id={ "hit-" (hit.sequence) } {
                                td { (moment(hit.noted)) }
                                td.dns { (name(hit, &trail)) @if let Some(address) = &hit.address { " " (address) } }
                                td.dns { (hit.kind) " " (safe(&hit.indicator)) }
                                td { (safe(&hit.feeds.join(", "))) }
                                td { (safe(said(hit))) }
                                td { (safe(&hit.sensor)) }
                            }
                        }
                    }
                }
            }
        }
        @if let Some(next) = next {
            p.pager { a rel="next" href={ "/hits?cursor=" (next) @if let Some(feed) = feed { "&feed=" (feed) } } { "Older hits" } }
        }
    };
    document(&Frame { title: "Hits", as_of, ..Frame::default() }, content)
}

fn name(hit: &HitLine, trail: &Trail) -> Markup {
    match Name::parse(&hit.rrname) {
        Ok(name) => html! { a href=(Place::name(&name).href(trail)) { (safe(&hit.rrname)) } },
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
                "Listed: " span.dns { (safe(indicator)) } " by " (safe(&feeds.join(", "))) ". " a href="/hits" { "Hits" }
            }
        }
    }
}
