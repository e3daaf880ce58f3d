//! The command line: one file a subcommand. Exit status: 0 done, 1 the operation failed, 2 bad
//! usage or configuration.

mod ask;
mod command;
mod completions;
mod dead;
mod demo;
mod doctor;
mod erase;
mod events;
mod health;
mod ids;
mod integration;
mod keys;
mod migrate;
mod moment;
pub mod output;
mod platforms;
mod queue;
mod run;
mod sandbox;
mod schema;
mod send;
mod ticket;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError, Sources};
use crate::telemetry::{self, LogFormat};
use output::{Closed, Layout};

/// A message-driven worker between your application and the platforms where tickets live.
#[derive(Parser)]
#[command(name = "ticketwire", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// A TOML file with settings, over config/default.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over everything else; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
    /// One JSON document on stdout (one a line for streams) and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// Tables in full on a terminal, too: whole ids, times and texts, as a pipe gets them
    #[arg(long, global = true)]
    wide: bool,
    #[command(subcommand)]
    command: Subcommands,
}

const EXAMPLES: &str = "Examples:
  ticketwire keys generate                      a key for secrets.keys
  ticketwire migrate up                         makes or updates the database
  ticketwire run                                the worker, until SIGTERM
  ticketwire send ticket.create --organization ID --data @ticket.json --wait
  ticketwire events --from first --filter '#.failed.#'
  ticketwire doctor                             what is wrong, and what to do about it";

#[derive(Subcommand)]
enum Subcommands {
    /// The worker, until SIGTERM or SIGINT
    Run(run::Run),
    /// The database schema
    Migrate(migrate::Migrate),
    /// Integrations, directly in the database
    Integration(integration::Integration),
    /// Tickets, directly from the database
    Ticket(ticket::Ticket),
    /// The published contract, as AsyncAPI or JSON Schema
    Schema(schema::Schema),
    /// Publish a command
    Send(send::Send),
    /// Read the result events
    Events(events::Events),
    /// The life of commands
    Command(command::Command),
    /// Messages that could not become commands
    Dead(dead::Dead),
    /// The workers that share the ledger
    Worker(worker::Worker),
    /// The queues and exchanges at the broker
    Queue(queue::Queue),
    /// Whether the worker lives, for containers
    Health(health::Health),
    /// Removes a subject's data from every table
    Erase(erase::Erase),
    /// Keys that seal credentials
    Keys(keys::Keys),
    /// What is known of each platform
    Platforms(platforms::Platforms),
    /// Checks configuration, database, broker and keys
    Doctor(doctor::Doctor),
    /// Completions for a shell
    Completions(completions::Completions),
    /// Shows the main job on real RabbitMQ and PostgreSQL against the sandbox
    Demo(demo::Demo),
    /// Stateful fake platforms over HTTP
    Sandbox(sandbox::SandboxCommand),
}

/// Why a command ended without doing its job.
#[derive(Debug)]
pub enum Failed {
    /// Bad usage or configuration: exit status 2.
    Usage(String),
    /// The operation failed: exit status 1.
    Operation(String),
    /// Nobody reads the output any more: exit status 0.
    Closed,
}

