//! How a session logs in (RFC 4954).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::classify::Stage;
use super::session::{Session, positive};
use crate::platforms::http::redact::learn;
use crate::platforms::{AdapterError, ErrorClass};

/// How a session logs in, with the secret at hand.
pub(super) enum LogIn<'a> {
    No,
    Password(&'a str, &'a SecretString),
    Token(&'a str, &'a SecretString),
}

impl Session {
    /// Logs in (RFC 4954).
    pub(super) async fn log_in(&mut self, log_in: LogIn<'_>) -> Result<(), AdapterError> {
        let reply = match log_in {
            LogIn::No => return Ok(()),
            LogIn::Password(user, password) => {
                let password = password.expose_secret();
                learn(password);
                if self.features.has("PLAIN") {
                    let response = secret(&format!("\0{user}\0{password}"));
                    self.ask(&format!("AUTH PLAIN {response}")).await?
                } else if self.features.has("LOGIN") {
                    let mut reply = self.ask("AUTH LOGIN").await?;
                    for answer in [STANDARD.encode(user), secret(password)] {
                        if reply.code != 334 {
                            break;
                        }
                        reply = self.ask(&answer).await?;
                    }
                    reply
                } else {
                    return Err(self.no_mechanism("PLAIN nor LOGIN"));
                }
            }
            LogIn::Token(user, token) => {
                if !self.features.has("XOAUTH2") {
                    return Err(self.no_mechanism("XOAUTH2"));
                }
                let response = secret(&xoauth2(user, token.expose_secret()));
                let reply = self.ask(&format!("AUTH XOAUTH2 {response}")).await?;
                // Google says why in a challenge, and refuses after an empty answer to it.
                if reply.code == 334 {
                    self.ask("").await?
                } else {
                    reply
                }
            }
        };
        positive(reply, Stage::Auth).map(drop)
    }

    fn no_mechanism(&self, wanted: &str) -> AdapterError {
        let offered = self.features.mechanisms.join(", ");
        let offers = if offered.is_empty() {
            "no log-in here".to_owned()
        } else {
            offered
        };
        let text = format!("the mail server does not offer AUTH {wanted}; it offers {offers}");
        AdapterError::new(ErrorClass::Authentication, text)
    }
}

/// In base64, as AUTH wants it. A password may be too short to be looked for; in this form it is
/// not.
fn secret(plain: &str) -> String {
    let sent = STANDARD.encode(plain);
    learn(&sent);
    sent
}

/// The initial response of XOAUTH2 (developers.google.com/gmail/imap/xoauth2-protocol).
fn xoauth2(user: &str, token: &str) -> String {
    format!("user={user}\x01auth=Bearer {token}\x01\x01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xoauth2_is_what_microsoft_documents() {
        let (user, token) = (
            "test@contoso.onmicrosoft.com",
            "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA",
        );

        assert_eq!(
            STANDARD.encode(xoauth2(user, token)),
            "dXNlcj10ZXN0QGNvbnRvc28ub25taWNyb3NvZnQuY29tAWF1dGg9QmVhcmVyIEV3QkFBbDNCQUFVRkZwVUFvN0ozVmUwYmpMQldaV0NjbFJDM0VvQUEBAQ=="
        );
    }
}
