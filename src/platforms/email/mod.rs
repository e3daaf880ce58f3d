//! E-mail: every operation is a mail to the integration's recipients, and the mails of a ticket are
//! one thread. Handed in by SMTP submission.
//!
//! Sources: RFC 5321 (SMTP), RFC 5322 (messages), RFC 3834 (automatic messages), RFC 4954 (AUTH),
//! RFC 8314 (TLS); learn.microsoft.com, how-to-authenticate-an-imap-pop-smtp-application-by-using-
//! oauth; developers.google.com/gmail/imap/xoauth2-protocol.
//!
//! **Duplicates**: SMTP has neither a key nor a look-up. A server takes a message over with its
//! answer to the final dot; where that is lost, the outcome is unknown, and `settings.on_unknown`
//! decides. A repeat has the same Message-ID, Date and bytes, by which many mailboxes fold copies.
//!
//! | file | what it does |
//! | --- | --- |
//! | `settings` | reads settings and credentials |
//! | `thread` | ids, subjects and addresses that hold the mails of a ticket together |
//! | `item` | what a mail says |

mod item;
mod settings;
#[cfg(test)]
mod tests;
mod thread;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use self::item::{Contents, TEXT_MAX, contents, test};
use self::settings::Settings;
use self::thread::{MESSAGE_ID, REPLY_TO, SUBJECT, mark, reply_key, reply_to, root, subject};
use super::mail::{Draft, Mail, MailAuth, MailServer, Mailbox, MessageId};
use super::rate::RateHeaders;
use super::{
    Adapter, AdapterError, BaseUrl, CallContext, CheckReport, CustomFields, Deletes, Descriptor,
    Effect, ErrorClass, Exception, File, Known, Member, Mode, Operation, OperationKind, Plan,
    Protection, Receipt, Response, Scope, Shape, Strangers, TestKind, TokenFlow, any_version,
    off_runtime,
};
use crate::domain::{AuthType, Integration, Platform, Priority};
use crate::secrets::Credentials;
use crate::telemetry::clock;

/// Longest label of a custom field.
const LABEL_MAX: usize = 100;
/// Characters of a server's word that are remembered.
const WORD_MAX: usize = 300;

/// How a mail is kept from being sent twice.
const PROTECTION: &str = "none: every change is a mail, and no mail can be looked up; \
                          settings.on_unknown decides, and a repeat has the same Message-ID, \
                          date and bytes";
/// Why there is no sync.
const NOT_READ: &str = "a mail server takes mails in and shows none";
/// Who reads a comment.
const INTERNAL_COMMENTS: Exception = Exception::part(
    OperationKind::Comment,
    "comments that are not public, without settings.internal_comments",
    "everybody in settings.to would read them; where that is right, settings.internal_comments \
     can be set to true",
);

/// What is no text is read by [`Settings::parse`] alone, which tells its faults.
const fn by_the_adapter(_: &Value) -> Result<(), String> {
    Ok(())
}

