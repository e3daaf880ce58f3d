//! What the rules know of English, as data. A new word is a new line here; a phrase is written in
//! lower case, words apart by one space, without hyphens; its regular forms (errors, crashed,
//! charging) are found too.

use crate::domain::TicketCategory::{
    self, Billing, Bug, FeatureRequest, Integration, Performance, Security, Technical, UserAccess,
};

/// What a phrase weighs for a category: 1 a hint, 3 a good sign, 6 hardly anything else.
#[rustfmt::skip]
pub(super) const CATEGORIES: &[(TicketCategory, &[(&str, u32)])] = &[
    (Bug, &[
        ("bug", 5), ("error", 3), ("error message", 3), ("exception", 4), ("stack trace", 5),
        ("stacktrace", 5), ("traceback", 5), ("crash", 5), ("broken", 4), ("doesn't work", 3),
        ("does not work", 3), ("don't work", 3), ("not working", 3), ("isn't working", 3),
        ("no longer works", 4), ("stopped working", 4), ("wrong result", 4), ("wrong", 2),
        ("incorrect", 3), ("incorrectly", 3), ("unexpected", 2), ("unexpectedly", 2), ("glitch", 4),
        ("regression", 5), ("blank page", 4), ("white screen", 4), ("fail", 2), ("failure", 2),
        ("500 error", 4), ("error 500", 4), ("returns 500", 4), ("null pointer", 5), ("freeze", 3),
        ("frozen", 3), ("typo", 3), ("nothing happens", 4), ("since the last deploy", 3),
        ("since the last release", 3), ("since the last update", 3), ("since the update", 3),
        ("steps to reproduce", 5), ("reproduce", 3), ("malfunction", 3), ("misaligned", 4),
        ("overlap", 2), ("defect", 5), ("disappear", 2), ("corrupt", 3), ("garbled", 4),
        ("internal server error", 5), ("typeerror", 5), ("undefined", 3), ("no results", 3),
        ("missing", 2), ("doesn't load", 3), ("does not load", 3), ("won't load", 3),
        ("won't open", 3), ("cannot open", 2), ("can't open", 2),
    ]),
    (Technical, &[
        ("install", 3), ("installation", 3), ("configure", 3), ("configuration", 3), ("set up", 2),
        ("setup", 2), ("laptop", 4), ("printer", 5), ("vpn", 4), ("wifi", 4), ("wi fi", 4),
        ("network", 3), ("driver", 3), ("operating system", 4), ("server", 2), ("database", 2),
        ("dns", 4), ("certificate", 3), ("ssl", 3), ("tls", 3), ("firewall", 3), ("keyboard", 4),
        ("headset", 4), ("docking station", 4), ("hardware", 4), ("software", 2), ("windows", 2),
        ("macos", 2), ("backup", 3), ("outlook", 2), ("internet", 3), ("connectivity", 3),
        ("disk space", 4), ("outage", 2), ("is down", 2), ("domain name", 3), ("hosting", 3),
        ("bluetooth", 4), ("monitor", 2), ("mailbox", 3),
    ]),
    (Billing, &[
        ("invoice", 5), ("bill", 4), ("charge", 3), ("charged twice", 6), ("double charged", 6),
        ("overcharge", 6), ("refund", 6), ("payment", 4), ("pay", 2), ("paid", 2),
        ("credit card", 4), ("subscription", 3), ("price", 3), ("pricing", 4), ("vat", 4),
        ("tax", 3), ("receipt", 4), ("purchase order", 4), ("discount", 4), ("coupon", 4),
        ("renewal", 3), ("bank transfer", 4), ("sepa", 4), ("payment method", 4),
        ("credit note", 5), ("downgrade", 2), ("accounting", 2), ("chargeback", 6),
    ]),
    (FeatureRequest, &[
        ("feature request", 6), ("feature", 2), ("would be nice", 5), ("would be great", 5),
        ("would be helpful", 4), ("would be useful", 4), ("nice to have", 4),
        ("it would be good", 4), ("could you add", 5), ("can you add", 5), ("please add", 4),
        ("add support for", 5), ("ability to", 4), ("would love", 4), ("i wish", 4),
        ("suggestion", 4), ("suggest", 3), ("enhancement", 5), ("improvement", 3), ("dark mode", 3),
        ("wish list", 4), ("wishlist", 4), ("roadmap", 3), ("option to", 3), ("allow us to", 4),
        ("like to be able to", 5), ("do you plan to", 3), ("it would help", 3), ("new feature", 5),
        ("consider adding", 5), ("please consider", 3), ("like to see", 3),
        ("is there a way to", 3),
    ]),
    (UserAccess, &[
        ("login", 4), ("log in", 4), ("logging in", 4), ("logged out", 4), ("log on", 3),
        ("sign in", 4), ("signing in", 4), ("signin", 4), ("password", 5), ("reset my password", 6),
        ("password reset", 6), ("locked out", 6), ("account locked", 6), ("account is locked", 6),
        ("unlock", 3), ("permission", 4), ("permission denied", 5), ("access to", 4),
        ("no access", 5), ("access denied", 6), ("access", 2), ("forbidden", 2), ("sso", 4),
        ("single sign on", 5), ("mfa", 4), ("2fa", 4), ("two factor", 4), ("authenticator", 4),
        ("verification code", 4), ("username", 3), ("user account", 3), ("new user", 3),
        ("new employee", 4), ("new hire", 4), ("deactivate", 3), ("admin rights", 5), ("invite", 3),
        ("invitation", 3), ("offboard", 3), ("credential", 2), ("new account", 3),
        ("user rights", 4), ("saml", 4), ("active directory", 3), ("azure ad", 3), ("okta", 3),
    ]),
    (Integration, &[
        ("integration", 5), ("integrate", 5), ("webhook", 5), ("api", 3), ("rest api", 4),
        ("api key", 3), ("oauth", 2), ("slack", 3), ("jira", 3), ("salesforce", 3), ("hubspot", 3),
        ("zapier", 4), ("zendesk", 3), ("microsoft teams", 3), ("github", 3), ("servicenow", 3),
        ("sync", 4), ("synchronize", 4), ("synchronise", 4), ("synchronization", 4),
        ("synchronisation", 4), ("third party", 2), ("connector", 4), ("endpoint", 2),
        ("callback", 2), ("plugin", 3), ("sdk", 3), ("rate limit", 2), ("google calendar", 2),
    ]),
    (Performance, &[
        ("slow", 5), ("slower", 5), ("slowly", 5), ("slowness", 5), ("takes forever", 5),
        ("taking forever", 5), ("too long", 3), ("performance", 5), ("latency", 5), ("lag", 4),
        ("lagging", 4), ("laggy", 4), ("timeout", 3), ("time out", 3), ("timed out", 3),
        ("times out", 3), ("timing out", 3), ("cpu", 3), ("high cpu", 5), ("memory leak", 5),
        ("memory usage", 4), ("response time", 5), ("load time", 5), ("loading time", 5),
        ("seconds to load", 5), ("minutes to load", 5), ("sluggish", 5), ("unresponsive", 3),
        ("bottleneck", 4), ("throughput", 4), ("hang", 2),
    ]),
    (Security, &[
        ("security", 4), ("breach", 5), ("security breach", 7), ("data breach", 7), ("phishing", 6),
        ("hacked", 6), ("hacker", 5), ("malware", 6), ("virus", 5), ("ransomware", 7),
        ("vulnerability", 6), ("vulnerabilities", 6), ("exploit", 5), ("suspicious", 4),
        ("suspicious login", 7), ("suspicious email", 7), ("suspicious activity", 7),
        ("unauthorized", 4), ("unauthorised", 4), ("unauthorized access", 7),
        ("unauthorised access", 7), ("data leak", 6), ("leaked", 5), ("xss", 6),
        ("sql injection", 6), ("cve", 6), ("compromised", 6), ("stolen", 4), ("encryption", 3),
        ("penetration test", 5), ("scam", 4), ("fraud", 4), ("fraudulent", 4), ("spoofed", 4),
        ("unknown device", 6), ("unknown location", 6), ("logged into my account", 4), ("spam", 2),
    ]),
];

