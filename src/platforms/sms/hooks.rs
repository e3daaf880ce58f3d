//! Where Twilio sends the messages that come to our number (twilio.com/docs,
//! phone-numbers/api/incomingphonenumber-resource). A number has one address, so that a new one
//! takes the place of the old; what it signs with is the account's auth token.

use async_trait::async_trait;
use reqwest::Method;
use serde::Deserialize;

use super::{Sender, Sms};
use crate::domain::WebhookState;
use crate::platforms::inbound::{HookHealth, Registered, Registrar, SecretSource, Wanted, or_gone};
use crate::platforms::{AdapterError, CallContext};

/// Where numbers lead that nobody has set up.
const DEMO: &str = "https://demo.twilio.com/";

#[derive(Deserialize)]
struct Number {
    sid: String,
    #[serde(default)]
    phone_number: String,
    sms_url: Option<String>,
}

impl Number {
    /// Where its messages go, where somebody has set that up.
    fn url(&self) -> Option<&str> {
        let url = self.sms_url.as_deref()?;
        (!url.is_empty() && !url.starts_with(DEMO)).then_some(url)
    }
}

/// What an address ends with, whatever server it is of: `/webhooks/<integration id>`.
fn tail(url: &str) -> Option<&str> {
    let path = url.split('?').next()?;
    path.rfind("/webhooks/").map(|at| &path[at..])
}

impl Sms {
    /// The number that is ours, as the account has it.
    async fn own_number(&self, context: &CallContext<'_>) -> Result<Number, AdapterError> {
        #[derive(Deserialize)]
        struct Listing {
            incoming_phone_numbers: Vec<Number>,
        }
        let Sender::Number(own) = &self.sender else {
            let text = "what comes to a messaging service is set up in its own page at Twilio: \
                        the printed steps say how";
            return Err(AdapterError::unsupported(text));
        };
        let request = self.api.get(&self.path(&["IncomingPhoneNumbers.json"]))?;
        let request = request.query([("PhoneNumber", own.as_str())]);
        let listed = self
            .api
            .ask(context, request, "listing the account's numbers");
        let listing: Listing = listed.await?;
        let mut numbers = listing.incoming_phone_numbers.into_iter();
        let found = numbers.find(|number| number.phone_number == *own);
        found.ok_or_else(|| {
            let fault = "is no number of this account";
            AdapterError::field("settings.from_number", fault)
        })
    }

    async fn number_of(
        &self,
        context: &CallContext<'_>,
        id: &str,
    ) -> Result<Option<Number>, AdapterError> {
        let name = format!("{id}.json");
        let request = self.api.get(&self.path(&["IncomingPhoneNumbers", &name]))?;
        or_gone(self.api.ask(context, request, "reading the number").await)
    }

    async fn lead(
        &self,
        context: &CallContext<'_>,
        id: &str,
        url: &str,
    ) -> Result<(), AdapterError> {
        let name = format!("{id}.json");
        let path = self.path(&["IncomingPhoneNumbers", &name]);
        let request = self.api.set(Method::POST, &path)?;
        let request = request.open_form(vec![
            ("SmsUrl", url.to_owned()),
            ("SmsMethod", "POST".to_owned()),
        ]);
        let what = "setting where the number's messages go";
        self.api.tell(context, request, what).await.map(drop)
    }
}

#[async_trait]
impl Registrar for Sms {
    fn secret(&self) -> SecretSource {
        SecretSource::Kept(if self.by_key {
            "webhook_secret"
        } else {
            "the account's auth_token"
        })
    }

    fn has_one_address(&self) -> bool {
        true
    }

    async fn register(
        &self,
        context: &CallContext<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<Registered, AdapterError> {
        let number = self.own_number(context).await?;
        // Somebody else may live by what is there.
        let other = number.url().filter(|url| tail(url) != tail(wanted.url));
        if let Some(other) = other {
            let text = format!(
                "messages to {} go to {other}, which is not ours to change: take it away at \
                 Twilio first",
                number.phone_number
            );
            return Err(AdapterError::new(
                crate::platforms::ErrorClass::Conflict,
                text,
            ));
        }
        self.lead(context, &number.sid, wanted.url).await?;
        Ok(Registered {
            resource: Some(number.phone_number),
            ..Registered::new(number.sid)
        })
    }

    async fn find(
        &self,
        context: &CallContext<'_>,
        url: &str,
    ) -> Result<Vec<Registered>, AdapterError> {
        let number = self.own_number(context).await?;
        let is_here = number.url() == Some(url);
        Ok(is_here
            .then(|| Registered::new(number.sid))
            .into_iter()
            .collect())
    }

    async fn check(&self, context: &CallContext<'_>, id: &str) -> Result<HookHealth, AdapterError> {
        let Some(number) = self.number_of(context, id).await? else {
            return Ok(HookHealth::gone());
        };
        Ok(match number.url() {
            None => HookHealth::not_well(
                WebhookState::Gone,
                "messages to the number go nowhere any more",
            ),
            Some(url) => HookHealth {
                url: Some(url.to_owned()),
                ..HookHealth::active()
            },
        })
    }

    async fn remove(
        &self,
        context: &CallContext<'_>,
        id: &str,
        url: &str,
    ) -> Result<(), AdapterError> {
        let number = self.number_of(context, id).await?;
        // What somebody else has set since is theirs.
        match number.filter(|number| number.url() == Some(url)) {
            Some(number) => self.lead(context, &number.sid, "").await,
            None => Ok(()),
        }
    }
}