/// E-mail's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Email,
    modes: &[
        Mode {
            auth_type: AuthType::Basic,
            name: "user and password",
            except: &[INTERNAL_COMMENTS],
            cannot_read: Some(NOT_READ),
            protection: PROTECTION,
            credentials: &[&[
                Member::required("username", "user name at the mail server, often an address")
                    .open()
                    .shaped(Shape::User),
                Member::required(
                    "password",
                    "its password; at Gmail an app password. Exchange Online takes none by \
                     default from the end of 2026",
                )
                .shaped(Shape::Password),
            ]],
        },
        Mode {
            auth_type: AuthType::Oauth2,
            name: "XOAUTH2 at Google or Microsoft",
            except: &[INTERNAL_COMMENTS],
            cannot_read: Some(NOT_READ),
            protection: PROTECTION,
            credentials: &[
                &[
                    Member::required("client_id", "client id of the app").open(),
                    Member::required("client_secret", "client secret of the app"),
                    Member::required(
                        "refresh_token",
                        "of the mailbox's owner: scope https://mail.google.com/, or SMTP.Send \
                         and offline_access; Microsoft's is renewed with every refresh",
                    ),
                    Member::optional("tenant_id", "id of the directory (required for microsoft)")
                        .open(),
                    Member::optional("username", "the mailbox, if it is not from_address")
                        .open()
                        .shaped(Shape::User),
                ],
                &[
                    Member::required("tenant_id", "id of the directory").open(),
                    Member::required("client_id", "id of the app").open(),
                    Member::required(
                        "client_secret",
                        "secret of the app, which needs SMTP.SendAsApp and rights on the \
                         mailbox (microsoft only)",
                    ),
                    Member::optional("username", "the mailbox, if it is not from_address")
                        .open()
                        .shaped(Shape::User),
                ],
            ],
        },
        Mode {
            auth_type: AuthType::Custom,
            name: "relay that takes us by address",
            except: &[INTERNAL_COMMENTS],
            cannot_read: Some(NOT_READ),
            protection: PROTECTION,
            credentials: &[&[]],
        },
    ],
    settings: &[
        Member::required(
            "smtp_host",
            "the mail server, e.g. smtp.gmail.com or smtp.office365.com",
        )
        .destination(),
        Member::optional(
            "smtp_port",
            "its port (465 with tls, 587 with starttls, 25 with none)",
        )
        .destination()
        .shaped(Shape::Checked(by_the_adapter)),
        Member::optional(
            "security",
            "tls (the default), starttls, or none (for relays and tests; needs egress.allow_http)",
        )
        .destination(),
        Member::required("from_address", "the sender; bounces go there").shaped(Shape::Email),
        Member::optional("from_name", "the sender's name, e.g. Support"),
        Member::required(
            "to",
            "list of addresses: up to 100, all in one mail; those that the server refuses are \
             left out and told",
        )
        .shaped(Shape::Checked(by_the_adapter)),
        Member::optional(
            "message_id_domain",
            "what follows the @ in Message-IDs (the domain of from_address)",
        ),
        Member::optional(
            "reply_domain",
            "domain of the addresses that answers go to, e.g. in.example.com: \
             ticket+….…@in.example.com",
        )
        .needing_secret(),
        Member::optional(
            "oauth_provider",
            "google or microsoft (required with oauth2)",
        )
        .destination(),
        Member::optional(
            "token_url",
            "the token endpoint, if it is not the provider's own",
        )
        .destination()
        .shaped(Shape::Url),
        Member::optional(
            "inbound_provider",
            "who hands over answers to reply_domain: postmark, sendgrid or mailgun",
        ),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are sent too, as everybody in to may read them",
        )
        .shaped(Shape::Switch),
        Member::optional(
            "status_map",
            "what statuses are called in mails (ours → yours)",
        )
        .shaped(Shape::Object),
        Member::optional(
            "priority_map",
            "what priorities are called in mails (ours → yours)",
        )
        .shaped(Shape::Object),
        Member::optional(
            "category_map",
            "what categories are called in mails (ours → yours)",
        )
        .shaped(Shape::Object),
    ],
    base_url: BaseUrl::Never("smtp_host"),
    // Of the token endpoint; SMTP has codes.
    strangers: Strangers::PAGES,
    rate: RateHeaders::retry_after(Duration::from_secs(60), Scope::Integration),
    // A label, shown in front of the value.
    custom_fields: CustomFields {
        allows: |label| !label.trim().is_empty() && label.chars().count() <= LABEL_MAX,
        help: "a label of 1 to 100 characters",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: MESSAGE_ID,
    text_max: Some(TEXT_MAX),
    version_fault: any_version,
    limits: &[
        "most servers take 10 to 35 MB a message, a third of it for the encoding; of ours 12 \
         MiB. A file of over 7 MB that has a url is linked to",
        "Gmail takes 500 to 2,000 recipients a day, Microsoft 365 30 messages a minute; whoever \
         greylists takes the second try, after 5 minutes",
        "some relays give a message another Message-ID (Amazon SES): answers are then told by \
         reply_domain",
    ],
};

/// One mail server and those who get its mails.
pub struct Email {
    settings: Settings,
}

/// A mail and what is not in it.
struct Made {
    mail: Mail,
    left_out: Map<String, Value>,
}

/// What a mail is about, beside its contents.
struct Envelope<'a> {
    subject: &'a str,
    id: MessageId,
    /// The thread's first mail, of an answer.
    thread: Option<MessageId>,
    reply_to: Option<Mailbox>,
    mark: &'a str,
    date: DateTime<Utc>,
    urgent: bool,
    files: &'a [File],
}

