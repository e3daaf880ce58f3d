//! `ticketwire schema`

use clap::{Args, Subcommand};

use super::{Context, Failed, output};
use crate::contract::schema::{asyncapi, event_types, json_schema};
use crate::domain::CommandType;

/// The published contract.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire schema asyncapi > ticketwire.asyncapi.json
  ticketwire schema json ticket.create
  ticketwire schema json ticket.create.succeeded")]
pub(super) struct Schema {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Every command and event, as an AsyncAPI 3.0 document
    Asyncapi,
    /// One command or event, as a JSON Schema (2020-12) of its CloudEvent
    Json {
        /// A command's type, or an event's
        #[arg(value_name = "TYPE")]
        event_type: String,
    },
}

impl Schema {
    pub(super) fn execute(self, context: &Context) -> Result<(), Failed> {
        let document = match self.what {
            What::Asyncapi => asyncapi(&context.config.amqp.prefix),
            What::Json { event_type } => json_schema(&event_type).ok_or_else(|| {
                Failed::Usage(format!(
                    "{event_type:?} is no type of the contract; the commands are {}; the events \
                     are a command's type with an outcome, as ticket.create.succeeded, and {}",
                    CommandType::names(),
                    event_types()
                        .split_off(CommandType::ALL.len() * 5)
                        .join(", ")
                ))
            })?,
        };
        Ok(output::line(&if context.json {
            document.to_string()
        } else {
            format!("{document:#}")
        })?)
    }
}
