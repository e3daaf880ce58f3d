//! Reads commands (RFC 5321 §4.1.2, RFC 1870, RFC 6152, RFC 6531).

/// MAIL FROM with its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sender {
    /// Empty for the null sender.
    pub(super) address: String,
    pub(super) size: Option<u64>,
    pub(super) eight_bit: bool,
    pub(super) utf8: bool,
}

/// Code and text of a refusal.
pub(super) type Refused = (u16, &'static str);

/// What follows `MAIL`.
pub(super) fn sender(argument: &str) -> Result<Sender, Refused> {
    let (address, parameters) =
        path(argument, "FROM:").ok_or((501, "5.5.4 Syntax: MAIL FROM:<address>"))?;
    let mut sender = Sender {
        address: address.to_owned(),
        ..Sender::default()
    };
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (
            name.to_ascii_uppercase().as_str(),
            value.to_ascii_uppercase().as_str(),
        ) {
            ("SIZE", value) => {
                let size = value.parse().map_err(|_| (501, "5.5.4 SIZE is a number"))?;
                sender.size = Some(size);
            }
            ("BODY", "8BITMIME") => sender.eight_bit = true,
            ("BODY", "7BIT") | ("AUTH", _) => {}
            ("SMTPUTF8", "") => sender.utf8 = true,
            _ => return Err((555, "5.5.4 parameter not known")),
        }
    }
    if !address.is_empty() {
        check(address, sender.utf8).map_err(|utf8| {
            if utf8 {
                (553, "5.6.7 the address needs SMTPUTF8")
            } else {
                (501, "5.1.7 bad sender address")
            }
        })?;
    }
    Ok(sender)
}

/// What follows `RCPT`.
pub(super) fn recipient(argument: &str, utf8: bool) -> Result<String, Refused> {
    let (address, parameters) =
        path(argument, "TO:").ok_or((501, "5.5.4 Syntax: RCPT TO:<address>"))?;
    if !parameters.trim().is_empty() {
        return Err((555, "5.5.4 parameter not known"));
    }
    check(address, utf8).map_err(|utf8| {
        if utf8 {
            (553, "5.6.7 the address needs SMTPUTF8")
        } else {
            (501, "5.1.3 bad recipient address")
        }
    })?;
    Ok(address.to_owned())
}

/// The address between the angle brackets after a word, and what follows.
fn path<'a>(argument: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let head = argument.get(..word.len())?;
    let rest = head
        .eq_ignore_ascii_case(word)
        .then(|| &argument[word.len()..])?;
    let (address, rest) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    let separated = rest.is_empty() || rest.starts_with(' ');
    separated.then_some((address, rest))
}

/// Whether it is an address; an error says whether SMTPUTF8 would help.
fn check(address: &str, utf8: bool) -> Result<(), bool> {
    let Some((user, domain)) = address.rsplit_once('@') else {
        return Err(false);
    };
    let word = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let label = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let fits = !user.is_empty()
        && user.len() <= 64
        && user
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(word))
        && domain.len() <= 255
        && domain.split('.').all(label);
    match (fits, address.is_ascii() || utf8) {
        (true, true) => Ok(()),
        (true, false) => Err(true),
        (false, _) => Err(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_has_its_parameters_and_may_be_nobody() {
        let sent = sender("FROM:<a.b+c@example.com> SIZE=12 body=8BITMIME SMTPUTF8").unwrap();
        assert_eq!(sent.address, "a.b+c@example.com");
        assert_eq!(
            (sent.size, sent.eight_bit, sent.utf8),
            (Some(12), true, true)
        );
        assert_eq!(sender("from: <>").unwrap(), Sender::default());
    }

    #[test]
    fn what_is_no_address_or_parameter_is_refused_with_its_code() {
        for (argument, code) in [
            ("FROM:a@example.com", 501),
            ("FROM:<a@example.com", 501),
            ("TO:<a@example.com>", 501),
            ("FROM:<a@example.com>SIZE=1", 501),
            ("FROM:<a b@example.com>", 501),
            ("FROM:<a@ex ample.com>", 501),
            ("FROM:<a@@example.com>", 501),
            ("FROM:<a@example.com> SIZE=x", 501),
            ("FROM:<a@example.com> RET=FULL", 555),
            ("FROM:<\u{fc}@example.com>", 553),
        ] {
            assert_eq!(sender(argument).unwrap_err().0, code, "{argument}");
        }
        assert!(recipient("TO:<\u{fc}@example.com>", true).is_ok());
        assert_eq!(
            recipient("TO:<\u{fc}@example.com>", false).unwrap_err().0,
            553
        );
        assert_eq!(recipient("TO:<>", false).unwrap_err().0, 501);
        assert_eq!(
            recipient("TO:<a@example.com> NOTIFY=NEVER", false)
                .unwrap_err()
                .0,
            555
        );
    }
}
