//! Building requests: data in, data out.

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use super::super::{AdapterError, Auth, Body, DedupKey, Effect, ErrorClass, File, Request};
use super::message::{self, Message};
use super::response;
use super::{Bot, Place};

/// Messages of a page of history; 999 is the most.
const PAGE: &str = "200";

/// The URL of a method of the Web API.
pub(super) fn method_url(api: &Url, method: &str) -> Result<Url, AdapterError> {
    api.join(method).map_err(|_| {
        AdapterError::new(
            ErrorClass::Internal,
            "the address of a Slack method cannot be built",
        )
    })
}

/// A message by an incoming webhook.
pub(super) fn hook(url: &Url, message: &Message) -> Request {
    Request::new(Method::POST, url.clone(), Auth::None, Effect::Create)
        .json(&contents(message))
        .secret_url()
}

/// Asks whether an incoming webhook is there: a message without text is refused with 400 by one that is, and with 404
/// or 410 otherwise. Nothing is posted.
pub(super) fn probe(url: &Url) -> Request {
    Request::new(Method::POST, url.clone(), Auth::None, Effect::Read)
        .json(&json!({ "text": "" }))
        .secret_url()
}

impl Bot {
    fn call(&self, method: &str, body: &Value, effect: Effect) -> Result<Request, AdapterError> {
        let url = method_url(&self.api, method)?;
        Ok(Request::new(Method::POST, url, self.auth.clone(), effect).json(body))
    }

    fn ask(&self, method: &str, query: &[(&str, &str)]) -> Result<Request, AdapterError> {
        let mut url = method_url(&self.api, method)?;
        url.query_pairs_mut()
            .extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        Ok(Request::new(
            Method::GET,
            url,
            self.auth.clone(),
            Effect::Read,
        ))
    }

    /// A message in the channel, with its mark.
    pub(super) fn post_request(
        &self,
        message: &Message,
        key: DedupKey<'_>,
    ) -> Result<Request, AdapterError> {
        let mut body = contents(message);
        body["channel"] = self.channel.as_str().into();
        body["metadata"] = response::metadata(key.marker);
        self.call("chat.postMessage", &body, Effect::Create)
    }

    /// A reply in a thread, with its mark.
    pub(super) fn reply_request(
        &self,
        root: &Place,
        message: &Message,
        key: DedupKey<'_>,
        broadcast: bool,
    ) -> Result<Request, AdapterError> {
        let mut body = contents(message);
        body["channel"] = root.channel.as_str().into();
        body["thread_ts"] = root.ts.as_str().into();
        body["metadata"] = response::metadata(key.marker);
        if broadcast {
            body["reply_broadcast"] = true.into();
        }
        self.call("chat.postMessage", &body, Effect::Create)
    }

    /// The message written anew. Its metadata stays, as it is not named.
    pub(super) fn update_request(
        &self,
        place: &Place,
        message: &Message,
    ) -> Result<Request, AdapterError> {
        let mut body = contents(message);
        if let Some(members) = body.as_object_mut() {
            // Arguments of a post alone.
            members.retain(|name, _| !name.starts_with("unfurl_"));
        }
        body["channel"] = place.channel.as_str().into();
        body["ts"] = place.ts.as_str().into();
        self.call("chat.update", &body, Effect::Idempotent)
    }

    pub(super) fn delete_request(&self, place: &Place) -> Result<Request, AdapterError> {
        let body = json!({ "channel": place.channel, "ts": place.ts });
        self.call("chat.delete", &body, Effect::Idempotent)
    }

    /// Asks for a place to upload to: repeated freely, as nothing is shared before [`Bot::share_request`].
    pub(super) fn upload_url_request(&self, file: &File) -> Result<Request, AdapterError> {
        let size = file.size.to_string();
        self.ask(
            "files.getUploadURLExternal",
            &[("filename", file.name.as_str()), ("length", &size)],
        )
    }

    /// The bytes, to the place Slack gave. The URL is a credential for it.
    pub(super) fn upload_request(upload_url: &Url, file: &File) -> Request {
        let mut request = Request::new(
            Method::POST,
            upload_url.clone(),
            Auth::None,
            Effect::Idempotent,
        )
        .secret_url();
        request.body = Body::Raw(file.clone());
        request
    }

    /// Shares an uploaded file in a thread.
    pub(super) fn share_request(
        &self,
        root: &Place,
        id: &str,
        file: &File,
    ) -> Result<Request, AdapterError> {
        let body = json!({
            "files": [{ "id": id, "title": file.name }], "channel_id": root.channel, "thread_ts": root.ts,
        });
        self.call("files.completeUploadExternal", &body, Effect::Create)
    }

    pub(super) fn test_request(&self) -> Result<Request, AdapterError> {
        let mut body = contents(&message::test());
        body["channel"] = self.channel.as_str().into();
        self.call("chat.postMessage", &body, Effect::Create)
    }

    pub(super) fn identity_request(&self) -> Result<Request, AdapterError> {
        self.call("auth.test", &json!({}), Effect::Read)
    }

    pub(super) fn channel_request(&self) -> Result<Request, AdapterError> {
        self.ask("conversations.info", &[("channel", &self.channel)])
    }

    pub(super) fn permalink_request(&self, place: &Place) -> Result<Request, AdapterError> {
        self.ask(
            "chat.getPermalink",
            &[("channel", &place.channel), ("message_ts", &place.ts)],
        )
    }

    pub(super) fn history_request(
        &self,
        since: i64,
        cursor: &str,
    ) -> Result<Request, AdapterError> {
        let oldest = format!("{since}.000000");
        let query = [
            ("channel", self.channel.as_str()),
            ("oldest", &oldest),
            ("inclusive", "true"),
            ("include_all_metadata", "true"),
            ("limit", PAGE),
            ("cursor", cursor),
        ];
        self.ask("conversations.history", &query)
    }

    pub(super) fn replies_request(
        &self,
        root: &Place,
        since: i64,
        cursor: &str,
    ) -> Result<Request, AdapterError> {
        let oldest = format!("{since}.000000");
        let query = [
            ("channel", root.channel.as_str()),
            ("ts", &root.ts),
            ("oldest", &oldest),
            ("include_all_metadata", "true"),
            ("limit", PAGE),
            ("cursor", cursor),
        ];
        self.ask("conversations.replies", &query)
    }
}

/// What all messages have in common. `chat.update` would look for names and links in the text by default, and what the
/// others do by default is said as well: nobody is to be called by a text.
fn contents(message: &Message) -> Value {
    json!({
        "text": message.text, "blocks": message.blocks, "parse": "none", "link_names": false,
        "unfurl_links": false, "unfurl_media": false,
    })
}
