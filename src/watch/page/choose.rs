//! Choosing devices: search, type, label, order, and pages.

use maud::{Markup, html};

use crate::base::text::count;
use crate::watch::address::address;
use crate::watch::model::{Fleet, PAGE, Page, Sort, Wish};

/// Most types and labels to choose from.
const CHOICES: usize = 60;

/// An address with what somebody wants to see.
pub(super) fn address_of(path: &str, wish: &Wish, page: usize) -> String {
    let number = page.to_string();
    let sort = if wish.sort == Sort::default() { "" } else { wish.sort.word() };
    let page = if page > 1 { number.as_str() } else { "" };
    address(path, &[("q", &wish.search), ("type", &wish.kind), ("label", &wish.label), ("sort", sort), ("page", page)])
}

pub(super) fn form(fleet: &Fleet, wish: &Wish) -> Markup {
    let (kinds, labels) = fleet.choices(CHOICES);
    let is_chosen = |is: bool| is.then_some("");
    // What was asked for stands there, whether there is any such device or not.
    let kinds: Vec<&String> =
        kinds.iter().chain((!kinds.contains(&wish.kind)).then_some(&wish.kind)).filter(|kind| !kind.is_empty()).collect();
    html! {
        form.choose role="search" action="/" {
            input type="search" name="q" value=(wish.search) placeholder="Name, room, id" aria-label="Search for a device";
            select name="sort" aria-label="Order" {
                @for (sort, word, name) in Sort::ALL { option value=(word) selected=[is_chosen(sort == wish.sort)] { (name) } }
            }
            select name="type" aria-label="Type" {
                option value="" { "all types" }
                @for kind in kinds { option value=(kind) selected=[is_chosen(*kind == wish.kind)] { (kind) } }
            }
            @if !labels.is_empty() || !wish.label.is_empty() {
                input name="label" value=(wish.label) placeholder="label=value" aria-label="Label" list="labels";
                datalist #labels { @for label in &labels { option value=(label) {} } }
            }
            button { "Show" }
        }
    }
}

/// `1–50 of 10,000`, and links to the pages beside.
pub(super) fn pager(page: &Page<'_>, wish: &Wish) -> Markup {
    let first = (page.page - 1) * PAGE + 1;
    let last = first + page.devices.len() - 1;
    html! {
        nav #pager aria-label="Pages" {
            @if page.found > 0 {
                span { (count(first as u64)) "–" (count(last as u64)) " of " (count(page.found as u64)) }
            }
            @if page.page > 1 { " " a rel="prev" href=(address_of("/", wish, page.page - 1)) { "‹ previous" } }
            @if page.page < page.pages { " " a rel="next" href=(address_of("/", wish, page.page + 1)) { "next ›" } }
        }
    }
}
