//! What Trello tells by itself ("Webhooks"): an action of the board in each delivery. A question
//! whether we listen comes as `HEAD` and is no delivery.

use serde::Deserialize;
use serde_json::Value;

use super::Trello;
use super::facts::ARCHIVED;
use super::words::{Action, moment};
use crate::platforms::inbound::{Coded, Hit, Hooks, Key, Mac, Piece, Scheme, Value as Proof, When};
use crate::platforms::text::Marker;
use crate::platforms::{
    AdapterError, Change, ChangeKind, ExternalComment, ExternalFile, Facts, Inbound, Moment, Needs,
};

/// HMAC-SHA1 of the body and the address that was registered, by the secret of the app.
pub(in crate::platforms) static HOOKS: Hooks = Hooks::new(&[Scheme {
    when: When::Header("x-trello-webhook"),
    value: Proof::Header("x-trello-webhook", ""),
    mac: Mac::HmacSha1,
    key: Key::Text,
    coded: Coded::Base64,
    over: &[Piece::Body, Piece::Url],
    time: None,
}]);

#[derive(Deserialize)]
struct Delivery {
    action: Action,
}

impl Trello {
    /// What an action says; `None` of what is not followed.
    fn change_of(&self, action: &Action) -> Option<Change> {
        let board = action.text("/board/id");
        if board.is_some_and(|board| board != self.board) {
            return None;
        }
        let item = action.card()?;
        let base = |kind: ChangeKind, needs: Needs| Change {
            at: action.date.as_deref().and_then(moment).map(Moment::exact),
            by: action.by(),
            needs,
            ..Change::new(&action.id, kind, item.clone())
        };
        let comment = |kind: ChangeKind, id: &str, text: &str| Change {
            comment: Some(action.comment(id, text)),
            ..base(kind, Needs::Nothing)
        };
        Some(match action.kind.as_str() {
            // The marker stands in the description, which is not told.
            "createCard"
            | "copyCard"
            | "convertToCardFromCheckItem"
            | "emailCard"
            | "moveCardToBoard" => base(ChangeKind::Created, Needs::Item),
            "updateCard" => return updated(action, base),
            // Sets are told by what was added or taken away.
            "addLabelToCard"
            | "removeLabelFromCard"
            | "addMemberToCard"
            | "removeMemberFromCard"
            | "updateCustomFieldItem" => base(ChangeKind::Updated, Needs::Item),
            "commentCard" => comment(ChangeKind::Commented, &action.id, action.text("/text")?),
            "updateComment" => {
                let (id, text) = (action.text("/action/id")?, action.text("/action/text")?);
                let mut changed = comment(ChangeKind::CommentChanged, id, text);
                if let Some(own) = &mut changed.comment {
                    let before = action.text("/old/text");
                    own.before = before.map(|text| Marker::without(text).to_owned());
                    // It was changed, not written, by whom and when the action says.
                    own.author = None;
                    own.created_at = None;
                }
                changed
            }
            "deleteComment" => Change {
                comment: Some(ExternalComment {
                    id: action.text("/action/id")?.to_owned(),
                    ..ExternalComment::default()
                }),
                ..base(ChangeKind::CommentDeleted, Needs::Nothing)
            },
            "addAttachmentToCard" => {
                let text = |name: &str| action.text(&format!("/attachment/{name}"));
                let file = ExternalFile {
                    id: text("id")?.to_owned(),
                    name: text("name").unwrap_or_default().to_owned(),
                    url: text("url").map(str::to_owned),
                    ..ExternalFile::default()
                };
                Change {
                    files: vec![file],
                    ..base(ChangeKind::Attached, Needs::Nothing)
                }
            }
            "deleteCard" | "moveCardFromBoard" => base(ChangeKind::Deleted, Needs::Nothing),
            _ => return None,
        })
    }
}

/// What `old` names was changed; `card` says what it is now.
fn updated(action: &Action, base: impl Fn(ChangeKind, Needs) -> Change) -> Option<Change> {
    let was = |name: &str| action.data.pointer(&format!("/old/{name}"));
    let now = |name: &str| action.text(&format!("/card/{name}"));
    if action.data.pointer("/card/closed") == Some(&Value::Bool(true)) && was("closed").is_some() {
        return Some(Change {
            facts: Facts {
                status: Some(ARCHIVED.into()),
                status_class: Some(ARCHIVED.into()),
                ..Facts::default()
            },
            ..base(ChangeKind::Updated, Needs::Nothing)
        });
    }
    // List and mark say the status together, and only what was changed is told.
    if ["idList", "closed", "dueComplete"]
        .iter()
        .any(|name| was(name).is_some())
    {
        return Some(base(ChangeKind::Updated, Needs::Item));
    }
    let said = |name: &str| was(name).and_then(Value::as_str);
    let plain = |text: &str| Marker::without(text).to_owned();
    let facts = Facts {
        title: now("name")
            .filter(|_| said("name").is_some())
            .map(str::to_owned),
        description: now("desc").filter(|_| said("desc").is_some()).map(plain),
        ..Facts::default()
    };
    // Where it stands in its list, when it is due: a ticket has no place for that.
    if facts.is_empty() {
        return None;
    }
    let marker = now("desc").and_then(Marker::find);
    Some(Change {
        before: Facts {
            title: said("name").map(str::to_owned),
            description: said("desc").map(plain),
            ..Facts::default()
        },
        marker: marker.map(str::to_owned),
        facts,
        ..base(ChangeKind::Updated, Needs::Nothing)
    })
}

impl Inbound for Trello {
    fn hooks(&self) -> &'static Hooks {
        &HOOKS
    }

    fn normalise(&self, hit: &Hit<'_>) -> Result<Vec<Change>, AdapterError> {
        let delivery: Delivery = hit.json()?;
        Ok(self.change_of(&delivery.action).into_iter().collect())
    }
}
