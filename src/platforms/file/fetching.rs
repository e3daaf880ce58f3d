//! How a file is fetched: from its address, or out of the command.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{Content, File};
use crate::contract::{Attachment, AttachmentSource};
use crate::platforms::{AdapterError, Auth, CallContext, Effect, ErrorClass, Request};

/// What a file is before it was fetched, for a dry run: its size and hash are not known.
pub(crate) fn unfetched(attachment: &Attachment) -> File {
    File {
        name: attachment.name.clone(),
        media_type: attachment
            .media_type
            .clone()
            .unwrap_or_else(|| UNKNOWN_TYPE.into()),
        size: attachment.size.unwrap_or(0),
        sha256: String::new(),
        url: match &attachment.source {
            AttachmentSource::Url(url) => Some(url.clone()),
            AttachmentSource::Content(_) => None,
        },
        content: Content::Memory(Bytes::new()),
    }
}

const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Fetches a file, or takes it out of the command.
///
/// # Errors
/// Validation of `url`, `size` or `content_base64` where it is not what it should be, or over
/// `bytes_max`; failure on the way, by its class.
pub(crate) async fn fetch(
    context: &CallContext<'_>,
    attachment: &Attachment,
    bytes_max: u64,
) -> Result<File, AdapterError> {
    let too_big = |size: u64| {
        AdapterError::field(
            "size",
            format!(
                "of {:?} is {size} bytes; the limit is {bytes_max} (setting \
                 dispatch.max_attachment_bytes)",
                attachment.name
            ),
        )
    };
    let file = match &attachment.source {
        AttachmentSource::Content(text) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|_| AdapterError::field("content_base64", "is no base64"))?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > bytes_max {
                return Err(too_big(size));
            }
            File {
                size,
                sha256: hex::encode(Sha256::digest(&bytes)),
                content: Content::Memory(bytes.into()),
                ..unfetched(attachment)
            }
        }
        AttachmentSource::Url(url) => {
            let request = Request::new(Method::GET, url.clone(), Auth::None, Effect::Read);
            download(context, request, attachment, bytes_max, too_big).await?
        }
    };
    if attachment.size.is_some_and(|size| size != file.size) {
        let fault = format!(
            "of {:?} is {}, not what the command says",
            file.name, file.size
        );
        return Err(AdapterError::field("size", fault));
    }
    if file.size == 0 {
        return Err(AdapterError::field(
            "size",
            format!("of {:?} is 0: an empty file is not sent", file.name),
        ));
    }
    Ok(file)
}

/// Our own disk is at fault, and nothing was sent.
fn disk(error: &std::io::Error) -> AdapterError {
    let text = format!(
        "the worker cannot keep the file in its temporary directory ({}); nothing was sent. \
         Somebody has to mend that directory, or name another one in TMPDIR",
        error.kind()
    );
    AdapterError::new(ErrorClass::Internal, text)
        .with_internal(format!("{}: {error}", std::env::temp_dir().display()))
}

async fn download(
    context: &CallContext<'_>,
    request: Request,
    attachment: &Attachment,
    bytes_max: u64,
    too_big: impl Fn(u64) -> AdapterError,
) -> Result<File, AdapterError> {
    let mut answer = context.open(&request).await?;
    let field =
        |fault: String| AdapterError::field("url", fault).with_status(answer.status().as_u16());
    match answer.status().as_u16() {
        200 => {}
        status @ 300..=399 => {
            let text = format!(
                "of {:?} answers {status}: redirects are not followed",
                attachment.name
            );
            return Err(field(text));
        }
        status @ (429 | 500..=599) => {
            let text = format!("the source of {:?} answered {status}", attachment.name);
            let class = ErrorClass::Transient { retry_after: None };
            return Err(AdapterError::new(class, text).with_status(status));
        }
        status => {
            return Err(field(format!("of {:?} answered {status}", attachment.name)));
        }
    }
    if let Some(size) = answer.content_length().filter(|size| *size > bytes_max) {
        return Err(too_big(size));
    }
    let media_type = answer
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let spool = tempfile::tempfile().map_err(|error| disk(&error))?;
    let mut writer = tokio::fs::File::from_std(spool.try_clone().map_err(|error| disk(&error))?);
    let (mut size, mut hash) = (0u64, Sha256::new());
    loop {
        let left = context.deadline.saturating_duration_since(Instant::now());
        let chunk = match tokio::time::timeout(left, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                let text = format!("the transfer of {:?} broke off", attachment.name);
                return Err(
                    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
                        .with_internal(error.without_url().to_string()),
                );
            }
            Err(_) => {
                let text = format!(
                    "the transfer of {:?} took longer than dispatch.attempt_timeout",
                    attachment.name
                );
                return Err(AdapterError::new(ErrorClass::Timeout, text));
            }
        };
        size += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        if size > bytes_max {
            return Err(too_big(size));
        }
        hash.update(&chunk);
        writer
            .write_all(&chunk)
            .await
            .map_err(|error| disk(&error))?;
    }
    writer.flush().await.map_err(|error| disk(&error))?;
    Ok(File {
        size,
        sha256: hex::encode(hash.finalize()),
        media_type: attachment
            .media_type
            .clone()
            .or(media_type)
            .unwrap_or_else(|| UNKNOWN_TYPE.into()),
        content: Content::Disk(Arc::new(spool)),
        ..unfetched(attachment)
    })
}
