//! Lines and messages over TCP or TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Longest time between two pieces of a client (RFC 5321 §4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Longest command line. RFC 5321 §4.5.3.1.4 has 512; a token in AUTH has more (RFC 4954 §4).
const COMMAND_MAX: usize = 12_288;
/// Longest line of a message, with its end (RFC 5321 §4.5.3.1.6).
const TEXT_LINE_MAX: usize = 1_000;

/// Bytes that are read at a time.
const PIECE: usize = 16 << 10;

/// Nobody is there any more, or the sandbox stops.
pub(super) struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two.
    None,
}

/// A connection, and what was received and not yet read.
pub(super) struct Wire {
    stream: Stream,
    acceptor: TlsAcceptor,
    stopping: CancellationToken,
    received: Vec<u8>,
}

/// A command line.
pub(super) enum Line {
    Text(String),
    TooLong,
    /// Ended by a line feed alone.
    BareLineFeed,
}

/// A message as it was received, dots taken away.
#[derive(Default)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    /// What no server should take, with the reply that says so.
    pub(super) flaw: Option<(u16, &'static str)>,
}

impl Wire {
    pub(super) fn new(
        stream: TcpStream,
        acceptor: TlsAcceptor,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            stream: Stream::Plain(stream),
            acceptor,
            stopping,
            received: Vec::new(),
        }
    }

    /// Goes on encrypted. What the client sent ahead in the clear is forgotten (RFC 3207 §4.2).
    pub(super) async fn encrypt(&mut self) -> Result<(), Gone> {
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::None) else {
            return Err(Gone);
        };
        self.received.clear();
        let handshake = tokio::time::timeout(IDLE, self.acceptor.accept(tcp));
        // Either branch may be dropped: the connection ends with it.
        let tls = tokio::select! {
            tls = handshake => tls.map_err(|_| Gone)??,
            () = self.stopping.cancelled() => return Err(Gone),
        };
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match &mut self.stream {
            Stream::Plain(tcp) => tcp.write_all(bytes).await?,
            Stream::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await?;
            }
            Stream::None => return Err(Gone),
        }
        Ok(())
    }

    /// Receives more.
    async fn more(&mut self) -> Result<(), Gone> {
        let Self {
            stream,
            received,
            stopping,
            ..
        } = self;
        let read = async {
            received.reserve(PIECE);
            match stream {
                Stream::Plain(tcp) => tcp.read_buf(received).await,
                Stream::Tls(tls) => tls.read_buf(received).await,
                Stream::None => Ok(0),
            }
        };
        // Any branch may be dropped: what was read is in the buffer, and else nothing was.
        let count = tokio::select! {
            count = tokio::time::timeout(IDLE, read) => count.map_err(|_| Gone)??,
            () = stopping.cancelled() => return Err(Gone),
        };
        if count == 0 { Err(Gone) } else { Ok(()) }
    }

    /// The next command.
    pub(super) async fn line(&mut self) -> Result<Line, Gone> {
        let mut too_long = false;
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                if too_long || line.len() > COMMAND_MAX {
                    return Ok(Line::TooLong);
                }
                return Ok(match line.strip_suffix(b"\r\n") {
                    Some(text) => Line::Text(String::from_utf8_lossy(text).into_owned()),
                    None => Line::BareLineFeed,
                });
            }
            if self.received.len() > COMMAND_MAX {
                too_long = true;
                self.received.clear();
            }
            self.more().await?;
        }
    }

    /// Waits until something of a message has come.
    pub(super) async fn some(&mut self) -> Result<(), Gone> {
        if self.received.is_empty() {
            self.more().await?;
        }
        Ok(())
    }

    /// A message up to its final dot, of which at most `max` bytes are kept.
    pub(super) async fn message(&mut self, max: usize) -> Result<Received, Gone> {
        let mut message = Received::default();
        // How far what was received is looked through for the end of its first line.
        let mut searched = 0;
        loop {
            let mut began = 0;
            while let Some(found) = line_end(&self.received[began..], searched) {
                let line = &self.received[began..began + found];
                began += found;
                searched = 0;
                if line == b".\r\n" {
                    self.received.drain(..began);
                    return Ok(message);
                }
                message.take(line, max);
            }
            self.received.drain(..began);
            if self.received.len() > max {
                // One line without an end.
                message.flaw = Some((552, "5.3.4 message too big"));
                self.received.drain(..self.received.len() - 1);
            }
            searched = self.received.len().saturating_sub(1);
            self.more().await?;
        }
    }

    /// Ends the connection with a RST.
    pub(super) fn reset(&mut self) {
        let tcp = match &self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.get_ref().0,
            Stream::None => return,
        };
        // With zero linger the close that follows is a RST, not a FIN.
        if let Err(error) = tcp.set_zero_linger() {
            tracing::debug!(%error, "the sandbox could not prepare a reset");
        }
        self.stream = Stream::None;
    }

    /// Closes in order: what was written arrives, whatever the client still sends.
    pub(super) async fn close(&mut self) {
        let closed = match &mut self.stream {
            Stream::Plain(tcp) => tcp.shutdown().await,
            Stream::Tls(tls) => tls.shutdown().await,
            Stream::None => return,
        };
        if closed.is_ok() {
            let drain = async {
                while self.more().await.is_ok() {
                    self.received.clear();
                }
            };
            drop(tokio::time::timeout(Duration::from_secs(2), drain).await);
        }
    }
}

/// Where the first line ends, with its CR LF; what comes before `from` is known to hold no end.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let found = rest.windows(2).position(|two| two == b"\r\n")?;
    Some(from + found + 2)
}

impl Received {
    fn take(&mut self, line: &[u8], max: usize) {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        if line.len() > TEXT_LINE_MAX {
            self.flaw = Some((500, "5.5.2 a line has more than 1000 octets"));
        }
        if text.contains(&b'\n') || text.contains(&b'\r') {
            self.flaw = Some((550, "5.5.2 a bare line feed or carriage return"));
        }
        if text.contains(&0) {
            self.flaw = Some((550, "5.6.0 a NUL"));
        }
        let line = line.strip_prefix(b".").unwrap_or(line);
        if self.bytes.len() + line.len() > max {
            self.flaw = Some((552, "5.3.4 message too big"));
        } else {
            self.bytes.extend_from_slice(line);
        }
    }
}
