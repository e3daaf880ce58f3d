//! Addresses below a base, built part by part: what is stored or configured is one part of a path,
//! and never several.

use url::Url;

use super::{AdapterError, ErrorClass};

/// The address of these parts below a base. Each part is percent-encoded; what is left of a query
/// or fragment in the base goes.
///
/// # Errors
/// Class validation of `base_url`, where the base takes no path; class internal for a part that a
/// path cannot hold (`..` would lead out of it, whatever its encoding).
pub(super) fn below(base: &Url, parts: &[&str]) -> Result<Url, AdapterError> {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    for part in parts {
        if part.is_empty() || *part == "." || *part == ".." || part.chars().any(char::is_control) {
            let text = "a stored id or a setting is no part of an address; look at the ticket's \
                        external id";
            return Err(AdapterError::new(ErrorClass::Internal, text)
                .with_internal(format!("a path with the part {part:?}")));
        }
    }
    url.path_segments_mut()
        .map_err(|()| {
            AdapterError::field("base_url", "cannot have a path, e.g. https://example.org")
        })?
        .pop_if_empty()
        .extend(parts);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(parts: &[&str]) -> Option<String> {
        let base = "https://acme.example/jira/?x=1#y".parse().unwrap();
        below(&base, parts).ok().map(String::from)
    }

    #[test]
    fn a_part_stays_one_part() {
        let escaped = built(&["issue", "../../secret", "comment"]).unwrap();
        assert_eq!(
            escaped,
            "https://acme.example/jira/issue/..%2F..%2Fsecret/comment"
        );
        assert_eq!(
            built(&["issue", "a b?c#d%2e\\e"]).unwrap(),
            "https://acme.example/jira/issue/a%20b%3Fc%23d%252e%5Ce"
        );
        for part in ["", ".", "..", "a\nb"] {
            assert_eq!(built(&["issue", part, "comment"]), None, "{part:?}");
        }
    }
}
