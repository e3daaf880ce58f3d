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
  An integration with base_url http://127.0.0.1:8090/jira/acme uses the site acme.")]
pub(super) struct SandboxCommand {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
}

impl SandboxCommand {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let sandbox = sandbox::start(self.listen).await.map_err(|error| {
            Failed::Operation(format!(
                "cannot listen on {}: {error}; choose another --listen",
                self.listen
            ))
        })?;
        let url = sandbox.url("acme");
        if context.json {
            output::json(&json!({ "listen": sandbox.addr(), "example_base_url": url }))?;
        } else {
            output::line(&format!(
                "listening on http://{}; e.g. base_url {url}; help at /_sandbox",
                sandbox.addr()
            ))?;
        }
        tokio::signal::ctrl_c().await.map_err(super::failed)?;
        sandbox.stop().await;
        Ok(())
    }
}
