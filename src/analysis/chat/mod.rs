//! The chat analyser: any endpoint that takes OpenAI's `POST /chat/completions` with a JSON schema
//! for the answer (<https://platform.openai.com/docs/api-reference/chat>,
//! <https://platform.openai.com/docs/guides/structured-outputs>).
//!
//! A completion changes nothing, so the request is a read: a broken connection or a 502 to 504 is
//! tried again in place by the one HTTP client, within `ai.timeout`. Nothing else is.

mod answer;
mod request;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use super::{Analyser, Analysis, AnalysisError, AnalysisInput};
use crate::config::Ai;
use crate::platforms::{
    AdapterError, Auth, CallContext, Effect, ErrorClass, Redaction, Request, redacting,
};

/// A configured endpoint.
#[derive(Debug, Clone)]
pub struct Chat {
    url: Url,
    model: String,
    api_key: Option<SecretString>,
    timeout: Duration,
}

impl Chat {
    /// The endpoint of the settings; `None` where they name none.
    #[must_use]
    pub fn new(config: &Ai) -> Option<Self> {
        let mut url = config.base_url.clone()?;
        // A base that takes no path is none of http or https, which the settings refuse.
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        Some(Self {
            url,
            model: config.model.clone(),
            api_key: config.api_key.clone(),
            timeout: config.timeout,
        })
    }

    fn request(&self, input: &AnalysisInput) -> Request {
        let auth = self.api_key.clone().map_or(Auth::None, Auth::Bearer);
        Request::post(self.url.clone(), auth, Effect::Read).json(&request::body(&self.model, input))
    }
}

#[async_trait]
impl Analyser for Chat {
    async fn analyse(
        &self,
        context: &CallContext<'_>,
        input: &AnalysisInput,
    ) -> Result<Analysis, AnalysisError> {
        let own = Instant::now().checked_add(self.timeout);
        let timed = context.until(own.unwrap_or(context.deadline));
        // What the endpoint says back of the key, or what a model was talked into, is nobody's to
        // read.
        let redaction = Redaction::default();
        let sent = redacting(&redaction, timed.send(self.request(input))).await;
        let response = sent.map_err(|error| explain(&error))?;
        if !response.is_success() {
            return Err(refused(response.status));
        }
        if response.truncated {
            return Err(AnalysisError::new(
                "the chat endpoint's answer is too large",
            ));
        }
        answer::read(&response.body, &self.model, input)
    }
}

/// A failure on the way. The adapter's own text names the host, which the tenant need not know.
fn explain(error: &AdapterError) -> AnalysisError {
    let public = match error.class {
        ErrorClass::Timeout => "the chat endpoint did not answer in time",
        ErrorClass::Egress => {
            "the chat endpoint's address is not allowed by egress.allow or egress.allow_http"
        }
        ErrorClass::Authentication => "the key for the chat endpoint cannot be sent",
        ErrorClass::Transient { .. }
        | ErrorClass::RateLimited { .. }
        | ErrorClass::Permission
        | ErrorClass::NotFound
        | ErrorClass::Validation { .. }
        | ErrorClass::Gone
        | ErrorClass::Conflict
        | ErrorClass::Unsupported
        | ErrorClass::Unknown
        | ErrorClass::Internal => "the chat endpoint cannot be reached",
    };
    AnalysisError {
        public: public.to_owned(),
        internal: Some(error.to_string()),
    }
}

/// An answer that is no success. Its body is not quoted, not even in the log: such bodies repeat
/// parts of key and prompt.
fn refused(status: u16) -> AnalysisError {
    AnalysisError::new(match status {
        401 | 403 => format!("the chat endpoint does not take the key ({status})"),
        404 => "the chat endpoint or its model was not found (404)".to_owned(),
        429 => "the chat endpoint's rate limit or quota is reached (429)".to_owned(),
        300..=399 => format!("the chat endpoint redirects ({status}), which is not followed"),
        400..=499 => format!("the chat endpoint does not take the request ({status})"),
        _ => format!("the chat endpoint failed ({status})"),
    })
}
