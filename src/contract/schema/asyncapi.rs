//! The contract as an AsyncAPI 3.0 document, seen from the worker: it receives commands and sends
//! events.

use serde_json::{Map, Value, json};

use super::super::CommandType;
use super::{events, example, json_schema};

/// The document. `prefix` is `amqp.prefix`.
#[must_use]
pub fn asyncapi(prefix: &str) -> Value {
    let mut messages = Map::new();
    for command in CommandType::ALL {
        messages.insert(
            name(command.as_str()),
            json!({
                "name": command, "title": command, "contentType": "application/cloudevents+json",
                "summary": if is_read(*command) { "a question, answered to reply_to" } else {
                    "a command" },
                "correlationId": { "location": "$message.payload#/id" },
                "payload": schema(command.as_str()),
                "examples": [{ "name": "example", "payload": example(*command) }],
            }),
        );
    }
    for event in events::event_types() {
        messages.insert(
            name(&event),
            json!({
                "name": event, "title": event, "contentType": "application/cloudevents+json",
                "summary": "an event", "payload": schema(&event),
            }),
        );
    }
    let of = |types: &mut dyn Iterator<Item = String>| -> Map<String, Value> {
        types
            .map(|event| {
                let name = name(&event);
                let reference = format!("#/components/messages/{name}");
                (name, json!({ "$ref": reference }))
            })
            .collect()
    };
    let commands = of(&mut CommandType::ALL.iter().map(ToString::to_string));
    let published = of(&mut events::event_types().into_iter());
    let replies = of(&mut CommandType::ALL.iter().flat_map(|command| {
        ["succeeded", "failed", "rejected", "cancelled"]
            .into_iter()
            .map(move |outcome| format!("{command}.{outcome}"))
    }));
    let exchange = |name: &str| {
        json!({ "amqp": { "is": "routingKey", "exchange": { "name": name, "type": "topic",
            "durable": true, "vhost": "/" },
                          "bindingVersion": "0.3.0" } })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ticketwire", "version": env!("CARGO_PKG_VERSION"),
            "description": "Commands in, events out. Publish a CloudEvent to the commands \
                            exchange with its type as routing key; read its outcome from the \
                            events exchange, or by reply_to. The events also stand in a stream.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": { "broker": {
            "host": "127.0.0.1:5672", "protocol": "amqp", "protocolVersion": "0.9.1",
            "description": "amqp.url; amqps:// for TLS",
        } },
        "channels": {
            "commands": {
                "address": "{commandType}", "title": "Commands",
                "description": "Routing key: the command's type.",
                "parameters": { "commandType": {
                    "description": "a command's type, e.g. ticket.create" } },
                "messages": commands, "bindings": exchange(&format!("{prefix}.commands")),
            },
            "events": {
                "address": "{eventType}.{platformName}", "title": "Events",
                "description": format!("Routing key: the event's type and the platform's name, \
                                        or none; bind e.g. #.failed.# or *.*.*.slack. The \
                                        stream {prefix}.events.log has all of them from the \
                                        past."),
                "parameters": {
                    "eventType": { "description": "an event's type, e.g. ticket.create.succeeded" },
                    "platformName": { "description": "e.g. jira, or none" },
                },
                "messages": published, "bindings": exchange(&format!("{prefix}.events")),
            },
            "replies": {
                "address": null, "title": "Replies",
                "description": "The queue named by the command's reply_to; direct reply-to \
                                works. The message has the command's correlation_id.",
                "messages": replies,
            },
        },
        "operations": {
            "carryOut": {
                "action": "receive", "channel": { "$ref": "#/channels/commands" },
                "summary": "The worker takes commands in and carries them out.",
                "reply": {
                    "address": { "location": "$message.header#/replyTo",
                        "description": "AMQP reply_to" },
                    "channel": { "$ref": "#/channels/replies" },
                },
            },
            "tell": {
                "action": "send", "channel": { "$ref": "#/channels/events" },
                "summary": "The worker tells what came of commands, and what happened to \
                            integrations and on platforms.",
            },
        },
        "components": { "messages": messages },
    })
}

fn schema(event_type: &str) -> Value {
    let mut schema = json_schema(event_type).unwrap_or_default();
    if let Some(members) = schema.as_object_mut() {
        // The document says by its format which dialect its schemas are of.
        members.remove("$schema");
    }
    json!({ "schemaFormat": "application/schema+json;version=draft-07", "schema": schema })
}

/// A component's name: letters, digits, dots, dashes and underscores.
fn name(event_type: &str) -> String {
    event_type.to_owned()
}

const fn is_read(command: CommandType) -> bool {
    matches!(
        command,
        CommandType::TicketGet
            | CommandType::TicketSearch
            | CommandType::IntegrationGet
            | CommandType::IntegrationList
            | CommandType::IntegrationRoute
            | CommandType::IntegrationFields
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_a_schema() {
        let document = asyncapi("ticketwire");
        let messages = document["components"]["messages"].as_object().unwrap();
        assert!(messages.len() > 100);
        for (name, message) in messages {
            let schema = &message["payload"]["schema"];
            assert_eq!(schema["type"], "object", "{name}");
        }
    }
}
