//! What is read back: a card, what changed, what can be chosen; and the checks of an integration.
//!
//! What changed comes from the board's actions, which name cards; those are read ten at a time.
//! Where that would be more requests than the token's budget has, and where everything is wanted,
//! the board's cards are listed.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Map, json};

use super::Trello;
use super::board::PAGE_BYTES;
use super::facts::{ERRORS, is_id};
use super::item::names_card;
use super::words::{self, Card, Named, SHOWN};
use crate::domain::TicketStatus;
use crate::platforms::api::halving;
use crate::platforms::{
    AdapterError, CallContext, Change, ChangeKind, ChangePage, CheckReport, Effect, ErrorClass,
    ExternalItem, ItemRef, Order, PlatformField, Reader, Response, SyncFrom, TestKind,
};

/// How far a listing looks back beyond the last one: what was under way then.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);
/// The same beyond an action that was seen.
const BEYOND: TimeDelta = TimeDelta::seconds(10);
/// Cards that are read one by one after a listing of actions.
const CHANGED_MAX: usize = 50;
/// Cards of a page of the board ("Nested resources": 1,000 at most, and fewer where they hold
/// much).
const PAGE: usize = 500;
/// What changes a card. All else that happens on a board is of no ticket.
const CHANGING: &str = "createCard,copyCard,convertToCardFromCheckItem,emailCard,updateCard,\
    commentCard,updateComment,deleteComment,addAttachmentToCard,deleteAttachmentFromCard,\
    addMemberToCard,removeMemberFromCard,addLabelToCard,removeLabelFromCard,\
    updateCustomFieldItem,moveCardToBoard,moveCardFromBoard,deleteCard";

/// A page of the board: how many cards, those that are older than this one, and the action that
/// was the newest when the listing began.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cursor {
    size: usize,
    before: Option<String>,
    mark: Option<String>,
}

impl Cursor {
    fn read(text: &str) -> Option<Self> {
        let (size, rest) = text.split_once('|')?;
        let (before, mark) = rest.split_once('|')?;
        let id = |text: &str| match text {
            "" => Some(None),
            text => is_id(text).then(|| Some(text.to_owned())),
        };
        Some(Self {
            size: size.parse().ok()?,
            before: id(before)?,
            mark: id(mark)?,
        })
    }

    fn text(&self) -> String {
        let id = |id: &Option<String>| id.clone().unwrap_or_default();
        format!("{}|{}|{}", self.size, id(&self.before), id(&self.mark))
    }
}

/// Whom a token belongs to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    id: String,
    username: Option<String>,
    full_name: Option<String>,
}

/// What a token may do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    id_member: String,
    date_expires: Option<String>,
    #[serde(default)]
    permissions: Vec<Permission>,
}

#[derive(Deserialize)]
struct Permission {
    #[serde(default)]
    write: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Membership {
    id_member: String,
    member_type: Option<String>,
    #[serde(default)]
    deactivated: bool,
}

/// A board, or a list of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: Option<String>,
    #[serde(default)]
    closed: bool,
    id_board: Option<String>,
    url: Option<String>,
}