/// Who deals with a category where no word says otherwise.
pub(super) const fn usual_department(category: TicketCategory) -> Option<&'static str> {
    match category {
        Billing => Some("finance"),
        FeatureRequest => Some("product"),
        Bug | Integration | Performance => Some("engineering"),
        Technical | UserAccess => Some("it"),
        Security => Some("security"),
        TicketCategory::General => None,
    }
}

/// What a phrase weighs for a department; that of the category weighs 4 by itself.
#[rustfmt::skip]
pub(super) const DEPARTMENTS: &[(&str, &[(&str, u32)])] = &[
    ("engineering", &[
        ("stack trace", 5), ("stacktrace", 5), ("api", 2), ("deploy", 2), ("deployment", 2),
        ("production", 2), ("database", 2), ("regression", 4), ("pull request", 4), ("staging", 2),
        ("outage", 3),
    ]),
    ("finance", &[
        ("invoice", 3), ("refund", 3), ("vat", 3), ("purchase order", 5), ("expense", 4),
        ("expense report", 6), ("accounting", 4), ("reimbursement", 5),
    ]),
    ("human_resources", &[
        ("payroll", 6), ("salary", 5), ("payslip", 6), ("vacation", 5), ("sick leave", 6),
        ("parental leave", 6), ("human resources", 6), ("annual leave", 6), ("hr", 4),
        ("job application", 5),
    ]),
    ("it", &[
        ("laptop", 4), ("printer", 5), ("vpn", 4), ("wifi", 4), ("wi fi", 4), ("keyboard", 4),
        ("headset", 4), ("docking station", 5), ("new employee", 4), ("new hire", 4),
        ("outlook", 3), ("mailbox", 3), ("windows", 2), ("hardware", 4),
    ]),
    ("legal", &[
        ("nda", 6), ("gdpr", 6), ("terms of service", 6), ("lawyer", 6), ("legal", 5),
        ("contract", 3), ("subpoena", 7), ("data processing agreement", 7), ("copyright", 5),
    ]),
    ("product", &[("feature request", 4), ("roadmap", 4)]),
    ("sales", &[
        ("quote", 5), ("quotation", 5), ("demo", 4), ("sales", 5), ("enterprise plan", 5),
        ("volume discount", 6), ("upgrade our plan", 6), ("buy more seats", 6), ("trial", 3),
    ]),
    ("security", &[("phishing", 4), ("ransomware", 4), ("vulnerability", 4)]),
];

