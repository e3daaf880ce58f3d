//! The program as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::{http_get, wait_for};

/// A `ticketwire run`. Killed when dropped.
pub(crate) struct Worker {
    pub(crate) address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts it; see [`Worker::ready`].
    pub(crate) fn spawn(environment: &BTreeMap<String, String>, log: PathBuf) -> Self {
        let address = free_address();
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = program(environment)
            .arg("run")
            .env("TICKETWIRE__HTTP__LISTEN", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            address,
            child,
            log,
        }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(self) -> Self {
        wait_for("the worker to be ready", async || {
            (self.is_ready().await).then_some(())
        })
        .await;
        self
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let answer = http_get(self.address, "/health/ready").await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// `kill -SIGNAL`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success(), "kill -{signal}");
    }

    /// Lets it have so many files open at a time, from now on.
    pub(crate) fn limit_descriptors(&self, limit: u32) {
        let pid = self.child.id().to_string();
        let limit = format!("--nofile={limit}:{limit}");
        let status = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(status.unwrap().success(), "prlimit");
    }

    /// Of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many files it has open.
    pub(crate) fn open_descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid()));
        open.unwrap().count()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        wait_for("the worker to end", async || self.child.try_wait().unwrap()).await
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(12_000);
            let tail = log.get(from..).unwrap_or(&log);
            println!("--- log of worker {} ---\n{tail}", self.child.id());
        }
    }
}

/// Runs a command of the program to its end.
pub(crate) fn output(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Output {
    program(environment)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command of the program on a terminal so many columns wide, by util-linux' `script`: what
/// the terminal was sent, and whether the program succeeded.
pub(crate) fn on_terminal(
    environment: &BTreeMap<String, String>,
    columns: u16,
    arguments: &[&str],
) -> (String, bool) {
    let quoted = arguments.iter().map(|text| format!("'{text}'"));
    let line = format!(
        "stty cols {columns} rows 50 && exec '{}' {}",
        program_path(),
        quoted.collect::<Vec<_>>().join(" ")
    );
    let mut child = bare("script", environment)
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Without a stdin it would write an end of file to the terminal.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = String::from_utf8(output.stdout).unwrap();
    (text.replace("\r\n", "\n"), output.status.success())
}

/// Starts a command of the program that somebody will end.
pub(crate) fn start(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Child {
    program(environment)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Another build of the program may be tried instead of the one that was built for the tests.
fn program_path() -> String {
    let program = std::env::var("TICKETWIRE_TEST_PROGRAM");
    program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_ticketwire").to_owned())
}

fn program(environment: &BTreeMap<String, String>) -> Command {
    bare(&program_path(), environment)
}

fn bare(program: &str, environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in ["PATH", "HOME"] {
        if let Ok(value) = std::env::var(name) {
            command.env(name, value);
        }
    }
    command.envs(environment);
    command
}

/// An address that nobody listens on, nor is given another time. It is below the ports that the
/// kernel gives to connections: one of those could be taken before it is listened on.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Another run of the suite begins elsewhere.
        let first = u16::try_from(std::process::id() * 131 % 20_000).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + first.wrapping_add(number) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