// The checks.
impl Trello {
    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Trello is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.board(context).await {
                Ok(_) => Ok(CheckReport::new("Trello answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "Trello answers, but does not take the credential";
                    Ok(CheckReport::new(text, Map::new()))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let request = self.api.get(&["members", "me"])?;
                let request = request.query([("fields", "id,username,fullName")]);
                let me: Me = self.api.ask(context, request, "asking who we are").await?;
                let name = me.full_name.as_deref().or(me.username.as_deref());
                let message = format!("authenticated as {}", name.unwrap_or(&me.id));
                let details = json!({ "member_id": me.id, "username": me.username });
                Ok(CheckReport::new(&message, details))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    async fn board(&self, context: &CallContext<'_>) -> Result<Container, AdapterError> {
        let request = self.api.get(&["boards", &self.board])?;
        let request = request.query([("fields", "id,name,closed,url")]);
        self.api.ask(context, request, "reading the board").await
    }

    /// Whether token, board, lists and settings fit.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        Self::look_anew(context);
        let token = self.token(context).await?;
        let board = self.board(context).await?;
        if board.closed {
            return Err(AdapterError::field(
                "settings.board_id",
                "is closed at Trello",
            ));
        }
        let request = self.api.get(&["lists", &self.list])?;
        let request = request.query([("fields", "id,name,closed,idBoard")]);
        let list: Container = self.api.ask(context, request, "reading the list").await?;
        let fault = if list.closed {
            Some("is archived at Trello")
        } else if list.id_board.as_ref().is_some_and(|own| *own != self.board) {
            Some("is a list of another board than settings.board_id")
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(AdapterError::field("settings.list_id", fault));
        }
        let request = self.api.get(&["boards", &self.board, "memberships"])?;
        let request = request.query([("filter", "all")]).up_to(PAGE_BYTES);
        let what = "listing the memberships";
        let all: Vec<Membership> = self.api.ask(context, request, what).await?;
        let own = all.iter().find(|one| one.id_member == token.id_member);
        let kind = own.and_then(|one| one.member_type.as_deref());
        let may = own.is_some_and(|one| !one.deactivated)
            && kind.is_none_or(|kind| matches!(kind, "admin" | "normal"));
        if !may {
            let kind = kind.unwrap_or("no member");
            let text =
                format!("the token's member is {kind} of the board: it must be normal or admin");
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        let mut lists = Map::new();
        for status in TicketStatus::ALL {
            if let Some(id) = self.list_of(context, *status).await? {
                lists.insert(status.to_string(), id.into());
            }
        }
        let details = json!({ "board": board.name, "board_url": board.url, "list": list.name,
            "token_expires": token.date_expires, "lists": lists });
        Ok(CheckReport::new(
            "the token may make cards on the board",
            details,
        ))
    }

    /// What the token may do. It stands in the path of this request and of no other.
    async fn token(&self, context: &CallContext<'_>) -> Result<Token, AdapterError> {
        let request = self.api.get(&["tokens", self.token.expose_secret()])?;
        let request = request.query([("fields", "idMember,dateExpires,permissions")]);
        let what = "reading what the token may do";
        let token: Token = self.api.ask(context, request.secret_url(), what).await?;
        if !token.permissions.iter().any(|one| one.write) {
            let text = "the token has no scope write: authorize one with scope=read,write";
            return Err(AdapterError::new(ErrorClass::Permission, text));
        }
        Ok(token)
    }

    /// Makes a card that says of itself that it is a test, and deletes it.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let request = self.api.make(Method::POST, &["cards"])?;
        let request = request.json(&json!({
            "idList": self.list, "name": "Ticketwire connection test: may be deleted",
            "desc": "Made by integration.test. It may be deleted.",
        }));
        let what = "creating the test card";
        let made: Card = self.api.ask(context, request, what).await?;
        let id = made.id;
        let request = self.api.set(Method::DELETE, &["cards", &id])?;
        let what = "deleting the test card";
        let message = match self.api.tell(context, request, what).await {
            Ok(_) => format!("created the test card {id} and deleted it"),
            Err(error) => format!("created the test card {id}, which stays: {}", error.public),
        };
        Ok(CheckReport::new(&message, json!({ "card": id })))
    }
}

/// Whether a read was refused only because it is not there. A wrong address is another 404.
fn is_gone(answer: &Response) -> bool {
    let said = ERRORS.said(answer).text().to_lowercase();
    answer.status == 404 && said.contains("not found")
}

// What changed.
impl Trello {
    /// What changed since a moment, where it is not too much; and the newest action.
    async fn recent(
        &self,
        context: &CallContext<'_>,
        since: DateTime<Utc>,
    ) -> Result<Option<ChangePage>, AdapterError> {
        let (mut ids, mut newest): (Vec<String>, Option<String>) = (Vec::new(), None);
        let path = ["boards", &self.board, "actions"];
        let is_too_much = |action: &words::Action| {
            newest.get_or_insert_with(|| action.id.clone());
            if let Some(card) = action
                .card()
                .filter(|card| !ids.iter().any(|id| id == card.address()))
            {
                ids.push(card.address().to_owned());
            }
            ids.len() > CHANGED_MAX
        };
        let found = self
            .first_action(context, &path, (CHANGING, since), is_too_much)
            .await;
        match found {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(None),
            // More pages than are looked through.
            Err(error) if error.class == ErrorClass::Unsupported => return Ok(None),
            Err(error) => return Err(error),
        }
        if ids.is_empty() {
            return Ok(Some(ChangePage {
                mark: newest,
                order: Order::None,
                ..ChangePage::default()
            }));
        }
        let (lists, fields) = self.to_read(context).await?;
        let cards = self.cards(context, &ids).await?;
        let changes = ids.into_iter().zip(cards).map(|(id, card)| match card {
            Some(card) => Change::seen(self.item_of(&card, &lists, &fields)),
            None => {
                let item = ItemRef {
                    stable_id: Some(id.clone()),
                    ..ItemRef::named(id.clone())
                };
                Change::new(format!("deleted:{id}"), ChangeKind::Deleted, item)
            }
        });
        Ok(Some(ChangePage {
            changes: changes.collect(),
            mark: newest,
            order: Order::None,
            ..ChangePage::default()
        }))
    }

    /// A page of all cards of the board, archived ones too. The newest come first.
    async fn page(
        &self,
        context: &CallContext<'_>,
        cursor: Cursor,
    ) -> Result<ChangePage, AdapterError> {
        let (cards, size): (Vec<Card>, usize) = halving(cursor.size, async |size| {
            let request = self.api.get(&["boards", &self.board, "cards", "all"])?;
            let size = size.to_string();
            let request = request.query([
                ("fields", SHOWN),
                ("customFieldItems", "true"),
                ("limit", &size),
            ]);
            let request = request.query(cursor.before.iter().map(|before| ("before", before)));
            let answer = context.send(request.up_to(PAGE_BYTES)).await?;
            self.api.take_page(&answer, "listing the cards")
        })
        .await?;
        let oldest = cards.iter().map(|card| card.id.clone()).min();
        let is_last = cards.len() != size;
        if !is_last && cursor.before.is_some() && oldest >= cursor.before {
            let text = "Trello shows the same cards for the next page of the board";
            return Err(AdapterError::unsupported(text));
        }
        let (lists, fields) = self.to_read(context).await?;
        let items = cards.iter().map(|card| self.item_of(card, &lists, &fields));
        let changes = items.map(Change::seen).collect();
        let next = Cursor {
            size,
            before: oldest,
            mark: cursor.mark.clone(),
        };
        Ok(ChangePage {
            changes,
            next: (!is_last).then(|| next.text()),
            mark: cursor.mark.filter(|_| is_last),
            order: Order::None,
            unreadable: 0,
        })
    }
}

#[async_trait]
impl Reader for Trello {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let id = item.address();
        if !names_card(id) {
            return Ok(None);
        }
        // The newest thousand comments ("Nested resources").
        let request = self.api.get(&["cards", id])?.query([
            ("fields", SHOWN),
            ("customFieldItems", "true"),
            ("attachments", "true"),
            ("actions", "commentCard"),
            ("actions_limit", "1000"),
        ]);
        let answer = context.send(request.up_to(PAGE_BYTES)).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let card: Card = self.api.take(&answer, Effect::Read, "reading the card")?;
        let (lists, fields) = self.to_read(context).await?;
        let item = self.item_of(&card, &lists, &fields);
        let comments = card.actions.iter().flatten().rev();
        let comments = comments
            .map(|action| action.comment(&action.id, action.text("/text").unwrap_or_default()));
        Ok(Some(ExternalItem {
            comments: comments.collect(),
            files: card
                .attachments
                .into_iter()
                .flatten()
                .map(words::Attachment::shown)
                .collect(),
            ..item
        }))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        if let Some(page) = from.page {
            let cursor = Cursor::read(page).ok_or_else(|| {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            })?;
            return self.page(context, cursor).await;
        }
        let marked = from.mark.and_then(words::made_at).map(|at| at - BEYOND);
        let since = marked.or(from.since.map(|since| since - OVERLAP));
        if let Some(since) = since
            && let Some(recent) = self.recent(context, since).await?
        {
            // Where nothing happened the mark stays.
            let mark = recent.mark.or_else(|| from.mark.map(str::to_owned));
            return Ok(ChangePage { mark, ..recent });
        }
        let cursor = Cursor {
            size: PAGE,
            before: None,
            mark: self.newest_action(context).await?.filter(|id| is_id(id)),
        };
        self.page(context, cursor).await
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let own = |id: &str, name: &str, allowed_values: Vec<String>| PlatformField {
            id: id.into(),
            name: name.into(),
            kind: Some("list".into()),
            custom: false,
            required: id == "idList",
            allowed_values,
        };
        let names = |all: &[Named]| -> Vec<String> {
            let names = all.iter().map(Named::name).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        let fields = self.board_fields(context).await?;
        let mut shown: Vec<PlatformField> = fields.iter().map(words::Field::shown).collect();
        let (lists, labels) = (self.lists(context).await?, self.labels(context).await?);
        let members = self.members(context).await?;
        let members = members.iter().map(|one| one.username.clone());
        shown.push(own("idList", "List", names(&lists)));
        shown.push(own("idLabels", "Labels", names(&labels)));
        shown.push(own("idMembers", "Members", members.collect()));
        let wanted = search.map(str::to_lowercase);
        shown.retain(|field| {
            wanted.as_ref().is_none_or(|wanted| {
                let mut names = [&field.id, &field.name].into_iter();
                names.any(|name| name.to_lowercase().contains(wanted.as_str()))
            })
        });
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_again() {
        let id = "55906023892770637b766344";
        let cursor = Cursor {
            size: 250,
            before: Some(id.into()),
            mark: None,
        };
        assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        assert_eq!(
            Cursor::read("1||"),
            Some(Cursor {
                size: 1,
                ..Cursor::default()
            })
        );
        assert_eq!(Cursor::read("x||"), None);
        assert_eq!(Cursor::read("1|card|"), None);
    }
}