impl Email {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, with every member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let settings = Settings::parse(integration, credentials)?;
        Ok(Self { settings })
    }

    /// The mail of an operation: the same bytes, however often it is asked for.
    fn made(&self, operation: &Operation<'_>) -> Result<Made, AdapterError> {
        let ticket = operation.ticket();
        let (files, public): (&[File], bool) = match operation {
            Operation::Delete { .. } => return Err(AdapterError::closes()),
            Operation::Attach { file, .. } => (std::slice::from_ref(*file), true),
            Operation::Comment { public, .. } => (&[], *public),
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. } => (&[], true),
        };
        if !public && !self.settings.internal_comments {
            let text = "everybody in settings.to would read a comment that is not public; where \
                        that is right, settings.internal_comments can be set to true";
            return Err(AdapterError::unsupported(text));
        }
        let says = contents(&self.settings.words, operation);
        let is_first = operation.kind() == OperationKind::Create;
        let first = subject(ticket);
        let subject = if is_first {
            first
        } else {
            format!("Re: {first}")
        };
        let mark = mark(operation);
        let thread = (!is_first).then(|| root(ticket, &self.settings.id_domain));
        let name = self.settings.from_name.as_deref();
        let reply_to = reply_to(&self.settings, ticket)?;
        let envelope = Envelope {
            subject: &subject,
            id: self.id(&mark)?,
            thread: thread.transpose()?,
            reply_to: reply_to.map(|address| Mailbox::new(name, address)),
            mark: &mark,
            date: operation.key().received_at,
            urgent: matches!(ticket.priority, Priority::High | Priority::Critical),
            files: if says.has_file { files } else { &[] },
        };
        Ok(Made {
            mail: self.mail(&envelope, &says)?,
            left_out: says.left_out,
        })
    }

    fn id(&self, mark: &str) -> Result<MessageId, AdapterError> {
        MessageId::new(mark, &self.settings.id_domain)
    }

    fn mail(&self, envelope: &Envelope<'_>, says: &Contents) -> Result<Mail, AdapterError> {
        let Settings { from, to, .. } = &self.settings;
        let mut headers = vec![
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
            ("X-Ticketwire-Mark", envelope.mark.to_owned()),
        ];
        if envelope.urgent {
            headers.push(("X-Priority", "1 (Highest)".to_owned()));
            headers.push(("Importance", "high".to_owned()));
        }
        let recipients = to.iter().map(|to| Mailbox::new(None, to.clone()));
        let draft = Draft {
            reply_to: envelope.reply_to.clone(),
            in_reply_to: envelope.thread.clone(),
            references: envelope.thread.iter().cloned().collect(),
            headers,
            text: &says.text,
            html: &says.html,
            files: envelope.files,
            ..Draft::new(
                from.clone(),
                recipients.collect(),
                envelope.subject,
                envelope.id.clone(),
                envelope.date,
            )
        };
        let size = envelope.files.iter().map(|file| file.size).sum::<u64>();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Mail {
            server: self.settings.server.clone(),
            from: from.address().clone(),
            to: to.clone(),
            message: off_runtime(size, || draft.build())?,
        })
    }

    /// The mail by which an integration is tried.
    fn test_mail(&self) -> Result<(MessageId, Mail), AdapterError> {
        let mark = format!("test-{}", uuid::Uuid::now_v7());
        let id = self.id(&mark)?;
        let envelope = Envelope {
            subject: "Test of Ticketwire",
            id: id.clone(),
            thread: None,
            reply_to: None,
            mark: &mark,
            date: clock::now(),
            urgent: false,
            files: &[],
        };
        Ok((id, self.mail(&envelope, &test())?))
    }

    /// The server, logged in to or not.
    async fn reach(
        &self,
        context: &CallContext<'_>,
        server: &MailServer,
        message: &str,
    ) -> Result<CheckReport, AdapterError> {
        let seen = Box::pin(context.mail()?.probe(context, server)).await?;
        let details = Map::from_iter([
            ("greeting".to_owned(), seen.greeting.into()),
            ("size_max".to_owned(), json!(seen.size_max)),
        ]);
        Ok(CheckReport {
            message: format!("{message} ({})", self.way()),
            details,
        })
    }

    fn way(&self) -> String {
        let MailServer {
            host,
            port,
            security,
            ..
        } = &self.settings.server;
        format!("{host}:{port}, security {}", security.as_str())
    }
}

/// What a server said when it took a mail.
struct Taken {
    /// Often the id in its queue.
    text: String,
    refused: Value,
}

