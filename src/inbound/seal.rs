//! The listener's own proof of a delivery that it has verified. It stands for the platform's: a
//! secret that is rotated while the delivery waits in its queue loses nothing, and one that is sent
//! along in clear need not go with it.

use std::collections::BTreeMap;

use ring::digest;

use crate::domain::IntegrationId;
use crate::secrets::KeyRing;

/// A delivery as it is handed to the broker.
#[derive(Debug, Clone, Copy)]
pub struct Delivered<'a> {
    /// Whose it is.
    pub integration: IntegrationId,
    /// When it came (RFC 3339), as the message says it.
    pub received_at: &'a str,
    /// How.
    pub method: &'a str,
    /// Its query as it came; `None` where there was none.
    pub query: Option<&'a str>,
    /// The headers that go with it.
    pub headers: &'a BTreeMap<String, String>,
    /// Its body, as it came.
    pub body: &'a [u8],
}

/// The listener's proof of a delivery: the key's id and an HMAC-SHA256 in hexadecimal. `None` where
/// there is no key.
#[must_use]
pub fn seal(ring: &KeyRing, what: &Delivered<'_>) -> Option<String> {
    ring.vouch(&what.text())
}

/// Whether a proof is the listener's of this delivery, by any of the keys. Takes the same time
/// wherever they differ.
#[must_use]
pub fn is_sealed(ring: &KeyRing, what: &Delivered<'_>, seal: &str) -> bool {
    ring.is_vouched(&what.text(), seal)
}

impl Delivered<'_> {
    /// All of it, each part behind its length: no two deliveries have the same text.
    fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        let mut put = |part: &[u8]| {
            text.extend_from_slice(&part.len().to_be_bytes());
            text.extend_from_slice(part);
        };
        put(self.integration.uuid().as_bytes());
        put(self.received_at.as_bytes());
        put(self.method.as_bytes());
        // An empty query is not none.
        put(&[u8::from(self.query.is_some())]);
        put(self.query.unwrap_or_default().as_bytes());
        put(&self.headers.len().to_be_bytes());
        for (name, value) in self.headers {
            put(name.as_bytes());
            put(value.as_bytes());
        }
        put(digest::digest(&digest::SHA256, self.body).as_ref());
        text
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::secrets::generate;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn a_seal_is_good_for_one_delivery_and_under_any_key_of_the_ring() {
        let (one, two) = (generate("one"), generate("two"));
        let ring = KeyRing::parse(&[one.as_str().into()]).unwrap();
        let given = headers(&[("a", "b"), ("c", "d")]);
        let what = Delivered {
            integration: IntegrationId::new(Uuid::from_u128(1)),
            received_at: "2026-01-02T03:04:05.000Z",
            method: "POST",
            query: Some("a=b"),
            headers: &given,
            body: b"{}",
        };
        let sealed = seal(&ring, &what).unwrap();

        assert!(
            sealed.starts_with("one:") && sealed.len() == 4 + 64,
            "{sealed}"
        );
        assert!(is_sealed(&ring, &what, &sealed));
        let rotated = KeyRing::parse(&[two.as_str().into(), one.as_str().into()]).unwrap();
        assert!(is_sealed(&rotated, &what, &sealed));
        assert!(seal(&rotated, &what).unwrap().starts_with("two:"));
        let other = KeyRing::parse(&[two.as_str().into()]).unwrap();
        assert!(!is_sealed(&other, &what, &sealed));

        let (fewer, moved) = (headers(&[("a", "b")]), headers(&[("a", "bc"), ("c", "d")]));
        let changed = [
            Delivered {
                integration: IntegrationId::new(Uuid::from_u128(2)),
                ..what
            },
            Delivered {
                received_at: "2026-01-02T03:04:05.001Z",
                ..what
            },
            Delivered {
                method: "GET",
                ..what
            },
            Delivered {
                query: None,
                ..what
            },
            Delivered {
                query: Some(""),
                ..what
            },
            Delivered {
                headers: &fewer,
                ..what
            },
            Delivered {
                headers: &moved,
                ..what
            },
            Delivered {
                body: b"{} ",
                ..what
            },
        ];
        for what in &changed {
            assert!(!is_sealed(&ring, what, &sealed), "{what:?}");
        }
    }

    #[test]
    fn what_is_no_seal_is_none() {
        let ring = KeyRing::parse(&[generate("one").into()]).unwrap();
        let given = BTreeMap::new();
        let what = Delivered {
            integration: IntegrationId::new(Uuid::from_u128(1)),
            received_at: "",
            method: "POST",
            query: None,
            headers: &given,
            body: b"",
        };
        for seal in ["", "one", "one:", "one:00", ":00", "one:zz"] {
            assert!(!is_sealed(&ring, &what, seal), "{seal}");
        }
        assert_eq!(seal(&KeyRing::parse(&[]).unwrap(), &what), None);
    }
}