/// The departments the tables know, in their order.
pub(in crate::analysis) fn departments() -> impl Iterator<Item = &'static str> {
    DEPARTMENTS.iter().map(|(name, _)| *name)
}

/// What a phrase says of priority and urgency: 4 and over is critical, 2 and 3 high, below zero
/// low.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) priority: i32,
    pub(super) urgency: i32,
    /// The same after a "not".
    pub(super) not_priority: i32,
    pub(super) not_urgency: i32,
}

/// Priority, urgency.
const fn plain(priority: i32, urgency: i32) -> Weight {
    Weight {
        priority,
        urgency,
        not_priority: 0,
        not_urgency: 0,
    }
}

/// Of those whose denial says the opposite: "not urgent".
const fn scale(priority: i32, urgency: i32, not_priority: i32, not_urgency: i32) -> Weight {
    Weight {
        priority,
        urgency,
        not_priority,
        not_urgency,
    }
}

#[rustfmt::skip]
pub(super) const SIGNALS: &[(&str, Weight)] = &[
    // Everything stands.
    ("outage", plain(4, 4)), ("data loss", plain(4, 3)), ("lost data", plain(3, 3)),
    ("lost all", plain(3, 3)), ("data breach", plain(4, 4)), ("security breach", plain(4, 4)),
    ("ransomware", plain(4, 4)), ("hacked", plain(4, 4)), ("compromised", plain(3, 4)),
    ("leaked", plain(3, 3)), ("data leak", plain(4, 4)), ("actively exploited", plain(4, 4)),
    ("is down", plain(3, 3)), ("are down", plain(3, 3)), ("went down", plain(3, 3)),
    ("gone down", plain(3, 3)), ("completely down", plain(3, 3)), ("totally down", plain(3, 3)),
    ("still down", plain(3, 3)), ("production down", plain(4, 4)), ("prod down", plain(4, 4)),
    ("site down", plain(4, 4)), ("system down", plain(4, 4)), ("production", plain(1, 1)),
    ("prod", plain(1, 1)), ("sev1", plain(4, 4)), ("sev 1", plain(4, 4)), ("p0", plain(4, 4)),
    ("p1", plain(4, 3)), ("phishing", plain(2, 2)), ("malware", plain(3, 3)),
    ("emergency", scale(2, 4, -1, -2)),
    // How many.
    ("all users", plain(3, 2)), ("all our users", plain(3, 2)), ("all of our users", plain(3, 2)),
    ("all customers", plain(3, 2)), ("all our customers", plain(3, 2)),
    ("all employees", plain(3, 2)), ("every user", plain(3, 2)), ("every customer", plain(3, 2)),
    ("everyone", plain(2, 1)), ("everybody", plain(2, 1)), ("nobody can", plain(3, 3)),
    ("no one can", plain(3, 3)), ("none of our", plain(2, 2)), ("none of us", plain(2, 2)),
    ("no customer can", plain(3, 3)), ("entire company", plain(3, 2)),
    ("whole company", plain(3, 2)), ("entire team", plain(2, 1)), ("whole team", plain(2, 1)),
    ("entire office", plain(2, 2)), ("whole office", plain(2, 2)), ("multiple users", plain(2, 1)),
    ("several users", plain(2, 1)), ("many users", plain(2, 1)), ("several customers", plain(2, 1)),
    ("many customers", plain(2, 1)),
    // What it stops.
    ("cannot work", plain(3, 3)), ("can't work", plain(3, 3)), ("can not work", plain(3, 3)),
    ("unable to work", plain(3, 3)), ("blocked", scale(2, 2, -1, -1)),
    ("blocking", scale(2, 2, -1, -1)), ("blocker", scale(2, 2, -1, -1)),
    ("locked out", plain(1, 2)), ("crash", plain(1, 1)), ("corrupt", plain(2, 1)),
    ("losing money", plain(3, 3)), ("losing customers", plain(3, 3)),
    ("losing orders", plain(3, 3)), ("lost revenue", plain(3, 3)), ("losing revenue", plain(3, 3)),
    ("losing sales", plain(3, 3)), ("customers cannot", plain(2, 2)),
    ("customers can't", plain(2, 2)), ("users cannot", plain(2, 1)), ("users can't", plain(2, 1)),
    ("unreachable", plain(2, 1)), ("standing still", plain(3, 3)), ("at a standstill", plain(3, 3)),
    ("severe", scale(2, 1, -1, 0)), ("showstopper", plain(3, 3)), ("vulnerability", plain(2, 1)),
    ("charged twice", plain(1, 1)), ("stolen", plain(2, 3)), ("critical", scale(3, 1, -1, -1)),
    ("high priority", scale(2, 1, -1, 0)), ("top priority", scale(3, 2, -1, 0)),
    ("important", scale(1, 0, -1, 0)), ("broken", plain(1, 0)), ("serious", scale(2, 1, -1, 0)),
    ("data is missing", plain(2, 1)),
    // How soon.
    ("urgent", scale(1, 3, 0, -2)), ("urgently", scale(1, 3, 0, -2)),
    ("urgency", scale(0, 1, 0, -2)), ("asap", scale(1, 3, 0, -1)),
    ("as soon as possible", scale(1, 3, 0, -1)), ("immediately", scale(1, 3, 0, -1)),
    ("immediate", scale(1, 3, 0, -1)), ("right now", scale(0, 2, 0, -1)),
    ("right away", scale(0, 2, 0, -1)), ("today", scale(0, 1, 0, -1)),
    ("tomorrow", scale(0, 1, 0, -1)), ("tonight", plain(0, 2)), ("by tomorrow", plain(0, 2)),
    ("within the hour", plain(1, 4)), ("in an hour", plain(1, 3)), ("by end of day", plain(0, 2)),
    ("by the end of the day", plain(0, 2)), ("deadline", scale(0, 2, 0, -1)),
    ("time sensitive", plain(0, 2)), ("time critical", plain(1, 3)), ("quickly", plain(0, 1)),
    // How little, how late.
    ("minor", scale(-2, -1, 0, 0)), ("cosmetic", plain(-2, -1)), ("trivial", scale(-2, -1, 0, 0)),
    ("typo", plain(-2, -1)), ("low priority", plain(-3, -2)), ("p4", plain(-3, -2)),
    ("nice to have", plain(-3, -2)), ("would be nice", plain(-2, -1)),
    ("would be great", plain(-1, -1)), ("feature request", plain(-1, -1)),
    ("suggestion", plain(-1, -1)), ("just wondering", plain(-2, -2)),
    ("just curious", plain(-2, -2)), ("no rush", plain(0, -3)), ("no hurry", plain(0, -3)),
    ("when you have time", plain(-1, -3)), ("when you get a chance", plain(-1, -3)),
    ("when you have a moment", plain(-1, -3)), ("whenever", plain(0, -2)),
    ("at your convenience", plain(0, -3)), ("at your earliest convenience", plain(0, 0)),
    ("can wait", plain(0, -3)), ("some day", plain(-1, -3)), ("someday", plain(-1, -3)),
    ("eventually", plain(0, -1)), ("next quarter", plain(0, -2)), ("next year", plain(0, -2)),
    ("workaround", plain(-1, -1)), ("no workaround", plain(1, 1)),
    ("not a big deal", plain(-2, -2)), ("no big deal", plain(-2, -2)),
];

