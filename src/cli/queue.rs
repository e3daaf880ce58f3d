//! What waits in the command queues.

use super::Context;
use crate::broker::{self, BrokerError};

/// Where a command may be that is not in the ledger: what the queues hold, and who reads them.
/// Nothing is declared for it.
pub(super) async fn elsewhere(context: &Context) -> String {
    match waiting(context).await {
        Err(error) => format!("whether it is queued is not known: {error}"),
        Ok(waiting) if waiting.is_empty() => format!(
            "nothing waits in the command queues under {} either",
            context.config.amqp.prefix
        ),
        Ok(waiting) => {
            let queues: Vec<String> = waiting.iter().map(told).collect();
            format!("it may still be queued: {}", queues.join("; "))
        }
    }
}

/// A queue with its ready messages and consumers.
type Waiting = (String, u32, u32);

fn told((queue, messages, consumers): &Waiting) -> String {
    match consumers {
        0 => format!(
            "nobody reads the queue {queue}, which holds {messages} (start a worker by \
             `ticketwire run`)"
        ),
        _ => format!("the queue {queue} holds {messages}, and a worker reads it"),
    }
}

/// The command queues that hold messages.
async fn waiting(context: &Context) -> Result<Vec<Waiting>, BrokerError> {
    let connection = broker::connect(&context.config.amqp.url, "ticketwire tool").await?;
    let mut found = Vec::new();
    for (queue, _) in context.topology().command_queues() {
        match broker::queue_depth(&connection, &queue).await? {
            Some((messages, consumers)) if messages > 0 => found.push((queue, messages, consumers)),
            Some(_) | None => {}
        }
    }
    Ok(found)
}
