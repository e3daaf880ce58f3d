//! `ticket.ai_create`: the analysis comes first, and is kept before anything is sent, so that every
//! attempt creates the same ticket. From there on the command is the create it made of it.

use std::sync::Arc;

use serde_json::json;

use super::Run;
use crate::analysis;
use crate::contract::{Command, TicketAiCreate, TicketCommand, TicketCreate};
use crate::domain::Analysis;
use crate::pipeline::disposition::{Conclusion, Disposition};
use crate::pipeline::executor::gates;
use crate::pipeline::job::Analysed;
use crate::pipeline::tokens::TokenCache;
use crate::store::AnalysisColumns;

impl Run<'_> {
    /// Makes a create of a `ticket.ai_create`; every other command is left as it is. A settlement
    /// where it ends here.
    pub(super) async fn analyse(&mut self) -> Option<Conclusion> {
        let command = Arc::clone(&self.job.command);
        let Command::Ticket(TicketCommand::AiCreate(create)) = &*command else {
            return None;
        };
        let kept = self.job.progress.analysis.take();
        let found = match kept {
            Some(found) => *found,
            None => {
                if let Some(decision) = gates::analysis(&self.job, create, self.started_at) {
                    return Some(Box::pin(self.follow(decision)).await);
                }
                match self.analyse_now(create).await {
                    Ok(found) => found,
                    Err(disposition) => return Some(disposition.into()),
                }
            }
        };
        self.job.command = Arc::new(Command::Ticket(TicketCommand::Create(Box::new(create_of(
            create, &found,
        )))));
        self.job.analysis = Some(Box::new(analysed(found)));
        None
    }

    async fn analyse_now(&mut self, create: &TicketAiCreate) -> Result<Analysis, Disposition> {
        let found = {
            let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
            let context = self.context(&tokens);
            analysis::analyse(&self.core.config.ai, &context, &create.input).await
        };
        if let Some(why) = &found.fell_back {
            tracing::warn!(command_id = %self.job.id, why,
                "the analysis fell back to the built-in rules");
        }
        self.job.progress.analysis = Some(Box::new(found.clone()));
        self.keep_progress().await?;
        Ok(found)
    }
}

/// What a dry run makes of a text: by the built-in rules, as nothing is to be sent.
pub(in crate::pipeline) fn rehearse(command: &Command) -> Option<(Command, serde_json::Value)> {
    let Command::Ticket(TicketCommand::AiCreate(create)) = command else {
        return None;
    };
    let found = analysis::rules::analyse(&create.input);
    let create = TicketCommand::Create(Box::new(create_of(create, &found)));
    Some((Command::Ticket(create), analysed(found).shown))
}

/// The create that an analysis makes of a text. Whose ticket it is and where it goes is the
/// command's alone.
fn create_of(create: &TicketAiCreate, found: &Analysis) -> TicketCreate {
    TicketCreate {
        title: found.title.clone(),
        description: found.description.clone(),
        category: found.category,
        priority: found.priority,
        urgency: found.urgency,
        department: found.department.clone(),
        tags: found.tags.clone(),
        integration_id: create.integration_id,
        create_externally: create.create_externally,
        attachments: create.attachments.clone(),
        ..TicketCreate::default()
    }
}

/// What the event and the ticket's row say of it. The description is the ticket's, and not told
/// twice.
fn analysed(found: Analysis) -> Analysed {
    let shown = json!({
        "title": found.title, "category": found.category, "priority": found.priority,
        "urgency": found.urgency,
        "department": found.department, "tags": found.tags, "keywords": found.keywords,
        "confidence_score": found.confidence_score, "reasoning": found.reasoning,
        "analyser": found.analyser,
        "model": found.model, "fell_back": found.fell_back,
    });
    Analysed {
        shown,
        columns: AnalysisColumns {
            confidence: found.confidence_score,
            reasoning: found.reasoning,
            tags: found.tags,
            keywords: found.keywords,
        },
    }
}