/// Labels, by the phrases that call for them.
#[rustfmt::skip]
pub(super) const TAGS: &[(&str, &str)] = &[
    ("login", "login"), ("log in", "login"), ("logging in", "login"), ("sign in", "login"),
    ("signing in", "login"), ("password", "password"), ("sso", "sso"), ("single sign on", "sso"),
    ("mfa", "mfa"), ("2fa", "mfa"), ("two factor", "mfa"), ("permission", "permissions"),
    ("invoice", "invoice"), ("refund", "refund"), ("payment", "payment"),
    ("subscription", "subscription"), ("credit card", "payment"), ("api", "api"),
    ("webhook", "webhook"), ("slack", "slack"), ("jira", "jira"), ("salesforce", "salesforce"),
    ("hubspot", "hubspot"), ("zendesk", "zendesk"), ("github", "github"),
    ("microsoft teams", "teams"), ("sync", "sync"), ("vpn", "vpn"), ("wifi", "wifi"),
    ("wi fi", "wifi"), ("printer", "printer"), ("laptop", "laptop"), ("outlook", "outlook"),
    ("mobile", "mobile"), ("ios", "ios"), ("iphone", "ios"), ("ipad", "ios"),
    ("android", "android"), ("chrome", "chrome"), ("firefox", "firefox"), ("safari", "safari"),
    ("export", "export"), ("import", "import"), ("csv", "csv"), ("pdf", "pdf"), ("excel", "excel"),
    ("report", "report"), ("dashboard", "dashboard"), ("search", "search"),
    ("notification", "notification"), ("production", "production"), ("prod", "production"),
    ("staging", "staging"), ("outage", "outage"), ("crash", "crash"), ("timeout", "timeout"),
    ("timed out", "timeout"), ("data loss", "data-loss"), ("phishing", "phishing"),
    ("malware", "malware"), ("gdpr", "gdpr"), ("new hire", "onboarding"),
    ("new employee", "onboarding"), ("upload", "upload"), ("download", "download"),
    ("database", "database"),
];

