//! Commands as a producer writes them.

use lapin::BasicProperties;
use serde_json::{Value, json};
use uuid::Uuid;

/// A command's envelope.
pub(crate) fn command(command_type: &str, id: Uuid, organization: Uuid, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/tests", "type": command_type,
        "organizationid": organization, "data": data,
    })
}

/// A message on its way to `P.commands`.
pub(crate) struct Message {
    pub(crate) routing_key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) properties: BasicProperties,
}

impl Message {
    pub(crate) fn new(routing_key: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            routing_key: routing_key.into(),
            body: body.into(),
            properties: BasicProperties::default()
                .with_delivery_mode(2)
                .with_content_type("application/cloudevents+json".into()),
        }
    }

    pub(crate) fn of(command: &Value) -> Self {
        let routing_key = command["type"].as_str().unwrap_or_default();
        Self::new(routing_key, command.to_string())
    }
}
