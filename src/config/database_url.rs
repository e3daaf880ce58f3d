//! `database.url` as libpq takes it, for a driver that takes less: what means the same here is put
//! in the driver's words, what means nothing here is left out, and everything else is refused by
//! name with what to do in its place.

use std::path::PathBuf;

use secrecy::SecretString;

/// An address in the driver's words, and what the driver has no word for.
#[derive(Debug, Clone)]
pub struct DatabaseUrl {
    /// As the driver reads it.
    pub driver: SecretString,
    /// `sslrootcert`: whom to trust in place of the system's certificate authorities.
    pub root_certificates: Option<PathBuf>,
}

/// What becomes of a parameter of libpq's ("PostgreSQL documentation, 34.1.2 Parameter Key Words")
/// that the driver does not know.
#[derive(Clone, Copy)]
enum Fate {
    /// It is as it would be without.
    LeftOut,
    /// Why not, and what to do.
    Refused(&'static str),
}

const CLIENT_CERTIFICATES: &str =
    "is not supported: TLS is by the server's certificate alone; log in with a password";
const NO_REVOCATION: &str = "is not supported: leave it out, revocation lists are not looked at";
const NO_FILES: &str = "is not read: put user and password into the URL";

const PARAMETERS: [(&str, Fate); 24] = [
    ("client_encoding", Fate::LeftOut),
    ("fallback_application_name", Fate::LeftOut),
    ("gssencmode", Fate::LeftOut),
    ("krbsrvname", Fate::LeftOut),
    ("gsslib", Fate::LeftOut),
    ("gssdelegation", Fate::LeftOut),
    ("sslcertmode", Fate::LeftOut),
    ("sslcompression", Fate::LeftOut),
    ("sslsni", Fate::LeftOut),
    ("ssl_min_protocol_version", Fate::LeftOut),
    ("ssl_max_protocol_version", Fate::LeftOut),
    ("min_protocol_version", Fate::LeftOut),
    ("max_protocol_version", Fate::LeftOut),
    ("sslcert", Fate::Refused(CLIENT_CERTIFICATES)),
    ("sslkey", Fate::Refused(CLIENT_CERTIFICATES)),
    ("sslpassword", Fate::Refused(CLIENT_CERTIFICATES)),
    ("sslcrl", Fate::Refused(NO_REVOCATION)),
    ("sslcrldir", Fate::Refused(NO_REVOCATION)),
    ("passfile", Fate::Refused(NO_FILES)),
    ("service", Fate::Refused(NO_FILES)),
    ("servicefile", Fate::Refused(NO_FILES)),
    (
        "require_auth",
        Fate::Refused("is not supported: leave it out, or use channel_binding=require"),
    ),
    (
        "requirepeer",
        Fate::Refused("is not supported: leave it out"),
    ),
    (
        "replication",
        Fate::Refused("is not for this program: leave it out"),
    ),
];

impl DatabaseUrl {
    /// Reads an address: a URL, or libpq's `key=value` form. Blanks at its ends are none of it.
    ///
    /// # Errors
    /// What is wrong, by the parameter's name, and what would be right; never a value of it that
    /// may be secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let mut read = Reading::default();
        let kept = if is_url {
            read.url(text)?
        } else if is_pairs(text) {
            read.pairs(text)?
        } else {
            return Err("must be a URL that begins with postgres://".into());
        };
        Ok(Self {
            driver: kept.into(),
            root_certificates: read.root_certificates,
        })
    }
}

/// Whether it begins as libpq's `key=value` form does.
fn is_pairs(text: &str) -> bool {
    let key = text.split('=').next().unwrap_or_default().trim_end();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.contains('=') && !key.is_empty() && key.chars().all(fits)
}

#[derive(Default)]
struct Reading {
    root_certificates: Option<PathBuf>,
}