impl From<Closed> for Failed {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Turns any error into a failed operation, with all its causes.
fn failed<E: std::error::Error>(error: E) -> Failed {
    Failed::Operation(crate::store::chain(&error))
}

/// What is said of a default file that is not read.
const FOREIGN_FILE: &str = "is not read, as its first line does not name Ticketwire: add \
                            \"# Ticketwire\" there, or name the file by --config, if it is meant";

/// What every subcommand is given.
struct Context {
    config: Config,
    /// Where it came from.
    sources: Sources,
    json: bool,
    /// How tables are laid out.
    layout: Layout,
    /// How this process was configured, so that a child can be alike.
    arguments: Vec<String>,
}

/// Runs the parsed command line and gives the exit status.
#[must_use]
pub fn exit_status(parsed: Result<Cli, clap::Error>) -> ExitCode {
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are no failure.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match cli.execute() {
        Ok(()) | Err(Failed::Closed) => ExitCode::SUCCESS,
        Err(Failed::Usage(text)) => {
            output::note(&format!("ticketwire: {text}"));
            ExitCode::from(2)
        }
        Err(Failed::Operation(text)) => {
            output::note(&format!("ticketwire: {text}"));
            ExitCode::from(1)
        }
    }
}

impl Cli {
    fn execute(self) -> Result<(), Failed> {
        if let Subcommands::Completions(completions) = &self.command {
            // A shell that starts has no configuration yet.
            return completions.execute();
        }
        let mut flags = Vec::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                // Without a `=` nobody can tell the value from the key.
                let key = crate::domain::shown(pair);
                Failed::Usage(format!(
                    "--set {key}: must be of the form section.key=value"
                ))
            })?;
            flags.push((key.to_owned(), value.to_owned()));
        }
        let sources = Sources::of_process(self.config.clone(), flags);
        let config = Config::load(&sources)?;
        let format = self.log_format.or(match config.log.format.as_deref() {
            Some("json") => Some(LogFormat::Json),
            Some(_) => Some(LogFormat::Text),
            None => None,
        });
        if let Subcommands::Demo(demo) = &self.command {
            demo.keep_log_apart()?;
        }
        telemetry::init(format, config.log.filter.as_deref());
        let mut arguments = Vec::new();
        if let Some(file) = &self.config {
            arguments.extend(["--config".to_owned(), file.display().to_string()]);
        }
        for pair in &self.set {
            arguments.extend(["--set".to_owned(), pair.clone()]);
        }
        if let Some(file) = &sources.foreign_file {
            tracing::warn!(file = %file.display(), "{FOREIGN_FILE}");
        }
        let context = Context {
            layout: Layout::of_stdout(&sources.env, self.wide),
            sources,
            config,
            json: self.json,
            arguments,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Failed::Operation(format!("the runtime cannot be started: {error}"))
            })?;
        let result = runtime.block_on(self.command.execute(&context));
        // Nothing of value is left to wait for.
        runtime.shutdown_background();
        result
    }
}

impl Subcommands {
    async fn execute(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Run(run) => run.execute(context).await,
            Self::Migrate(migrate) => migrate.execute(context).await,
            Self::Integration(integration) => integration.execute(context).await,
            Self::Ticket(ticket) => ticket.execute(context).await,
            Self::Schema(schema) => schema.execute(context),
            Self::Send(send) => send.execute(context).await,
            Self::Events(events) => events.execute(context).await,
            Self::Command(command) => command.execute(context).await,
            Self::Dead(dead) => dead.execute(context).await,
            Self::Worker(worker) => worker.execute(context).await,
            Self::Queue(queue) => queue.execute(context).await,
            Self::Health(health) => health.execute(context).await,
            Self::Erase(erase) => erase.execute(context).await,
            Self::Keys(keys) => keys.execute(context).await,
            Self::Platforms(platforms) => platforms.execute(context),
            Self::Doctor(doctor) => doctor.execute(context).await,
            Self::Completions(completions) => completions.execute(),
            Self::Demo(demo) => demo.execute(context).await,
            Self::Sandbox(sandbox) => sandbox.execute(context).await,
        }
    }
}

impl Context {
    fn store(&self) -> Result<crate::store::Store, Failed> {
        crate::store::Store::new(&self.config.database.url, 2, "ticketwire tool").map_err(failed)
    }

    fn ring(&self) -> Result<crate::secrets::KeyRing, Failed> {
        self.config.secrets.ring().map_err(Failed::Usage)
    }

    fn topology(&self) -> crate::broker::Topology {
        crate::broker::Topology::new(&self.config.amqp.prefix)
    }
}
