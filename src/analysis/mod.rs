//! From free text to a ticket's fields: two analysers behind one trait. The rules need nothing and
//! are the default; a chat endpoint is asked where one is configured, and the rules step in when it
//! fails, saying so.
//!
//! User text is data. What comes of it is an [`Analysis`], which has no member for a tenant, an
//! integration or an id: those are the command's, whatever the text or the model says.

pub mod chat;
pub mod rules;
mod text;

use std::fmt;

use async_trait::async_trait;

pub use crate::domain::{AnalyserKind, Analysis, AnalysisInput, Preferences, Turn};

use self::chat::Chat;
use self::rules::Rules;
use crate::config::Ai;
use crate::platforms::{CallContext, off_runtime};

/// One way to analyse.
#[async_trait]
pub trait Analyser: Send + Sync {
    /// Analyses. `context` is the attempt's: no analyser outlasts its deadline or sends without its
    /// permit.
    async fn analyse(
        &self,
        context: &CallContext<'_>,
        input: &AnalysisInput,
    ) -> Result<Analysis, AnalysisError>;
}

/// Why an analyser has no answer. Two texts, as of an adapter's error: what may be published, and
/// what only the log shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisError {
    /// Fit to publish: no secret, no host, nothing of the prompt or of what the endpoint said.
    pub public: String,
    /// For the log: may name the host, never quotes what was sent or answered.
    pub internal: Option<String>,
}

impl AnalysisError {
    fn new(public: impl Into<String>) -> Self {
        Self {
            public: public.into(),
            internal: None,
        }
    }
}

impl fmt::Display for AnalysisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public)?;
        if let Some(internal) = &self.internal {
            write!(f, " ({internal})")?;
        }
        Ok(())
    }
}

impl std::error::Error for AnalysisError {}

/// Analyses by the chat endpoint where one is configured, else, or when that fails, by the rules;
/// then [`Analysis::fell_back`] says why. It always has a result, takes `ai.timeout` at most, and
/// changes nothing anywhere: it may be repeated, though a model need not say the same twice.
pub async fn analyse(config: &Ai, context: &CallContext<'_>, input: &AnalysisInput) -> Analysis {
    let Some(chat) = Chat::new(config) else {
        return by_rules(input);
    };
    first_or_rules(&chat, context, input).await
}

async fn first_or_rules(
    first: &dyn Analyser,
    context: &CallContext<'_>,
    input: &AnalysisInput,
) -> Analysis {
    match first.analyse(context, input).await {
        Ok(analysis) => analysis,
        Err(error) => {
            tracing::warn!(%error, "the chat endpoint gave no analysis; the rules made it");
            Analysis {
                fell_back: Some(error.public),
                ..by_rules(input)
            }
        }
    }
}

/// By the rules; of a long text, where no other tenant's work waits for the thread.
fn by_rules(input: &AnalysisInput) -> Analysis {
    let said: usize = input
        .conversation
        .iter()
        .map(|turn| turn.content.len())
        .sum();
    off_runtime(input.user_input.len() + said, || rules::analyse(input))
}

#[async_trait]
impl Analyser for Rules {
    async fn analyse(
        &self,
        _: &CallContext<'_>,
        input: &AnalysisInput,
    ) -> Result<Analysis, AnalysisError> {
        Ok(rules::analyse(input))
    }
}
