//! JSON Web Tokens as a platform checks them: RS256 by the public half of an application's key
//! (RFC 7515, RFC 7518 §3.3).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

/// How far a sender's clock may be ahead.
const SKEW_SECONDS: i64 = 60;
/// `rsaEncryption` as a SubjectPublicKeyInfo names it (RFC 3279 §2.3.1).
const RSA: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The claims of a token that is signed with RS256 and has not ended.
///
/// `public_key` is PEM, PKCS#1 or SubjectPublicKeyInfo. Without one the signature is not checked,
/// as a site does that was told no key. `life_max` is how many seconds ahead `exp` may lie.
///
/// # Errors
/// What is wrong with the token or the key.
pub(crate) fn claims(
    token: &str,
    public_key: Option<&str>,
    life_max: i64,
    now: DateTime<Utc>,
) -> Result<Value, &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or("the token has no signature")?;
    let (header, claims) = signed.split_once('.').ok_or("the token has no claims")?;
    if read(header).ok_or("the token's header is unreadable")?["alg"] != "RS256" {
        return Err("the token is not signed with RS256");
    }
    if let Some(pem) = public_key {
        let key = rsa(pem).ok_or("the site's public_key is no RSA key in PEM")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| "the token's signature is not by this application's key")?;
    }
    let claims = read(claims).ok_or("the token's claims are unreadable")?;
    let now = now.timestamp();
    let end = claims["exp"].as_i64().ok_or("the claim exp is missing")?;
    if end <= now {
        return Err("the token has expired");
    }
    if end > now.saturating_add(life_max).saturating_add(SKEW_SECONDS) {
        return Err("the claim exp is too far ahead");
    }
    if claims["iat"]
        .as_i64()
        .is_some_and(|at| at > now + SKEW_SECONDS)
    {
        return Err("the claim iat is in the future");
    }
    Ok(claims)
}

fn read(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The key as PKCS#1 has it, which is what SubjectPublicKeyInfo wraps.
fn rsa(pem: &str) -> Option<Vec<u8>> {
    let text: String = pem.lines().filter(|line| !line.contains("-----")).collect();
    let der = STANDARD.decode(text.trim()).ok()?;
    let Some(at) = der.windows(RSA.len()).position(|bytes| bytes == RSA) else {
        return (!der.is_empty()).then_some(der);
    };
    // A bit string: its tag, its length in one byte or in as many more as that says, no spare bits.
    let bits = der.get(at + RSA.len()..)?;
    let (tag, length) = (*bits.first()?, *bits.get(1)?);
    let more = length.saturating_sub(0x80);
    let key = bits.get(3 + usize::from(more)..)?;
    (tag == 3).then(|| key.to_vec())
}

#[cfg(test)]
pub(super) mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
    use serde_json::json;

    use super::*;

    pub(crate) const PUBLIC: &str = include_str!("../../platforms/tokens/testdata/public.pem");
    const PRIVATE: &str = include_str!("../../platforms/tokens/testdata/pkcs8.pem");

    /// A token signed with the test key.
    pub(crate) fn signed(claims: &Value) -> String {
        let der: String = PRIVATE.lines().filter(|l| !l.contains("-----")).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(der).unwrap()).unwrap();
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256" }).to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; key.public().modulus_len()];
        let random = SystemRandom::new();
        key.sign(
            &RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut signature,
        )
        .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public half as `openssl rsa -pubout` writes it.
    fn wrapped() -> String {
        let key = rsa(PUBLIC).unwrap();
        let two = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let bits = [&[3, 0x82][..], &two(key.len() + 1), &[0], &key].concat();
        let inner = [RSA, &bits].concat();
        let der = [&[0x30, 0x82][..], &two(inner.len()), &inner].concat();
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    #[test]
    fn a_token_is_known_by_either_form_of_the_key() {
        let now = Utc::now();
        let body = json!({ "iss": "app", "exp": now.timestamp() + 100 });
        let token = signed(&body);

        for key in [Some(PUBLIC), Some(wrapped().as_str()), None] {
            assert_eq!(claims(&token, key, 180, now).unwrap(), body);
        }
    }

    #[test]
    fn a_token_is_refused_with_what_is_wrong() {
        let now = Utc::now();
        let at = |seconds: i64| now.timestamp() + seconds;
        let good = signed(&json!({ "exp": at(100) }));
        let (head, tail) = good.rsplit_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(json!({ "exp": at(101) }).to_string());
        let header = good.split('.').next().unwrap();
        let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none" }).to_string());
        for (token, key, why) in [
            ("x".to_owned(), PUBLIC, "no signature"),
            ("x.y".to_owned(), PUBLIC, "no claims"),
            (format!("{none}.{other}.{tail}"), PUBLIC, "RS256"),
            (format!("{header}.{other}.{tail}"), PUBLIC, "not by this"),
            (format!("{head}."), PUBLIC, "not by this"),
            (good.clone(), "no key", "public_key"),
            (signed(&json!({ "iss": "a" })), PUBLIC, "exp is missing"),
            (signed(&json!({ "exp": at(0) })), PUBLIC, "has expired"),
            (signed(&json!({ "exp": at(900) })), PUBLIC, "too far ahead"),
            (
                signed(&json!({ "exp": at(100), "iat": at(90) })),
                PUBLIC,
                "iat is in the future",
            ),
        ] {
            let said = claims(&token, Some(key), 180, now).unwrap_err();
            assert!(said.contains(why), "{said}: not {why}");
        }
    }
}