fn taken(answer: &Response) -> Result<Taken, AdapterError> {
    let body: Value = answer.json(Effect::Create)?;
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    Ok(Taken {
        text: text.chars().take(WORD_MAX).collect(),
        refused: body.get("refused").cloned().unwrap_or_default(),
    })
}

impl Taken {
    fn details(self, id: &MessageId) -> Map<String, Value> {
        let mut details = Map::from_iter([
            (MESSAGE_ID.to_owned(), id.as_str().into()),
            ("accepted".to_owned(), self.text.into()),
        ]);
        if self.refused.as_array().is_some_and(|list| !list.is_empty()) {
            details.insert("refused".to_owned(), self.refused);
        }
        details
    }
}

#[async_trait]
impl Adapter for Email {
    fn plan(&self, operation: &Operation<'_>, _: &Known) -> Result<Plan, AdapterError> {
        let Made { mail, left_out } = self.made(operation)?;
        Ok(Plan {
            request: mail.into(),
            left_out,
        })
    }

    fn read(
        &self,
        operation: &Operation<'_>,
        _: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let ticket = operation.ticket();
        let id = self.id(&mark(operation))?;
        let external = Some(id.as_str().to_owned());
        let taken = taken(answer)?;
        let mut receipt = Receipt {
            details: taken.details(&id),
            ..Receipt::default()
        };
        match operation {
            Operation::Create { .. } => {
                receipt.external_ref = Map::from_iter([
                    (MESSAGE_ID.to_owned(), id.as_str().into()),
                    (SUBJECT.to_owned(), subject(ticket).into()),
                ]);
                if let Some(address) = reply_to(&self.settings, ticket)? {
                    let address = address.as_str().into();
                    receipt.external_ref.insert(REPLY_TO.to_owned(), address);
                }
                receipt.external_id = external;
            }
            Operation::Comment { .. } => receipt.external_comment_id = external,
            Operation::Attach { .. } => receipt.external_attachment_id = external,
            Operation::Update { .. }
            | Operation::Status { .. }
            | Operation::Assign { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(receipt)
    }

    async fn check(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        let server = &self.settings.server;
        match test {
            TestKind::Connection => {
                let open = MailServer {
                    auth: MailAuth::None,
                    ..server.clone()
                };
                match self.reach(context, &open, "the mail server answers").await {
                    // It wants to know who asks, before it says anything.
                    Err(error) if error.class == ErrorClass::Authentication => Ok(CheckReport {
                        message: format!("the mail server answers ({})", self.way()),
                        details: Map::new(),
                    }),
                    report => report,
                }
            }
            TestKind::Authentication => {
                let message = match server.auth {
                    MailAuth::None => "the relay asks for no log-in; it answers",
                    MailAuth::Basic { .. } => "the mail server takes user and password",
                    MailAuth::XOAuth2 { .. } => "the mail server takes the access token",
                };
                self.reach(context, server, message).await
            }
            TestKind::Permissions => {
                if self.settings.reply_domain.is_some() {
                    reply_key(&self.settings)?;
                }
                let (_, mail) = self.test_mail()?;
                let tried = Box::pin(context.mail()?.try_envelope(context, &mail));
                let refused = tried.await?;
                let (count, of) = (mail.to.len() - refused.len(), mail.to.len());
                let refused: Vec<Value> = refused.iter().map(|one| one.to_json()).collect();
                let message = format!(
                    "the mail server takes mails from {} to {count} of {of} recipients; whether \
                     one arrives, it does \
                     not say",
                    mail.from
                );
                let details = if refused.is_empty() {
                    Map::new()
                } else {
                    Map::from_iter([("refused".to_owned(), refused.into())])
                };
                Ok(CheckReport { message, details })
            }
            TestKind::CreateTicket => {
                let (id, mail) = self.test_mail()?;
                let count = mail.to.len();
                let answer = context.send(mail).await?;
                let details = taken(&answer)?.details(&id);
                let left = details.get("refused").and_then(Value::as_array);
                let count = count - left.map_or(0, Vec::len);
                let message = format!(
                    "a mail that says that it is a test was handed in for {count} recipients; it \
                     stays in their \
                     mailboxes"
                );
                Ok(CheckReport { message, details })
            }
        }
    }

    fn token_flow(&self) -> Option<&dyn TokenFlow> {
        let flow = self.settings.flow.as_ref();
        flow.map(|flow| flow as &dyn TokenFlow)
    }

    fn protection(&self, _: OperationKind) -> Protection {
        Protection::None
    }
}
