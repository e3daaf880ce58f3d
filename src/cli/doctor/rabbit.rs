//! RabbitMQ: whether it answers, takes messages, and has the worker's queues with somebody at them.

use super::super::Context;
use super::Finding;
use crate::broker;

/// Seldom more at once in a queue that somebody reads.
const WAITING_MAX: u32 = 10_000;

pub(super) async fn examine(context: &Context) -> Vec<Finding> {
    let connection = match broker::connect(&context.config.amqp.url, "ticketwire doctor").await {
        Ok(connection) => connection,
        Err(error) => {
            let remedy = "start RabbitMQ, or mend amqp.url (AMQP_URL): user, password and virtual host included";
            let text = error.to_string();
            let remedy = super::connecting(&text, remedy);
            return vec![Finding::fault("rabbitmq", text, remedy)];
        }
    };
    let mut findings = Vec::new();
    let topology = context.topology();
    let consumed = topology
        .command_queues()
        .into_iter()
        .map(|(name, _)| (name, true))
        .chain([(topology.dead(), true), (topology.events_log(), false)]);
    let mut missing = Vec::new();
    for (name, is_consumed) in consumed {
        findings.push(match broker::queue_depth(&connection, &name).await {
            Err(error) => {
                Finding::fault("queue", format!("{name}: {error}"), "see the broker's log")
            }
            Ok(None) => {
                missing.push(name);
                continue;
            }
            Ok(Some((messages, 0))) if is_consumed && messages > 0 => Finding::fault(
                "queue",
                format!("{name}: {messages} wait and nobody reads them"),
                "no worker is connected: `ticketwire run`, or see its log and /health",
            ),
            Ok(Some((messages, consumers))) if is_consumed && messages > WAITING_MAX => {
                Finding::notice(
                    "queue",
                    format!("{name}: {messages} wait for {consumers} worker(s)"),
                    "more come in than the workers and platforms take: add a worker if they are busy",
                )
            }
            Ok(Some((messages, consumers))) => Finding::ok(
                "queue",
                format!("{name}: {messages} ready, {consumers} consumers"),
            ),
        });
    }
    if !missing.is_empty() {
        findings.push(Finding::fault(
            "queue",
            format!("not there: {}", missing.join(", ")),
            "a worker that starts declares them (`ticketwire run`); if one runs, see its log",
        ));
    }
    // Last, as a connection that has published is not read from while an alarm is on.
    let health = match broker::is_alarmed(&connection).await {
        Ok(false) => Finding::ok("rabbitmq", "answers and takes messages"),
        Ok(true) => Finding::fault(
            "rabbitmq",
            "a memory or disk alarm is on: it takes no messages, and events wait",
            "`rabbitmqctl status` names the alarm; free memory or disk, or raise the limit",
        ),
        Err(error) => Finding::fault("rabbitmq", error.to_string(), "see the broker's log"),
    };
    findings.insert(0, health);
    findings
}
