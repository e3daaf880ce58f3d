//! Each vendor's way to sign, as a table, against values that the vendors' own packages take
//! (slack_sdk, twilio, hubspot-api-client, @hubspot/api-client, sendgrid, standardwebhooks, PyJWT,
//! @octokit/webhooks-methods) or that their documentation gives.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;

use super::*;
use crate::domain::AuthType;

const T: i64 = 1_767_323_045;
const URL: &str = "https://hooks.example.com/webhooks/0b3f6f0e-6d0c-4a53-9a53-0a4f6c1d2b3e";
const BODY: &str = "{\"n\":1,\"text\":\"grüße ✓\"}";
const FORM: &str =
    "MessageSid=SM1&To=%2B18005551212&Body=gr%C3%BC%C3%9Fe+%E2%9C%93&From=%2B14158675309";
const WINDOW: Duration = Duration::from_secs(300);

const fn stamped(at: &'static str, unit: Unit) -> Option<Stamp> {
    Some(Stamp {
        at,
        unit,
        window: WINDOW,
    })
}

const HMAC: Scheme = Scheme::body_hex("x", "");

static JIRA: &[Scheme] = &[Scheme::body_hex("x-hub-signature", "sha256=")];
static JIRA_OAUTH: &[Scheme] = &[Scheme {
    when: When::Auth(AuthType::Oauth2),
    value: Value::Header("authorization", "Bearer "),
    mac: Mac::JwtHs256,
    over: &[],
    ..HMAC
}];
static SERVICENOW: &[Scheme] = &[
    Scheme {
        when: When::Header("x-sn-signature"),
        value: Value::Header("x-sn-signature", ""),
        coded: Coded::Base64,
        over: &[
            Piece::Header("x-sn-timestamp"),
            Piece::Text("."),
            Piece::Body,
        ],
        time: stamped("x-sn-timestamp", Unit::Seconds),
        ..HMAC
    },
    Scheme::secret("x-sn-secret"),
];
static ZENDESK: &[Scheme] = &[Scheme {
    when: When::Always,
    value: Value::Header("x-zendesk-webhook-signature", ""),
    coded: Coded::Base64,
    over: &[
        Piece::Header("x-zendesk-webhook-signature-timestamp"),
        Piece::Body,
    ],
    time: stamped("x-zendesk-webhook-signature-timestamp", Unit::Iso),
    ..HMAC
}];
static FRESHDESK: &[Scheme] = &[
    Scheme::secret("x-webhook-secret"),
    Scheme {
        coded: Coded::BasicPassword,
        ..Scheme::basic()
    },
];
static SALESFORCE: &[Scheme] = &[Scheme {
    when: When::Header("x-webhook-signature"),
    value: Value::Header("x-webhook-signature", "sha256="),
    over: &[
        Piece::Header("x-webhook-timestamp"),
        Piece::Text("."),
        Piece::Body,
    ],
    time: stamped("x-webhook-timestamp", Unit::Seconds),
    ..HMAC
}];
static HUBSPOT: &[Scheme] = &[
    Scheme {
        when: When::Header("x-hubspot-signature-v3"),
        value: Value::Header("x-hubspot-signature-v3", ""),
        coded: Coded::Base64,
        over: &[
            Piece::Method,
            Piece::UrlDecoded,
            Piece::Body,
            Piece::Header("x-hubspot-request-timestamp"),
        ],
        time: stamped("x-hubspot-request-timestamp", Unit::Millis),
        ..HMAC
    },
    Scheme {
        when: When::HeaderHas("x-hubspot-signature-version", "v1"),
        value: Value::Header("x-hubspot-signature", ""),
        mac: Mac::Sha256Behind,
        ..HMAC
    },
];
static SLACK: &[Scheme] = &[Scheme {
    when: When::Always,
    value: Value::Header("x-slack-signature", "v0="),
    over: &[
        Piece::Text("v0:"),
        Piece::Header("x-slack-request-timestamp"),
        Piece::Text(":"),
        Piece::Body,
    ],
    time: stamped("x-slack-request-timestamp", Unit::Seconds),
    ..HMAC
}];
static TEAMS: &[Scheme] = &[Scheme {
    when: When::HeaderStarts("authorization", "HMAC "),
    value: Value::Header("authorization", "HMAC "),
    key: Key::Base64,
    coded: Coded::Base64,
    ..HMAC
}];
static GRAPH: &[Scheme] = &[Scheme {
    when: When::Always,
    value: Value::Each("/value", "/clientState"),
    mac: Mac::Same,
    coded: Coded::Plain,
    over: &[],
    ..HMAC
}];
static ZOOM: &[Scheme] = &[Scheme {
    when: When::Always,
    value: Value::Header("x-zm-signature", "v0="),
    over: &[
        Piece::Text("v0:"),
        Piece::Header("x-zm-request-timestamp"),
        Piece::Text(":"),
        Piece::Body,
    ],
    time: stamped("x-zm-request-timestamp", Unit::Seconds),
    ..HMAC
}];
static ASANA: &[Scheme] = &[Scheme::body_hex("x-hook-signature", "")];
static TRELLO: &[Scheme] = &[Scheme {
    when: When::Always,
    value: Value::Header("x-trello-webhook", ""),
    mac: Mac::HmacSha1,
    coded: Coded::Base64,
    over: &[Piece::Body, Piece::Url],
    ..HMAC
}];
static GITHUB: &[Scheme] = &[Scheme::body_hex("x-hub-signature-256", "sha256=")];
static TWILIO: &[Scheme] = &[
    Scheme {
        when: When::HeaderHas("x-twilio-webhooks-signature-settings", "HMAC_SHA256"),
        value: Value::Header("x-twilio-signature", ""),
        coded: Coded::Base64,
        over: &[Piece::Url, Piece::SortedForm],
        ..HMAC
    },
    Scheme {
        when: When::Always,
        value: Value::Header("x-twilio-signature", ""),
        mac: Mac::HmacSha1,
        coded: Coded::Base64,
        over: &[Piece::Url, Piece::SortedForm],
        ..HMAC
    },
];
static MAIL: &[Scheme] = &[
    Scheme {
        when: When::Header("x-twilio-email-event-webhook-signature"),
        value: Value::Header("x-twilio-email-event-webhook-signature", ""),
        mac: Mac::EcdsaP256,
        key: Key::Base64,
        coded: Coded::Base64,
        over: &[
            Piece::Header("x-twilio-email-event-webhook-timestamp"),
            Piece::Body,
        ],
        time: stamped("x-twilio-email-event-webhook-timestamp", Unit::Seconds),
    },
    Scheme {
        when: When::Field("/signature/signature"),
        value: Value::Field("/signature/signature"),
        over: &[
            Piece::Field("/signature/timestamp"),
            Piece::Field("/signature/token"),
        ],
        time: stamped("/signature/timestamp", Unit::Seconds),
        ..HMAC
    },
    Scheme::basic(),
];
static STANDARD: &[Scheme] = &[
    Scheme {
        when: When::Secret("whpk_"),
        value: Value::List("webhook-signature", "v1a,"),
        mac: Mac::Ed25519,
        key: Key::Prefixed("whpk_"),
        ..STANDARD_V1
    },
    STANDARD_V1,
];
const STANDARD_V1: Scheme = Scheme {
    when: When::Always,
    value: Value::List("webhook-signature", "v1,"),
    key: Key::Prefixed("whsec_"),
    coded: Coded::Base64,
    over: &[
        Piece::Header("webhook-id"),
        Piece::Text("."),
        Piece::Header("webhook-timestamp"),
        Piece::Text("."),
        Piece::Body,
    ],
    time: stamped("webhook-timestamp", Unit::Seconds),
    ..HMAC
};

