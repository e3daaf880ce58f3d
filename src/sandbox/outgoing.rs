//! What a platform asks of an address that is being registered with it: a handshake, or whether
//! anybody is there. In plain HTTP: the targets of tests have no certificates.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// Longest wait for the answer, and the most of it that is read.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_MAX: u64 = 64 << 10;

/// A request to an address of somebody else's.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) method: &'static str,
    pub(super) url: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// 0: nobody answered.
    pub(super) status: u16,
    headers: Vec<(String, String)>,
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Asks. Whatever goes wrong, nobody answered.
pub(super) async fn ask(question: &Question) -> Heard {
    match tokio::time::timeout(PATIENCE, exchange(question)).await {
        Ok(Some(heard)) => heard,
        Ok(None) | Err(_) => Heard::default(),
    }
}

async fn exchange(question: &Question) -> Option<Heard> {
    let url = Url::parse(&question.url).ok()?;
    if url.scheme() != "http" {
        return None;
    }
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
        .await
        .ok()?;
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = format!(
        "{} {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n",
        question.method
    );
    request.push_str(&format!("Content-Length: {}\r\n", question.body.len()));
    for (name, value) in &question.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(&question.body);
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_MAX)
        .read_to_end(&mut answer)
        .await
        .ok()?;
    read(&String::from_utf8_lossy(&answer))
}

/// Status and headers of an answer; nobody's body is of interest.
fn read(answer: &str) -> Option<Heard> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Heard {
        status,
        headers: headers.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_half_of_one_is_none() {
        let heard = read("HTTP/1.1 204 No Content\r\nX-Hook-Secret: s\r\n\r\n").unwrap();
        assert_eq!(
            (heard.status, heard.header("x-hook-secret")),
            (204, Some("s"))
        );
        let heard = read("HTTP/1.1 200 OK\r\nA: b\r\n\r\ntext").unwrap();
        assert_eq!((heard.header("a"), heard.header("b")), (Some("b"), None));
        assert!(read("HTTP/1.1 200 OK\r\nA: b\r\n").is_none());
        assert!(read("").is_none());
    }

    #[tokio::test]
    async fn whoever_is_not_there_answers_nothing() {
        for url in ["https://127.0.0.1/x", "no url", "http://127.0.0.1:1/x"] {
            let question = Question {
                method: "HEAD",
                url: url.to_owned(),
                headers: Vec::new(),
                body: String::new(),
            };
            assert_eq!(ask(&question).await.status, 0, "{url}");
        }
    }
}
