//! What is known of Twilio's Programmable Messaging: its modes, settings and limits, and what its
//! codes mean.

use std::time::Duration;

use serde_json::Value;

use crate::domain::{AuthType, Platform};
use crate::platforms::classify::{ErrorTable, Means, Rule, Shape, rule};
use crate::platforms::members::judged;
use crate::platforms::rate::RateHeaders;
use crate::platforms::{
    AdapterError, BaseUrl, CustomFields, Deletes, Descriptor, Exception, Member, Mode,
    OperationKind, Pages, Scope, Shape as Looks, Strangers, any_version,
};

/// The REST API; regions have hosts of their own.
pub(super) const API: &str = "https://api.twilio.com";
/// Its version, and the beginning of each path.
pub(super) const VERSION: &str = "2010-04-01";
/// When to look for a lost message. How soon one is listed is not documented.
pub(super) static LOOK_UPS: [Duration; 3] = [
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
];
/// Segments of a message, unless the integration says; and at most: ten of GSM-7 are 1,530
/// characters, and a body has 1,600 (error 21617).
pub(super) const SEGMENTS: usize = 2;
const SEGMENTS_MAX: usize = 10;
/// Characters of a description or comment that are read: far more than a message shows.
const TEXT_MAX: usize = 4_000;
/// Life of the list of senders.
pub(super) const SENDERS_LIFE: Duration = Duration::from_secs(600);
/// Why bytes are refused.
pub(super) const NO_BYTES: &str = "Twilio fetches a file from its address and takes no bytes: \
                                   give a url in place of content_base64";
/// Why a comment that is not public is refused.
pub(super) const READ_BY_RECIPIENT: &str = "the recipient would read a comment that is not \
                                            public; where that is right, \
                                            settings.internal_comments can be set to true";
const PROTECTION: &str =
    "lookup: the reference at the message's end; an empty look-up counts as proof after 120 s";
/// A 429 says no time and was never processed (docs/api/errors/20429).
const RATE: RateHeaders = RateHeaders::retry_after(secs(1), Scope::Integration);
const EXCEPT: &[Exception] = &[
    Exception::part(
        OperationKind::Comment,
        "comments that are not public, without settings.internal_comments",
        READ_BY_RECIPIENT,
    ),
    Exception::part(OperationKind::Attach, "bytes in the command", NO_BYTES),
];

/// SMS's facts.
pub static DESCRIPTOR: Descriptor = Descriptor {
    platform: Platform::Sms,
    modes: &[Mode {
        auth_type: AuthType::Basic,
        name: "account or API key",
        except: EXCEPT,
        cannot_read: None,
        protection: PROTECTION,
        credentials: &[
            &[
                ACCOUNT,
                Member::required(
                    "auth_token",
                    "auth token of the account; it verifies webhooks too",
                ),
            ],
            &[
                ACCOUNT,
                Member::required("api_key_sid", "SK…: a standard or restricted API key")
                    .open()
                    .shaped(Looks::Checked(|value| {
                        judged(value, |text| sid("credentials.api_key_sid", "SK", text))
                    })),
                Member::required("api_key_secret", "its secret"),
            ],
        ],
    }],
    settings: &[
        Member::optional(
            "from_number",
            "the number that sends, e.g. +14155550100 (this or messaging_service_sid)",
        )
        .shaped(Looks::Checked(|value| {
            judged(value, |text| number("settings.from_number", text))
        })),
        Member::optional(
            "messaging_service_sid",
            "MG…: the messaging service that picks the number (this or from_number)",
        )
        .shaped(Looks::Checked(|value| {
            judged(value, |text| {
                sid("settings.messaging_service_sid", "MG", text)
            })
        })),
        Member::required("to", "the number that gets the messages, e.g. +14155550199").shaped(
            Looks::Checked(|value| judged(value, |text| number("settings.to", text))),
        ),
        Member::optional(
            "max_segments",
            "segments of a message at most, 1 to 10 (2): each is paid for",
        )
        .shaped(Looks::Checked(|value| segments_of(value).map(drop))),
        Member::optional(
            "internal_comments",
            "true: comments that are not public are sent too, as the recipient may read them",
        )
        .shaped(Looks::Switch),
    ],
    base_url: BaseUrl::Default(API),
    // Whoever is not known gets 401 as JSON; a page is a proxy's.
    strangers: Strangers {
        signs: &[],
        known: &[],
        pages: Pages::Never,
    },
    rate: RATE,
    custom_fields: CustomFields {
        allows: |_| false,
        help: "nothing: a short message shows no custom fields",
        one_each: false,
    },
    deletes: Deletes::Closes,
    stable_ref: "ref",
    text_max: Some(TEXT_MAX),
    version_fault: any_version,
    limits: &[
        "a message is one line of at most settings.max_segments segments (160 characters of \
         GSM-7, 70 with any other character; 153 and 67 each where there are several); \
         description, tags and custom fields are not sent",
        "a US long code sends 1 segment a second, toll-free 3, a short code 100; what is more \
         waits at Twilio for up to 10 hours",
        "pictures (jpeg, png, gif, up to 5 MB) are sent as MMS to numbers that begin with +1; \
         of other files the address is sent",
        "a message is never changed: each operation is another one",
    ],
};

