//! People of ours and their accounts on a platform: the setting `users` first, then a search.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::mapping::refuse;
use super::members::Members;
use super::{AdapterError, CallContext};
use crate::domain::{UserRef, shown};

/// What a search found is good for so long: a new colleague is found soon, a flood of tickets asks
/// once.
const LIFE: Duration = Duration::from_secs(600);
/// Longest account of a platform's.
const ACCOUNT_MAX: usize = 255;

/// The accounts of our people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Our id or an e-mail address in lower case → theirs.
    accounts: BTreeMap<String, String>,
}

impl Users {
    /// The setting `users`: our id or e-mail address → the account there.
    ///
    /// # Errors
    /// Validation of it: a name that is neither, an account that is no text.
    pub fn of(members: &Members<'_>) -> Result<Self, AdapterError> {
        let (mut accounts, mut faults) = (BTreeMap::new(), BTreeMap::new());
        for (ours, theirs) in members.object("users")?.into_iter().flatten() {
            let Some(name) = name_of(ours) else {
                let fault = "is neither an id of a user nor an e-mail address";
                let field = format!("settings.users.{}", shown(ours));
                faults.insert(field, fault.to_owned());
                continue;
            };
            let account = match theirs {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
            };
            let length = account.chars().count();
            if length == 0 || length > ACCOUNT_MAX || account.chars().any(char::is_control) {
                let fault = "must be the user's account on the platform, as text or number";
                faults.insert(format!("settings.users.{name}"), fault.to_owned());
                continue;
            }
            accounts.insert(name, account);
        }
        refuse(faults)?;
        Ok(Self { accounts })
    }

    /// What the setting says of somebody.
    #[must_use]
    pub fn known(&self, who: &UserRef) -> Option<&str> {
        let by_email = || {
            let email = who.email.as_deref()?.trim().to_lowercase();
            self.accounts.get(&email)
        };
        let found = self.accounts.get(&who.id.to_string());
        found.or_else(by_email).map(String::as_str)
    }

    /// Somebody's account: as the setting says, else what `search` finds for their e-mail address.
    /// It is not asked where there is no address, and not again for ten minutes.
    ///
    /// # Errors
    /// Those of the search.
    pub async fn find<F>(
        &self,
        context: &CallContext<'_>,
        who: &UserRef,
        search: impl FnOnce(String) -> F,
    ) -> Result<Option<String>, AdapterError>
    where
        F: Future<Output = Result<Option<String>, AdapterError>>,
    {
        if let Some(known) = self.known(who) {
            return Ok(Some(known.to_owned()));
        }
        let email = who.email.as_deref().map(str::trim);
        let Some(email) = email.filter(|email| !email.is_empty()) else {
            return Ok(None);
        };
        let name = remembered_as(email);
        let found = context.recall(name, LIFE, search(email.to_owned())).await?;
        Ok(found.as_ref().clone())
    }

    /// Forgets what a search found of somebody, as the platform has refused it.
    pub fn forget(context: &CallContext<'_>, who: &UserRef) {
        if let Some(email) = who.email.as_deref() {
            context.forget(&remembered_as(email.trim()));
        }
    }

    /// The id or address of ours that an account belongs to by the setting.
    #[must_use]
    pub fn back(&self, theirs: &str) -> Option<&str> {
        let found = self.accounts.iter().find(|(_, account)| *account == theirs);
        found.map(|(ours, _)| ours.as_str())
    }
}

/// What the account that was found for an address is called in the memory.
fn remembered_as(email: &str) -> String {
    format!("user {}", email.to_lowercase())
}

/// An id as we write it, or an e-mail address in lower case.
fn name_of(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    if let Ok(id) = Uuid::parse_str(&text) {
        return Some(id.to_string());
    }
    let (before, domain) = text.split_once('@')?;
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"@/:\\".contains(c);
    let is_email = !before.is_empty() && !domain.is_empty();
    (is_email && (before.chars().chain(domain.chars())).all(fits)).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use serde_json::json;

    use super::super::members::tests::with_members;
    use super::super::memory::Memory;
    use super::super::{EgressPolicy, ErrorClass, HttpClient, SendPermit, Strangers};
    use super::*;
    use crate::platforms::{AccessToken, Response, TokenSource};

    struct Free;

    impl SendPermit for Free {
        fn check(&self, _: Duration) -> Result<(), AdapterError> {
            Ok(())
        }
    }

    #[async_trait::async_trait]
    impl TokenSource for Free {
        async fn token(
            &self,
            _: &CallContext<'_>,
            _: Option<&secrecy::SecretString>,
        ) -> Result<AccessToken, AdapterError> {
            Err(AdapterError::unsupported("no OAuth here"))
        }

        fn is_stale(&self, _: &Response) -> bool {
            false
        }
    }

    fn users(map: &Value) -> Result<Users, AdapterError> {
        with_members(&json!({ "users": map }), &json!({}), Users::of)
    }

    fn who(id: u128, email: Option<&str>) -> UserRef {
        UserRef {
            id: Uuid::from_u128(id),
            email: email.map(str::to_owned),
            full_name: None,
        }
    }

    #[tokio::test]
    async fn the_setting_is_asked_first_and_the_platform_once() {
        let id = Uuid::from_u128(7).to_string().to_uppercase();
        let users = users(&json!({ id: "U7", "Ann@Example.org": 12 })).unwrap();
        let client = HttpClient::new(EgressPolicy::default(), Duration::from_secs(1), 1).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let memory = Memory::default();
        let context = CallContext::new(&client, deadline, &Free, &Free, &Strangers::PAGES)
            .remembering(&memory);
        let asked = Cell::new(0);
        let find = async |who: UserRef| {
            let search = async |email: String| {
                asked.set(asked.get() + 1);
                Ok((email == "bo@example.org").then(|| "U9".to_owned()))
            };
            users.find(&context, &who, search).await.unwrap()
        };

        assert_eq!(find(who(7, Some("x@y.z"))).await.as_deref(), Some("U7"));
        let ann = find(who(8, Some("ann@example.org"))).await;
        assert_eq!(ann.as_deref(), Some("12"));
        assert_eq!(find(who(9, None)).await, None);
        assert_eq!(asked.get(), 0);
        for _ in 0..3 {
            let bo = find(who(9, Some("bo@example.org"))).await;
            assert_eq!(bo.as_deref(), Some("U9"));
            assert_eq!(find(who(10, Some("cy@example.org"))).await, None);
        }
        assert_eq!(asked.get(), 2);
        assert_eq!(users.back("12"), Some("ann@example.org"));
        assert_eq!(users.back("U9"), None);
    }

    #[test]
    fn a_bad_setting_is_refused_by_its_names() {
        let error = users(&json!({
            "ann": "U1", "A@b.c": "", "d@e.f": ["U2"], "https://u@x.example": "U3",
        }))
        .unwrap_err();

        let ErrorClass::Validation { fields } = error.class else {
            panic!("it is the setting");
        };
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 4);
        for name in [
            "settings.users.a@b.c",
            "settings.users.ann",
            "settings.users.d@e.f",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
