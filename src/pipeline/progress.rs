//! What earlier attempts of a command made ready or got done, kept in `commands.prepared` before
//! anything builds on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Analysis;

/// What earlier attempts made ready or got done.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::pipeline) struct Progress {
    /// Of a `ticket.ai_create`: every attempt creates the same ticket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::pipeline) analysis: Option<Box<Analysis>>,
    /// Files that are attached, by their number, with the platform's ids: where nothing can be
    /// looked up, nothing else keeps them from being sent again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::pipeline) files: BTreeMap<usize, Option<String>>,
    /// It was sent again though nothing keeps it from happening twice, as `settings.on_unknown`
    /// wants.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::pipeline) sent_again: bool,
}

impl Progress {
    /// As stored. What cannot be read is none: the command then runs as if for the first time.
    pub(in crate::pipeline) fn stored(text: Option<&str>) -> Self {
        let stored = text.map(serde_json::from_str);
        stored.and_then(Result::ok).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back() {
        let progress = Progress {
            files: BTreeMap::from([(0, Some("F1".into())), (2, None)]),
            sent_again: true,
            ..Progress::default()
        };

        let text = serde_json::to_string(&progress).unwrap();
        let back = Progress::stored(Some(&text));

        assert_eq!(text, r#"{"files":{"0":"F1","2":null},"sent_again":true}"#);
        assert!(back.sent_again && back.files == progress.files);
        assert!(!Progress::stored(Some("?")).sent_again);
        assert!(!Progress::stored(None).sent_again);
    }
}