const ACCOUNT: Member = Member::required("account_sid", "AC…: the account's SID")
    .open()
    .shaped(Looks::Checked(|value| {
        judged(value, |text| sid("credentials.account_sid", "AC", text))
    }));

/// A SID of a kind: two letters and 32 hexadecimal digits.
pub(super) fn sid(field: &str, kind: &str, given: &str) -> Result<String, AdapterError> {
    let text = given.trim();
    if is_sid(kind, text) {
        return Ok(text.to_owned());
    }
    let fault = format!("is no SID of this kind: {kind} and 32 hexadecimal digits");
    Err(AdapterError::field(field, fault))
}

/// Whether a text is a SID of a kind.
pub(super) fn is_sid(kind: &str, text: &str) -> bool {
    let digits = text.strip_prefix(kind);
    digits.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A number by E.164: a plus and up to 15 digits, of which the first is no zero.
pub(super) fn number(field: &str, given: &str) -> Result<String, AdapterError> {
    let text = given.trim();
    let digits = text.strip_prefix('+').unwrap_or_default();
    let is_one = (7..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    if is_one {
        return Ok(text.to_owned());
    }
    let fault = "is no number by E.164: a plus, country code and number without blanks, e.g. \
                 +14155550100";
    Err(AdapterError::field(field, fault))
}

/// How many segments a message may have.
pub(super) fn segments_of(given: &Value) -> Result<usize, String> {
    let number = match given {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64().and_then(|n| usize::try_from(n).ok()),
    };
    number
        .filter(|count| (1..=SEGMENTS_MAX).contains(count))
        .ok_or_else(|| format!("must be a number from 1 to {SEGMENTS_MAX}"))
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Refusals with these codes, whatever their status.
const fn says(codes: &'static [&'static str]) -> Rule {
    Rule::any().code(codes)
}

/// What Twilio's codes mean (docs/api/errors). They say more than the status; what none names has
/// the meaning of its status.
pub(super) static ERRORS: ErrorTable = ErrorTable {
    shapes: &[Shape::Json {
        codes: &["/code"],
        texts: &["/message"],
        fields: &[],
    }],
    rules: &[
        rule(401).means(Means::Authentication),
        says(&["20005"])
            .means(Means::Authentication)
            .advice("the account is not active: see the console"),
        says(&["20003", "20403"]).means(Means::Permission),
        says(&["21408"]).means(Means::Permission).advice(
            "messages to this country are not enabled: Messaging, Settings, Geo permissions",
        ),
        says(&["21606", "21659", "21660"])
            .means(Means::Permission)
            .advice("settings.from_number is no number of this account that can send SMS"),
        says(&["21608"])
            .means(Means::Permission)
            .advice("a trial account sends to verified numbers alone: verify settings.to"),
        says(&["30002"])
            .means(Means::Permission)
            .advice("the account is suspended: see the console"),
        says(&["30032", "30034", "30035"])
            .means(Means::Permission)
            .advice("the sender is not registered with the carriers (A2P 10DLC, toll-free)"),
        // Whoever said STOP is not to be asked again, by law and by carrier.
        says(&["21610"])
            .means(Means::Gone)
            .advice("the recipient has sent STOP: nothing is sent until START comes from there"),
        says(&["20429"]).means(Means::RateLimited(Scope::Integration, secs(1))),
        // The sender's queue holds ten hours of messages.
        says(&["21611", "30001"])
            .means(Means::RateLimited(Scope::Integration, secs(600)))
            .advice("the sender's queue is full"),
        says(&["14107", "30022"]).means(Means::RateLimited(Scope::Integration, secs(60))),
        says(&["20404"]).means(Means::NotFound),
        says(&["21703", "21704", "21705"])
            .means(Means::NotFound)
            .advice("settings.messaging_service_sid names no service that has a number"),
        says(&["21211", "21265", "21604", "21614"])
            .field("settings.to")
            .advice("is no mobile number that can be written to"),
        says(&["21612"])
            .field("settings.to")
            .advice("cannot be reached from this sender"),
        says(&["21212", "21603"])
            .field("settings.from_number")
            .advice("is no number that can send"),
        says(&["21605", "21617", "30044"])
            .field("settings.max_segments")
            .advice("allows longer messages than the account may send"),
        says(&["21620"])
            .field("attachments")
            .advice("has an address that Twilio does not take"),
    ],
    ok: None,
    fields: &[],
    rate: RATE,
};
