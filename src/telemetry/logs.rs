//! Logs go to stderr, or to a file ([`to_file`]): text on a terminal, JSON lines otherwise. Never
//! bodies, headers, titles, addresses, tokens.
//!
//! What a platform says may hold any of them. So a line that is logged while an adapter works loses
//! what is secret there: [`scrubbed`].

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Takes secrets out of a line.
pub trait Scrub: Send + Sync {
    /// The line without them; `None` where it has none.
    fn scrub(&self, line: &[u8]) -> Option<Vec<u8>>;
}

tokio::task_local! {
    static SCRUB: Arc<dyn Scrub>;
}

/// Runs a future whose log lines are scrubbed, whoever logs them.
pub async fn scrubbed<F: Future>(scrub: Arc<dyn Scrub>, future: F) -> F::Output {
    SCRUB.scope(scrub, future).await
}

/// The file that takes the place of stderr, and where it is.
static FILE: OnceLock<(File, PathBuf)> = OnceLock::new();

/// Makes a file that takes all log lines from now on, in place of stderr; for a program whose
/// stderr tells something else. Only the first call does; it comes before [`init`].
///
/// # Errors
/// The file is there already, or cannot be made.
pub fn to_file(path: PathBuf) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)?;
    FILE.get_or_init(|| (file, path));
    Ok(())
}

/// Where log lines go, if that is a file.
#[must_use]
pub fn log_file() -> Option<&'static Path> {
    FILE.get().map(|(_, path)| path.as_path())
}

/// What log lines are written to.
enum Sink {
    Stderr(io::Stderr),
    File(&'static File),
}

impl Sink {
    fn now() -> Self {
        match FILE.get() {
            Some((file, _)) => Self::File(file),
            None => Self::Stderr(io::stderr()),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.write(line),
            Self::File(file) => file.write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stderr(stderr) => stderr.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

/// Where lines go: each comes in one piece.
struct Lines<W>(fn() -> W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (self.0)().write_all(&without_secrets(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        (self.0)().flush()
    }
}

fn without_secrets(line: &[u8]) -> Cow<'_, [u8]> {
    match SCRUB.try_with(|scrub| scrub.scrub(line)) {
        Ok(Some(scrubbed)) => scrubbed.into(),
        // Nothing in it, or nobody at work who knows a secret.
        Ok(None) | Err(_) => line.into(),
    }
}

impl<W: Write> MakeWriter<'_> for Lines<W> {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self(self.0)
    }
}

/// Lines as the log has them, for a test that reads them.
#[cfg(test)]
pub(crate) fn lines_to<W: Write + 'static>(sink: fn() -> W) -> impl for<'a> MakeWriter<'a> {
    Lines(sink)
}

/// Sets logging up, once; `filter` is in the syntax of `RUST_LOG`. A second call changes nothing.
pub fn init(format: Option<LogFormat>, filter: Option<&str>) {
    let terminal = FILE.get().is_none() && std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    });
    // lapin logs every lost connection as an error of its own; ours say what it means.
    let filter = EnvFilter::new(capped(filter.unwrap_or("warn,ticketwire=info,lapin=off")));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(Sink::now))
        .with_target(false);
    let set = match format {
        LogFormat::Text => builder.with_ansi(terminal).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = set {
        tracing::debug!(error = %error, "logging was set up before");
        return;
    }
    // A panic's text may quote what a platform said; as a line of the log it is scrubbed like any
    // other.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, text, "panicked");
    }));
}

/// A filter whose bare `debug` or `trace` is meant of this program: at those levels the drivers log
/// what they send, parameters of statements and frames with secrets among it. A driver that is
/// named is shown as asked for.
fn capped(filter: &str) -> String {
    let directive = |text: &str| match text.trim().parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::INFO => format!("info,ticketwire={level}"),
        Ok(_) | Err(_) => text.to_owned(),
    };
    // As EnvFilter separates them.
    filter
        .split(',')
        .map(directive)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_filter_of_one_level_opens_this_program_and_no_driver() {
        static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        struct Kept;
        impl Write for Kept {
            fn write(&mut self, line: &[u8]) -> io::Result<usize> {
                LINES.lock().unwrap().extend_from_slice(line);
                Ok(line.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let said = |filter: &str| {
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(capped(filter)))
                .with_writer(Lines(|| Kept))
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::trace!(target: "ticketwire::store", "ours");
                tracing::debug!(target: "tokio_postgres::query", "parameters");
                tracing::info!(target: "rustls", "informed");
            });
            String::from_utf8(std::mem::take(&mut LINES.lock().unwrap())).unwrap()
        };

        for (filter, ours, driver, other) in [
            ("trace", true, false, true),
            ("TRACE,rustls=warn", true, false, false),
            ("debug", false, false, true),
            ("trace,tokio_postgres=debug", true, true, true),
            ("warn,ticketwire=trace", true, false, false),
        ] {
            let lines = said(filter);
            let found = ["ours", "parameters", "informed"].map(|word| lines.contains(word));
            assert_eq!(found, [ours, driver, other], "{filter}: {lines}");
        }
    }

    struct Stars;

    impl Scrub for Stars {
        fn scrub(&self, line: &[u8]) -> Option<Vec<u8>> {
            let line = String::from_utf8_lossy(line);
            line.contains("s3cret")
                .then(|| line.replace("s3cret", "***").into_bytes())
        }
    }

    #[tokio::test]
    async fn a_line_is_scrubbed_while_somebody_knows_its_secrets() {
        let within = async { without_secrets(b"said s3cret").into_owned() };

        assert_eq!(scrubbed(Arc::new(Stars), within).await, b"said ***");
        assert_eq!(without_secrets(b"said s3cret").into_owned(), b"said s3cret");
    }
}