impl Reading {
    /// A URL with the parameters that the driver takes.
    fn url(&mut self, text: &str) -> Result<String, String> {
        // The driver ends user and password at the first @; a question mark before it is one of
        // theirs.
        let from = text.find('@').unwrap_or(0);
        let Some(at) = text.get(from..).and_then(|rest| rest.find('?')) else {
            return Ok(text.to_owned());
        };
        let (address, query) = text.split_at(from + at);
        let mut kept = Vec::new();
        for pair in query.trim_start_matches('?').split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match self.parameter(name, &decoded(value))? {
                Kept::AsItIs => kept.push(pair.to_owned()),
                Kept::As(value) => kept.push(format!("{name}={value}")),
                Kept::Under(name) => kept.push(format!("{name}={value}")),
                Kept::Not => {}
            }
        }
        let separator = if kept.is_empty() { "" } else { "?" };
        Ok(format!("{address}{separator}{}", kept.join("&")))
    }

    /// The same of `key=value key='other value'`.
    fn pairs(&mut self, text: &str) -> Result<String, String> {
        let mut kept = String::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, behind) = rest
                .split_once('=')
                .ok_or("must be a URL, or pairs of the form key=value")?;
            let (name, behind) = (name.trim(), behind.trim_start());
            let end = end_of_value(behind);
            let (given, behind) = behind.split_at(end);
            let value = unquoted(given);
            match self.parameter(name, &value)? {
                Kept::AsItIs => kept.push_str(&format!("{name}={given} ")),
                Kept::As(value) => kept.push_str(&format!("{name}={value} ")),
                Kept::Under(name) => kept.push_str(&format!("{name}={given} ")),
                Kept::Not => {}
            }
            rest = behind.trim_start();
        }
        Ok(kept)
    }

    fn parameter(&mut self, name: &str, value: &str) -> Result<Kept, String> {
        match (name, value) {
            // A certificate is verified wherever TLS is asked for, its name included.
            ("sslmode", "verify-ca" | "verify-full") => return Ok(Kept::As("require")),
            ("sslmode", "allow") => return Ok(Kept::As("prefer")),
            ("sslmode", "disable" | "prefer" | "require") => return Ok(Kept::AsItIs),
            ("sslmode", _) => {
                return Err(
                    "has an sslmode that is none of disable, allow, prefer, require, verify-ca, \
                     verify-full"
                        .into(),
                );
            }
            // The driver asks whether a server takes writes, which a standby does not.
            ("target_session_attrs", "primary") => return Ok(Kept::As("read-write")),
            ("target_session_attrs", "standby" | "prefer-standby") => {
                return Err(
                    "has target_session_attrs of a standby, which takes no writes: say read-write"
                        .into(),
                );
            }
            ("keepalives_count", _) => return Ok(Kept::Under("keepalives_retries")),
            ("sslrootcert", "" | "system") => return Ok(Kept::Not),
            ("sslrootcert", path) => {
                self.root_certificates = Some(path.into());
                return Ok(Kept::Not);
            }
            _ => {}
        }
        let known = PARAMETERS.iter().find(|(known, _)| *known == name);
        match known.map(|(_, fate)| *fate) {
            None => Ok(Kept::AsItIs),
            Some(Fate::LeftOut) => Ok(Kept::Not),
            Some(Fate::Refused(why)) => Err(format!("has the parameter {name}, which {why}")),
        }
    }
}

/// A parameter's value without its percent signs; here a plus is one.
fn decoded(value: &str) -> String {
    let pair = format!("v={}", value.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

enum Kept {
    AsItIs,
    As(&'static str),
    /// By another name.
    Under(&'static str),
    Not,
}

/// Where a value of a pair ends: at a blank, or behind its closing quotation mark.
fn end_of_value(text: &str) -> usize {
    let is_quoted = text.starts_with('\'');
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(usize::from(is_quoted)) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if is_quoted && c == '\'' {
            return at + 1;
        } else if !is_quoted && c.is_whitespace() {
            return at;
        }
    }
    text.len()
}

fn unquoted(given: &str) -> String {
    let bare = given
        .strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .unwrap_or(given);
    bare.replace("\\'", "'").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_libpq_takes_is_put_in_the_driver_s_words() {
        let ca = Some(PathBuf::from("/etc/ca.pem"));
        for (text, driver, root) in [
            (
                " postgres://u:p#w@h:6432/db\n",
                "postgres://u:p#w@h:6432/db",
                None,
            ),
            (
                "postgresql://h1:5432,h2:5433/db?target_session_attrs=read-write",
                "postgresql://h1:5432,h2:5433/db?target_session_attrs=read-write",
                None,
            ),
            (
                "postgres://u:p?w@h/db?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&sslsni=1",
                "postgres://u:p?w@h/db?sslmode=require",
                ca.clone(),
            ),
            (
                "host=h password='a b=\\'c' sslmode = verify-ca sslrootcert='/etc/ca.pem' \
                 gssencmode=disable",
                "host=h password='a b=\\'c' sslmode=require ",
                ca,
            ),
            (
                "postgres://h/db?sslrootcert=system&sslmode=allow",
                "postgres://h/db?sslmode=prefer",
                None,
            ),
            (
                "postgres://h/db?sslsni=1&ssl_max_protocol_version=TLSv1.3",
                "postgres://h/db",
                None,
            ),
            (
                "postgres://h/db?keepalives_count=3&target_session_attrs=primary",
                "postgres://h/db?keepalives_retries=3&target_session_attrs=read-write",
                None,
            ),
            (
                "host=h keepalives_count=3",
                "host=h keepalives_retries=3 ",
                None,
            ),
        ] {
            let read = DatabaseUrl::parse(text).unwrap();
            assert_eq!(read.driver.expose_secret(), driver);
            assert_eq!(read.root_certificates, root, "{text}");
        }
    }

    #[test]
    fn what_is_not_taken_is_named_with_the_remedy_and_never_shown() {
        for (text, names) in [
            ("mysql://u:hunter2@h/db", "begins with postgres://"),
            ("hunter2", "begins with postgres://"),
            ("postgres://u:hunter2@h/db?sslmode=hunter2", "verify-full"),
            ("postgres://u:hunter2@h/db?sslcert=hunter2", "sslcert"),
            ("postgres://u:hunter2@h/db?passfile=x", "passfile"),
            ("postgres://u:hunter2@h/db?sslcrldir=x", "sslcrldir"),
            (
                "postgres://u:hunter2@h/db?target_session_attrs=standby",
                "say read-write",
            ),
            ("host=h password=hunter2 service=x", "service"),
        ] {
            let fault = DatabaseUrl::parse(text).err().unwrap();
            assert!(fault.contains(names), "{text}: {fault}");
            assert!(!fault.contains("hunter2"), "{text}: {fault}");
        }
    }
}
