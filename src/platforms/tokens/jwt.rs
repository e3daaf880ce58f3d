//! JSON Web Tokens signed with RS256 (RFC 7515, RFC 7518 §3.3): how Salesforce and GitHub know an
//! application by its key.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::platforms::{AdapterError, ErrorClass};

/// `{"alg":"RS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";

/// A private RSA key. Cheap to clone; never shown.
#[derive(Clone)]
pub struct RsaKey(Arc<KeyPair>);

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaKey(••••)")
    }
}

impl RsaKey {
    /// The key of a PEM text, PKCS#1 or PKCS#8. `member` is the credential that holds it.
    ///
    /// # Errors
    /// Validation of that credential: what it is instead, and what to do. Nothing of the key is in
    /// it.
    pub fn from_pem(member: &str, pem: &SecretString) -> Result<Self, AdapterError> {
        let fault = |text: &str| AdapterError::field(&format!("credentials.{member}"), text);
        // Line breaks are often written out where a key was put into a variable or a JSON text by
        // hand.
        let text = pem.expose_secret().replace("\\n", "\n");
        if let Some(instead) = unusable(&text) {
            return Err(fault(instead));
        }
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
            fault(
                "is no private key in PEM: give the whole file, from -----BEGIN to the end of \
                 -----END, with its line breaks",
            )
        })?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(fault(NOT_RSA)),
        };
        let key = key.map_err(|rejected| match rejected.to_string().as_str() {
            "TooSmall" => fault("is an RSA key of less than 2048 bits; make a longer one"),
            "TooLarge" => fault("is an RSA key of more than 4096 bits; make a shorter one"),
            "WrongAlgorithm" => fault(NOT_RSA),
            _ => fault("is damaged: it is in PEM, but no RSA key is in it; copy the file again"),
        })?;
        Ok(Self(Arc::new(key)))
    }
}

const NOT_RSA: &str =
    "is a key of another kind than RSA, which RS256 needs (`openssl genrsa -out key.pem 2048`)";

/// What a text is instead of a private key that can be used.
fn unusable(text: &str) -> Option<&'static str> {
    let has = |words: &str| text.contains(words);
    if has("ENCRYPTED") {
        Some(
            "is protected by a passphrase; take it off (`openssl pkcs8 -topk8 -nocrypt -in \
             key.pem`), as it is stored encrypted here",
        )
    } else if has("BEGIN OPENSSH PRIVATE KEY") {
        Some("is in OpenSSH's own format; write it as PEM (`ssh-keygen -p -m PEM -f key`)")
    } else if has("PRIVATE KEY") {
        None
    } else if has("BEGIN CERTIFICATE") || has("PUBLIC KEY") {
        Some("is the public half; the private key is needed")
    } else {
        None
    }
}

/// A signed token with these claims.
///
/// # Errors
/// Class internal, where the key cannot sign.
pub fn jwt(key: &RsaKey, claims: &Value) -> Result<SecretString, AdapterError> {
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    let signed = format!("{HEADER}.{claims}");
    let mut signature = vec![0; key.0.public().modulus_len()];
    key.0
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .map_err(|_| {
            let text = "the private key of the credentials cannot sign";
            AdapterError::new(ErrorClass::Internal, text)
        })?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Ok(SecretString::from(format!("{signed}.{signature}")))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::json;

    use super::*;

    const PKCS8: &str = include_str!("testdata/pkcs8.pem");
    const PKCS1: &str = include_str!("testdata/pkcs1.pem");
    const PUBLIC: &str = include_str!("testdata/public.pem");

    fn read(pem: &str) -> Result<RsaKey, AdapterError> {
        RsaKey::from_pem("private_key_pem", &SecretString::from(pem.to_owned()))
    }

    fn claims_of(token: &str) -> Value {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let der: String = PUBLIC
            .lines()
            .filter(|line| !line.contains("-----"))
            .collect();
        let der = base64::engine::general_purpose::STANDARD
            .decode(der)
            .unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let part = |text: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
        };
        assert_eq!(part(header), json!({ "alg": "RS256", "typ": "JWT" }));
        part(claims)
    }

    #[test]
    fn a_token_is_signed_by_the_key_in_either_form_and_the_public_half_agrees() {
        let claims = json!({ "iss": "3MVG9", "exp": 1_700_000_000 });
        let one_line = PKCS8.replace('\n', "\\n");
        for pem in [PKCS8, PKCS1, &one_line, &format!("\u{20}\n{PKCS1}\n")] {
            let key = read(pem).unwrap();
            let token = jwt(&key, &claims).unwrap();
            assert_eq!(claims_of(token.expose_secret()), claims);
            assert_eq!(format!("{key:?}"), "RsaKey(••••)");
        }
    }

    #[test]
    fn a_bad_key_is_refused_with_what_to_do_and_not_shown() {
        let cut = PKCS8.get(..PKCS8.len() / 2).unwrap();
        let body = PKCS8.lines().nth(3).unwrap();
        let damaged = PKCS8.replace(body, &body.chars().rev().collect::<String>());
        let openssh =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----";
        for (pem, remedy) in [
            ("", "no private key in PEM"),
            ("MIIEvgIBADAN", "no private key in PEM"),
            (cut, "no private key in PEM"),
            (&damaged, "damaged"),
            (PUBLIC, "public half"),
            (openssh, "ssh-keygen -p -m PEM"),
            (include_str!("testdata/encrypted-pkcs8.pem"), "passphrase"),
            (include_str!("testdata/encrypted-pkcs1.pem"), "passphrase"),
            (include_str!("testdata/short.pem"), "less than 2048 bits"),
            (
                include_str!("testdata/elliptic.pem"),
                "another kind than RSA",
            ),
        ] {
            let error = read(pem).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("credentials.private_key_pem is"), "{text}");
            assert!(text.contains(remedy), "{text} has no {remedy}");
            assert!(!text.contains("MII") && !text.contains(body), "{text}");
            assert!(matches!(error.class, ErrorClass::Validation { .. }));
        }
    }
}
