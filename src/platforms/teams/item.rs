//! The message of a ticket and what is said below it: what is asked for each operation, and what
//! the answers say.

use reqwest::Method;
use serde_json::{Map, Value, json};
use url::Url;

use super::facts::{ERRORS, FILE_MAX, NO_BYTES, READ_BY_ALL};
use super::message::{self, Shown};
use super::words::{DriveItem, Message, MessageRef, REFERENCE, messages};
use super::{Graph, Teams, Way};
use crate::domain::TicketView;
use crate::platforms::text::escaped;
use crate::platforms::{
    AdapterError, Auth, Body, CallContext, Effect, ErrorClass, File, Known, Operation, Plan,
    Receipt, Request, Response,
};

/// What [`Known`] calls an uploaded file's id, name and address.
const FILE_ID: &str = "file_id";
const FILE_NAME: &str = "file_name";
const FILE_URL: &str = "file_url";
/// How long it is known where a channel's files are.
const FOLDER_LIFE: std::time::Duration = std::time::Duration::from_secs(3_600);
/// What begins a comment that is not public, as everybody in the channel reads it.
const INTERNAL: &str = "Internal comment:";

/// Where a channel keeps its files.
struct Folder {
    drive: String,
    id: String,
}

impl Teams {
    /// The bytes of a file, and the message as it is after a change of status: the reply that says
    /// so comes last.
    pub(super) async fn prepared(
        &self,
        context: &CallContext<'_>,
        operation: &Operation<'_>,
        mut known: Known,
    ) -> Result<Known, AdapterError> {
        let Some(graph) = self.graph() else {
            return Ok(known);
        };
        match operation {
            Operation::Attach { ticket, file, key } => {
                let root = MessageRef::of(ticket, &graph.team)?;
                let name = file.kept_name(key.marker);
                let item = graph.upload(context, &root, file, &name).await?;
                let id = item.guid().map(|id| id.to_string());
                let (Some(id), Some(url)) = (id, item.web_url) else {
                    let text = "the platform's answer cannot be read: a file without an address or \
                        a GUID in its eTag";
                    let class = ErrorClass::Transient { retry_after: None };
                    return Err(AdapterError::new(class, text));
                };
                known.found.insert(FILE_ID.into(), id.into());
                known.found.insert(FILE_URL.into(), url.into());
                let name = item.name.unwrap_or(name);
                known.found.insert(FILE_NAME.into(), name.into());
            }
            Operation::Status { ticket, .. } => {
                let (request, left_out) = self.rewritten(graph, ticket)?;
                let what = "updating the message";
                graph.api.tell(context, request, what).await?;
                known.details = left_out;
            }
            Operation::Create { .. }
            | Operation::Update { .. }
            | Operation::Assign { .. }
            | Operation::Comment { .. }
            | Operation::Delete { .. } => {}
        }
        Ok(known)
    }

    /// The one request of an operation.
    pub(super) fn plan_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<Plan, AdapterError> {
        if let Operation::Comment { public: false, .. } = operation
            && !self.internal_comments
        {
            return Err(AdapterError::unsupported(READ_BY_ALL));
        }
        let (request, left_out) = match &self.way {
            Way::Graph(graph) => self.plan_by_graph(graph, operation, known)?,
            Way::Flow(url) => {
                let Shown { card, left_out } = self.card_of(operation)?;
                (start(url, &card), left_out)
            }
        };
        Ok(Plan {
            request: request.into(),
            left_out,
        })
    }

