//! What belongs to an item that is surely there: set after it was made, and after it was adopted.

use serde_json::{Value, json};

use super::Run;
use super::children::child_of;
use crate::contract::{Attachment, CommandType};
use crate::pipeline::tokens::TokenCache;
use crate::platforms::{Driver, Operation, Receipt, Unfinished};
use crate::store::chain;

impl Run<'_> {
    /// Finishes an item, made or adopted: what belongs to it, and its files.
    pub(super) async fn finish(
        &mut self,
        driver: &Driver,
        operation: &Operation<'_>,
        files: &[Attachment],
        receipt: &mut Receipt,
    ) {
        self.set_the_rest(driver, operation, receipt).await;
        if !files.is_empty() {
            Box::pin(self.attach_to_new(driver, files, receipt)).await;
        }
    }

    /// What cannot be set does not undo the item: it is said in the details, and becomes a command
    /// of its own where that can set it.
    async fn set_the_rest(
        &self,
        driver: &Driver,
        operation: &Operation<'_>,
        receipt: &mut Receipt,
    ) {
        let unfinished = {
            let tokens = TokenCache::new(&self.core.tokens, self.handle.as_ref());
            let context = self.context(&tokens);
            driver.complete(&context, operation, receipt).await
        };
        let Some(unfinished) = unfinished else { return };
        let Unfinished { patch, error } = *unfinished;
        tracing::warn!(command_id = %self.job.id, error = %error,
            "the item is there, but not all that belongs to it");
        let mut said = json!({ "error": error.failure() });
        if let Some(patch) = patch {
            let mut data = serde_json::to_value(patch).unwrap_or_else(|_| json!({}));
            data["ticket_id"] = json!(self.job.ticket_id);
            let row = child_of(&self.job, CommandType::TicketUpdate, "finish", &data);
            match Box::pin(self.child(&row)).await {
                Ok(id) => said["command_id"] = json!(id),
                Err(error) => {
                    tracing::warn!(command_id = %self.job.id, error = chain(&error),
                        "what is missing is left out");
                    said["command_id"] = Value::Null;
                }
            }
        }
        receipt.details.insert("unfinished".into(), said);
        receipt.details.insert("partial".into(), true.into());
    }
}
