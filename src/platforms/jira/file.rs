//! Files of an issue: sent one by one, and found by name and size.

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::super::{
    AdapterError, Body, CallContext, Effect, File, Part, Receipt, Request, Response,
};
use super::Jira;
use super::words::moment;

#[derive(Deserialize)]
struct Attached {
    id: String,
    filename: String,
    size: u64,
    created: Option<String>,
}

impl Attached {
    /// Whether it has this size and came since then, as far as Jira says.
    fn could_be(&self, file: &File, since: DateTime<Utc>) -> bool {
        let created = self.created.as_deref().and_then(moment);
        self.size == file.size && created.is_none_or(|created| created >= since)
    }
}

impl Jira {
    /// One file a request: Jira's answer names all files of a request or none.
    pub(super) fn attach_request(&self, issue: &str, file: &File) -> Result<Request, AdapterError> {
        let path = ["issue", issue, "attachments"];
        let mut request = self.api.make(Method::POST, &path)?.header(
            HeaderName::from_static("x-atlassian-token"),
            HeaderValue::from_static("no-check"),
        );
        request.body = Body::Multipart(vec![Part::file("file", file)]);
        Ok(request)
    }

    pub(super) fn read_attached(&self, answer: &Response) -> Result<Receipt, AdapterError> {
        if answer.status == 413 {
            let text = "is more than Jira takes: the file, or the issue's files together";
            return Err(AdapterError::field("size", text)
                .with_status(413)
                .with_internal(answer.quote()));
        }
        let attached: Vec<Attached> = self.take(answer, Effect::Create, "attaching the file")?;
        Ok(Receipt {
            external_attachment_id: attached.into_iter().next().map(|file| file.id),
            ..Receipt::default()
        })
    }

    /// A file of this name and size that came to the issue since the command did. A minute for
    /// clocks that differ.
    pub(super) async fn find_file(
        &self,
        context: &CallContext<'_>,
        issue: &str,
        file: &File,
        since: DateTime<Utc>,
    ) -> Result<Option<Receipt>, AdapterError> {
        #[derive(Deserialize)]
        struct Issue {
            fields: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            attachment: Option<Vec<Attached>>,
        }
        let request = self.reading(&["issue", issue], &[("fields", "attachment")])?;
        let what = "reading the issue's files";
        let issue: Issue = self.ask(context, request, what).await?;
        let Some(attachments) = issue.fields.attachment else {
            let text = "Jira shows the issue without its files, so nothing is proved by it; \
                        attachments may be switched off, or the field hidden";
            return Err(AdapterError::unsupported(text).with_status(200));
        };
        let since = since - chrono::Duration::minutes(1);
        let mut there = attachments;
        there.retain(|there| there.could_be(file, since));
        // The very name first: two files of a command may differ in what a server changes.
        let exact = there.iter().find(|there| there.filename == file.name);
        let alike = || there.iter().find(|there| file.is_kept_as(&there.filename));
        Ok(exact.or_else(alike).map(|there| Receipt {
            external_attachment_id: Some(there.id.clone()),
            ..Receipt::default()
        }))
    }
}
