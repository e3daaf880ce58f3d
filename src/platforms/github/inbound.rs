//! What GitHub tells by itself: issues and their comments. It sends each delivery once and repeats
//! none by itself, so that a sync finds what was lost.

use reqwest::Method;
use serde::Deserialize;

use super::item::{Comment, Issue, User, moment};
use super::{GitHub, state};
use crate::platforms::inbound::{Handshake, Hit, Hooks, Inbound, Reply, Scheme};
use crate::platforms::text::Marker;
use crate::platforms::{Actor, AdapterError, Change, ChangeKind, ExternalComment, Facts, Needs};

/// The id of a delivery; the same when it is sent again by hand.
const DELIVERY: &str = "x-github-delivery";
const EVENT: &str = "x-github-event";
/// Bytes of a delivery: two bodies of 65,536 characters, what they were before, and what is around
/// them.
const DELIVERY_MAX: usize = 4 << 20;

static SCHEMES: [Scheme; 1] = [Scheme::body_hex("x-hub-signature-256", "sha256=")];

pub(in crate::platforms) static HOOKS: Hooks = Hooks {
    methods: &[Method::POST],
    keep: &[DELIVERY, EVENT, "x-github-hook-id"],
    schemes: &SCHEMES,
    body_max: DELIVERY_MAX,
    taken: Reply::OK,
    shake,
    secrets: &[],
};

#[derive(Deserialize)]
struct Delivery {
    action: String,
    issue: Issue,
    #[serde(default)]
    changes: Changes,
    comment: Option<Comment>,
    repository: Option<Repository>,
    sender: Option<User>,
}

/// What was before.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Changes {
    title: Option<Was>,
    body: Option<Was>,
}

#[derive(Deserialize)]
struct Was {
    from: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

fn actor(user: User) -> Actor {
    Actor {
        id: Some(user.login.clone()),
        name: Some(user.login),
    }
}

fn before(from: Option<Was>) -> Option<String> {
    from?.from.map(|text| Marker::without(&text).to_owned())
}

/// What happened to an issue; `None` where nothing that we follow did.
fn kind(action: &str) -> Option<ChangeKind> {
    Some(match action {
        "opened" => ChangeKind::Created,
        "deleted" => ChangeKind::Deleted,
        "edited" | "labeled" | "unlabeled" | "assigned" | "unassigned" | "milestoned"
        | "demilestoned" | "typed" | "untyped" | "locked" | "unlocked" | "transferred"
        | "closed" | "reopened" => ChangeKind::Updated,
        _ => return None,
    })
}

/// The same to a comment.
fn comment_kind(action: &str) -> Option<ChangeKind> {
    Some(match action {
        "created" => ChangeKind::Commented,
        "edited" => ChangeKind::CommentChanged,
        "deleted" => ChangeKind::CommentDeleted,
        _ => return None,
    })
}

impl GitHub {
    /// An organization's hook tells of all its repositories, whose issues have the same numbers.
    fn is_ours(&self, repository: Option<&Repository>) -> bool {
        let ours = format!("{}/{}", self.owner, self.repository);
        repository.is_none_or(|there| there.full_name.eq_ignore_ascii_case(&ours))
    }
}

/// Events that are not followed are answered, and no more.
fn shake(hit: &Hit<'_>, _: &[secrecy::SecretString]) -> Option<Handshake> {
    let is_ours = matches!(hit.header(EVENT), Some("issues" | "issue_comment"));
    (!is_ours).then_some(Handshake::Heartbeat)
}

impl Inbound for GitHub {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let event = hit.header(EVENT).unwrap_or_default();
        if !matches!(event, "issues" | "issue_comment") {
            return Ok(Vec::new());
        }
        let delivery: Delivery = hit.json()?;
        if delivery.issue.is_pull() || !self.is_ours(delivery.repository.as_ref()) {
            return Ok(Vec::new());
        }
        let kind = match event {
            "issues" => kind(&delivery.action),
            _ => comment_kind(&delivery.action),
        };
        let Some(kind) = kind else {
            return Ok(Vec::new());
        };
        let issue = &delivery.issue;
        let mut change = Change {
            at: moment(issue.updated_at.as_deref()),
            by: delivery.sender.map(actor),
            marker: issue.marker().map(str::to_owned),
            ..Change::new(hit.change_id(DELIVERY, 0), kind, issue.item_ref())
        };
        match delivery.comment.filter(|_| event == "issue_comment") {
            Some(comment) => {
                change.at = moment(comment.updated_at.as_deref()).or(change.at);
                change.comment = Some(external(comment, before(delivery.changes.body)));
            }
            None if event == "issue_comment" => return Ok(Vec::new()),
            None => {
                change.facts = issue.facts(&self.labels);
                change.whole = change.kind != ChangeKind::Deleted;
                change.before = Facts {
                    title: before(delivery.changes.title),
                    description: before(delivery.changes.body),
                    status: match delivery.action.as_str() {
                        "closed" => Some(state::OPEN.to_owned()),
                        _ => None,
                    },
                    ..Facts::default()
                };
                if delivery.action == "transferred" {
                    // What it is now is told where it is now; its old number leads there.
                    change.needs = Needs::Item;
                    change.whole = false;
                }
            }
        }
        Ok(vec![change])
    }
}

