//! Tests of what replies mean.

use super::*;

fn of(stage: Stage, text: &str) -> ErrorClass {
    let line = format!("{text}\r\n");
    let reply = Reply::take(&mut line.into_bytes()).unwrap().unwrap();
    refusal(&reply, stage).class
}

fn name(class: &ErrorClass) -> String {
    match class {
        ErrorClass::Validation { fields } => {
            let names: Vec<_> = fields.keys().map(String::as_str).collect();
            format!("validation {}", names.join(","))
        }
        ErrorClass::Transient { retry_after } => format!("transient {retry_after:?}"),
        ErrorClass::RateLimited { retry_after } => format!("limited {retry_after:?}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn every_reply_of_the_table_has_its_class() {
    use Stage::{Auth, Data, Greeting, Message, Recipient, Sender};
    for (stage, text, expected) in [
        // Credentials.
        (
            Auth,
            "535 5.7.8 Username and Password not accepted",
            "authentication",
        ),
        (
            Auth,
            "535 5.7.3 Authentication unsuccessful",
            "authentication",
        ),
        (
            Auth,
            "534 5.7.9 Application-specific password required",
            "authentication",
        ),
        (Auth, "538 5.7.11 Encryption required", "authentication"),
        (
            Auth,
            "504 Unrecognized authentication type",
            "authentication",
        ),
        (
            Auth,
            "550 5.7.30 Basic authentication is not supported",
            "authentication",
        ),
        (
            Sender,
            "530 5.7.0 Authentication Required",
            "authentication",
        ),
        (Recipient, "530 Authentication required", "authentication"),
        (
            Auth,
            "454 4.7.0 Temporary authentication failure",
            "transient None",
        ),
        (Auth, "454 4.7.0 Too many login attempts", "limited None"),
        // Permission.
        (Recipient, "550 5.7.1 Relaying denied", "permission"),
        (Recipient, "554 5.7.1 Relay access denied", "permission"),
        (
            Sender,
            "553 5.7.1 Sender address rejected: not owned by user",
            "permission",
        ),
        (Sender, "553 sorry, that sender is not yours", "permission"),
        (
            Message,
            "550 5.7.60 SMTP; Client does not have permissions to send as",
            "permission",
        ),
        (
            Message,
            "550 5.7.26 This mail is unauthenticated",
            "permission",
        ),
        (Auth, "525 5.7.13 User account disabled", "permission"),
        // Recipients.
        (Recipient, "550 5.1.1 <x>: User unknown", "notfound"),
        (Recipient, "550 No such user", "notfound"),
        (Recipient, "551 User not local", "notfound"),
        (Recipient, "553 5.1.3 Bad address syntax", "notfound"),
        (Recipient, "550 5.1.10 null MX", "notfound"),
        (
            Recipient,
            "550 5.4.1 Recipient address rejected: Access denied",
            "notfound",
        ),
        (Recipient, "551 5.1.6 Mailbox has moved", "notfound"),
        (Recipient, "550 5.2.1 Mailbox disabled", "notfound"),
        (
            Recipient,
            "552 5.2.2 Mailbox full",
            "validation settings.to",
        ),
        // Data.
        (
            Sender,
            "552 5.3.4 Message size exceeds fixed limit",
            "validation attachments",
        ),
        (
            Message,
            "552 5.2.3 Message too long",
            "validation attachments",
        ),
        (Message, "552 too big", "validation attachments"),
        (
            Sender,
            "555 5.5.4 Unsupported option",
            "validation settings.from_address",
        ),
        (
            Sender,
            "501 5.1.7 Bad sender address syntax",
            "validation settings.from_address",
        ),
        (Recipient, "501 Syntax error", "validation settings.to"),
        (Message, "554 5.6.0 Message content rejected", "validation "),
        (Message, "550 refused", "validation "),
        (Data, "503 5.5.1 Bad sequence of commands", "validation "),
        // Limits.
        (
            Greeting,
            "421 4.7.0 Try again later, closing connection",
            "limited None",
        ),
        (
            Sender,
            "432 4.3.2 Concurrent connections limit exceeded",
            "limited None",
        ),
        (
            Message,
            "554 5.2.0 STOREDRV.Submission; SubmissionQuotaExceeded",
            "limited None",
        ),
        (
            Message,
            "554 5.2.0 STOREDRV; mailbox is corrupt",
            "validation ",
        ),
        (Recipient, "452 4.5.3 Too many recipients", "limited None"),
        (
            Message,
            "454 4.7.0 Throttling failure: Maximum sending rate exceeded",
            "limited None",
        ),
        (Message, "450 4.7.28 Unusual rate of mail", "limited None"),
        (
            Sender,
            "550 5.4.5 Daily sending quota exceeded",
            "limited Some(86400s)",
        ),
        // Later.
        (Greeting, "421 Service not available", "transient None"),
        (Recipient, "450 4.2.0 Greylisted", "transient Some(300s)"),
        (
            Recipient,
            "451 4.7.1 Please try again later",
            "transient Some(300s)",
        ),
        (Recipient, "452 4.2.2 Mailbox full", "transient Some(300s)"),
        (
            Message,
            "452 4.3.1 Insufficient system storage",
            "transient None",
        ),
        (
            Sender,
            "455 Unable to accommodate parameters",
            "transient None",
        ),
        // Misunderstandings.
        (Data, "250 Ok", "transient None"),
    ] {
        assert_eq!(name(&of(stage, text)), expected, "{stage:?} {text}");
    }
}

#[test]
fn what_the_server_wrote_is_for_the_log_alone() {
    let mut line = b"550 5.1.1 <jane@example.net>: User unknown\r\n".to_vec();
    let reply = Reply::take(&mut line).unwrap().unwrap();

    let error = refusal(&reply, Stage::Recipient);

    assert_eq!(
        error.public,
        "the mail server refused the recipient: no such mailbox or domain (550 5.1.1)"
    );
    assert!(error.internal.unwrap().contains("jane@example.net"));
    assert_eq!(error.http_status, Some(550));
}
