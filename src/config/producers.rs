//! Who may publish what: rules by the AMQP `user_id`, which the broker itself has checked.

use uuid::Uuid;

/// One rule: a user may publish these types for this organization.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    user: String,
    /// `None`: any.
    organization: Option<Uuid>,
    /// A type, a group as `ticket.*`, or `*`.
    types: String,
}

/// The rules. Without one, anybody who can publish is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    rules: Vec<Rule>,
    reply_to: Vec<String>,
}

impl Producers {
    /// Reads `USER ORGANIZATION TYPE` of each rule; `*` stands for any organization or type,
    /// `ticket.*` for a group.
    ///
    /// # Errors
    /// What is wrong with which rule, and what would be right.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut rules = Vec::with_capacity(texts.len());
        for text in texts {
            let parts: Vec<&str> = text.split_whitespace().collect();
            let [user, organization, types] = parts.as_slice() else {
                return Err(format!(
                    "{text:?} must be \"USER ORGANIZATION TYPE\", e.g. \"portal * ticket.*\""
                ));
            };
            let organization = match *organization {
                "*" => None,
                id => Some(Uuid::parse_str(id).map_err(|_| {
                    format!("{text:?}: the organization must be a UUID, or * for any")
                })?),
            };
            let known = crate::domain::CommandType::ALL.iter().any(|known| {
                let group = types.strip_suffix(".*").is_some_and(|group| {
                    known
                        .as_str()
                        .strip_prefix(group)
                        .is_some_and(|rest| rest.starts_with('.'))
                });
                group || *types == "*" || known.as_str() == *types
            });
            if !known {
                return Err(format!(
                    "{text:?}: the type must be a command's, or a group as ticket.*, or * for any"
                ));
            }
            rules.push(Rule {
                user: (*user).to_owned(),
                organization,
                types: (*types).to_owned(),
            });
        }
        Ok(Self {
            rules,
            reply_to: Vec::new(),
        })
    }

    /// The same with what the names of queues begin with that may be named as `reply_to`.
    #[must_use]
    pub fn answering_in(self, reply_to: Vec<String>) -> Self {
        Self { reply_to, ..self }
    }

    /// What the names of queues begin with that may be named as `reply_to`, besides those that the
    /// broker names. None: all.
    #[must_use]
    pub fn reply_to(&self) -> &[String] {
        &self.reply_to
    }

    /// Whether anybody who can publish is trusted.
    #[must_use]
    pub const fn trusts_all(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a message of this user is taken; else why not.
    ///
    /// # Errors
    /// What to say to whoever sent it.
    pub fn check(
        &self,
        user: Option<&str>,
        organization: Uuid,
        command_type: &str,
    ) -> Result<(), String> {
        if self.trusts_all() {
            return Ok(());
        }
        let Some(user) = user.filter(|user| !user.is_empty()) else {
            return Err(
                "is required: the message property user_id, which the broker compares with the \
                 connection's user"
                    .into(),
            );
        };
        let allows = |rule: &&Rule| {
            rule.user == user
                && rule.organization.is_none_or(|id| id == organization)
                && (rule.types == "*"
                    || rule.types == command_type
                    || rule.types.strip_suffix('*').is_some_and(|group| {
                        group.ends_with('.') && command_type.starts_with(group)
                    }))
        };
        if self.rules.iter().any(|rule| allows(&rule)) {
            return Ok(());
        }
        Err(format!(
            "{user:?} may not publish {command_type} for this organization (setting \
             producers.allow)"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORGANIZATION: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

    fn rules(texts: &[&str]) -> Result<Producers, String> {
        Producers::parse(
            &texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_user_may_publish_what_a_rule_of_theirs_says_and_nothing_else() {
        let ours = Uuid::parse_str(ORGANIZATION).unwrap();
        let portal = format!("portal {ORGANIZATION} ticket.*");
        let producers = rules(&[&portal, "admin * *", "reader * integration.list"]).unwrap();
        let may = |user, organization, kind| producers.check(user, organization, kind).is_ok();

        assert!(may(Some("portal"), ours, "ticket.create"));
        assert!(!may(Some("portal"), Uuid::nil(), "ticket.create"));
        assert!(!may(Some("portal"), ours, "integration.create"));
        assert!(may(Some("admin"), Uuid::nil(), "integration.create"));
        assert!(may(Some("reader"), ours, "integration.list"));
        assert!(!may(Some("reader"), ours, "integration.get"));
        assert!(!may(Some("stranger"), ours, "ticket.create"));
        assert!(!may(None, ours, "ticket.create"));
        assert!(
            Producers::default()
                .check(None, ours, "ticket.create")
                .is_ok()
        );
    }

    #[test]
    fn a_rule_that_could_never_hold_is_a_fault() {
        for (text, part) in [
            ("portal", "USER ORGANIZATION TYPE"),
            ("portal x ticket.*", "UUID"),
            ("portal * tickets.*", "type must be"),
            ("portal * ticket.crate", "type must be"),
        ] {
            assert!(rules(&[text]).unwrap_err().contains(part), "{text}");
        }
    }
}
