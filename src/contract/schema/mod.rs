//! The contract as JSON Schema and as an AsyncAPI document. What a command's data must be is what
//! the parser says it takes ([`Command::schema`]); what is added here, defaults and examples, is
//! tested against the parser.

mod asyncapi;
mod events;
mod examples;

use serde_json::{Map, Value, json};

use super::{Command, CommandType, IntegrationTest};

pub use asyncapi::asyncapi;
pub use events::event_types;
pub use examples::example;

/// JSON Schema's dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a field is when it is left out.
#[derive(Clone, Copy)]
enum LeftOut {
    Text(&'static str),
    Number(i32),
    Flag(bool),
    Texts(&'static [&'static str]),
}

impl From<LeftOut> for Value {
    fn from(left_out: LeftOut) -> Self {
        match left_out {
            LeftOut::Text(text) => text.into(),
            LeftOut::Number(number) => number.into(),
            LeftOut::Flag(flag) => flag.into(),
            LeftOut::Texts(texts) => texts.into(),
        }
    }
}

/// Which field is what then, by command type (`*`: any that has the field).
const DEFAULTS: [(&str, &str, LeftOut); 22] = [
    ("ticket.create", "category", LeftOut::Text("general")),
    ("ticket.create", "priority", LeftOut::Text("medium")),
    ("ticket.create", "urgency", LeftOut::Text("medium")),
    ("integration.create", "auth_type", LeftOut::Text("api_key")),
    (
        "integration.create",
        "default_priority",
        LeftOut::Number(100),
    ),
    (
        "integration.create",
        "sync_frequency_minutes",
        LeftOut::Number(60),
    ),
    (
        "integration.create",
        "failure_threshold",
        LeftOut::Number(5),
    ),
    (
        "integration.create",
        "environment",
        LeftOut::Text("production"),
    ),
    ("integration.create", "enabled", LeftOut::Flag(true)),
    ("integration.create", "sync_enabled", LeftOut::Flag(false)),
    (
        "integration.create",
        "auto_disable_on_error",
        LeftOut::Flag(false),
    ),
    (
        "integration.test",
        "test_types",
        LeftOut::Texts(&IntegrationTest::USUAL),
    ),
    (
        "integration.test",
        "auto_activate_on_success",
        LeftOut::Flag(true),
    ),
    (
        "integration.sync",
        "sync_type",
        LeftOut::Text("incremental"),
    ),
    ("integration.sync", "direction", LeftOut::Text("inbound")),
    ("integration.sync", "dry_run", LeftOut::Flag(false)),
    ("ticket.comment", "public", LeftOut::Flag(true)),
    ("ticket.create", "create_externally", LeftOut::Flag(true)),
    ("*", "limit", LeftOut::Number(20)),
    ("*", "sort_by", LeftOut::Text("created_at")),
    ("*", "sort_order", LeftOut::Text("desc")),
    ("ticket.ai_create", "create_externally", LeftOut::Flag(true)),
];

/// The schema of a command's data.
fn data(command_type: CommandType) -> Value {
    let mut schema = Command::schema(command_type);
    if let Some(properties) = schema["properties"].as_object_mut() {
        for (name, property) in properties.iter_mut() {
            let default = DEFAULTS.iter().find(|(command, field, _)| {
                field == name && (*command == "*" || *command == command_type.as_str())
            });
            // What an update leaves out stays as it is.
            if let Some(members) = property.as_object_mut() {
                members.remove("default");
                let value = default.map(|(_, _, left_out)| Value::from(*left_out));
                members.extend(value.map(|value| ("default".to_owned(), value)));
            }
        }
    }
    schema
}

/// A CloudEvent with this data, self-contained; `None` where there is no such type.
#[must_use]
pub fn json_schema(event_type: &str) -> Option<Value> {
    let body = match CommandType::parse(event_type) {
        Some(command_type) => command(command_type),
        None => events::schema(event_type)?,
    };
    let mut schema = Map::from_iter([
        ("$schema".to_owned(), DIALECT.into()),
        ("title".to_owned(), event_type.into()),
    ]);
    if let Value::Object(members) = body {
        schema.extend(members);
    }
    Some(schema.into())
}

