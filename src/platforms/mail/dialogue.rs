//! Commands out, replies in: the line protocol of SMTP over any stream.

use std::borrow::Cow;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::reply::{Reply, Unreadable};

/// Bytes that are read at a time.
const PIECE: usize = 4 << 10;

/// A connection, encrypted or not.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection broke.
    Io(io::Error),
    /// The server closed it.
    Closed,
    /// What came is no reply.
    Unreadable(Unreadable),
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A connection, and what was received and not yet read.
pub(super) struct Dialogue {
    wire: Box<dyn Wire>,
    received: Vec<u8>,
}

impl Dialogue {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Self {
            wire,
            received: Vec::new(),
        }
    }

    /// The bare connection, to be encrypted. What the server sent beyond its last reply would else
    /// be taken for part of the encrypted talk, though anybody on the way may have written it (RFC
    /// 3207 §4.2): then there is no connection.
    pub(super) fn into_wire(self) -> Option<Box<dyn Wire>> {
        self.received.is_empty().then_some(self.wire)
    }

    /// The next reply.
    pub(super) async fn reply(&mut self) -> Result<Reply, Lost> {
        loop {
            if let Some(reply) = Reply::take(&mut self.received).map_err(Lost::Unreadable)? {
                return Ok(reply);
            }
            self.received.reserve(PIECE);
            if self.wire.read_buf(&mut self.received).await? == 0 {
                return Err(Lost::Closed);
            }
        }
    }

    /// Sends a command, and reads its reply. `line` holds no line break.
    pub(super) async fn ask(&mut self, line: &str) -> Result<Reply, Lost> {
        debug_assert!(!line.contains(['\r', '\n']), "a command is one line");
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends a message and its final dot, and reads the reply. `dotted` is set before the first
    /// byte of the dot's line goes out: as long as it is not, the server surely has not taken the
    /// message over.
    pub(super) async fn message(
        &mut self,
        message: &[u8],
        dotted: &mut bool,
    ) -> Result<Reply, Lost> {
        // A reply that nothing asked for is not the message's: the two are out of step.
        if !self.received.is_empty() {
            return self.reply().await;
        }
        let body = stuffed(message);
        if let Err(error) = self.write(&body).await {
            // Some servers say why before they hang up.
            return match Reply::take(&mut self.received) {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) | Err(_) => match self.reply().await {
                    Ok(reply) => Ok(reply),
                    Err(_) => Err(error.into()),
                },
            };
        }
        *dotted = true;
        self.write(b".\r\n").await?;
        self.reply().await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }
}

/// The message with a second dot in front of each line that begins with one (RFC 5321 §4.5.2).
fn stuffed(message: &[u8]) -> Cow<'_, [u8]> {
    let begins_with_dot = |at: &usize| {
        message.get(*at) == Some(&b'.') && (*at == 0 || message[..*at].ends_with(b"\r\n"))
    };
    let dots: Vec<usize> = message
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'.')
        .map(|(at, _)| at)
        .filter(begins_with_dot)
        .collect();
    if dots.is_empty() {
        return Cow::Borrowed(message);
    }
    let mut made = Vec::with_capacity(message.len() + dots.len());
    let mut from = 0;
    for at in dots {
        made.extend_from_slice(&message[from..at]);
        made.push(b'.');
        from = at;
    }
    made.extend_from_slice(&message[from..]);
    Cow::Owned(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_begins_with_a_dot_gets_another() {
        for (plain, sent) in [
            ("", ""),
            ("a.b\r\nc.\r\n", "a.b\r\nc.\r\n"),
            (".\r\n", "..\r\n"),
            ("a\r\n.\r\n..b\r\n", "a\r\n..\r\n...b\r\n"),
        ] {
            assert_eq!(stuffed(plain.as_bytes()), sent.as_bytes(), "{plain:?}");
        }
    }

    #[tokio::test]
    async fn a_message_whose_body_is_not_taken_is_not_ended_and_the_reply_is_read() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let server = tokio::spawn(async move {
            theirs.write_all(b"552 5.3.4 too big\r\n").await.unwrap();
            let mut piece = [0; 16];
            theirs.read_exact(&mut piece).await.unwrap();
        });
        let mut dialogue = Dialogue::new(Box::new(ours));
        let mut dotted = false;

        let reply = dialogue.message(&[b'x'; 4_096], &mut dotted).await.unwrap();

        server.await.unwrap();
        assert_eq!((reply.code, dotted), (552, false));
    }

    #[tokio::test]
    async fn a_connection_is_not_handed_on_while_something_unread_lies_in_it() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let both = b"220 go ahead\r\n250 AUTH PLAIN\r\n";
        theirs.write_all(both).await.unwrap();
        let mut dialogue = Dialogue::new(Box::new(ours));

        assert_eq!(dialogue.reply().await.unwrap().code, 220);
        assert!(dialogue.into_wire().is_none());
    }
}
