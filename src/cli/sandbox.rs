//! `ticketwire sandbox`

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{Context, Failed, output};
use crate::sandbox;

/// Stateful fake platforms over HTTP, with faults on demand; forgets everything when it stops.
#[derive(Args)]
#[command(after_help = "Example:
  ticketwire sandbox --listen 127.0.0.1:8090
  curl http://127.0.0.1:8090/_sandbox            what it can do
  An integration with base_url http://127.0.0.1:8090/jira/acme uses the site acme.
  A mail handed in as the user acme belongs to the site email/acme.")]
pub(super) struct SandboxCommand {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Where to take mail, in the clear until STARTTLS
    #[arg(long, default_value = "127.0.0.1:8587")]
    smtp: SocketAddr,
    /// Where to take mail that is encrypted from the first byte on
    #[arg(long, default_value = "127.0.0.1:8465")]
    smtps: SocketAddr,
}

impl SandboxCommand {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let listen = sandbox::Listen {
            http: self.listen,
            smtp: self.smtp,
            smtps: self.smtps,
        };
        let sandbox = sandbox::start_at(listen).await.map_err(|error| {
            Failed::Operation(format!(
                "cannot listen on {}, {} and {}: {error}; choose another --listen, --smtp or \
                 --smtps",
                self.listen, self.smtp, self.smtps
            ))
        })?;
        let url = sandbox.url("acme");
        if context.json {
            output::json(&json!({
                "listen": sandbox.addr(), "example_base_url": url,
                "smtp": sandbox.smtp(), "smtps": sandbox.smtps(),
            }))?;
        } else {
            output::line(&format!(
                "listening on http://{}; e.g. base_url {url}; help at /_sandbox",
                sandbox.addr()
            ))?;
            output::line(&format!(
                "mail on {} (STARTTLS) and {} (TLS); its certificate at /_sandbox/certificate",
                sandbox.smtp(),
                sandbox.smtps()
            ))?;
        }
        tokio::signal::ctrl_c().await.map_err(super::failed)?;
        sandbox.stop().await;
        Ok(())
    }
}
