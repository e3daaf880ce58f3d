//! Every metric: its name, its help, and the one function that counts it. Labels come from closed
//! sets only, never ids.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder, once a process; before that, counting is free and goes nowhere.
pub fn install() {
    if HANDLE.get().is_some() {
        return;
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() && HANDLE.set(handle).is_ok() {
        describe();
    }
}

/// The metrics as Prometheus text; empty where no recorder is installed.
#[must_use]
pub fn render() -> String {
    HANDLE
        .get()
        .map(PrometheusHandle::render)
        .unwrap_or_default()
}

/// Folds what was recorded since the last time into the histograms. Until then every value is kept
/// one by one, so without it a worker that nobody scrapes would grow with every command.
pub fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

fn describe() {
    describe_counter!(
        COMMANDS,
        "Commands that came in, by type and what became of them at admission"
    );
    describe_counter!(
        ATTEMPTS,
        "Outcomes of attempts, by type, platform and error code"
    );
    describe_counter!(
        EVENTS,
        "Events handed to the broker, by what became of them"
    );
    describe_histogram!(BATCH, "Rows a batch, by step");
    describe_histogram!(
        BATCH_DURATION,
        Unit::Seconds,
        "From the beginning of a batch to its commit or its confirms, by step"
    );
    describe_histogram!(
        DURATION,
        Unit::Seconds,
        "From start of an attempt to its outcome, by platform"
    );
    describe_gauge!(
        BACKLOG,
        "Rows in the ledger that are not finished, by what they wait for"
    );
    describe_counter!(
        REMOVED,
        "Rows removed because they were older than retention.* says, by table"
    );
    describe_gauge!(MEMORY, "Commands in this process's hands");
    describe_gauge!(
        STATEMENTS,
        "Statements prepared in idle connections to the database: a fixed set a connection"
    );
    describe_gauge!(
        CLOCK_SKEW,
        Unit::Seconds,
        "How far the database's clock is ahead of this machine's"
    );
    describe_gauge!(DATABASE_UP, "Whether the database answers within 2 s");
    describe_gauge!(LINK_UP, "Whether a connection to the broker stands");
    describe_gauge!(LINK_GENERATION, "How often it was made");
    describe_counter!(
        WEBHOOKS,
        "Deliveries of platforms, by platform and what became of them"
    );
    describe_histogram!(
        WEBHOOK_ANSWER,
        Unit::Seconds,
        "From a delivery's request line to its answer"
    );
    describe_gauge!(
        WEBHOOK_BYTES,
        Unit::Bytes,
        "Bodies of deliveries in memory, as long as they said they are"
    );
    describe_gauge!(
        WEBHOOK_ENTRIES,
        "Integrations whose deliveries are known without the database, by state"
    );
    for state in ["running", "due", "later", "waiting", "outbox"] {
        backlog(state, 0);
    }
    for outcome in ["enqueued", "repeat", "rejected", "read"] {
        counter!(COMMANDS, "outcome" => outcome).absolute(0);
    }
    for table in ["commands", "dead_letters"] {
        counter!(REMOVED, "table" => table).absolute(0);
    }
    for outcome in ["confirmed", "unconfirmed"] {
        counter!(EVENTS, "outcome" => outcome).absolute(0);
    }
}

const COMMANDS: &str = "ticketwire_commands_received_total";
const ATTEMPTS: &str = "ticketwire_command_outcomes_total";
const EVENTS: &str = "ticketwire_events_published_total";
const BATCH: &str = "ticketwire_batch_rows";
const BATCH_DURATION: &str = "ticketwire_batch_duration_seconds";
const DURATION: &str = "ticketwire_attempt_duration_seconds";
const BACKLOG: &str = "ticketwire_backlog_rows";
const REMOVED: &str = "ticketwire_rows_removed_total";
const MEMORY: &str = "ticketwire_commands_in_memory";
const STATEMENTS: &str = "ticketwire_database_prepared_statements";
const CLOCK_SKEW: &str = "ticketwire_clock_skew_seconds";
const DATABASE_UP: &str = "ticketwire_database_up";
const LINK_UP: &str = "ticketwire_broker_connection_up";
const LINK_GENERATION: &str = "ticketwire_broker_connection_generation";
const WEBHOOKS: &str = "ticketwire_webhooks_total";
const WEBHOOK_ANSWER: &str = "ticketwire_webhook_answer_seconds";
const WEBHOOK_BYTES: &str = "ticketwire_webhook_bytes_in_hand";
const WEBHOOK_ENTRIES: &str = "ticketwire_webhook_entries";

/// Commands at admission: `enqueued`, `repeat`, `rejected`, `read`.
pub fn received(outcome: &'static str, count: usize) {
    counter!(COMMANDS, "outcome" => outcome).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// One settled outcome.
pub fn settled(
    command_type: &'static str,
    platform: &'static str,
    outcome: &'static str,
    error_code: Option<&'static str>,
    seconds: f64,
) {
    counter!(
        ATTEMPTS, "command_type" => command_type, "platform_name" => platform, "outcome" => outcome,
        "error_code" => error_code.unwrap_or("none")
    )
    .increment(1);
    histogram!(DURATION, "platform_name" => platform).record(seconds);
}

/// What the alert rules ask of outcomes: `increase()` sees a first one only where there was a zero
/// before it.
const WATCHED: [(&str, &str); 6] = [
    ("failed", "outcome_unknown"),
    ("failed", "quarantined"),
    ("failed", "authentication_failed"),
    ("failed", "credentials_unreadable"),
    ("failed", "permission_denied"),
    // Parked until somebody mends the credential.
    ("deferred", "authentication_failed"),
];

/// Counts zero of each outcome that somebody is woken for: of every type at every platform that has
/// an adapter, some 50 series a platform. Not by integration, of which there may be many.
pub fn register_outcomes(
    command_types: &[&'static str],
    platforms: impl Iterator<Item = &'static str>,
) {
    for platform in platforms {
        for command_type in command_types {
            for (outcome, error_code) in WATCHED {
                counter!(
                    ATTEMPTS, "command_type" => *command_type, "platform_name" => platform,
                    "outcome" => outcome,
                    "error_code" => error_code
                )
                .absolute(0);
            }
        }
    }
}

/// Events that the broker confirmed, and those that it did not.
pub fn published(confirmed: usize, unconfirmed: usize) {
    counter!(EVENTS, "outcome" => "confirmed")
        .increment(u64::try_from(confirmed).unwrap_or(u64::MAX));
    counter!(EVENTS, "outcome" => "unconfirmed")
        .increment(u64::try_from(unconfirmed).unwrap_or(u64::MAX));
}

/// The size of a batch and how long it took: steps `enqueue`, `settle` (both to the commit),
/// `publish` (to the confirms).
pub fn batch(step: &'static str, rows: usize, took: Duration) {
    histogram!(BATCH, "step" => step).record(f64::from(u32::try_from(rows).unwrap_or(u32::MAX)));
    histogram!(BATCH_DURATION, "step" => step).record(took.as_secs_f64());
}

/// Unfinished rows.
pub fn backlog(state: &str, rows: i64) {
    gauge!(BACKLOG, "state" => state.to_owned())
        .set(f64::from(i32::try_from(rows).unwrap_or(i32::MAX)));
}

/// Rows that were too old to be kept.
pub fn removed(table: &'static str, rows: u64) {
    counter!(REMOVED, "table" => table).increment(rows);
}

/// Commands in this process's hands.
pub fn commands_in_memory(count: usize) {
    gauge!(MEMORY).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// Statements prepared in idle connections.
pub fn prepared_statements(count: usize) {
    gauge!(STATEMENTS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// How far the database's clock is ahead of this machine's.
pub fn clock_skew(ahead: chrono::TimeDelta) {
    let seconds = ahead.as_seconds_f64();
    gauge!(CLOCK_SKEW).set(seconds);
}

/// Whether the database answered when the backlog was last counted.
pub fn database(up: bool) {
    gauge!(DATABASE_UP).set(f64::from(u8::from(up)));
}

/// A connection's state.
pub fn broker_link(role: &'static str, up: bool, generation: u64) {
    gauge!(LINK_UP, "role" => role).set(f64::from(u8::from(up)));
    gauge!(LINK_GENERATION, "role" => role)
        .set(f64::from(u32::try_from(generation).unwrap_or(u32::MAX)));
}

/// A platform's delivery: what became of it, and how long its answer took.
pub fn webhook(platform: &'static str, verdict: &'static str, took: Duration) {
    counter!(WEBHOOKS, "platform_name" => platform, "verdict" => verdict).increment(1);
    histogram!(WEBHOOK_ANSWER).record(took.as_secs_f64());
}

/// Counts zero of each verdict over a platform's deliveries.
pub fn register_webhooks(platform: &'static str, verdicts: &[&'static str]) {
    for verdict in verdicts {
        counter!(WEBHOOKS, "platform_name" => platform, "verdict" => *verdict).absolute(0);
    }
}

/// A body in memory, until it is dropped.
#[must_use]
pub fn webhook_bytes(bytes: usize) -> WebhookBytes {
    let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    gauge!(WEBHOOK_BYTES).increment(bytes);
    WebhookBytes(bytes)
}

/// See [`webhook_bytes`].
#[derive(Debug)]
pub struct WebhookBytes(f64);

impl Drop for WebhookBytes {
    fn drop(&mut self) {
        gauge!(WEBHOOK_BYTES).decrement(self.0);
    }
}

/// Integrations whose deliveries are known without the database.
pub fn webhook_entries(state: &'static str, count: usize) {
    gauge!(WEBHOOK_ENTRIES, "state" => state)
        .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}