/// Words that deny what follows.
pub(super) const NEGATORS: &[&str] = &[
    "not", "no", "isn't", "aren't", "wasn't", "never", "without", "nothing", "don't", "doesn't",
    "didn't", "hardly", "nor", "neither", "none", "cannot", "can't", "won't", "ain't",
];

/// What may stand between a denial and what it denies.
pub(super) const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "that",
    "this",
    "it",
    "is",
    "be",
    "being",
    "very",
    "really",
    "so",
    "super",
    "particularly",
    "terribly",
    "at",
    "all",
    "too",
    "any",
    "even",
    "to",
    "need",
    "needs",
    "needed",
    "have",
    "has",
    "considered",
    "especially",
    "overly",
    "exactly",
    "of",
    "in",
    "way",
    "fixed",
    "done",
    "answered",
    "hugely",
    "big",
    "high",
    "or",
    "an",
    "as",
    "been",
    "by",
];

/// What may stand between "not" and a category's word so that it is denied: "not a bug", but "not
/// able to log in".
pub(super) const TOPIC_FILLERS: &[&str] = &["a", "an", "about", "the", "related", "concerning"];

/// Greetings; a line of them is no title.
pub(super) const GREETINGS: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "dear",
    "greetings",
    "hallo",
    "howdy",
    "good",
    "morning",
    "afternoon",
    "evening",
    "day",
    "to",
    "whom",
    "it",
    "may",
    "concern",
];

