//! Pages of a channel's messages or of the replies to one, and what is looked up on them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::Graph;
use super::facts::ERRORS;
use super::words::{Message, MessageRef, messages};
use crate::platforms::{
    AdapterError, CallContext, Effect, Operation, OperationKind, Receipt, Request, Response,
};

/// Messages of a page; 50 is the most.
const PAGE: &str = "50";
/// Bytes of a page that are read: each message may be of 28 kB, and cards are escaped twice.
pub(super) const PAGE_BYTES: usize = 8 << 20;
/// Pages that are read at most.
pub(super) const PAGES_MAX: usize = 20;
/// Whose a token is does not change.
const IDENTITY_LIFE: Duration = Duration::from_secs(3_600);
/// How much older than its command a message may seem: clocks differ. A ticket's own may be of an
/// earlier command.
const SLACK: TimeDelta = TimeDelta::minutes(2);
const SLACK_OF_CREATE: TimeDelta = TimeDelta::hours(24);

/// Whose the token is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) user_principal_name: Option<String>,
}

/// A page of a listing by Graph.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next: Option<String>,
    /// Of the last page of a delta: where the next one begins.
    #[serde(rename = "@odata.deltaLink")]
    pub(super) delta: Option<String>,
}

/// How the times on the pages of a listing go, as far as they were seen.
struct Descent {
    goes_down: bool,
    last: Option<DateTime<Utc>>,
}

impl Descent {
    const NEW: Self = Self {
        goes_down: true,
        last: None,
    };

    fn see(&mut self, at: Option<DateTime<Utc>>) {
        let fits = at.is_some_and(|at| self.last.is_none_or(|last| at <= last));
        self.goes_down &= fits;
        self.last = at.or(self.last);
    }

    /// Whether all that follows is older than that.
    fn has_passed(&self, since: DateTime<Utc>) -> bool {
        self.goes_down && self.last.is_some_and(|last| last < since)
    }
}

impl Graph {
    pub(super) async fn asked_identity(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Me, AdapterError> {
        let request = self.api.get(&["me"])?;
        self.api.ask(context, request, "asking who we are").await
    }

    /// Who we are.
    pub(super) async fn identity(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Me>, AdapterError> {
        let asked = self.asked_identity(context);
        context.recall("me", IDENTITY_LIFE, asked).await
    }

    /// The first page of a listing: the channel's messages, or the replies to one.
    pub(super) fn listed(&self, root: Option<&MessageRef>) -> Result<Request, AdapterError> {
        let path = match root {
            Some(root) => root.path(&["replies"]),
            None => messages(&self.team, &self.channel),
        };
        let request = self.api.get(&path)?.query([("$top", PAGE)]);
        Ok(request.up_to(PAGE_BYTES))
    }

    /// What is on a page, and what asks for the next one.
    pub(super) fn read_page<T: serde::de::DeserializeOwned>(
        &self,
        request: &Request,
        answer: &Response,
        what: &str,
    ) -> Result<(Vec<T>, Option<Request>), AdapterError> {
        ERRORS.check(answer, Effect::Read, what)?;
        let page: Page<T> = answer.json(Effect::Read)?;
        let next = page.next.as_deref();
        let next = next.map(|link| self.api.next_page(request, link));
        Ok((page.value, next.transpose()?))
    }

    /// The message with the marker. Where the order of the listing shows that it is the newest
    /// first, which Graph does not promise, it is read as far back as the message may be; else to
    /// its end.
    async fn marked(
        &self,
        context: &CallContext<'_>,
        root: Option<&MessageRef>,
        marker: &str,
        since: DateTime<Utc>,
    ) -> Result<Option<Message>, AdapterError> {
        let me = self.identity(context).await?;
        let mut next = Some(self.listed(root)?);
        let (mut by_creation, mut by_change) = (Descent::NEW, Descent::NEW);
        let mut is_blind = false;
        for _ in 0..PAGES_MAX {
            let Some(request) = next else { break };
            let answer = context.send(request.clone()).await?;
            let what = "looking for what was posted";
            let (page, more): (Vec<Message>, _) = self.read_page(&request, &answer, what)?;
            for message in page {
                by_creation.see(message.created());
                by_change.see(message.changed());
                if !message.is_said() {
                    continue;
                }
                is_blind |= message.is_by(&me.id) && message.is_blank();
                if message.may_be_by(&me.id) && message.marker().as_deref() == Some(marker) {
                    return message.sound(Effect::Read).map(Some);
                }
            }
            next = more.filter(|_| !by_creation.has_passed(since) && !by_change.has_passed(since));
        }
        let unproved = match (is_blind, next) {
            (false, None) => return Ok(None),
            (true, _) => {
                "Graph lists messages of ours without what is in them, so nothing is proved"
            }
            (false, Some(_)) => {
                "the channel has more messages than are looked through, so nothing is proved"
            }
        };
        Err(AdapterError::unsupported(unproved))
    }

    /// What an earlier attempt of unknown outcome may have posted.
    pub(super) async fn look_up(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
    ) -> Result<Option<Receipt>, AdapterError> {
        let key = operation.key();
        let root = match operation.kind() {
            OperationKind::Create => None,
            OperationKind::Comment | OperationKind::Status | OperationKind::Attach => {
                Some(MessageRef::of(operation.ticket(), &self.team)?)
            }
            // Idempotent, or closed by a status: nothing to look for.
            OperationKind::Update | OperationKind::Assign | OperationKind::Delete => {
                return Ok(None);
            }
        };
        let marker = match operation {
            Operation::Attach { file, .. } => file.key(key.marker),
            _ => key.marker.to_owned(),
        };
        let slack = match root {
            None => SLACK_OF_CREATE,
            Some(_) => SLACK,
        };
        let since = key.received_at - slack;
        let found = self.marked(context, root.as_ref(), &marker, since).await?;
        Ok(found.map(|found| match operation {
            Operation::Create { .. } => self.named(found.id).receipt(found.web_url),
            Operation::Comment { .. } => Receipt {
                external_comment_id: Some(found.id),
                ..Receipt::default()
            },
            Operation::Attach { .. } => Receipt {
                external_attachment_id: found.files().find_map(|file| file.id.clone()),
                ..Receipt::default()
            },
            _ => Receipt::default(),
        }))
    }
}
