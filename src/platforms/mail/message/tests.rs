//! Tests of the bytes of messages.

use chrono::TimeZone as _;

use super::*;
use crate::platforms::mail::MailAddress;

fn mailbox(name: Option<&str>, address: &str) -> Mailbox {
    Mailbox::new(name, MailAddress::parse(address).unwrap())
}

fn draft<'a>(subject: &'a str, text: &'a str, files: &'a [File]) -> Draft<'a> {
    Draft {
        text,
        html: "<p>It burns.</p>",
        files,
        references: vec![MessageId::new("tkt-1", "mail.example.com").unwrap()],
        in_reply_to: Some(MessageId::new("tkt-1", "mail.example.com").unwrap()),
        headers: vec![("X-Ticketwire-Mark", "cmd-1".into())],
        ..Draft::new(
            mailbox(Some("Support"), "support@example.com"),
            vec![
                mailbox(None, "ops@example.net"),
                mailbox(Some("Jürgen \"J\""), "j@example.net"),
            ],
            subject,
            MessageId::new("cmd-1", "mail.example.com").unwrap(),
            Utc.with_ymd_and_hms(2026, 1, 31, 12, 0, 0).unwrap(),
        )
    }
}

fn file(name: &str, media_type: &str, bytes: &[u8]) -> File {
    File::of_bytes(name, media_type, bytes.to_vec().into())
}

fn built(draft: &Draft<'_>) -> String {
    String::from_utf8(draft.build().unwrap().bytes().to_vec()).unwrap()
}

/// The headers, each in one line.
fn headers(message: &str) -> Vec<String> {
    let (head, _) = message.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ");
    unfolded.split("\r\n").map(str::to_owned).collect()
}

#[test]
fn a_message_has_its_headers_and_both_texts() {
    let message = built(&draft("Printer on fire", "It burns.", &[]));

    let headers = headers(&message);
    for expected in [
        "From: Support <support@example.com>",
        "Subject: Printer on fire",
        "Date: Sat, 31 Jan 2026 12:00:00 +0000",
        "Message-ID: <cmd-1@mail.example.com>",
        "In-Reply-To: <tkt-1@mail.example.com>",
        "References: <tkt-1@mail.example.com>",
        "X-Ticketwire-Mark: cmd-1",
        "MIME-Version: 1.0",
    ] {
        assert!(
            headers.iter().any(|line| line == expected),
            "{expected}: {headers:#?}"
        );
    }
    assert!(message.contains("\r\n\r\nIt burns.\r\n"), "{message}");
    assert!(message.contains("<p>It burns.</p>"), "{message}");
    assert!(message.is_ascii());
}

#[test]
fn the_same_contents_give_the_same_bytes_and_others_another_boundary() {
    let files = [file("a.txt", "text/plain", b"one\ntwo\n")];
    let first = draft("Printer", "It burns.", &files).build().unwrap();
    let second = draft("Printer", "It burns.", &files).build().unwrap();
    let other = draft("Printer", "It burns no more.", &files);

    assert_eq!(first.bytes(), second.bytes());
    assert_ne!(
        draft("Printer", "It burns.", &files).boundary(),
        other.boundary()
    );
}

#[test]
fn no_text_ends_a_header_or_begins_one() {
    for evil in [
        "x\r\nBcc: eve@example.org",
        "x\nBcc: eve@example.org",
        "x\rBcc: eve@example.org",
        "x\r\n\r\n<script>",
        "x\u{2028}Bcc: eve@example.org",
        "x\0y\u{b}z\r\n.\r\nMAIL FROM:<eve@example.org>",
        "ü\r\nBcc: eve@example.org",
    ] {
        let files = [file(
            &format!("a\"{evil}.txt"),
            "text/plain\r\nX-Evil: 1",
            b"x",
        )];
        let mut draft = draft(evil, "text", &files);
        draft.from = mailbox(Some(evil), "support@example.com");
        draft.reply_to = Some(mailbox(Some(evil), "support@example.com"));
        draft.headers.push(("X-Note", evil.into()));

        let message = built(&draft);

        for line in headers(&message)
            .iter()
            .chain(&headers(message.split_once("\r\n\r\n").unwrap().1))
        {
            assert!(
                !line.starts_with("Bcc") && !line.starts_with("X-Evil"),
                "{evil:?}: {message}"
            );
        }
        assert!(!message.contains("\r\nBcc:"), "{evil:?}: {message}");
        assert!(!message.contains("\r\n.\r\n"), "{evil:?}: {message}");
        assert_eq!(message.matches("\r\nSubject:").count(), 1, "{message}");
        assert!(!message.contains("\r\n<script>"), "{message}");
    }
}