/// Who is greeted.
pub(super) const GREETED: &[&str] = &[
    "there",
    "all",
    "team",
    "everyone",
    "everybody",
    "folks",
    "guys",
    "support",
    "sir",
    "madam",
    "or",
    "colleagues",
    "helpdesk",
    "it",
    "sirs",
    "help",
    "desk",
    "service",
    "customer",
];

/// Words that say nothing of the matter: no keywords, and no title by themselves.
#[rustfmt::skip]
pub(super) const STOP_WORDS: &[&str] = &[
    "a", "about", "above", "after", "again", "all", "also", "although", "am", "an", "and", "any",
    "anybody", "anyone", "are", "aren't", "as", "asap", "ask", "at", "be", "because", "been",
    "before", "being", "below", "best", "between", "both", "but", "by", "can", "can't", "cannot",
    "cheers", "could", "couldn't", "day", "dear", "did", "didn't", "do", "does", "doesn't", "doing",
    "don't", "down", "each", "else", "email", "even", "ever", "every", "everything", "few", "finds",
    "for", "from", "get", "gets", "getting", "go", "goes", "going", "good", "got", "great", "guys",
    "had", "has", "hasn't", "have", "haven't", "having", "he", "hello", "help", "her", "here",
    "hey", "hi", "him", "his", "hope", "hoping", "how", "i", "i'd", "i'll", "i'm", "i've", "if",
    "in", "into", "is", "isn't", "issue", "it", "it's", "its", "just", "keep", "keeps", "kind",
    "know", "let", "like", "look", "looking", "made", "make", "many", "may", "me", "message",
    "might", "more", "most", "much", "must", "my", "need", "needs", "never", "no", "none", "nor",
    "not", "nothing", "now", "of", "off", "on", "once", "one", "only", "or", "other", "our", "out",
    "over", "own", "per", "please", "pls", "possible", "problem", "question", "quick", "quickly",
    "really", "regards", "same", "see", "seem", "seems", "she", "should", "since", "so", "some",
    "somebody", "someone", "something", "soon", "still", "such", "support", "sure", "team", "than",
    "thank", "say", "thanks", "that", "that's", "the", "their", "them", "then", "there", "there's",
    "these", "they", "thing", "this", "those", "through", "to", "too", "tried", "try", "trying",
    "under", "until", "up", "urgent", "us", "use", "used", "using", "very", "want", "wanted", "was",
    "wasn't", "we", "we're", "we've", "well", "were", "what", "when", "where", "which", "while",
    "who", "why", "will", "with", "within", "without", "won't", "work", "working", "would", "yes",
    "yet", "you", "you're", "your",
];
