//! Values that the legacy application sealed: a Fernet token, base64 once more. It had one key at a
//! time and no key id, so a database may hold values of several keys; the HMAC decides which is
//! whose.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac};
use rand::Rng as _;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Where the legacy application took its key from; ours are named alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegacyKey {
    /// `ENCRYPTION_KEY`: the Fernet key itself.
    EncryptionKey,
    /// `JWT_SECRET_KEY`: the Fernet key is derived from it.
    JwtSecret,
}

impl LegacyKey {
    /// The setting that holds it.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::EncryptionKey => "secrets.legacy_encryption_key",
            Self::JwtSecret => "secrets.legacy_jwt_secret",
        }
    }
}

impl fmt::Display for LegacyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.setting())
    }
}

/// Salt and rounds by which the legacy application derived a key from `JWT_SECRET_KEY`.
const SALT: &[u8; 31] = b"ai_tickets_encryption_salt_2024";
const ROUNDS: std::num::NonZeroU32 = std::num::NonZeroU32::new(100_000).unwrap();

/// The base64 of `gAAAAA`, which every token made before the year 4148 begins with.
const BEGINNING: &str = "Z0FBQUFB";
const VERSION: u8 = 0x80;
/// Version, time and IV stand before the ciphertext, the HMAC after it.
const HEAD_BYTES: usize = 1 + 8 + 16;
const MAC_BYTES: usize = 32;

/// A Fernet key: the first half signs, the second enciphers.
pub(super) struct Fernet {
    pub(super) source: LegacyKey,
    signing: Hmac<Sha256>,
    cipher: [u8; 16],
}

impl Fernet {
    /// The key as `ENCRYPTION_KEY` has it: base64 of 32 bytes, either alphabet, blanks around it
    /// allowed.
    ///
    /// # Errors
    /// What is wrong with it; never the key.
    pub(super) fn of_encryption_key(key: &SecretString) -> Result<Self, String> {
        let shape =
            "must be a Fernet key: the base64 of 32 bytes, 44 characters with the = at the end";
        let url_safe = |byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        let standard: Vec<u8> = key.expose_secret().bytes().map(url_safe).collect();
        let bytes = lenient_base64(&standard).ok_or(shape)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| shape)?;
        Ok(Self::new(LegacyKey::EncryptionKey, &bytes))
    }

    /// The key as it was derived from `JWT_SECRET_KEY`.
    pub(super) fn of_jwt_secret(secret: &SecretString) -> Self {
        let mut bytes = [0u8; 32];
        let password = secret.expose_secret().as_bytes();
        ring::pbkdf2::derive(
            ring::pbkdf2::PBKDF2_HMAC_SHA256,
            ROUNDS,
            SALT,
            password,
            &mut bytes,
        );
        Self::new(LegacyKey::JwtSecret, &bytes)
    }

    fn new(source: LegacyKey, bytes: &[u8; 32]) -> Self {
        let (signing, cipher) = bytes.split_at(16);
        let mut half = [0u8; 16];
        half.copy_from_slice(cipher);
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let signing = Hmac::<Sha256>::new_from_slice(signing).expect("HMAC takes any key");
        Self {
            source,
            signing,
            cipher: half,
        }
    }

    /// Opens a value; `None` where this is not its key. Its age is not looked at.
    pub(super) fn open(&self, stored: &str) -> Option<Vec<u8>> {
        let token = unwrap(stored)?;
        let (signed, mac) = token.split_at(token.len() - MAC_BYTES);
        // In constant time, and before anything is deciphered.
        let signing = self.signing.clone().chain_update(signed);
        signing.verify_slice(mac).ok()?;
        let iv = signed.get(9..HEAD_BYTES)?;
        let body = signed.get(HEAD_BYTES..)?;
        let cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(&self.cipher, iv).ok()?;
        cipher.decrypt_padded_vec::<Pkcs7>(body).ok()
    }

    /// Seals a value as the legacy application does.
    pub(super) fn seal(&self, plain: &[u8], seconds: u64) -> Option<String> {
        let mut iv = [0u8; 16];
        rand::rng().fill_bytes(&mut iv);
        self.seal_with(plain, seconds, &iv)
    }

    fn seal_with(&self, plain: &[u8], seconds: u64, iv: &[u8; 16]) -> Option<String> {
        let cipher = cbc::Encryptor::<aes::Aes128>::new_from_slices(&self.cipher, iv).ok()?;
        let mut token = vec![VERSION];
        token.extend_from_slice(&seconds.to_be_bytes());
        token.extend_from_slice(iv);
        token.extend_from_slice(&cipher.encrypt_padded_vec::<Pkcs7>(plain));
        let mac = self.signing.clone().chain_update(&token).finalize();
        token.extend_from_slice(&mac.into_bytes());
        Some(STANDARD.encode(URL_SAFE.encode(token)))
    }
}

/// Whether a value looks like one of the legacy application's, whatever its key.
pub(super) fn is_legacy(stored: &str) -> bool {
    let significant = stored.bytes().filter(u8::is_ascii_alphanumeric);
    significant.take(BEGINNING.len()).eq(BEGINNING.bytes())
}

/// The token's bytes, at least as long as an empty one's.
fn unwrap(stored: &str) -> Option<Vec<u8>> {
    let inner = lenient_base64(stored.as_bytes())?;
    // The inner layer is url-safe: `+` and `/` mean the same to the legacy decoder.
    let standard: Vec<u8> = inner
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    let token = lenient_base64(&standard)?;
    let sound = token.first() == Some(&VERSION) && token.len() >= HEAD_BYTES + MAC_BYTES;
    sound.then_some(token)
}