/// A delivery that its vendor signed.
#[derive(Clone)]
struct Vector {
    name: &'static str,
    schemes: &'static [Scheme],
    secret: &'static str,
    url: String,
    body: String,
    headers: Vec<(&'static str, String)>,
    auth_type: AuthType,
    /// What of it is covered by the proof.
    covers_body: bool,
}

fn vector(
    name: &'static str,
    schemes: &'static [Scheme],
    secret: &'static str,
    headers: &[(&'static str, &str)],
) -> Vector {
    let headers = headers.iter();
    Vector {
        name,
        schemes,
        secret,
        url: URL.into(),
        body: BODY.into(),
        headers: headers
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        auth_type: AuthType::Custom,
        covers_body: true,
    }
}

fn vectors() -> Vec<Vector> {
    let t = "1767323045";
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    let mailgun = "{\"signature\":{\"timestamp\":\"1767323045\",\"token\":\
                   \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"signature\":\
                   \"f7112563095323ab1c8115ee3d378607955e45405657f20d6531159eb296fd7b\"}}";
    vec![
        vector(
            "jira",
            JIRA,
            "jira-secret",
            &[(
                "x-hub-signature",
                "sha256=4e44dff0280a070cf816807aa7a3359eb9be0ee9bd700cf096de05d4336f0ca7",
            )],
        ),
        Vector {
            body: "Hello World!".into(),
            ..vector(
                "jira's own",
                JIRA,
                "It's a Secret to Everybody",
                &[(
                    "x-hub-signature",
                    "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
                )],
            )
        },
        Vector {
            auth_type: AuthType::Oauth2,
            covers_body: false,
            ..vector(
                "jira by OAuth",
                JIRA_OAUTH,
                "client-secret",
                &[(
                    "authorization",
                    "Bearer \
                     eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjbGllbnQtaWQiLCJpYXQiOjE3NjczMjMwNDUsImV4cCI6MTc2NzMyMzIyNX0.KvUPiB9sap-8pp2G7tJyYTcsF__4v-vM8b0WHrOIFtw",
                )],
            )
        },
        vector(
            "servicenow",
            SERVICENOW,
            "sn-shared-secret",
            &[
                (
                    "x-sn-signature",
                    "ivD9HkbTDo7rUgxZvkPvghlSqqP9ATUmZXCYtRPTOs0=",
                ),
                ("x-sn-timestamp", t),
            ],
        ),
        Vector {
            covers_body: false,
            ..vector(
                "servicenow, static",
                SERVICENOW,
                "sn-shared-secret",
                &[("x-sn-secret", "sn-shared-secret")],
            )
        },
        vector(
            "zendesk",
            ZENDESK,
            "zd-secret",
            &[
                (
                    "x-zendesk-webhook-signature",
                    "gDXrHB5ALWYOaV7Bl99xh82M/DDwoZ99mYeJ7hs+0Cc=",
                ),
                (
                    "x-zendesk-webhook-signature-timestamp",
                    "2026-01-02T03:04:05Z",
                ),
            ],
        ),
        Vector {
            covers_body: false,
            ..vector(
                "freshdesk",
                FRESHDESK,
                "fd-secret",
                &[("x-webhook-secret", "fd-secret")],
            )
        },
        Vector {
            covers_body: false,
            ..vector(
                "freshdesk by Basic",
                FRESHDESK,
                "fd-secret",
                &[("authorization", "Basic eDpmZC1zZWNyZXQ=")],
            )
        },
        vector(
            "salesforce",
            SALESFORCE,
            "sf-secret",
            &[
                (
                    "x-webhook-signature",
                    "sha256=2d6aad8994b6edc87a2440034c1e53a747bf283526bbed6822975d4d0308b8f8",
                ),
                ("x-webhook-timestamp", t),
            ],
        ),
        Vector {
            url: format!("{URL}?a=%2Fb%20c"),
            ..vector(
                "hubspot v3",
                HUBSPOT,
                "hs-client-secret",
                &[
                    (
                        "x-hubspot-signature-v3",
                        "UwYTcdYEqiLVSDkkWWrHWsA+y3vHauwY1zbObfWJCCE=",
                    ),
                    ("x-hubspot-request-timestamp", "1767323045000"),
                ],
            )
        },
        vector(
            "hubspot v1",
            HUBSPOT,
            "hs-client-secret",
            &[
                (
                    "x-hubspot-signature",
                    "73b13bfd980af24cda25423406440d00dc4e9154ced12f4683ad684a28a7a6cb",
                ),
                ("x-hubspot-signature-version", "v1"),
            ],
        ),
        vector(
            "slack",
            SLACK,
            "slack-signing-secret",
            &[
                (
                    "x-slack-signature",
                    "v0=9b5906f8aa025edb917e3f2d84b337c8f9bc47682f2cb75c82a821732efcfd23",
                ),
                ("x-slack-request-timestamp", t),
            ],
        ),
        vector(
            "teams",
            TEAMS,
            "dGVhbXMta2V5LTMyLWJ5dGVzLWxvbmctMDEyMzQ1Njc=",
            &[(
                "authorization",
                "HMAC P4UNfm1YeEcefL8RZ8UBQBnJhraJVmYorXt9qQseWKg=",
            )],
        ),
        Vector {
            body: "{\"value\":[{\"clientState\":\"gr-state\"},{\"clientState\":\"gr-state\"}]}"
                .into(),
            covers_body: false,
            ..vector("graph", GRAPH, "gr-state", &[])
        },
        vector(
            "zoom",
            ZOOM,
            "zoom-secret-token",
            &[
                (
                    "x-zm-signature",
                    "v0=2f578992118c4e696ee5b1718b80e93e685871ec17e95cdab5f8ce342525b524",
                ),
                ("x-zm-request-timestamp", t),
            ],
        ),
        vector(
            "asana",
            ASANA,
            "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81",
            &[(
                "x-hook-signature",
                "7b047adbb91909b4b4f4b29d40dfc79481401a61e9aaae8c6f1cba02f0e2d80b",
            )],
        ),
        vector(
            "trello",
            TRELLO,
            "trello-app-secret",
            &[("x-trello-webhook", "pSGdKgpl7L7YJbYN6tpwnJJAXGk=")],
        ),
        vector(
            "github",
            GITHUB,
            "gh-secret",
            &[(
                "x-hub-signature-256",
                "sha256=6a6dceeb272c6c45b0896ab1306590b3edee9999e81917432f2111a6ab9cfe5f",
            )],
        ),
        Vector {
            body: FORM.into(),
            ..vector(
                "twilio",
                TWILIO,
                "12345",
                &[("x-twilio-signature", "TxYL0OSRCILAczfHegJf9tpE6JI="), form],
            )
        },
        Vector {
            body: FORM.into(),
            ..vector(
                "twilio by a rule",
                TWILIO,
                "key-secret",
                &[
                    (
                        "x-twilio-signature",
                        "Kmc5noFMtqFoj753yjZzsDSk4b3kD+bFDF4dVEKWze4=",
                    ),
                    (
                        "x-twilio-webhooks-signature-settings",
                        "algorithm=HMAC_SHA256",
                    ),
                    form,
                ],
            )
        },
        Vector {
            url: format!("{URL}?bodySHA256={}", hex_digest(BODY.as_bytes())),
            ..vector(
                "twilio, JSON",
                TWILIO,
                "12345",
                &[("x-twilio-signature", "X3YWdJaGXj+YNel3IKXHvC8XLpQ="), json],
            )
        },
        Vector {
            body: mailgun.into(),
            covers_body: false,
            ..vector("mailgun", MAIL, "mg-key", &[json])
        },
        vector(
            "sendgrid",
            MAIL,
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAERxw+dYxJBChbun5TEY7Q9SSt6wdX0lvS+Oew1236cUzdUg96yoqLkXrMN/Ud6PDJu+OthYOC5wLcJaEtCfeoWA==",
            &[
                (
                    "x-twilio-email-event-webhook-signature",
                    "MEQCIEZ1VV79Q00A1gtRg4fLyiszWGF4iEs00e73rqdwUwV7AiBI2ae6JBnMXDAzNAmuYupcafv5paAF26LujNiD3SB1Ng==",
                ),
                ("x-twilio-email-event-webhook-timestamp", t),
            ],
        ),
        vector(
            "standard webhooks",
            STANDARD,
            "whsec_c3RhbmRhcmQtd2ViaG9va3MtMzItYnl0ZXMta2V5ISE=",
            &[
                (
                    "webhook-signature",
                    "v1,d3Jvbmc= v1,5N6mV+zCAxHq1U2fgLAPl+6OxjkicumUxIRvW/yxi1w=",
                ),
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", t),
            ],
        ),
        vector(
            "standard webhooks, ed25519",
            STANDARD,
            "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
            &[
                (
                    "webhook-signature",
                    "v1a,MDv2vFOfFdjT9LkQMZSHPGPmV/qbHgnNenvL7Jhw6wb4bAuXASzcXwtF7JCgRCTA55O68kIlDNpolHijLabIAA==",
                ),
                ("webhook-id", "msg_1"),
                ("webhook-timestamp", t),
            ],
        ),
    ]
}

fn hex_digest(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(T + seconds, 0).unwrap()
}

impl Vector {
    fn verified(&self, secrets: &[&str], now: DateTime<Utc>) -> Result<(), Rejected> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        let hit = Hit::new(
            &Method::POST,
            &self.url,
            &headers,
            self.body.as_bytes(),
            now,
        );
        let secrets: Vec<SecretString> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        verify(self.schemes, &hit, self.auth_type, &secrets, now)
    }
}

#[test]
fn what_each_vendor_signs_is_taken_with_either_of_two_secrets() {
    for vector in vectors() {
        let name = vector.name;
        assert_eq!(vector.verified(&[vector.secret], at(0)), Ok(()), "{name}");
        let previous = ["another secret", vector.secret];
        assert_eq!(vector.verified(&previous, at(0)), Ok(()), "{name}");
        assert_eq!(vector.verified(&[vector.secret], at(200)), Ok(()), "{name}");
    }
}

#[test]
fn another_secret_none_and_an_empty_one_prove_nothing() {
    for vector in vectors() {
        let name = vector.name;
        // Without a public key, a proof by one is none.
        let expected = match name {
            "standard webhooks, ed25519" => Rejected::Unsigned,
            _ => Rejected::BadSignature,
        };
        let wrong = vector.verified(&["another secret"], at(0));
        assert_eq!(wrong, Err(expected), "{name}");
        let empty = vector.verified(&[""], at(0));
        assert_eq!(empty, Err(expected), "{name}");
        let none = vector.verified(&[], at(0));
        let refused = [Err(expected), Err(Rejected::NoSecret)].contains(&none);
        assert!(
            refused && none != Err(Rejected::BadSignature),
            "{name}: {none:?}"
        );
    }
}

#[test]
fn a_body_that_was_changed_is_refused_where_the_proof_covers_it() {
    let mut covered = 0;
    for vector in vectors().into_iter().filter(|vector| vector.covers_body) {
        covered += 1;
        let mut tampered = vector.clone();
        tampered.body = tampered.body.replace('1', "2").replace("World", "world");
        let found = tampered.verified(&[vector.secret], at(0));
        assert_eq!(found, Err(Rejected::BadSignature), "{}", vector.name);
    }
    assert!(covered >= 17, "{covered}");
}

#[test]
fn a_delivery_without_its_proof_or_with_two_is_refused() {
    for vector in vectors() {
        for index in 0..vector.headers.len() {
            let (header, value) = vector.headers[index].clone();
            let mut without = vector.clone();
            without.headers.remove(index);
            let mut twice = vector.clone();
            twice.headers.push((header, value));
            // Which body it is does not matter to Mailgun, which signs none of it.
            let counts =
                header != "content-type" || ["twilio", "twilio by a rule"].contains(&vector.name);
            if !counts {
                continue;
            }
            let found = without.verified(&[vector.secret], at(0));
            assert!(found.is_err(), "{} without {header}", vector.name);
            if header != "content-type" {
                let found = twice.verified(&[vector.secret], at(0));
                assert!(found.is_err(), "{} with two {header}", vector.name);
            }
        }
    }
}

#[test]
fn what_was_signed_too_long_ago_or_in_the_future_is_stale() {
    let mut timed = 0;
    for vector in vectors() {
        if !vector.schemes.iter().any(|scheme| scheme.time.is_some()) {
            continue;
        }
        for seconds in [-400, 400] {
            match vector.verified(&[vector.secret], at(seconds)) {
                Err(Rejected::Stale) => timed += 1,
                // Schemes beside a timed one that know no time.
                Ok(()) => assert!(
                    ["servicenow, static", "hubspot v1"].contains(&vector.name),
                    "{}",
                    vector.name
                ),
                Err(other) => panic!("{}: {other:?}", vector.name),
            }
        }
    }
    assert!(timed >= 18, "{timed}");
}

#[test]
fn a_token_of_another_algorithm_or_time_is_refused() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let token = |header: &str, claims: &str| {
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"client-secret");
        let proof = ring::hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(proof.as_ref()))
    };
    let found = |token: String| {
        let vector = Vector {
            auth_type: AuthType::Oauth2,
            ..vector(
                "",
                JIRA_OAUTH,
                "",
                &[("authorization", &format!("Bearer {token}"))],
            )
        };
        vector.verified(&["client-secret"], at(0)).is_ok()
    };
    let hs256 = "{\"alg\":\"HS256\"}";

    assert!(found(token(hs256, "{\"exp\":1767323045}")));
    assert!(found(token(hs256, "{\"iat\":1767323045}")));
    for (header, claims) in [
        (hs256, "{\"exp\":1767322700}"),
        (hs256, "{\"iat\":1767324000,\"exp\":1767325000}"),
        (hs256, "{\"nbf\":1767324000,\"exp\":1767325000}"),
        (hs256, "{\"iat\":1767322700}"),
        (hs256, "{}"),
        (hs256, "[]"),
        ("{\"alg\":\"none\"}", "{\"exp\":1767323045}"),
        ("{\"alg\":\"HS512\"}", "{\"exp\":1767323045}"),
        ("{}", "{\"exp\":1767323045}"),
    ] {
        assert!(!found(token(header, claims)), "{header} {claims}");
    }
    for odd in ["", ".", "..", "a.b.c.d", "e30.e30.", "é.é.é"] {
        if HeaderValue::from_str(odd).is_ok() && odd.is_ascii() {
            assert!(!found(odd.to_owned()), "{odd}");
        }
    }
}

