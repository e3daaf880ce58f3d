//! How a delivery proves whose it is, as data. Thirteen of fifteen platforms differ in nothing but
//! the names in a table; the few that do more are pieces of it.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use chrono::{DateTime, TimeDelta, Utc};
use ring::{digest, hmac, signature};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value as Json;
use subtle::ConstantTimeEq as _;

use super::Hit;
use crate::domain::AuthType;

/// Secrets and signatures come with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Signatures of one delivery that are looked at.
const SIGNATURES_MAX: usize = 16;
/// Bytes of the public key at the end of a DER `SubjectPublicKeyInfo` of P-256: the point,
/// uncompressed (RFC 5480).
const POINT: usize = 65;

/// How a delivery proves whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    /// Which deliveries it is for.
    pub when: When,
    /// Where the proof is.
    pub value: Value,
    /// What it is.
    pub mac: Mac,
    /// What the secret is, as text.
    pub key: Key,
    /// How the proof is written.
    pub coded: Coded,
    /// What is signed, one behind the other.
    pub over: &'static [Piece],
    /// When it was signed, and how long that is good.
    pub time: Option<Stamp>,
}

impl Scheme {
    /// HMAC-SHA256 over the body, in a header, in hexadecimal behind a prefix.
    #[must_use]
    pub const fn body_hex(header: &'static str, prefix: &'static str) -> Self {
        Self {
            when: When::Header(header),
            value: Value::Header(header, prefix),
            mac: Mac::HmacSha256,
            key: Key::Text,
            coded: Coded::Hex,
            over: &[Piece::Body],
            time: None,
        }
    }

    /// A header that is the secret itself.
    #[must_use]
    pub const fn secret(header: &'static str) -> Self {
        Self {
            when: When::Header(header),
            value: Value::Header(header, ""),
            mac: Mac::Same,
            key: Key::Text,
            coded: Coded::Plain,
            over: &[],
            time: None,
        }
    }

    /// Basic authentication; the secret is `user:password`.
    #[must_use]
    pub const fn basic() -> Self {
        Self {
            when: When::HeaderStarts("authorization", "Basic "),
            value: Value::Header("authorization", "Basic "),
            mac: Mac::Same,
            key: Key::Text,
            coded: Coded::Base64,
            over: &[],
            time: None,
        }
    }
}

