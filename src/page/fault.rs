//! A request that could not be answered, as a page.

use maud::html;

use super::link::View;
use super::results::filters;
use super::shell::{Frame, document, safe};
use crate::status::Freshness;

/// Says what is wrong and what would be right. A failed lookup never looks like an empty one.
pub fn fault_page(
    view: &View,
    title: &str,
    message: &str,
    hint: Option<&str>,
    is_part_away: bool,
    as_of: Option<&Freshness>,
) -> String {
    // Where a part is away the rest can be asked.
    let on = is_part_away.then(|| View { partial: true, ..view.clone() });
    let content = html! {
        @if !view.q.is_empty() { (filters(view, None)) }
        section.fault role="alert" {
            h1 { (title) }
            p { (safe(message)) }
            @if let (Some(view), true) = (on, !view.q.is_empty()) { p { a href=(view.href()) { "Go on without it" } } }
            @if let Some(hint) = hint { p.hint { "Try: " (safe(hint)) } }
        }
    };
    let frame = Frame { title, query: &view.q, trail: view.trail.clone(), as_of, live: false };
    document(&frame, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_is_shown_and_stays_in_the_box() {
        let view = View::from_params(&[("q".to_owned(), "a b<".to_owned())]);
        let page = fault_page(&view, "Not a query", "character 2 of \"a b<\"", Some("~text"), false, None);
        assert!(page.contains("value=\"a b&lt;\"") && page.contains("character 2 of &quot;a b&lt;&quot;"));
        assert!(page.contains("Try: ~text") && page.contains("role=\"alert\""));
    }
}
