//! Services of a test's own, which it may stop: `scripts/services` makes them.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::worker::free_address;

/// A private PostgreSQL, RabbitMQ or PgBouncer; stopped when dropped.
pub(crate) struct OwnService {
    kind: &'static str,
    /// What its kind wants to know besides directory and port.
    arguments: Vec<String>,
    directory: tempfile::TempDir,
    port: u16,
    /// Where it answers.
    pub(crate) url: String,
}

impl OwnService {
    pub(crate) fn postgres() -> Self {
        Self::start_new("own-postgres", Vec::new())
    }

    pub(crate) fn rabbitmq() -> Self {
        Self::start_new("own-rabbitmq", Vec::new())
    }

    /// A PgBouncer in front of the PostgreSQL under test. `None` where it is not installed, which
    /// is a failure in CI.
    pub(crate) fn pgbouncer(mode: &str) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
        let is_there = std::env::split_paths(&path).any(|dir| dir.join("pgbouncer").exists());
        if !is_there {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(
                !ci,
                "pgbouncer is not installed: ./scripts/services test-tools"
            );
            // Past the test harness, which shows nothing of a test that passes.
            let text = b"SKIPPED: PGBOUNCER IS NOT INSTALLED, SO NOTHING WAS TESTED BEHIND ONE\n";
            drop(std::io::stderr().write_all(text));
            return None;
        }
        let (database, _) = super::services();
        let arguments = vec![mode.to_owned(), database];
        Some(Self::start_new("own-pgbouncer", arguments))
    }

    fn start_new(kind: &'static str, arguments: Vec<String>) -> Self {
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
            arguments,
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
        let path = self.path();
        let mut arguments = vec![self.kind, &path, &port];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let printed = script(&arguments);
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