/// Which deliveries a scheme is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Those with this header.
    Header(&'static str),
    /// Those with this header, whose value begins so.
    HeaderStarts(&'static str, &'static str),
    /// Those with this header, in whose value this is, in any case of its letters.
    HeaderHas(&'static str, &'static str),
    /// Those of an integration that authenticates so.
    Auth(AuthType),
    /// Those whose body has this member.
    Field(&'static str),
    /// Those of an integration with a secret that begins so: what the secret is says what a proof
    /// is.
    Secret(&'static str),
}

/// Where the proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// In a header, behind a prefix.
    Header(&'static str, &'static str),
    /// Several in a header, with blanks between them; those count that begin so.
    List(&'static str, &'static str),
    /// In a member of the body.
    Field(&'static str),
    /// In this member of each element of an array in the body: all must be right.
    Each(&'static str, &'static str),
}

/// What the proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mac {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-1 (Trello, Twilio).
    HmacSha1,
    /// SHA-256 of the secret and what is signed, one behind the other (HubSpot v1).
    Sha256Behind,
    /// The secret itself.
    Same,
    /// ECDSA on P-256 with SHA-256, in DER (SendGrid).
    EcdsaP256,
    /// Ed25519.
    Ed25519,
    /// A JSON Web Token, HS256 and nothing else; what it says of its times is checked.
    JwtHs256,
}

/// What a secret is, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The key.
    Text,
    /// The key in base64.
    Base64,
    /// The key in base64, behind this prefix; a secret that begins otherwise is none of this
    /// scheme.
    Prefixed(&'static str),
    /// The same, where the prefix may be missing.
    MaybePrefixed(&'static str),
}

/// How the proof is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coded {
    /// In hexadecimal.
    Hex,
    /// In base64.
    Base64,
    /// As it is.
    Plain,
    /// As the password of `user:password` in base64 (RFC 7617), whatever the user is called.
    BasicPassword,
}

/// A part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The body as it came.
    Body,
    /// This text.
    Text(&'static str),
    /// A header.
    Header(&'static str),
    /// The method.
    Method,
    /// The public address as it came; with and without the port that its scheme has anyway.
    Url,
    /// The same, as it came or with what HubSpot decodes decoded.
    UrlDecoded,
    /// A member of the body.
    Field(&'static str),
    /// The fields of a form in the order of their names, each with its value behind it. Of a body
    /// that is none, nothing: the query's `bodySHA256` then has to be its digest (Twilio).
    SortedForm,
}

/// When a delivery was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Where that is said: a header, or with a leading slash a member of the body.
    pub at: &'static str,
    /// In which unit.
    pub unit: Unit,
    /// How far it may be from our clock, in both directions.
    pub window: Duration,
}

/// The unit of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
    /// RFC 3339.
    Iso,
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// No secret is known that it could be proved with.
    NoSecret,
    /// It brings no proof.
    Unsigned,
    /// Its proof is wrong.
    BadSignature,
    /// It is proved, and too old, or from the future.
    Stale,
}

/// Whether a delivery is the platform's: by the first scheme that is for it. Every secret is tried,
/// so that the time it takes says nothing of which one was right.
///
/// # Errors
/// Why it is not taken.
pub fn verify(
    schemes: &[Scheme],
    hit: &Hit<'_>,
    auth_type: AuthType,
    secrets: &[SecretString],
    now: DateTime<Utc>,
) -> Result<(), Rejected> {
    let scheme = scheme_of(schemes, hit, auth_type, secrets).ok_or(Rejected::Unsigned)?;
    let proofs = scheme.value.proofs(hit).ok_or(Rejected::Unsigned)?;
    if secrets.is_empty() {
        return Err(Rejected::NoSecret);
    }
    let all_must_fit = matches!(scheme.value, Value::Each(..));
    let texts = signed(scheme.over, hit);
    let mut is_right = all_must_fit;
    for proof in &proofs {
        let mut fits = false;
        for secret in secrets {
            fits |= scheme.is_proof(proof, &texts, secret, now);
        }
        if all_must_fit {
            is_right &= fits;
        } else {
            is_right |= fits;
        }
    }
    if !is_right {
        return Err(Rejected::BadSignature);
    }
    match scheme.time {
        Some(stamp) if !stamp.is_fresh(hit, now) => Err(Rejected::Stale),
        Some(_) | None => Ok(()),
    }
}

/// The scheme that decides over a delivery: the first that is for it.
#[must_use]
pub fn scheme_of<'s>(
    schemes: &'s [Scheme],
    hit: &Hit<'_>,
    auth_type: AuthType,
    secrets: &[SecretString],
) -> Option<&'s Scheme> {
    let fits = |scheme: &&Scheme| scheme.when.fits(hit, auth_type, secrets);
    schemes.iter().find(fits)
}

