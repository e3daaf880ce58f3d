//! What it cost: processor time from `/proc`, figures from the worker's own metrics.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Clock ticks a second; Linux has had no other value for user space since 2.4.
const TICKS: f64 = 100.0;

/// Processor seconds so far.
pub(crate) struct Usage {
    worker: f64,
    postgres: f64,
    rabbitmq: f64,
}

impl Usage {
    pub(crate) fn now(worker: u32) -> Self {
        let mut usage = Self {
            worker: 0.0,
            postgres: 0.0,
            rabbitmq: 0.0,
        };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in processes {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let Some((name, seconds)) = parse(&stat) else {
                continue;
            };
            match name {
                _ if pid == worker => usage.worker += seconds,
                "postgres" => usage.postgres += seconds,
                "beam.smp" => usage.rabbitmq += seconds,
                _ => {}
            }
        }
        usage
    }

    /// Backends that have ended since are not counted, so the difference may be a little low.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            worker: self.worker - before.worker,
            postgres: self.postgres - before.postgres,
            rabbitmq: self.rabbitmq - before.rabbitmq,
        }
    }

    pub(crate) const fn by_process(&self) -> [(&'static str, f64); 3] {
        [
            ("worker", self.worker),
            ("PostgreSQL", self.postgres),
            ("RabbitMQ", self.rabbitmq),
        ]
    }
}

/// Name and processor seconds of a line of `/proc/<pid>/stat`.
fn parse(stat: &str) -> Option<(&str, f64)> {
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((name, (user + system) / TICKS))
}

/// `VmHWM`: the most so far.
pub(crate) fn peak_memory_mib(pid: u32) -> f64 {
    memory_mib(pid, "VmHWM:")
}

/// `VmRSS`: now.
pub(crate) fn memory_now_mib(pid: u32) -> f64 {
    memory_mib(pid, "VmRSS:")
}

fn memory_mib(pid: u32, of: &str) -> f64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            line.strip_prefix(of)?
                .trim()
                .strip_suffix(" kB")?
                .parse::<f64>()
                .ok()
        })
        .unwrap_or(0.0)
        / 1024.0
}

/// The worker's metrics as text.
pub(crate) async fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The value of a series; 0 where it is not there.
pub(crate) fn value(metrics: &str, series: &str) -> f64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        .unwrap_or(0.0)
}
