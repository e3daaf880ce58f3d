use super::*;

fn signed(secret: &str, id: &str, timestamp: &str, body: &str) -> String {
    let signer = Signer::parse("signing_secret", &secret.to_owned().into()).unwrap();
    let text = format!("{id}.{timestamp}.{body}");
    signer.sign(text.as_bytes()).unwrap()
}

/// The published vectors.
#[test]
fn signatures_are_those_of_the_specification() {
    assert_eq!(
        signed(
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            r#"{"email":"test@example.com","username":"test_user"}"#,
        ),
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
    );
    let (id, timestamp, body) = (
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        r#"{"test": 2432232314}"#,
    );
    assert_eq!(
        signed("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id, timestamp, body),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
    assert_eq!(
        signed(
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
            id,
            timestamp,
            body,
        ),
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    );
}

#[test]
fn a_bad_secret_is_refused_by_name_and_not_shown() {
    for bad in ["whsec_", "whsec_???n3v3r", "whsk_bm90LTY0LWJ5dGVz"] {
        let fault = Signer::parse("signing_secret", &bad.to_owned().into())
            .err()
            .unwrap();
        assert!(
            fault.public.starts_with("credentials.signing_secret"),
            "{bad}: {fault}"
        );
        assert!(!format!("{fault:?}").contains("n3v3r"));
    }
}
