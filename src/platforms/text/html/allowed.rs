//! What the platforms take of HTML.

/// The tags that a platform takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Zendesk, Freshdesk, notes of HubSpot, e-mail.
    Full,
    /// Notes of an Asana task: XML in one `<body>`, no paragraphs, line breaks as they are. Lists
    /// hold lines and lists, quotes hold lines (developers.asana.com/docs/rich-text).
    AsanaNotes,
    /// Comments of Asana: the same without headings and rules.
    AsanaComment,
    /// Messages of Teams through Microsoft Graph, outside of cards.
    Teams,
}

impl Allowed {
    pub(super) const fn is_asana(self) -> bool {
        matches!(self, Self::AsanaNotes | Self::AsanaComment)
    }

    pub(super) const fn strong(self) -> (&'static str, &'static str) {
        match self {
            Self::Teams => ("<b>", "</b>"),
            _ => ("<strong>", "</strong>"),
        }
    }

    pub(super) const fn emphasis(self) -> (&'static str, &'static str) {
        match self {
            Self::Teams => ("<i>", "</i>"),
            _ => ("<em>", "</em>"),
        }
    }
}