/// A command's envelope.
fn command(command_type: CommandType) -> Value {
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type", "organizationid", "data"],
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "format": "uuid",
                "description": "the idempotency key of a command that changes something" },
            "source": { "type": "string", "minLength": 1 },
            "type": { "const": command_type },
            "organizationid": { "type": "string", "format": "uuid", "description": "the tenant" },
            "time": { "type": "string", "format": "date-time" },
            "subject": { "type": "string" },
            "datacontenttype": { "type": "string" },
            "expirytime": { "type": "string", "format": "date-time",
                "description": "not started by then: expired" },
            "traceparent": { "type": "string" },
            "tracestate": { "type": "string" },
            "dryrun": { "type": "boolean", "default": false,
                        "description": "validate, resolve, gate, and answer with the masked \
                                        request; nothing is sent or changed" },
            "data": data(command_type),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Envelope, Faults, RawMessage, Replies};

    fn parsed(command_type: CommandType, data: &Value) -> Result<Command, Faults> {
        let mut faults = Faults::new();
        let map = data.as_object().cloned().unwrap_or_default();
        Command::parse(command_type, map, &mut faults).ok_or(faults)
    }

    #[test]
    fn every_example_is_a_command_and_fits_its_schema() {
        for command_type in CommandType::ALL {
            let example = example(*command_type);
            let body = example.to_string();
            let raw = RawMessage {
                routing_key: command_type.as_str(),
                body: body.as_bytes(),
                ..RawMessage::default()
            };
            let replies = Replies {
                own_prefix: "ticketwire",
                allowed: &[],
            };
            let parsed = Envelope::parse(&raw, 1 << 20, &replies);
            assert!(parsed.is_ok(), "{command_type}: {:?}", parsed.err());
            let schema = json_schema(command_type.as_str()).unwrap();
            let validator = jsonschema::validator_for(&schema).unwrap();
            let fault = validator.validate(&example).err();
            assert!(fault.is_none(), "{command_type}: {}", fault.unwrap());
        }
    }

    #[test]
    fn a_field_left_out_is_what_the_schema_says_it_is() {
        for command_type in CommandType::ALL {
            let schema = data(*command_type);
            let example = example(*command_type)["data"].clone();
            let Some(properties) = schema["properties"].as_object() else {
                continue;
            };
            for (name, property) in properties {
                let Some(default) = property.get("default") else {
                    continue;
                };
                let (mut without, mut with) = (example.clone(), example.clone());
                without.as_object_mut().unwrap().remove(name);
                with[name] = default.clone();
                let (without, with) = (
                    parsed(*command_type, &without),
                    parsed(*command_type, &with),
                );
                assert_eq!(without, with, "{command_type} {name}");
                assert!(with.is_ok(), "{command_type} {name}: {with:?}");
            }
        }
    }

    #[test]
    fn what_a_schema_demands_the_parser_demands_and_what_it_does_not_know_is_refused() {
        for command_type in CommandType::ALL {
            let schema = data(*command_type);
            let example = example(*command_type)["data"].clone();
            let Some(properties) = schema["properties"].as_object() else {
                continue;
            };
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().unwrap();
                let mut without = example.clone();
                without.as_object_mut().unwrap().remove(name);
                assert!(
                    parsed(*command_type, &without).is_err(),
                    "{command_type} without {name}"
                );
            }
            for (name, property) in properties {
                // Of a type that no field has, or of none that this one has.
                let kind = property["anyOf"].get(0).unwrap_or(property);
                let wrong = match kind["type"].as_str() {
                    Some("object") => json!([1]),
                    _ => json!({ "": 1 }),
                };
                let anything = kind["type"].is_array();
                let mut faulty = example.clone();
                faulty[name] = wrong;
                let refused = parsed(*command_type, &faulty).is_err();
                assert!(
                    refused || anything,
                    "{command_type} takes anything as {name}"
                );
            }
            let mut unknown = example.clone();
            unknown["colour"] = json!("red");
            assert!(
                parsed(*command_type, &unknown).is_err(),
                "{command_type} takes colours"
            );
        }
    }

    #[test]
    fn the_parsers_fields_are_those_of_the_contract() {
        let names = |command_type| {
            let schema = data(command_type);
            let properties = schema["properties"].as_object().unwrap();
            properties.keys().cloned().collect::<Vec<_>>().join(" ")
        };

        assert_eq!(
            names(CommandType::TicketCreate),
            "assigned_to_id attachments category create_externally created_by_id custom_fields \
             department description integration_id priority route tags ticket_id title urgency"
        );
        assert_eq!(
            names(CommandType::TicketUpdate),
            "category custom_fields department description integration_id priority tags \
             ticket_id title urgency"
        );
        let create = names(CommandType::IntegrationCreate);
        let update = names(CommandType::IntegrationUpdate);
        let of_create: Vec<&str> = create
            .split(' ')
            .filter(|name| *name != "platform_name")
            .collect();
        let of_update: Vec<&str> = update
            .split(' ')
            .filter(|name| *name != "integration_id")
            .collect();
        assert_eq!(of_create, of_update, "any of the above but the platform");
        assert_eq!(
            names(CommandType::IntegrationFields),
            "integration_id search"
        );
        assert_eq!(names(CommandType::IntegrationRoute), "ticket ticket_id");
    }
}
