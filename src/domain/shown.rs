//! What of a text that a stranger wrote may be shown: in an error, an event, a log line.

/// Stands for what is not shown.
pub const MASK: &str = "••••";

/// Longest name that is shown.
const NAME_MAX: usize = 64;
/// How the tokens of well-known platforms begin.
const TOKENS: [&str; 16] = [
    "xox",
    "xapp-",
    "xoxe",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "whsec_",
    "whsk_",
    "sk-",
    "sk_",
    "eyj",
    "akia",
    "atatt",
    "pat-",
];

/// A name or a code as it was sent, where it looks like one: a typo has to be seen to be mended.
/// What could be a password is masked.
#[must_use]
pub fn shown(name: &str) -> &str {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-:/[]$+ ".contains(c);
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(fits);
    if is_name && !looks_secret(name) {
        name
    } else {
        MASK
    }
}

/// Whether a text looks like a password or a token: as its maker would begin it, or letters and
/// digits as no word has them. UUIDs do not.
#[must_use]
pub fn looks_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if text.len() >= 12 && TOKENS.iter().any(|token| lower.starts_with(token)) {
        return true;
    }
    let is_piece = |piece: &str| !is_uuid(piece) && is_random(piece);
    text.split(|c: char| c.is_whitespace() || "/:,;=".contains(c))
        .any(is_piece)
}

/// With its hyphens: 32 hex digits in a row may be a key.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_random(text: &str) -> bool {
    let long = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|part| {
            let digits = part.bytes().filter(u8::is_ascii_digit).count();
            let mixed = digits > 0 && digits < part.len();
            part.len() >= 24 || (part.len() >= 16 && mixed)
        });
    let squeezed: Vec<bool> = text
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.is_ascii_digit())
        .collect();
    let turns = squeezed
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .count();
    long || (squeezed.len() >= 8 && turns >= 4)
}

/// Where JSON is at fault, and what kind of fault: serde's own words quote the value.
#[must_use]
pub fn json_fault(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io => "cannot be read",
        serde_json::error::Category::Syntax => "is not valid JSON",
        serde_json::error::Category::Data => "has a value of another type than it should",
        serde_json::error::Category::Eof => "ends too early",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_shown_and_a_token_is_not() {
        for name in [
            "priorty",
            "customfield_10010",
            "ticket.explode",
            "api_tokn",
            "line2",
            "x-request-id",
            "attachments[3].url",
            "9b2f1c1e-2a55-4a53-8a43-0f2f3d1c6a10",
            "some_long_but_readable_member_name",
        ] {
            assert_eq!(shown(name), name);
        }
        for secret in [
            "",
            "xoxb-17653295-kTq",
            "s3cr3t-t0k3n",
            "n3v3r-sh0wn",
            "correct\nhorse",
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI7K7MDENGbPxRfiCY",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "péché",
        ] {
            assert_eq!(shown(secret), MASK, "{secret}");
        }
    }

    #[test]
    fn a_fault_in_json_says_where_and_not_what() {
        let error = serde_json::from_str::<u32>("\"hunter2\"").unwrap_err();
        assert_eq!(
            json_fault(&error),
            "has a value of another type than it should at line 1 column 9"
        );
    }
}
