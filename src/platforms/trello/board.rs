//! What the customer has on the board: lists, labels, members, custom fields. Each is asked for
//! once an hour, and again where Trello refuses what was chosen of it. And what happened there.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Trello;
use super::facts::{ASSIGNEE, is_id};
use super::words::{self, Action, Card, Destination, Field, Named, Person, SHOWN, Wanted, is_like};
use crate::domain::{TicketStatus, UserRef};
use crate::platforms::api::{self, Page};
use crate::platforms::{AdapterError, CallContext, ErrorClass, Request};

/// What the memory calls them, and how long they are good.
const LISTS: &str = "trello lists";
const LABELS: &str = "trello labels";
const MEMBERS: &str = "trello members";
const FIELDS: &str = "trello fields";
const HOUR: Duration = Duration::from_secs(3_600);

/// Bytes of a page that are read.
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// Actions of a page ("Actions": 1,000 at most), and pages that are looked through.
const ACTIONS: &str = "1000";
const ACTIONS_MAX: usize = 1_000;
const PAGES_MAX: usize = 50;
/// Cards that one request asks for ("Batch").
const BATCH: usize = 10;

/// What of a list there is, for a person who has to choose.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.take(30).collect::<Vec<_>>().join(", ")
}

impl Trello {
    /// Something of the board, which the memory keeps.
    async fn of_board<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        context: &CallContext<'_>,
        name: &'static str,
        (path, query): (&str, &[(&str, &str)]),
        what: &str,
    ) -> Result<Arc<Vec<T>>, AdapterError> {
        let load = async {
            let request = self.api.get(&["boards", &self.board, path])?;
            let request = request.query(query.iter().copied()).up_to(PAGE_BYTES);
            self.api.ask(context, request, what).await
        };
        context.recall(name, HOUR, load).await
    }

    pub(super) async fn lists(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Named>>, AdapterError> {
        let query = [("filter", "open"), ("fields", "id,name,closed,pos")];
        self.of_board(context, LISTS, ("lists", &query), "listing the lists")
            .await
    }

    pub(super) async fn labels(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Named>>, AdapterError> {
        let query = [("limit", "1000")];
        self.of_board(context, LABELS, ("labels", &query), "listing the labels")
            .await
    }

    pub(super) async fn members(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Person>>, AdapterError> {
        let query = [("fields", "id,username,fullName")];
        self.of_board(context, MEMBERS, ("members", &query), "listing the members")
            .await
    }

    pub(super) async fn board_fields(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Field>>, AdapterError> {
        let what = "listing the custom fields";
        self.of_board(context, FIELDS, ("customFields", &[]), what)
            .await
    }

    pub(super) fn forget_fields(context: &CallContext<'_>) {
        context.forget(FIELDS);
    }

    /// Forgets what the customer may have changed.
    pub(super) fn look_anew(context: &CallContext<'_>) {
        for name in [LISTS, LABELS, MEMBERS, FIELDS] {
            context.forget(name);
        }
    }

    /// What is needed to read cards: lists, where one is known by its name, and fields, where any
    /// is mapped.
    pub(super) async fn to_read(
        &self,
        context: &CallContext<'_>,
    ) -> Result<(Arc<Vec<Named>>, Arc<Vec<Field>>), AdapterError> {
        let (mut lists, mut fields) = (Arc::default(), Arc::default());
        if self.statuses.has_names() {
            lists = self.lists(context).await?;
        }
        if self.fields.names().next().is_some() {
            fields = self.board_fields(context).await?;
        }
        Ok((lists, fields))
    }

    /// The id of the list of a status; `None` of one that has none.
    pub(super) async fn list_of(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
    ) -> Result<Option<String>, AdapterError> {
        let Destination::List(word) = self.statuses.place(status) else {
            return Ok(None);
        };
        if is_id(word) {
            return Ok(Some(word.to_owned()));
        }
        let mut lists = self.lists(context).await?;
        if !lists.iter().any(|list| list.is_called(word)) {
            // It may be new.
            context.forget(LISTS);
            lists = self.lists(context).await?;
        }
        let found = lists.iter().find(|list| list.is_called(word));
        found.map(|list| Some(list.id.clone())).ok_or_else(|| {
            let names = listed(lists.iter().map(Named::name));
            let fault = format!("must name an open list of the board, which has: {names}");
            AdapterError::field(&format!("settings.status_map.{status}"), fault)
        })
    }

    /// The ids of labels, some of which are made for it; and what had to be left out, with the
    /// reason. A label that is made twice does no harm: the first of a name is used.
    pub(super) async fn label_ids(
        &self,
        context: &CallContext<'_>,
        wanted: impl IntoIterator<Item = Wanted>,
    ) -> Result<(Vec<String>, Option<String>), AdapterError> {
        let (wanted, dropped) = words::wanted(wanted);
        let mut left_out = (dropped > 0).then(|| format!("left out: {dropped} labels too many"));
        if wanted.is_empty() {
            return Ok((Vec::new(), left_out));
        }
        let known = self.labels(context).await?;
        let (mut ids, mut is_new) = (Vec::new(), false);
        for Wanted { name, color } in wanted {
            if let Some(label) = known.iter().find(|own| is_like(own.name(), &name)) {
                ids.push(label.id.clone());
                continue;
            }
            // A second one changes nothing for the card.
            let request = self
                .api
                .set(Method::POST, &["boards", &self.board, "labels"])?;
            let request = request.json(&json!({ "name": name, "color": color }));
            let made: Result<Named, _> = self.api.ask(context, request, "making a label").await;
            match made {
                Ok(label) => {
                    is_new = true;
                    ids.push(label.id);
                }
                // A board has at most 1,000 ("Limits").
                Err(AdapterError {
                    class: ErrorClass::Permission | ErrorClass::Validation { .. },
                    ..
                }) => left_out = Some(format!("left out, as it cannot be made: {name}")),
                Err(error) => return Err(error),
            }
        }
        if is_new {
            context.forget(LABELS);
        }
        Ok((ids, left_out))
    }

    /// Who somebody is on the board. Trello shows no e-mail address: the setting has to say it.
    pub(super) async fn member_id(
        &self,
        context: &CallContext<'_>,
        person: &UserRef,
    ) -> Result<String, AdapterError> {
        let word = self.users.known(person).ok_or_else(|| {
            let fault = "has no member at Trello, which shows no e-mail addresses: name the \
                member's id or user name in settings.users";
            AdapterError::field(ASSIGNEE, fault)
        })?;
        let mut members = self.members(context).await?;
        if !members.iter().any(|one| one.is_called(word)) {
            context.forget(MEMBERS);
            members = self.members(context).await?;
        }
        let found = members.iter().find(|one| one.is_called(word));
        found.map(|one| one.id.clone()).ok_or_else(|| {
            let names = listed(members.iter().map(|one| one.username.as_str()));
            let fault = format!(
                "is {word:?} by settings.users, who is no member of the board; it has: {names}"
            );
            AdapterError::field(ASSIGNEE, fault)
        })
    }
}

// What happened.
impl Trello {
    /// The actions at a path, the newest first, until one is wanted.
    pub(super) async fn first_action(
        &self,
        context: &CallContext<'_>,
        path: &[&str],
        (filter, since): (&str, DateTime<Utc>),
        is_wanted: impl FnMut(&Action) -> bool,
    ) -> Result<Option<Action>, AdapterError> {
        let since = words::written(since);
        let first = self.api.get(path)?.up_to(PAGE_BYTES);
        let first = first.query([("filter", filter), ("limit", ACTIONS), ("since", &since)]);
        let read = |request: Request| {
            let first = &first;
            async move {
                let what = "listing what happened";
                let items: Vec<Action> = self.api.ask(context, request, what).await?;
                let last = items.last().filter(|_| items.len() >= ACTIONS_MAX);
                let next = last.map(|last| first.clone().query([("before", &last.id)]));
                Ok(Page { items, next })
            }
        };
        api::find(PAGES_MAX, first.clone(), read, is_wanted).await
    }

    /// Cards by their ids, ten of a request; `None` of one that is gone. An answer of a part has
    /// its status for a name, or says it.
    pub(super) async fn cards(
        &self,
        context: &CallContext<'_>,
        ids: &[String],
    ) -> Result<Vec<Option<Card>>, AdapterError> {
        let mut cards = Vec::with_capacity(ids.len());
        for part in ids.chunks(BATCH) {
            // What parts the routes is a comma: within one it is encoded.
            let fields = SHOWN.replace(',', "%2C");
            let routes = part
                .iter()
                .map(|id| format!("/cards/{id}?fields={fields}&customFieldItems=true"));
            let routes = routes.collect::<Vec<_>>().join(",");
            let request = self.api.get(&["batch"])?.query([("urls", &routes)]);
            let what = "reading cards";
            let answers: Vec<Map<String, Value>> = self
                .api
                .ask(context, request.up_to(PAGE_BYTES), what)
                .await?;
            if answers.len() != part.len() {
                return Err(unreadable("another number of cards than was asked for"));
            }
            for mut answer in answers {
                if let Some(card) = answer.remove("200") {
                    let card = serde_json::from_value(card);
                    let card = card.map_err(|_| unreadable("a card that cannot be read"))?;
                    cards.push(Some(card));
                } else if answer.get("statusCode").and_then(Value::as_u64) == Some(404) {
                    cards.push(None);
                } else {
                    return Err(unreadable("a card that cannot be shown now"));
                }
            }
        }
        Ok(cards)
    }

    /// The newest action of the board: where a listing may begin that comes later.
    pub(super) async fn newest_action(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Option<String>, AdapterError> {
        #[derive(Deserialize)]
        struct Id {
            id: String,
        }
        let request = self.api.get(&["boards", &self.board, "actions"])?;
        let request = request.query([("limit", "1"), ("fields", "id")]);
        let what = "listing what happened";
        let newest: Vec<Id> = self.api.ask(context, request, what).await?;
        Ok(newest.into_iter().next().map(|action| action.id))
    }
}

fn unreadable(what: &str) -> AdapterError {
    let text = format!("reading cards: Trello gave {what}");
    AdapterError::new(ErrorClass::Transient { retry_after: None }, text)
}
