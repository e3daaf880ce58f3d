//! RabbitMQ: whether it answers, takes messages, lets the worker do what it does, and has its
//! queues as it declares them, with somebody at them.

use std::collections::BTreeSet;

use super::super::Context;
use super::Finding;
use crate::broker::{self, BrokerError};

/// Seldom more at once in a queue that somebody reads.
const WAITING_MAX: u32 = 10_000;

/// What was found, and how many commands wait in queues.
pub(super) async fn examine(context: &Context) -> (Vec<Finding>, u64) {
    let connection = match broker::connect(&context.config.amqp.url, "ticketwire doctor").await {
        Ok(connection) => connection,
        Err(error) => return (vec![unreached(&error)], 0),
    };
    let topology = context.topology();
    let alarmed = is_alarmed(context).await;
    let is_alarmed = matches!(alarmed, Ok(true));
    let found = match broker::examine(&connection, &topology, is_alarmed).await {
        Ok(found) => found,
        Err(error) => {
            let fault = Finding::fault("rabbitmq", error.to_string(), "see the broker's log");
            return (vec![fault], 0);
        }
    };
    let log = topology.events_log();
    let mut findings: Vec<Finding> = found
        .queues
        .iter()
        .map(|queue| of_queue(queue, queue.0 != log))
        .collect();
    let waiting = found
        .queues
        .iter()
        .filter(|(name, _, _)| *name != log)
        .map(|(_, messages, _)| u64::from(*messages))
        .sum();
    for one in &found.different {
        let remedy = match one.kind {
            "queue" => broker::replace(&one.name),
            _ => format!(
                "stop the workers, delete the exchange {} (`rabbitmqctl eval` or the management \
                 page), start them: they declare it anew",
                one.name
            ),
        };
        let text = format!(
            "{} is there, but not as the worker declares it: {}",
            one.name, one.text
        );
        findings.push(Finding::fault("queue", text, remedy));
    }
    if !found.missing.is_empty() {
        findings.push(Finding::fault(
            "queue",
            format!("not there: {}", found.missing.join(", ")),
            "a worker that starts declares them (`ticketwire run`); if one runs, see its log",
        ));
    }
    if !found.refused.is_empty() {
        let lines: BTreeSet<String> = found
            .refused
            .iter()
            .filter_map(|lacking| broker::grant(&lacking.text, Some(topology.prefix())))
            .collect();
        let remedy = if lines.is_empty() {
            "`rabbitmqctl list_permissions -p VHOST` shows what it may; docs/operations.md what \
             it needs"
                .to_owned()
        } else {
            let lines: Vec<String> = lines.into_iter().map(|line| format!("`{line}`")).collect();
            lines.join(" or ")
        };
        let whats: Vec<&str> = found
            .refused
            .iter()
            .map(|lacking| lacking.what.as_str())
            .collect();
        let text = format!(
            "its user lacks permissions that the worker needs: {} ({})",
            whats.join(", "),
            found.refused.first().map_or("", |lacking| &lacking.text)
        );
        findings.push(Finding::fault("rabbitmq", text, remedy));
    }
    for text in found.other {
        findings.push(Finding::fault("rabbitmq", text, "see the broker's log"));
    }
    let health = match alarmed {
        Ok(false) => Finding::ok("rabbitmq", "answers and takes messages"),
        Ok(true) => Finding::fault(
            "rabbitmq",
            "a memory or disk alarm is on: it takes no messages, and events wait",
            "`rabbitmqctl status` names the alarm; free memory or disk, or raise the limit",
        ),
        // A missing permission was found already.
        Err(error) if error.refusal().is_some_and(|(code, _)| code == 403) => {
            Finding::ok("rabbitmq", "answers")
        }
        Err(error) => Finding::fault("rabbitmq", error.to_string(), "see the broker's log"),
    };
    findings.insert(0, health);
    (findings, waiting)
}

/// Over a connection of its own: one that has published is not read from while an alarm is on.
async fn is_alarmed(context: &Context) -> Result<bool, BrokerError> {
    let connection = broker::connect(&context.config.amqp.url, "ticketwire doctor").await?;
    broker::is_alarmed(&connection).await
}

fn unreached(error: &BrokerError) -> Finding {
    if let Some(outage) = error.outage() {
        let text = format!(
            "RabbitMQ (amqp.url) cannot be reached: {}: {}",
            outage.says(),
            error.cause()
        );
        return Finding::fault("rabbitmq", text, outage.remedy());
    }
    let remedy = if error.refusal().is_some() {
        "do what it says, then look again"
    } else {
        "start RabbitMQ, or mend amqp.url (AMQP_URL): user, password and virtual host included"
    };
    Finding::fault("rabbitmq", error.to_string(), remedy)
}

fn of_queue((name, messages, consumers): &(String, u32, u32), is_consumed: bool) -> Finding {
    match (*messages, *consumers) {
        (messages, 0) if is_consumed && messages > 0 => Finding::fault(
            "queue",
            format!("{name}: {messages} wait and nobody reads them"),
            "no worker is connected: `ticketwire run`, or see its log and /health",
        ),
        (messages, consumers) if is_consumed && messages > WAITING_MAX => Finding::notice(
            "queue",
            format!("{name}: {messages} wait for {consumers} worker(s)"),
            "more come in than the workers and platforms take: add a worker if they are busy",
        ),
        (messages, consumers) => Finding::ok(
            "queue",
            format!("{name}: {messages} ready, {consumers} consumers"),
        ),
    }
}