#[test]
fn a_text_cannot_close_its_own_part_nor_end_the_message() {
    let honest = draft("Printer", "x", &[]);
    let boundary = honest.boundary();
    let text = format!("--{boundary}-text--\r\n.\r\nQUIT\r\rx\ny\0");
    let message = built(&draft("Printer", &text, &[]));

    let declared = message
        .split("boundary=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        message.matches(&format!("--{declared}\r\n")).count(),
        2,
        "{message}"
    );
    assert!(well_formed(message.as_bytes()).is_ok());
}

#[test]
fn a_file_comes_out_as_it_went_in_whatever_its_line_ends() {
    let bytes = b"one\ntwo\r\nthree\rfour\0\xff\n.\n";
    let files = [
        file("bericht \u{fc}.txt", "text/plain; charset=utf-8", bytes),
        file("mail.eml", "message/rfc822", b"From: x\n\nbody\n"),
    ];
    let message = built(&draft("Printer", "text", &files));

    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    assert!(message.contains(&encoded), "{message}");
    assert!(
        message.contains("filename*0*=utf-8''bericht%20%C3%BC.txt"),
        "{message}"
    );
    assert!(
        message.contains("Content-Type: application/octet-stream"),
        "{message}"
    );
    assert!(!message.contains("message/rfc822"), "{message}");
}

#[test]
fn letters_beyond_ascii_are_encoded_and_long_lines_too() {
    let long = "word ".repeat(1_000);
    let message = built(&draft(
        &"Drücker ".repeat(30),
        &format!("{long}\n\u{1f525}"),
        &[],
    ));

    assert!(message.is_ascii());
    assert!(
        message.split("\r\n").all(|line| line.len() <= 78),
        "{message}"
    );
}

#[test]
fn what_does_not_fit_is_refused_and_the_field_named() {
    let big = vec![b'x'; 9 << 20];
    let files = [file("big.bin", "application/zip", &big)];

    let too_big = draft("Printer", "x", &files).build().unwrap_err();
    let too_long = draft(&"x".repeat(1_000), "x", &[]).build().unwrap_err();

    assert!(too_big.public.starts_with("attachments"), "{too_big}");
    assert!(too_long.public.starts_with("title"), "{too_long}");
}

#[test]
fn a_long_thread_keeps_its_root_and_its_newest() {
    let ids: Vec<MessageId> = (0..50)
        .map(|n| MessageId::new(&format!("m{n}"), "x").unwrap())
        .collect();
    let mut draft = draft("Printer", "x", &[]);
    draft.references = ids;

    let thread = draft.thread();

    assert!(
        thread.starts_with("<m0@x> <m31@x> ") && thread.ends_with(" <m49@x>"),
        "{thread}"
    );
    assert_eq!(thread.split(' ').count(), 20);
}

#[test]
fn only_lines_that_every_server_ends_at_the_same_place_go_out() {
    for (bytes, fits) in [
        (&b"a\r\nb\r\n"[..], true),
        (b"a\r\n\r\n", true),
        (b"a\nb\r\n", false),
        (b"a\rb\r\n", false),
        (b"a\r\r\n", false),
        (b"a\0\r\n", false),
        (b"a", false),
    ] {
        assert_eq!(well_formed(bytes).is_ok(), fits, "{bytes:?}");
    }
    assert!(well_formed(format!("{}\r\n", "x".repeat(998)).as_bytes()).is_ok());
    assert!(well_formed(format!("{}\r\n", "x".repeat(999)).as_bytes()).is_err());
}