    fn plan_by_graph(
        &self,
        graph: &Graph,
        operation: &Operation<'_>,
        known: &Known,
    ) -> Result<(Request, Map<String, Value>), AdapterError> {
        let reply = |ticket: &TicketView, body: &Value| {
            let root = MessageRef::of(ticket, &graph.team)?;
            let request = graph.api.make(Method::POST, &root.path(&["replies"]))?;
            Ok::<_, AdapterError>(request.json(body))
        };
        match operation {
            Operation::Create { ticket, key } => {
                let shown = self.style.ticket(ticket, None, key.marker);
                let path = messages(&graph.team, &graph.channel);
                let request = graph.api.make(Method::POST, &path)?;
                let body = message::graph_body(ticket, &shown.card);
                Ok((request.json(&body), shown.left_out))
            }
            Operation::Update { ticket, .. } | Operation::Assign { ticket, .. } => {
                self.rewritten(graph, ticket)
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                key,
            } => {
                let text = message::status_text(*status, *resolution_summary);
                let field = "resolution_summary";
                let (body, left_out) = message::reply(field, &text, key.marker)?;
                Ok((reply(ticket, &body)?, left_out))
            }
            Operation::Comment {
                ticket,
                body,
                public,
                key,
            } => {
                let text = said(body, *public);
                let (body, left_out) = message::reply("body", &text, key.marker)?;
                Ok((reply(ticket, &body)?, left_out))
            }
            Operation::Attach { ticket, file, key } => {
                let body = sharing(file, known, key.marker);
                Ok((reply(ticket, &body)?, Map::new()))
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }

    /// The message written anew, with the marker of its ticket.
    fn rewritten(
        &self,
        graph: &Graph,
        ticket: &TicketView,
    ) -> Result<(Request, Map<String, Value>), AdapterError> {
        let shown = self
            .style
            .ticket(ticket, None, &format!("tkt-{}", ticket.id));
        let root = MessageRef::of(ticket, &graph.team)?;
        let request = graph.api.set(Method::PATCH, &root.path(&[]))?;
        let body = message::graph_body(ticket, &shown.card);
        Ok((request.json(&body), shown.left_out))
    }

    /// The card by which a flow tells of an operation.
    fn card_of(&self, operation: &Operation<'_>) -> Result<Shown, AdapterError> {
        let style = &self.style;
        let marker = operation.key().marker;
        Ok(match operation {
            Operation::Create { ticket, .. } => style.ticket(ticket, None, marker),
            Operation::Update { ticket, patch, .. } => {
                let changed = patch.changed().join(", ").replace('_', " ");
                let news = (!changed.is_empty()).then(|| format!("Changed: {changed}"));
                style.ticket(ticket, news.as_deref(), marker)
            }
            Operation::Status {
                ticket,
                status,
                resolution_summary,
                ..
            } => {
                let what = format!("Status: {status}");
                let summary = resolution_summary.unwrap_or_default();
                style.note(ticket, &what, ("resolution_summary", summary), marker)
            }
            Operation::Assign {
                ticket, assignee, ..
            } => {
                let what = match assignee {
                    Some(user) => format!("Assigned to {}", message::name(user)),
                    None => "Assigned to nobody".to_owned(),
                };
                style.note(ticket, &what, ("", ""), marker)
            }
            Operation::Comment {
                ticket,
                body,
                public,
                ..
            } => {
                let what = if *public { "Comment:" } else { INTERNAL };
                style.note(ticket, what, ("body", body), marker)
            }
            Operation::Attach { ticket, file, .. } => match &file.url {
                Some(url) => style.file(ticket, file, url.as_str(), marker),
                None => return Err(AdapterError::unsupported(NO_BYTES)),
            },
            Operation::Delete { .. } => return Err(AdapterError::closes()),
        })
    }

    /// What the answer to it says.
    pub(super) fn receipt_of(
        &self,
        operation: &Operation<'_>,
        known: &Known,
        answer: &Response,
    ) -> Result<Receipt, AdapterError> {
        let graph = match &self.way {
            Way::Graph(graph) => graph,
            Way::Flow(_) => return started(operation, answer),
        };
        let posted = |what: &str| {
            let message: Message = graph.api.take(answer, Effect::Create, what)?;
            message.sound(Effect::Create)
        };
        match operation {
            Operation::Create { .. } => {
                let message = posted("posting the ticket")?;
                Ok(graph.named(message.id).receipt(message.web_url))
            }
            Operation::Update { .. } | Operation::Assign { .. } => {
                ERRORS.check(answer, Effect::Idempotent, "updating the message")?;
                Ok(Receipt::default())
            }
            Operation::Status { .. } => {
                posted("announcing the status")?;
                Ok(Receipt::default())
            }
            Operation::Comment { .. } => Ok(Receipt {
                external_comment_id: Some(posted("posting the comment")?.id),
                ..Receipt::default()
            }),
            Operation::Attach { .. } => {
                posted("sharing the file")?;
                Ok(Receipt {
                    external_attachment_id: known.text(FILE_ID).map(str::to_owned),
                    ..Receipt::default()
                })
            }
            Operation::Delete { .. } => Err(AdapterError::closes()),
        }
    }
}

impl Graph {
    /// A message of the integration's channel.
    pub(super) fn named(&self, id: String) -> MessageRef {
        MessageRef {
            team: self.team.clone(),
            channel: self.channel.clone(),
            id,
        }
    }

    /// Where the files of a message's channel are.
    async fn folder(
        &self,
        context: &CallContext<'_>,
        root: &MessageRef,
    ) -> Result<Folder, AdapterError> {
        let path = [
            "teams",
            &root.team,
            "channels",
            &root.channel,
            "filesFolder",
        ];
        let request = self.api.get(&path)?;
        let what = "asking for the channel's files";
        let item: DriveItem = self.api.ask(context, request, what).await?;
        let drive = item.parent_reference.and_then(|parent| parent.drive_id);
        let drive = drive.ok_or_else(|| {
            let text = "the platform's answer cannot be read: a folder without a drive";
            AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
        })?;
        Ok(Folder { drive, id: item.id })
    }

    /// The bytes of a file, under a name that no other file has: again, they replace themselves.
    async fn upload(
        &self,
        context: &CallContext<'_>,
        root: &MessageRef,
        file: &File,
        name: &str,
    ) -> Result<DriveItem, AdapterError> {
        if file.size > FILE_MAX {
            let fault = "has a file that is larger than Teams takes at once: 250 MB";
            return Err(AdapterError::field("attachments", fault));
        }
        let known = format!("folder {}", root.channel);
        let folder = self.folder(context, root);
        let folder = context.recall(known.clone(), FOLDER_LIFE, folder).await?;
        let (below, named) = (format!("{}:", folder.id), format!("{name}:"));
        let path = ["drives", &folder.drive, "items", &below, &named, "content"];
        let request = Request {
            body: Body::Raw(file.clone()),
            ..self.api.set(Method::PUT, &path)?
        };
        let kept = self.api.ask(context, request, "uploading the file").await;
        kept.inspect_err(|error: &AdapterError| {
            if error.class == ErrorClass::NotFound {
                context.forget(&known);
            }
        })
    }
}

/// A comment, which says whom it is not for.
fn said(body: &str, is_public: bool) -> String {
    if is_public {
        body.to_owned()
    } else {
        format!("{INTERNAL}\n\n{body}")
    }
}

/// A reply with a file that was uploaded. It is told from the command's other files by its marker.
fn sharing(file: &File, known: &Known, marker: &str) -> Value {
    let found = |name: &str, instead: &str| known.text(name).unwrap_or(instead).to_owned();
    let id = found(FILE_ID, "(the GUID of the uploaded file)");
    let content = format!(
        "<p>{}</p><attachment id=\"{id}\"></attachment><p>[ref:{}]</p>",
        escaped(&file.name),
        file.key(marker)
    );
    json!({
        "body": { "contentType": "html", "content": content },
        "attachments": [{
            "id": id, "contentType": REFERENCE, "name": found(FILE_NAME, &file.kept_name(marker)),
            "contentUrl": found(FILE_URL, "(the address of the uploaded file)"),
        }],
    })
}

/// The request that starts a flow.
pub(super) fn start(url: &Url, card: &Value) -> Request {
    Request::post(url.clone(), Auth::None, Effect::Create)
        .json(&message::flow_body(card))
        .secret_url()
}

/// What a flow says that took a card. Nothing comes back; a new ticket is bound by its marker.
fn started(operation: &Operation<'_>, answer: &Response) -> Result<Receipt, AdapterError> {
    ERRORS.check(answer, Effect::Create, "posting by the flow")?;
    let marker = match operation {
        Operation::Create { key, .. } => Some(key.marker.to_owned()),
        _ => None,
    };
    let said = "not told: the flow took the card, and posts it later";
    Ok(Receipt {
        external_id: marker,
        details: Map::from_iter([("posted".to_owned(), said.into())]),
        ..Receipt::default()
    })
}