impl When {
    fn fits(self, hit: &Hit<'_>, auth_type: AuthType, secrets: &[SecretString]) -> bool {
        let starts = |value: &str, prefix: &str| {
            let start = value.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        match self {
            Self::Always => true,
            Self::Header(name) => hit.headers.contains_key(name),
            Self::HeaderStarts(name, prefix) => {
                hit.header(name).is_some_and(|value| starts(value, prefix))
            }
            Self::HeaderHas(name, word) => {
                let has = |value: &str| value.to_lowercase().contains(&word.to_lowercase());
                hit.header(name).is_some_and(has)
            }
            Self::Auth(wanted) => wanted == auth_type,
            Self::Field(pointer) => hit.field(pointer).is_some(),
            Self::Secret(prefix) => {
                let begins = |secret: &SecretString| secret.expose_secret().starts_with(prefix);
                secrets.iter().any(begins)
            }
        }
    }
}

impl Value {
    /// The proofs that a delivery brings; `None` where it brings none.
    fn proofs<'h>(self, hit: &'h Hit<'_>) -> Option<Vec<Cow<'h, str>>> {
        let found: Vec<Cow<'h, str>> = match self {
            Self::Header(name, prefix) => {
                let value = hit.header(name)?.trim();
                let start = value.get(..prefix.len())?;
                // The scheme's name is not case-sensitive (RFC 9110 §11.1); a `sha256=` is as it
                // is.
                let is_it = if prefix.ends_with(' ') {
                    start.eq_ignore_ascii_case(prefix)
                } else {
                    start == prefix
                };
                let proof = value.get(prefix.len()..).filter(|_| is_it)?;
                vec![proof.trim().into()]
            }
            Self::List(name, prefix) => hit
                .header(name)?
                .split_whitespace()
                .filter_map(|one| one.strip_prefix(prefix))
                .take(SIGNATURES_MAX)
                .map(Cow::from)
                .collect(),
            Self::Field(pointer) => vec![hit.field(pointer)?.into()],
            Self::Each(array, member) => {
                let items = hit.value()?.pointer(array)?.as_array()?;
                let proof = |item: &'h Json| item.pointer(member)?.as_str().map(Cow::from);
                // One without it is one too many.
                items.iter().map(proof).collect::<Option<Vec<_>>>()?
            }
        };
        (!found.is_empty() && found.iter().all(|proof| !proof.is_empty())).then_some(found)
    }
}

impl Scheme {
    /// Whether the address is signed, too.
    #[must_use]
    pub fn is_over_url(&self) -> bool {
        let is_url = |piece: &Piece| matches!(piece, Piece::Url | Piece::UrlDecoded);
        self.over.iter().any(is_url)
    }

    /// Whether the proof is a secret itself, or a token that would be good for another delivery: it
    /// goes no further.
    #[must_use]
    pub const fn is_secret_itself(&self) -> bool {
        matches!(self.mac, Mac::Same | Mac::JwtHs256)
    }

    /// The headers that a proof is in and over, without one that is a secret itself or a token that
    /// would be good for another delivery.
    pub(super) fn headers(&self) -> Vec<&'static str> {
        let of_value = match self.value {
            Value::Header(name, _) | Value::List(name, _) if !self.is_secret_itself() => Some(name),
            Value::Header(..) | Value::List(..) | Value::Field(_) | Value::Each(..) => None,
        };
        let of_when = match self.when {
            When::HeaderHas(name, _) => Some(name),
            // Its value is the proof, or nobody looks at it.
            When::Header(_) | When::HeaderStarts(..) | When::Always => None,
            When::Auth(_) | When::Field(_) | When::Secret(_) => None,
        };
        let of_pieces = self.over.iter().filter_map(|piece| match piece {
            Piece::Header(name) => Some(*name),
            Piece::Body | Piece::Text(_) | Piece::Method | Piece::Url | Piece::UrlDecoded => None,
            Piece::Field(_) | Piece::SortedForm => None,
        });
        let stamp = self.time.map(|stamp| stamp.at);
        let of_stamp = stamp.filter(|at| !at.starts_with('/'));
        let found = of_value.into_iter().chain(of_when);
        found.chain(of_pieces).chain(of_stamp).collect()
    }

    fn is_proof(
        &self,
        proof: &str,
        texts: &[Vec<u8>],
        secret: &SecretString,
        now: DateTime<Utc>,
    ) -> bool {
        let Some(key) = self.key.bytes(secret.expose_secret()) else {
            return false;
        };
        if key.is_empty() {
            return false;
        }
        if self.mac == Mac::JwtHs256 {
            return is_token(proof, &key, now);
        }
        let Some(proof) = self.coded.bytes(proof) else {
            return false;
        };
        let mut fits = false;
        for text in texts {
            fits |= self.mac.is_over(text, &proof, &key);
        }
        fits
    }
}