fn external(comment: Comment, before: Option<String>) -> ExternalComment {
    let created_at = moment(comment.created_at.as_deref());
    ExternalComment {
        id: comment.id(),
        body: Marker::without(comment.text()).to_owned(),
        before,
        public: Some(true),
        created_at: created_at.map(|at| at.low),
        marker: comment.marker().map(str::to_owned),
        author: comment.user.map(actor),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
    use secrecy::SecretString;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{AuthType, Platform};
    use crate::platforms::inbound::{Rejected, verify};
    use crate::platforms::{Holder, ItemRef, blank};
    use crate::secrets::Credentials;

    fn github() -> GitHub {
        let settings = json!({ "owner": "octo", "repository": "support" });
        let settings = settings.as_object().cloned().unwrap();
        let integration = blank(Platform::Github, AuthType::Bearer, &settings, None);
        let credentials = json!({ "token": "t" });
        let credentials = Credentials::new(credentials.as_object().cloned().unwrap());
        GitHub::connect(&integration, &credentials).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::try_from(*value).unwrap(),
            )
        });
        pairs.collect()
    }

    fn with_hit<T>(headers: &HeaderMap, body: &[u8], then: impl FnOnce(&Hit<'_>) -> T) -> T {
        let url = "https://x.example/webhooks/1";
        then(&Hit::new(&Method::POST, url, headers, body, Utc::now()))
    }

    fn changes(event: &str, body: &Value) -> Vec<Change> {
        let headers = headers(&[
            (EVENT, event),
            (DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ]);
        let body = body.to_string();
        with_hit(&headers, body.as_bytes(), |hit| {
            github().normalise(hit).unwrap()
        })
    }

    fn delivery(action: &str) -> Value {
        json!({
            "action": action, "sender": { "login": "Codertocat", "type": "User" },
            "repository": { "full_name": "Octo/Support" },
            "issue": {
                "id": 444_500_041, "number": 1,
                "html_url": "https://github.com/octo/support/issues/1", "title": "New",
                "body": "Text\n\n<!-- tkt-1 -->", "state": "closed", "state_reason": "not_planned",
                "labels": [{ "name": "bug" }, { "name": "priority: low" }],
                "assignees": [{ "login": "ada" }],
                "created_at": "2019-05-15T15:20:18Z", "updated_at": "2019-05-15T15:20:18Z",
            },
        })
    }

    #[test]
    fn a_delivery_proves_itself_as_github_documents_it() {
        let vector = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secrets = [SecretString::from("It's a Secret to Everybody")];
        let judged = |proof: &str, body: &[u8]| {
            let headers = headers(&[("x-hub-signature-256", proof)]);
            let schemes = github().hooks().schemes;
            with_hit(&headers, body, |hit| {
                verify(schemes, hit, AuthType::Bearer, &secrets, Utc::now()).map(drop)
            })
        };
        assert_eq!(judged(vector, b"Hello, World!"), Ok(()));
        assert_eq!(
            judged(vector, b"Hello, World?"),
            Err(Rejected::BadSignature)
        );
        assert_eq!(
            judged("sha256=00", b"Hello, World!"),
            Err(Rejected::BadSignature)
        );
    }

    #[test]
    fn a_closed_issue_is_told_whole_with_its_mark_and_who_did_it() {
        let told = changes("issues", &delivery("closed"));

        let [change] = told.as_slice() else {
            panic!("{told:?}");
        };
        let item = ItemRef {
            external_id: "1".into(),
            stable_id: Some("444500041".into()),
        };
        assert_eq!(
            (&change.item, &change.kind, change.whole),
            (&item, &ChangeKind::Updated, true)
        );
        assert_eq!(change.id, "72d3162e-cc78-11e3-81ab-4c9367dc0958#0");
        assert_eq!(change.facts.status.as_deref(), Some("not_planned"));
        assert_eq!(change.facts.description.as_deref(), Some("Text"));
        assert_eq!(change.facts.priority.as_deref(), Some("priority: low"));
        assert_eq!(change.facts.assignee, Some(Holder::Account("ada".into())));
        assert_eq!(change.marker.as_deref(), Some("tkt-1"));
        assert_eq!(
            change.by.as_ref().unwrap().id.as_deref(),
            Some("Codertocat")
        );
    }

    #[test]
    fn what_was_before_is_told_and_a_comment_has_its_own() {
        let mut edited = delivery("edited");
        edited["changes"] =
            json!({ "title": { "from": "Old" }, "body": { "from": "Was\n\n<!-- tkt-1 -->" } });
        let told = changes("issues", &edited);
        assert_eq!(told[0].before.title.as_deref(), Some("Old"));
        assert_eq!(told[0].before.description.as_deref(), Some("Was"));

        let mut said = delivery("edited");
        said["changes"] = json!({ "body": { "from": "Hm" } });
        said["comment"] = json!({
            "id": 492_700_400, "body": "Done\n\n<!-- cmd-1 -->", "user": { "login": "ada" },
            "created_at": "2019-05-15T15:20:21Z", "updated_at": "2019-05-15T15:21:00Z",
        });
        let told = changes("issue_comment", &said);
        assert_eq!(told[0].kind, ChangeKind::CommentChanged);
        let comment = told[0].comment.as_ref().unwrap();
        assert_eq!(
            (comment.id.as_str(), comment.body.as_str()),
            ("492700400", "Done")
        );
        assert_eq!(comment.before.as_deref(), Some("Hm"));
        assert_eq!(comment.marker.as_deref(), Some("cmd-1"));
        assert!(told[0].facts.is_empty());
    }

    #[test]
    fn what_is_not_ours_to_follow_is_no_change() {
        let mut pull = delivery("opened");
        pull["issue"]["pull_request"] = json!({ "url": "x" });
        let mut elsewhere = delivery("opened");
        elsewhere["repository"]["full_name"] = json!("octo/other");
        for (event, body) in [
            ("issues", pull),
            ("issues", elsewhere),
            ("issues", delivery("pinned")),
            ("issue_comment", delivery("created")),
            (
                "ping",
                json!({ "zen": "Design for failure.", "hook_id": 1 }),
            ),
            ("push", json!({ "ref": "x" })),
        ] {
            assert!(changes(event, &body).is_empty(), "{event}");
        }
        let kinds: Vec<_> = ["opened", "deleted", "reopened"]
            .map(|action| changes("issues", &delivery(action))[0].kind.clone())
            .into();
        assert_eq!(
            kinds,
            [
                ChangeKind::Created,
                ChangeKind::Deleted,
                ChangeKind::Updated
            ]
        );
        assert_eq!(
            changes("issues", &delivery("transferred"))[0].needs,
            Needs::Item
        );
        let ping = headers(&[(EVENT, "ping")]);
        let shaken = with_hit(&ping, b"{}", |hit| github().shake(hit, &[]));
        assert!(matches!(shaken, Some(Handshake::Heartbeat)));
        let issues = headers(&[(EVENT, "issues")]);
        assert!(with_hit(&issues, b"{}", |hit| github().shake(hit, &[])).is_none());
        let broken = with_hit(&issues, b"{}", |hit| github().normalise(hit).map(drop));
        assert!(broken.is_err());
    }
}
