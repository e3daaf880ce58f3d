//! Services of a test's own, which it may stop: `scripts/services` makes them.

use std::path::Path;
use std::process::Command;

use super::worker::free_address;

/// A private PostgreSQL or RabbitMQ; stopped when dropped.
pub(crate) struct OwnService {
    kind: &'static str,
    directory: tempfile::TempDir,
    port: u16,
    /// Where it answers.
    pub(crate) url: String,
}

impl OwnService {
    pub(crate) fn postgres() -> Self {
        Self::start_new("own-postgres")
    }

    pub(crate) fn rabbitmq() -> Self {
        Self::start_new("own-rabbitmq")
    }

    fn start_new(kind: &'static str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("tw-own-")
            .tempdir()
            .unwrap();
        // The distribution port of a private broker is 20000 above, its epmd's 10000.
        let port = loop {
            let port = free_address().port() % 20_000 + 20_000;
            let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
            if free(port) && free(port + 10_000) && free(port + 20_000) {
                break port;
            }
        };
        let mut service = Self {
            kind,
            directory,
            port,
            url: String::new(),
        };
        service.start();
        service
    }

    /// Starts it, again if it was stopped.
    pub(crate) fn start(&mut self) {
        let port = self.port.to_string();
        let printed = script(&[self.kind, &self.path(), &port]);
        let url = printed.split_once('=').unwrap().1.trim();
        self.url = url.to_owned();
    }

    /// Stops it: PostgreSQL by `mode` (fast, immediate).
    pub(crate) fn stop(&self, mode: &str) {
        script(&["stop", &self.path(), mode]);
    }

    /// Runs `rabbitmqctl` with the private broker's environment.
    pub(crate) fn rabbitmqctl(&self, arguments: &str) {
        script(&["ctl", &self.path(), arguments]);
    }

    /// Sends a signal to the private broker: `STOP` makes it silent, `CONT` lets it go on.
    pub(crate) fn signal(&self, signal: &str) {
        script(&["signal", &self.path(), signal]);
    }

    fn path(&self) -> String {
        self.directory.path().display().to_string()
    }
}

impl Drop for OwnService {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}

fn script(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/services");
    let output = Command::new(script)
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("AMQP_URL")
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "scripts/services {arguments:?}: {err}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