impl Key {
    fn bytes(self, secret: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(secret.as_bytes().to_vec()),
            Self::Base64 => LENIENT.decode(secret.trim()).ok(),
            Self::Prefixed(prefix) => {
                let coded = secret.trim().strip_prefix(prefix)?;
                LENIENT.decode(coded).ok()
            }
            Self::MaybePrefixed(prefix) => {
                let coded = secret.trim();
                let coded = coded.strip_prefix(prefix).unwrap_or(coded);
                LENIENT.decode(coded).ok()
            }
        }
    }
}

impl Coded {
    fn bytes(self, proof: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex => hex::decode(proof).ok(),
            Self::Base64 => STANDARD
                .decode(proof)
                .or_else(|_| LENIENT.decode(proof))
                .ok(),
            Self::Plain => Some(proof.as_bytes().to_vec()),
            Self::BasicPassword => {
                let pair = Self::Base64.bytes(proof)?;
                let colon = pair.iter().position(|byte| *byte == b':')?;
                pair.get(colon + 1..).map(<[u8]>::to_vec)
            }
        }
    }
}

impl Mac {
    fn is_over(self, text: &[u8], proof: &[u8], key: &[u8]) -> bool {
        let keyed = |hash| {
            let made = hmac::sign(&hmac::Key::new(hash, key), text);
            bool::from(made.as_ref().ct_eq(proof))
        };
        match self {
            Self::HmacSha256 => keyed(hmac::HMAC_SHA256),
            Self::HmacSha1 => keyed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256Behind => {
                let made = digest::digest(&digest::SHA256, &[key, text].concat());
                bool::from(made.as_ref().ct_eq(proof))
            }
            Self::Same => {
                // Digests are of one length: that of the secret does not show.
                let of = |bytes| digest::digest(&digest::SHA256, bytes);
                bool::from(of(key).as_ref().ct_eq(of(proof).as_ref()))
            }
            Self::EcdsaP256 => {
                let Some(at) = key.len().checked_sub(POINT) else {
                    return false;
                };
                let point = &key[at..];
                let kind = &signature::ECDSA_P256_SHA256_ASN1;
                let key = signature::UnparsedPublicKey::new(kind, point);
                key.verify(text, proof).is_ok()
            }
            Self::Ed25519 => {
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
                key.verify(text, proof).is_ok()
            }
            Self::JwtHs256 => false,
        }
    }
}

/// HMAC-SHA256 of a body under a secret, in hexadecimal: as many platforms sign.
#[must_use]
pub fn signed_hex(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hex::encode(hmac::sign(&key, body))
}

/// Whether a JSON Web Token is signed with this key by HS256, and its times are now's.
fn is_token(token: &str, key: &[u8], now: DateTime<Utc>) -> bool {
    /// Clocks differ by this much.
    const LEEWAY: i64 = 300;
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(proof), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let json = |part: &str| -> Option<Json> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else {
        return false;
    };
    let signed = &token[..header.len() + 1 + claims.len()];
    let is_signed = Mac::HmacSha256.is_over(signed.as_bytes(), &proof, key);
    let (Some(header), Some(claims)) = (json(header), json(claims)) else {
        return false;
    };
    let time = |name: &str| claims.get(name).and_then(Json::as_f64);
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are exact in an f64"
    )]
    let (now, leeway) = (now.timestamp() as f64, LEEWAY as f64);
    is_signed
        && header["alg"] == "HS256"
        && time("exp").is_none_or(|exp| exp + leeway >= now)
        && time("iat").is_none_or(|iat| iat <= now + leeway)
        && time("nbf").is_none_or(|nbf| nbf <= now + leeway)
        // Without an end it is good for as long as it may be late.
        && (time("exp").is_some() || time("iat").is_some_and(|iat| iat + leeway >= now))
}

