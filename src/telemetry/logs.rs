//! Logs go to stderr: text on a terminal, JSON lines otherwise. Never bodies, headers, titles, addresses, tokens.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sets logging up, once; `filter` is in the syntax of `RUST_LOG`. A second call changes nothing.
pub fn init(format: Option<LogFormat>, filter: Option<&str>) {
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    // lapin logs every lost connection as an error of its own; ours say what it means.
    let filter = EnvFilter::new(filter.unwrap_or("warn,ticketwire=info,lapin=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let set = match format {
        LogFormat::Text => builder.with_ansi(terminal).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = set {
        tracing::debug!(error = %error, "logging was set up before");
    }
}
