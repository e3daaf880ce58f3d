//! `ticketwire health`

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Context, Failed, output};

/// Longest wait for the answer: shorter than a container's usual limit of 30 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than the status line has.
const ANSWER_MAX: u64 = 4096;

/// Whether the worker of this configuration lives, for containers: exit status 0 if /health/live of
/// http.listen answers.
#[derive(Args)]
pub(super) struct Health {}

impl Health {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failed> {
        let Some(listen) = context.config.http.listen else {
            return Err(Failed::Usage(
                "http.listen is empty, so that nothing answers; give it an address, e.g. \
                 127.0.0.1:8000"
                    .into(),
            ));
        };
        let address = reachable(listen);
        let answered = match tokio::time::timeout(PATIENCE, status_of(address)).await {
            Ok(answered) => answered.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        let fault = match answered {
            Ok(200) => {
                return if context.json {
                    Ok(output::json(&json!({ "alive": true }))?)
                } else {
                    Ok(output::line("alive")?)
                };
            }
            Ok(status) => format!("answered {status}"),
            Err(error) => error,
        };
        Err(Failed::Operation(format!(
            "http://{address}/health/live: {fault}; does the worker run, with the same http.listen?"
        )))
    }
}

/// An address that stands for all of a machine is called on the machine itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        ip if ip.is_ipv4() => Ipv4Addr::LOCALHOST.into(),
        _ => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

/// The status of the answer; 0 where that is no HTTP.
async fn status_of(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /health/live HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    Ok(status
        .and_then(|status| status.parse().ok())
        .unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_called_on_this_machine() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();

        assert_eq!(of("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(of("[::]:8000"), "[::1]:8000");
        assert_eq!(of("192.0.2.1:8000"), "192.0.2.1:8000");
    }
}
