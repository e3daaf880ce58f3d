//! The demo's second act: what somebody does on the platform comes back by its webhooks.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENCE, SITE, Sent, Story, detail};
use crate::broker::{self, From};
use crate::cli::output;
use crate::cli::{Failed, failed};
use crate::platforms::inbound::signed_hex;

/// What the site signs its webhooks with.
pub(super) const SECRET: &str = "demo-webhook-secret";
/// Headers of a delivery that Jira sends: its proof, and its id.
const SIGNATURE: &str = "X-Hub-Signature";
const ID: &str = "X-Atlassian-Webhook-Identifier";

/// An address that nobody listens at.
pub(super) fn free_address() -> Result<SocketAddr, Failed> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    listener.local_addr().map_err(failed)
}

impl Story<'_> {
    /// Somebody comments on the first issue, and resolves it; each is told by a webhook, one of
    /// them twice.
    pub(super) async fn comes_back(
        &self,
        integration: &Value,
        key: &str,
        listener: SocketAddr,
    ) -> Result<(), Failed> {
        self.say(
            "\n4. The way back: in Jira, somebody answers on the first issue and resolves it.\n\
             \x20  Jira tells of both by its webhooks, and of the answer twice.",
        )?;
        let issue = format!("/jira/{SITE}/rest/api/3/issue/{key}");
        let text = json!({ "type": "doc", "version": 1, "content": [{ "type": "paragraph",
            "content": [{ "type": "text", "text": "It was the proxy." }] }] });
        let comment = json!({ "body": text });
        let made = self
            .person("POST", &format!("{issue}/comment"), &comment)
            .await?;
        let mut told = json!({
            "webhookEvent": "comment_created", "issue": self.issue(&issue).await?,
            "user": { "accountId": "99:27", "displayName": "Jane" },
            "comment": { "id": made["id"], "body": "It was the proxy.",
                "created": made["created"], "updated": made["created"],
                "author": { "accountId": "99:27", "displayName": "Jane" } },
        });
        let path = format!("/webhooks/{}", integration.as_str().unwrap_or_default());
        self.deliver(listener, &path, "answer", &told).await?;
        self.deliver(listener, &path, "answer", &told).await?;

        let transitions = format!("{issue}/transitions");
        let offered = self.person("GET", &transitions, &Value::Null).await?;
        let done = offered["transitions"].as_array().and_then(|offered| {
            let leads = |t: &&Value| t["to"]["statusCategory"]["key"] == "done";
            offered.iter().find(leads).cloned()
        });
        let done = done.ok_or_else(|| Failed::Operation("nothing leads to done".into()))?;
        let body = json!({ "transition": { "id": done["id"] },
            "fields": { "resolution": { "name": "Done" } } });
        self.person("POST", &transitions, &body).await?;
        told["webhookEvent"] = "jira:issue_updated".into();
        told["issue"] = self.issue(&issue).await?;
        told["comment"] = Value::Null;
        told["changelog"] = json!({ "items": [{ "field": "status" }] });
        self.deliver(listener, &path, "resolved", &told).await?;
        self.hear().await
    }

    /// Reads the events log until both changes are told and all three deliveries are done with.
    async fn hear(&self) -> Result<(), Failed> {
        let (mut told, mut repeats, mut taken) = (0, 0, 0);
        let reading = broker::tail(
            self.connection,
            self.topology,
            From::First,
            Some(PATIENCE),
            |key, body| {
                let event: Value = serde_json::from_str(body).unwrap_or(Value::Null);
                let is_news = key.starts_with("ticket.external.");
                let is_taken = key.starts_with("webhook.received.");
                if !(is_news || is_taken) {
                    return true;
                }
                told += usize::from(is_news);
                taken += usize::from(is_taken);
                repeats += event["data"]["result"]["repeats"].as_u64().unwrap_or(0);
                let text = format!("   ← {key}  {}", detail(&event));
                let shown = if self.context.json {
                    output::json_text(body)
                } else {
                    output::line(&text)
                };
                shown.is_ok() && (told < 2 || taken < 3)
            },
        );
        reading.await.map_err(failed)?;
        if (told, repeats, taken) != (2, 1, 3) {
            return Err(Failed::Operation(format!(
                "{told} of 2 changes were told, and {repeats} of 1 repeats were found, of {taken} \
                 of 3 deliveries"
            )));
        }
        self.say(
            "   The ticket is resolved and has the answer (table ticket_comments); the repeat \
             changed nothing.",
        )
    }

    async fn issue(&self, path: &str) -> Result<Value, Failed> {
        self.person("GET", path, &Value::Null).await
    }

    /// What somebody does at the site.
    async fn person(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failed> {
        let headers = "Authorization: Basic amFuZTpwdw==\r\n";
        let (status, answer) = http(
            self.sandbox.addr(),
            (method, path),
            headers,
            &body.to_string(),
        )
        .await?;
        if !(200..300).contains(&status) {
            let text = format!("the sandbox answers {status} to {method} {path}");
            return Err(Failed::Operation(text));
        }
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    /// A delivery of the site.
    async fn deliver(
        &self,
        listener: SocketAddr,
        path: &str,
        id: &str,
        body: &Value,
    ) -> Result<(), Failed> {
        let body = body.to_string();
        let signature = signed_hex(SECRET, body.as_bytes());
        let headers = format!("{SIGNATURE}: sha256={signature}\r\n{ID}: {id}\r\n");
        let (status, _) = http(listener, ("POST", path), &headers, &body).await?;
        self.say(&format!("   → POST {path}  {status}"))?;
        if status == 200 {
            return Ok(());
        }
        Err(Failed::Operation(format!(
            "the webhook was answered with {status}"
        )))
    }
}

/// The key of a platform's first item.
pub(super) fn first_key(
    sent: &[Sent],
    events: &std::collections::HashMap<String, Value>,
) -> Option<String> {
    let first = sent.iter().find(|sent| sent.title.is_some())?;
    let result = &events.get(&first.id.to_string())?["data"]["result"]["integration_result"];
    result["external_ticket_id"].as_str().map(str::to_owned)
}

/// A request on a connection of its own: the status and the body of the answer.
async fn http(
    to: SocketAddr,
    (method, path): (&str, &str),
    headers: &str,
    body: &str,
) -> Result<(u16, String), Failed> {
    let mut stream = TcpStream::connect(to).await.map_err(failed)?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: demo\r\nUser-Agent: demo\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Failed::Operation(format!("{to} answers no HTTP")))?;
    Ok((status, body.to_owned()))
}