/// Base64 as Python's `b64decode` reads it: characters outside the alphabet are passed over, the
/// padding must be right, and what stands behind it is not read.
fn lenient_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut position, mut pads, mut left) = (0u8, 0u8, 0u8);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                if position >= 2 {
                    pads += 1;
                    if position + pads >= 4 {
                        return Some(bytes);
                    }
                }
                continue;
            }
            _ => continue,
        };
        pads = 0;
        match position {
            0 => left = value,
            1 => {
                bytes.push(left << 2 | value >> 4);
                left = value & 0x0f;
            }
            2 => {
                bytes.push(left << 4 | value >> 2);
                left = value & 0x03;
            }
            _ => bytes.push(left << 6 | value),
        }
        position = (position + 1) % 4;
    }
    (position == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const A: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9EeDF1UUFQWFp4YzgwUUlhMHFMVExuZHhaV2RZX3VaWjRQSi1xdVhoaGNROW96NFc4eHNteEVhOTJieVJ5ZUV6OGc3b2ZwS2JjRXpVT01NbTl2TE1qTVZCUHY4NWRzQzNzV3RLQ0FqMEVZRHBLU0YzaC1fZkhYa0lQelQxTXZVY3VOR2luOTV2ZVgxTEIxRWRWOTg4bU1jPQ==";
    const B: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9ENk1yTjFsQVk4RV94YW1ZSWhjOTRhV2MwRy1xaTZVTFI4M1JCcEFjVWExTWtlUWpaVWdfbWpmOWsxTTNzYWNmdVpHODFXYjFkSWNUYzNGMmYzMDl2RUFCUnBHcHlfUjlQY3RuTWNJMDZXcW53WEhXb2pYZ0psLTF0eTNGZEFBRC1RVWc1VjVqRWMtdGRlb000dWdDUHZRPQ==";
    const C: &str = "Z0FBQUFBQm92YXdBQUFFQ0F3UUZCZ2NJQ1FvTERBME9EMWhGRzF6QUdZWDhJbVlCWFNrNnN3YnVpdGVuRGpxdTBfVE5BQmtFcnFjSVpOVzAzRHMxQzVlcXlkVXZKN3ZLcXc9PQ==";
    const PLAIN: &[u8] = br#"{"api_token": "t0k", "email": "\u00e4@example.test", "port": 587}"#;

    fn a() -> Fernet {
        Fernet::of_encryption_key(&A_KEY.into()).unwrap()
    }

    fn b() -> Fernet {
        Fernet::of_jwt_secret(&"example-jwt-secret".into())
    }

    fn iv() -> [u8; 16] {
        std::array::from_fn(|index| u8::try_from(index).unwrap())
    }

    #[test]
    fn the_test_vectors_open_under_their_own_key_only() {
        assert_eq!(a().open(A).unwrap(), PLAIN);
        assert_eq!(b().open(B).unwrap(), PLAIN);
        assert_eq!(a().open(C).unwrap(), br#""whsec_\u00e9""#);
        for (key, value) in [(a(), B), (b(), A), (b(), C)] {
            assert_eq!(key.open(value), None);
        }
    }

    #[test]
    fn what_is_sealed_for_the_legacy_application_is_its_own_writing() {
        assert_eq!(a().seal_with(PLAIN, 1_757_260_800, &iv()).unwrap(), A);
        assert_eq!(b().seal_with(PLAIN, 1_757_260_800, &iv()).unwrap(), B);
        let again = a().seal(b"{}", 1).unwrap();
        assert!(is_legacy(&again));
        assert_eq!(a().open(&again).unwrap(), b"{}");
    }

    #[test]
    fn the_outer_layer_is_read_as_tolerantly_as_the_legacy_decoder_does() {
        let broken: String = A
            .chars()
            .enumerate()
            .flat_map(|(index, c)| (index % 76 == 75).then_some('\n').into_iter().chain([c]))
            .collect();
        assert_eq!(a().open(&format!("  {broken}\r\n")).unwrap(), PLAIN);
        assert!(is_legacy(&format!(" {broken}")));
        assert_eq!(a().open(&format!("{A}behind the padding")).unwrap(), PLAIN);

        let unpadded = A.trim_end_matches('=');
        for unreadable in [unpadded, "   ", "", "{}", "Z0FBQUFB"] {
            assert_eq!(a().open(unreadable), None, "{unreadable:?}");
        }
        let inner = String::from_utf8(STANDARD.decode(A).unwrap()).unwrap();
        assert!(inner.starts_with("gAAAAA") && !is_legacy(&inner));
        assert_eq!(a().open(&inner), None, "the outer layer is lacking");
    }

    #[test]
    fn a_changed_value_does_not_open() {
        let token = STANDARD.decode(A).unwrap();
        let token = URL_SAFE.decode(token).unwrap();
        for position in [0, 5, 12, 40, token.len() - 1] {
            let mut changed = token.clone();
            changed[position] ^= 1;
            let stored = STANDARD.encode(URL_SAFE.encode(changed));
            assert_eq!(a().open(&stored), None, "byte {position}");
        }
    }

    #[test]
    fn an_encryption_key_is_taken_as_python_takes_it() {
        for key in [
            format!("  {A_KEY}\n"),
            "-_-_AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into(),
            "+/+/AwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into(),
        ] {
            assert!(Fernet::of_encryption_key(&key.as_str().into()).is_ok());
        }
        for key in [A_KEY.trim_end_matches('='), "short=", "", "not a key"] {
            let fault = Fernet::of_encryption_key(&key.into()).err().unwrap();
            assert!(fault.contains("32 bytes") && (key.is_empty() || !fault.contains(key)));
        }
    }
}
