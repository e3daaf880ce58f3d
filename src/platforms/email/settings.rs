//! An integration's settings and credentials, parsed once. All faults are told together.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Host;

use super::super::mail::{MailAddress, MailAuth, MailServer, Mailbox, MessageId, Security};
use super::super::mapping::{Mapping, refuse};
use super::super::members::{Members, url};
use super::super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::super::{AdapterError, ErrorClass};
use crate::domain::{AuthType, Integration, Platform, Priority, TicketCategory, TicketStatus};
use crate::secrets::Credentials;

/// Recipients that every server takes in one transaction (RFC 5321 §4.5.3.1.8).
pub(super) const RECIPIENTS_MAX: usize = 100;
/// Characters of the sender's name.
const NAME_MAX: usize = 200;
/// The longest left part of our Message-IDs: that of a file.
const LEFT_MAX: &str = "tkt-00000000-0000-0000-0000-000000000000-0123456789ab";

/// One integration.
pub(super) struct Settings {
    pub(super) server: MailServer,
    pub(super) flow: Option<OauthFlow>,
    pub(super) from: Mailbox,
    /// Who sees the sender's name before an address of ours.
    pub(super) from_name: Option<String>,
    pub(super) to: Vec<MailAddress>,
    pub(super) id_domain: String,
    /// Where answers go, if not to the sender.
    pub(super) reply_domain: Option<String>,
    /// What makes addresses for answers that nobody can guess.
    pub(super) reply_key: Option<SecretString>,
    pub(super) internal_comments: bool,
    pub(super) words: Words,
}

/// What things are called in mails.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) status: Mapping<TicketStatus>,
    pub(super) priority: Mapping<Priority>,
    pub(super) category: Mapping<TicketCategory>,
    /// Custom field of ours → label.
    pub(super) labels: Map<String, Value>,
}

/// Whose OAuth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    Google,
    Microsoft,
}

/// Faults so far.
#[derive(Default)]
struct Faults(BTreeMap<String, String>);

