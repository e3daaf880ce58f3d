//! What a row of the suite says of one platform in one mode.

use serde_json::{Value, json};
use ticketwire::domain::{AuthType, Platform};
use ticketwire::platforms::OperationKind;
use ticketwire::sandbox::{Fault, FaultKind};

/// A secret of every row's credentials.
pub(crate) const SECRET: &str = "s3cr3t-t0k3n";

/// One adapter under test, in one mode.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) platform: Platform,
    pub(crate) auth_type: AuthType,
    /// `{base}` in them is the address of the site, `{site}` its name; `{smtp_host}` and
    /// `{smtp_port}` are where it takes mail.
    pub(crate) credentials: Value,
    pub(crate) settings: Value,
    /// What it does in this mode. Everything else has to be refused.
    pub(crate) operations: Vec<Steps>,
    /// Whether the body of a success is needed.
    pub(crate) reads_answers: bool,
    /// Answers that mean something else here than elsewhere.
    pub(crate) peculiar: Vec<Case>,
    /// How it answers whom it does not know, or no longer.
    pub(crate) strange: Vec<(&'static str, Fault)>,
    /// Settings of the sandbox under which the platform shows no marks.
    pub(crate) blind: Option<Value>,
    /// Whether items can be read back.
    pub(crate) reads: bool,
}

/// Answer, what it is for what makes something, what it is for what sets something.
pub(crate) type Case = (&'static str, Fault, &'static str, &'static str);

/// An operation with a variety that takes other steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Update,
    Status,
    /// A status with a summary of what was done.
    Resolve,
    /// To somebody whom the platform knows.
    Assign,
    Comment,
    Attach,
    Delete,
}

impl Act {
    pub(crate) const ALL: [Self; 8] = [
        Self::Create,
        Self::Update,
        Self::Status,
        Self::Resolve,
        Self::Assign,
        Self::Comment,
        Self::Attach,
        Self::Delete,
    ];

    pub(crate) const fn kind(self) -> OperationKind {
        match self {
            Self::Create => OperationKind::Create,
            Self::Update => OperationKind::Update,
            Self::Status | Self::Resolve => OperationKind::Status,
            Self::Assign => OperationKind::Assign,
            Self::Comment => OperationKind::Comment,
            Self::Attach => OperationKind::Attach,
            Self::Delete => OperationKind::Delete,
        }
    }
}

/// The requests of an operation, by the sandbox's names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) act: Act,
    /// What is read, or set so that a repeat leaves no trace.
    pub(crate) before: &'static [&'static str],
    /// The one that makes or sets it.
    pub(crate) makes: &'static str,
    /// What belongs to it and is set later.
    pub(crate) after: &'static [&'static str],
    pub(crate) guard: Guard,
}

/// An operation of one request.
pub(crate) const fn on(act: Act, makes: &'static str, guard: Guard) -> Steps {
    Steps {
        act,
        before: &[],
        makes,
        after: &[],
        guard,
    }
}

impl Steps {
    pub(crate) const fn before(self, before: &'static [&'static str]) -> Self {
        Self { before, ..self }
    }

    pub(crate) const fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }

    /// Whether a second request would make a second thing: a lost answer is of unknown outcome.
    pub(crate) fn makes_something(&self) -> bool {
        self.guard != Guard::Native
    }
}

/// How what is made is kept from being made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// By its mark, which is looked up.
    Lookup,
    /// By the platform, or because it is only set.
    Native,
    /// By nothing.
    Nothing,
}

impl Row {
    /// A site of this platform.
    pub(crate) fn site(&self, name: &str) -> String {
        format!("{}/{name}-{}", self.platform, self.name)
    }

    /// Whether it is a mail that is sent, and a reply with a code of its own that comes back.
    pub(crate) fn is_mail(&self) -> bool {
        self.platform == Platform::Email
    }

    /// Whether it asks who we are.
    pub(crate) fn logs_in(&self) -> bool {
        !(self.is_mail() && self.auth_type == AuthType::Custom)
    }

    /// The refusal of a credential. Behind mail is a token endpoint, too, which has no 535.
    pub(crate) fn refusal(&self) -> Fault {
        if self.is_mail() {
            Fault::new(FaultKind::Stranger)
        } else {
            Fault::status(401)
        }
    }

    pub(crate) fn steps(&self, act: Act) -> Option<&Steps> {
        self.operations.iter().find(|steps| steps.act == act)
    }

    /// The strongest guard that the mode has.
    pub(crate) fn guard(&self) -> Guard {
        self.steps(Act::Create).unwrap().guard
    }
}

/// What stands in front of a platform answers for it: a page with 200, a redirect to one.
pub(crate) fn log_ins() -> Vec<(&'static str, Fault)> {
    let page = "<!DOCTYPE html><html><body><form action=/in><input \
                type=\"password\"></form></body></html>";
    let titled = "<html><head><title>Log in - Company SSO</title></head><body></body></html>";
    let mut away = Fault::new(FaultKind::Redirect);
    away.location = Some("/login.jsp?os_destination=%2Fsecure".into());
    vec![
        ("a log-in page", Fault::status(200).body(json!(page))),
        ("a page called so", Fault::status(200).body(json!(titled))),
        ("a redirect to a log-in", away),
    ]
}