impl Stamp {
    fn is_fresh(self, hit: &Hit<'_>, now: DateTime<Utc>) -> bool {
        let text = if self.at.starts_with('/') {
            hit.field(self.at)
        } else {
            hit.header(self.at).map(str::to_owned)
        };
        let at = text.and_then(|text| self.unit.read(text.trim()));
        let window = TimeDelta::from_std(self.window).unwrap_or(TimeDelta::MAX);
        at.is_some_and(|at| (now - at).abs() <= window)
    }
}

impl Unit {
    fn read(self, text: &str) -> Option<DateTime<Utc>> {
        match self {
            Self::Seconds => DateTime::from_timestamp(text.parse().ok()?, 0),
            Self::Millis => DateTime::from_timestamp_millis(text.parse().ok()?),
            Self::Iso => {
                let at = DateTime::parse_from_rfc3339(text).ok()?;
                Some(at.with_timezone(&Utc))
            }
        }
    }
}

/// What is signed: more than one text where a platform is known to sign one of several.
fn signed(over: &[Piece], hit: &Hit<'_>) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
    for piece in over {
        let variants: Vec<Cow<'_, [u8]>> = match piece {
            Piece::Body => vec![hit.body.into()],
            Piece::Text(text) => vec![text.as_bytes().into()],
            Piece::Header(name) => vec![hit.header(name).unwrap_or("").as_bytes().into()],
            Piece::Method => vec![hit.method.as_str().as_bytes().into()],
            Piece::Url => bytes(ports(hit.url)),
            Piece::UrlDecoded => bytes(vec![hit.url.to_owned(), decoded(hit.url)]),
            Piece::Field(pointer) => bytes(vec![hit.field(pointer).unwrap_or_default()]),
            Piece::SortedForm => match sorted(hit) {
                Some(text) => bytes(vec![text]),
                // What its query does not vouch for is not signed.
                None => return Vec::new(),
            },
        };
        let longer = texts.iter().flat_map(|text| {
            let with = |piece: &Cow<'_, [u8]>| [text.as_slice(), piece.as_ref()].concat();
            variants.iter().map(with).collect::<Vec<_>>()
        });
        texts = longer.collect();
    }
    texts
}

fn bytes(texts: Vec<String>) -> Vec<Cow<'static, [u8]>> {
    let texts = texts.into_iter().map(String::into_bytes);
    texts.map(Cow::from).collect()
}

/// An address with and without the port that its scheme has anyway.
fn ports(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    for (scheme, port) in [("https://", ":443"), ("http://", ":80")] {
        let Some(rest) = url.strip_prefix(scheme) else {
            continue;
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        match host.strip_suffix(port) {
            Some(bare) => all.push(format!("{scheme}{bare}{path}")),
            None if !host.contains(':') || host.ends_with(']') => {
                all.push(format!("{scheme}{host}{port}{path}"));
            }
            None => {}
        }
    }
    all
}

/// An address with what HubSpot decodes in it decoded (`validating-requests`, v3).
fn decoded(url: &str) -> String {
    const CODES: [(&str, &str); 12] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    let mut decoded = url.to_owned();
    for (code, character) in CODES {
        decoded = decoded.replace(code, character);
        decoded = decoded.replace(&code.to_lowercase(), character);
    }
    decoded
}

/// The fields of a form as Twilio signs them: by name, each value once. Of another body nothing,
/// where the query has its digest.
fn sorted(hit: &Hit<'_>) -> Option<String> {
    if !hit.is_form() {
        let vouched = hit.query("bodySHA256");
        let is_empty = hit.body.is_empty() && vouched.is_none();
        let is_it = vouched.is_some_and(|digest| digest.eq_ignore_ascii_case(&hit.digest()));
        return (is_empty || is_it).then(String::new);
    }
    let mut fields = hit.form();
    fields.sort();
    fields.dedup();
    Some(
        fields
            .iter()
            .flat_map(|(name, value)| [name, value])
            .map(|text| &**text)
            .collect(),
    )
}
