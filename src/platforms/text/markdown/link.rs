//! Addresses of links.

use super::Dialect;

/// An address that leaves no reference where it leads to.
pub(super) fn led_around(href: &str, dialect: Dialect) -> String {
    let Some((scheme, rest)) = href
        .split_once("://")
        .filter(|_| dialect == Dialect::GitHub)
    else {
        return href.to_owned();
    };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_github = ["github.com", "www.github.com"]
        .iter()
        .any(|name| host.eq_ignore_ascii_case(name));
    let refers = ["/issues/", "/pull/", "/discussions/", "/commit/"]
        .iter()
        .any(|kind| path.contains(kind));
    if is_github && refers {
        return format!("{scheme}://redirect.github.com{path}");
    }
    href.to_owned()
}

/// An address as the target of a link.
pub(super) fn target(href: &str) -> String {
    let mut made = String::with_capacity(href.len());
    for c in href.chars() {
        match c {
            '(' => made.push_str("%28"),
            ')' => made.push_str("%29"),
            '<' => made.push_str("%3C"),
            '>' => made.push_str("%3E"),
            '\\' => made.push_str("%5C"),
            '|' => made.push_str("%7C"),
            '`' => made.push_str("%60"),
            '*' => made.push_str("%2A"),
            c if c.is_whitespace() || c.is_control() => made.push_str("%20"),
            c => made.push(c),
        }
    }
    made
}