#[test]
fn one_element_that_is_not_theirs_refuses_all() {
    for body in [
        "{\"value\":[{\"clientState\":\"gr-state\"},{\"clientState\":\"other\"}]}",
        "{\"value\":[{\"clientState\":\"gr-state\"},{}]}",
        "{\"value\":[]}",
        "{}",
        "no JSON",
    ] {
        let vector = Vector {
            body: body.into(),
            ..vector("graph", GRAPH, "gr-state", &[])
        };
        assert!(vector.verified(&["gr-state"], at(0)).is_err(), "{body}");
    }
}

#[test]
fn twilio_s_address_may_have_its_port_and_a_body_that_nobody_vouches_for_is_refused() {
    let with_port = URL.replace(".com/", ".com:443/");
    let mut vector = vectors()
        .into_iter()
        .find(|vector| vector.name == "twilio")
        .unwrap();
    vector.url = with_port;
    assert_eq!(vector.verified(&["12345"], at(0)), Ok(()));

    let mut json = vectors()
        .into_iter()
        .find(|vector| vector.name == "twilio, JSON")
        .unwrap();
    json.body.push(' ');
    assert_eq!(
        json.verified(&["12345"], at(0)),
        Err(Rejected::BadSignature)
    );
}

#[test]
fn members_of_json_and_forms_are_read_alike() {
    let mut headers = HeaderMap::new();
    let body = "{\"a\":{\"b\":7},\"c\":\"x\",\"d\":null}";
    let hit = Hit::new(
        &Method::POST,
        "https://x.test/?q=%20y",
        &headers,
        body.as_bytes(),
        at(0),
    );
    assert_eq!(hit.field("/a/b").as_deref(), Some("7"));
    assert_eq!(hit.field("/c").as_deref(), Some("x"));
    assert_eq!((hit.field("/d"), hit.field("/e")), (None, None));
    assert_eq!(hit.query("q").as_deref(), Some(" y"));
    assert_eq!(
        hit.change_id("x-id", 2),
        format!("{}#2", hex_digest(body.as_bytes()))
    );

    let form = "application/x-www-form-urlencoded; charset=utf-8";
    headers.insert("content-type", HeaderValue::from_static(form));
    headers.insert("x-id", HeaderValue::from_static("d-1"));
    let hit = Hit::new(
        &Method::POST,
        "https://x.test/",
        &headers,
        b"a=1&c=x+y",
        at(0),
    );
    assert_eq!(hit.field("/c").as_deref(), Some("x y"));
    assert_eq!(hit.change_id("x-id", 0), "d-1#0");
    assert_eq!(hit.query("q"), None);
}