impl Faults {
    /// A part that is sound; the faults of one that is not are kept.
    fn keep<T>(&mut self, part: Result<T, AdapterError>) -> Result<Option<T>, AdapterError> {
        match part {
            Ok(part) => Ok(Some(part)),
            Err(AdapterError {
                class: ErrorClass::Validation { fields },
                ..
            }) => {
                self.0.extend(fields);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What an integration gives.
struct Given<'a> {
    members: Members<'a>,
    integration: &'a Integration,
    credentials: &'a Credentials,
}

impl Settings {
    /// Parses them.
    ///
    /// # Errors
    /// Class validation, with every member that is missing or wrong.
    pub(super) fn parse(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let given = &Given {
            members: Members::new(Platform::Email, integration, credentials),
            integration,
            credentials,
        };
        let mut faults = Faults::default();
        let host = faults.keep(given.host())?;
        let security = faults.keep(given.security())?;
        let port = faults.keep(given.port(security.unwrap_or(Security::Tls)))?;
        let from = faults.keep(given.sender())?;
        let from_name = faults.keep(given.sender_name())?;
        let to = faults.keep(given.to())?;
        let id_domain = faults.keep(given.id_domain(from.as_ref()))?;
        let reply_domain = faults.keep(given.reply_domain())?;
        let provider = INBOUND.map(|name| (name, name));
        faults.keep(given.choice("inbound_provider", &provider))?;
        let way = faults.keep(given.way(from.as_ref()))?;
        let internal_comments = faults.keep(given.members.switch("internal_comments"))?;
        let words = faults.keep(given.words())?;
        refuse(faults.0)?;
        let whole = (|| {
            let (from, from_name, (auth, flow)) = (from?, from_name?, way?);
            Some(Self {
                server: MailServer {
                    host: host?,
                    port: port?,
                    security: security?,
                    auth,
                },
                flow,
                from: Mailbox::new(from_name.as_deref(), from),
                from_name,
                to: to?,
                id_domain: id_domain?,
                reply_domain: reply_domain?,
                reply_key: reply_key(credentials),
                internal_comments: internal_comments?,
                words: words?,
            })
        })();
        whole.ok_or_else(|| {
            let text = "the settings of an e-mail integration cannot be read";
            AdapterError::new(ErrorClass::Internal, text)
        })
    }
}

/// Who may hand us the answers of people.
const INBOUND: [&str; 3] = ["postmark", "sendgrid", "mailgun"];

impl Given<'_> {
    /// A setting as it was given. Legacy rows keep them among the credentials.
    fn raw(&self, name: &str) -> Option<&Value> {
        let own = self.integration.settings.get(name);
        own.or_else(|| self.credentials.members().get(name))
            .filter(|value| !value.is_null())
    }

    /// A setting that is one of these words.
    fn choice<T: Copy>(
        &self,
        name: &str,
        words: &[(&'static str, T)],
    ) -> Result<Option<T>, AdapterError> {
        let Some(value) = self.raw(name) else {
            return Ok(None);
        };
        let said = value.as_str().map(str::trim);
        let found = words.iter().find(|(word, _)| Some(*word) == said);
        found.map(|(_, word)| Some(*word)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let fault = format!("must be one of {}", words.join(", "));
            AdapterError::field(&format!("settings.{name}"), fault)
        })
    }

    fn host(&self) -> Result<String, AdapterError> {
        let text = self.members.required_setting("smtp_host")?;
        let host = Host::parse(text.trim()).map_err(|_| {
            let fault = "is no host name: give it alone, e.g. smtp.example.com; the port goes into \
                         smtp_port";
            AdapterError::field("settings.smtp_host", fault)
        })?;
        Ok(host.to_string())
    }

    fn security(&self) -> Result<Security, AdapterError> {
        let words = [Security::Tls, Security::Starttls, Security::None];
        let words = words.map(|security| (security.as_str(), security));
        let said = self.choice("security", &words)?;
        Ok(said.unwrap_or(Security::Tls))
    }

    fn port(&self, security: Security) -> Result<u16, AdapterError> {
        let number = match self.raw("smtp_port") {
            None => return Ok(security.port()),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64().and_then(|number| u16::try_from(number).ok()),
        };
        number.filter(|port| *port > 0).ok_or_else(|| {
            let fault = "must be a number from 1 to 65535; usual are 465 with tls and 587 with \
                         starttls";
            AdapterError::field("settings.smtp_port", fault)
        })
    }

    fn sender(&self) -> Result<MailAddress, AdapterError> {
        let text = self.members.required_setting("from_address")?;
        address("settings.from_address", &text)
    }

    fn sender_name(&self) -> Result<Option<String>, AdapterError> {
        let Some(value) = self.raw("from_name") else {
            return Ok(None);
        };
        let name = value
            .as_str()
            .map(str::trim)
            .filter(|name| name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control));
        let name = name.ok_or_else(|| {
            let fault = format!("must be a text of one line and at most {NAME_MAX} characters");
            AdapterError::field("settings.from_name", fault)
        })?;
        Ok((!name.is_empty()).then(|| name.to_owned()))
    }

    fn to(&self) -> Result<Vec<MailAddress>, AdapterError> {
        const FIELD: &str = "settings.to";
        let none = || {
            let fault = "is required for email: a list of addresses, e.g. [\"ops@example.net\"]";
            AdapterError::field(FIELD, fault)
        };
        let (given, is_one): (Vec<&Value>, bool) = match self.raw("to") {
            None => return Err(none()),
            Some(Value::Array(list)) => (list.iter().collect(), false),
            Some(one) => (vec![one], true),
        };
        let (mut found, mut faults) = (Vec::<MailAddress>::new(), Faults::default());
        for (number, value) in given.iter().enumerate() {
            let field = if is_one {
                FIELD.to_owned()
            } else {
                format!("{FIELD}[{number}]")
            };
            let text = value.as_str().unwrap_or_default();
            if let Some(address) = faults.keep(address(&field, text))?
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
        refuse(faults.0)?;
        match found.len() {
            0 => Err(none()),
            1..=RECIPIENTS_MAX => Ok(found),
            count => {
                let fault = format!(
                    "names {count} addresses; a mail goes to {RECIPIENTS_MAX} at most: use the \
                     address of a group"
                );
                Err(AdapterError::field(FIELD, fault))
            }
        }
    }

    fn id_domain(&self, from: Option<&MailAddress>) -> Result<String, AdapterError> {
        let said = self.members.setting("message_id_domain");
        // Where the sender is no address, that is the fault.
        let domain = said.or_else(|| from.map(|from| from.domain().to_owned()));
        let Some(domain) = domain else {
            return Ok(String::new());
        };
        let domain = domain.trim().to_ascii_lowercase();
        MessageId::new(LEFT_MAX, &domain).map_err(|_| {
            let fault = "is no domain for Message-IDs, e.g. mail.example.com";
            AdapterError::field("settings.message_id_domain", fault)
        })?;
        Ok(domain)
    }

    fn reply_domain(&self) -> Result<Option<String>, AdapterError> {
        let Some(domain) = self.members.setting("reply_domain") else {
            return Ok(None);
        };
        let example = format!("ticket+0123abcd.0123456789abcdef@{}", domain.trim());
        let address = MailAddress::parse(&example).map_err(|_| {
            let fault = "is no domain that takes mail, e.g. in.example.com";
            AdapterError::field("settings.reply_domain", fault)
        })?;
        Ok(Some(address.domain().to_owned()))
    }

    /// How it logs in.
    fn way(
        &self,
        from: Option<&MailAddress>,
    ) -> Result<(MailAuth, Option<OauthFlow>), AdapterError> {
        match self.integration.auth_type {
            AuthType::Basic => {
                let auth = MailAuth::Basic {
                    user: self.user(self.members.text("username")?)?,
                    password: self.members.secret("password")?,
                };
                Ok((auth, None))
            }
            AuthType::Oauth2 => {
                let sender = || from.map(|from| from.as_str().to_owned());
                let said = self.credentials.text("username").or_else(sender);
                let auth = MailAuth::XOAuth2 {
                    user: self.user(said.unwrap_or_default())?,
                };
                Ok((auth, Some(self.flow()?)))
            }
            AuthType::Custom => Ok((MailAuth::None, None)),
            AuthType::ApiKey | AuthType::Bearer => {
                let fault = "must be basic, oauth2 or custom for email";
                Err(AdapterError::field("auth_type", fault))
            }
        }
    }

    fn user(&self, name: String) -> Result<String, AdapterError> {
        if name.chars().any(char::is_control) {
            let fault = "has control characters in it";
            return Err(AdapterError::field("credentials.username", fault));
        }
        Ok(name)
    }

    fn flow(&self) -> Result<OauthFlow, AdapterError> {
        let words = [
            ("google", Provider::Google),
            ("microsoft", Provider::Microsoft),
        ];
        let provider = self.choice("oauth_provider", &words)?.ok_or_else(|| {
            let fault = "is required with oauth2: google or microsoft";
            AdapterError::field("settings.oauth_provider", fault)
        })?;
        let client = Client {
            id: self.members.text("client_id")?,
            secret: Some(self.members.secret("client_secret")?),
            auth: ClientAuth::Form,
        };
        let refresh = self.credentials.secret("refresh_token");
        let (vendor, usual, scope) = match provider {
            Provider::Google => {
                if refresh.is_none() {
                    let fault = "is required with settings.oauth_provider google: authorize the \
                                 mailbox for the scope https://mail.google.com/";
                    return Err(AdapterError::field("credentials.refresh_token", fault));
                }
                let usual = "https://oauth2.googleapis.com/token".to_owned();
                ("Google", usual, None)
            }
            Provider::Microsoft => {
                let scope = match refresh {
                    Some(_) => "https://outlook.office.com/SMTP.Send offline_access",
                    None => "https://outlook.office365.com/.default",
                };
                let host = "https://login.microsoftonline.com";
                let usual = format!("{host}/{}/oauth2/v2.0/token", self.tenant()?);
                ("Microsoft", usual, Some(scope.to_owned()))
            }
        };
        let token_url = self.members.setting("token_url").unwrap_or(usual);
        let example = "https://login.example.com/oauth2/token";
        let token_url = url("settings.token_url", &token_url, example)?;
        let grant = refresh.map_or(Grant::ClientCredentials, Grant::Refresh);
        Ok(OauthFlow::new(vendor, token_url, grant, client).scope(scope))
    }

    fn tenant(&self) -> Result<String, AdapterError> {
        const FIELD: &str = "credentials.tenant_id";
        let tenant = self.credentials.text("tenant_id").ok_or_else(|| {
            let fault = "is required with settings.oauth_provider microsoft: the directory's id";
            AdapterError::field(FIELD, fault)
        })?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if tenant.chars().all(fits) && tenant.chars().any(|c| c.is_ascii_alphanumeric()) {
            Ok(tenant)
        } else {
            let fault = "is neither the id nor the domain of a directory";
            Err(AdapterError::field(FIELD, fault))
        }
    }

    fn words(&self) -> Result<Words, AdapterError> {
        Ok(Words {
            status: Mapping::of(&self.members, "status_map", &[])?,
            priority: Mapping::of(&self.members, "priority_map", &[])?,
            category: Mapping::of(&self.members, "category_map", &[])?,
            labels: self.integration.custom_fields_mapping.clone(),
        })
    }
}

fn address(field: &str, text: &str) -> Result<MailAddress, AdapterError> {
    MailAddress::parse(text.trim()).map_err(|fault| {
        let fault = format!("{fault}: give it alone, e.g. support@example.com");
        AdapterError::field(field, fault)
    })
}

/// Everything secret that the integration has: where it is changed, new tickets get other
/// addresses, and old ones keep theirs.
fn reply_key(credentials: &Credentials) -> Option<SecretString> {
    let own = ["password", "client_secret"].map(|name| credentials.secret(name));
    let parts = [credentials.webhook_secret().cloned()]
        .into_iter()
        .chain(own);
    let parts: Vec<String> = parts
        .flatten()
        .map(|secret| secret.expose_secret().to_owned())
        .collect();
    (!parts.is_empty()).then(|| SecretString::from(parts.join("\n")))
}
