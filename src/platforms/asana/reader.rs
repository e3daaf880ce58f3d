//! What is read back: a task, what changed, what can be chosen; and the checks of an integration.
//!
//! Changes come from the project's listing ("List tasks"). It has no order, so where the next one
//! may begin is known only when all its pages were read. It shows what was just written, but not
//! that a task only moved to another section.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, json};

use super::Asana;
use super::facts::is_gid;
use super::item::{Story, is_gone};
use super::vocabulary::{Data, Listed, PAGE, PAGE_BYTES, listed};
use super::words::{self, Field, Named, Task, field_called};
use crate::domain::TicketStatus;
use crate::platforms::text::Marker;
use crate::platforms::{
    Actor, AdapterError, CallContext, Change, ChangePage, CheckReport, Effect, ErrorClass,
    ExternalComment, ExternalItem, ItemRef, Order, PlatformField, Reader, SyncFrom, TestKind,
};

/// How far a listing looks back beyond the last one: what was under way then.
const OVERLAP: TimeDelta = TimeDelta::minutes(2);

/// A page of a listing: since when, the newest change so far, and where it goes on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cursor {
    since: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    offset: Option<String>,
}

impl Cursor {
    fn first(from: &SyncFrom<'_>) -> Self {
        let since = from.since.map(|since| since - OVERLAP);
        Self {
            since: from.mark.and_then(words::moment).or(since),
            ..Self::default()
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (since, rest) = text.split_once('|')?;
        let (newest, offset) = rest.split_once('|')?;
        let at = |text: &str| match text {
            "" => Some(None),
            text => words::moment(text).map(Some),
        };
        Some(Self {
            since: at(since)?,
            newest: at(newest)?,
            offset: Some(offset.to_owned()).filter(|offset| !offset.is_empty()),
        })
    }

    fn text(&self) -> String {
        let at = |at: Option<DateTime<Utc>>| at.map(words::written).unwrap_or_default();
        let offset = self.offset.as_deref().unwrap_or_default();
        format!("{}|{}|{offset}", at(self.since), at(self.newest))
    }
}

/// Whom a token belongs to.
#[derive(Deserialize)]
struct Me {
    gid: String,
    name: Option<String>,
    email: Option<String>,
    workspaces: Option<Vec<Named>>,
}

#[derive(Deserialize)]
struct Project {
    name: Option<String>,
    #[serde(default)]
    archived: bool,
    workspace: Option<Named>,
}

impl Asana {
    async fn me(&self, context: &CallContext<'_>) -> Result<Me, AdapterError> {
        let request = self.api.get(&["users", "me"])?;
        let fields = "gid,name,email,workspaces.gid,workspaces.name";
        let request = request.query([("opt_fields", fields)]);
        let me: Data<Me> = self.api.ask(context, request, "asking who we are").await?;
        Ok(me.data)
    }

    pub(super) async fn checked(
        &self,
        context: &CallContext<'_>,
        test: TestKind,
    ) -> Result<CheckReport, AdapterError> {
        match test {
            // Whether Asana is reached at all; whom it lets in is another question.
            TestKind::Connection => match self.me(context).await {
                Ok(_) => Ok(CheckReport::new("Asana answers", Map::new())),
                Err(error) if error.class == ErrorClass::Authentication => {
                    let text = "Asana answers, but does not take the credential";
                    Ok(CheckReport::new(text, Map::new()))
                }
                Err(error) => Err(error),
            },
            TestKind::Authentication => {
                let me = self.me(context).await?;
                let name = me.name.as_deref().unwrap_or(&me.gid);
                let message = format!("authenticated as {name}");
                let workspaces = me.workspaces.iter().flatten();
                let workspaces: Vec<&str> = workspaces.map(Named::name).collect();
                let details = json!({ "user_gid": me.gid, "email": me.email,
                    "workspaces": workspaces });
                Ok(CheckReport::new(&message, details))
            }
            TestKind::Permissions => self.permitted(context).await,
            TestKind::CreateTicket => self.tried(context).await,
        }
    }

    /// Whether settings and project fit. That the token may write shows only when it does.
    async fn permitted(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        Self::look_anew(context);
        let request = self.api.get(&["projects", &self.project])?;
        let request = request.query([("opt_fields", "gid,name,archived,workspace.gid")]);
        let project: Data<Project> = self
            .api
            .ask(context, request, "reading the project")
            .await?;
        let project = project.data;
        let workspace = project.workspace.map(|one| one.gid);
        if workspace
            .as_deref()
            .is_some_and(|own| own != self.workspace)
        {
            let own = workspace.unwrap_or_default();
            let fault = format!("is {}, and the project's workspace {own}", self.workspace);
            return Err(AdapterError::field("settings.workspace_gid", fault));
        }
        if project.archived {
            return Err(AdapterError::field(
                "settings.project_gid",
                "is archived at Asana",
            ));
        }
        let mut sections = Map::new();
        for status in TicketStatus::ALL {
            if let Some(section) = self.section_of(context, *status).await? {
                sections.insert(status.to_string(), section.into());
            }
        }
        let names = [
            ("priority_field", &self.priority_field),
            ("category_field", &self.category_field),
        ];
        if names.iter().any(|(_, name)| name.is_some()) {
            let fields = self.project_fields(context).await?;
            for (setting, name) in names {
                let Some(name) = name.as_deref() else {
                    continue;
                };
                let found = field_called(&fields, name).is_some_and(Field::is_choice);
                if !found {
                    let choices = fields.iter().filter(|field| field.is_choice());
                    let fault = format!(
                        "is {name:?}, which is no single-choice field of the project; it has: {}",
                        listed(choices.map(|field| field.name.as_str()))
                    );
                    return Err(AdapterError::field(&format!("settings.{setting}"), fault));
                }
            }
        }
        let details = json!({ "project": project.name, "sections": sections });
        let message = "the token reads the project; that it may write shows only when a task is \
            made";
        Ok(CheckReport::new(message, details))
    }

    /// Makes a task that says of itself that it is a test, and removes it.
    async fn tried(&self, context: &CallContext<'_>) -> Result<CheckReport, AdapterError> {
        let request = self.api.make(Method::POST, &["tasks"])?;
        let request = request.query([("opt_fields", "gid")]);
        let request = request.json(&json!({ "data": {
            "name": "Ticketwire connection test: may be deleted", "projects": [self.project],
            "notes": "Made by integration.test. It may be deleted.",
        } }));
        let made: Data<Task> = self
            .api
            .ask(context, request, "creating the test task")
            .await?;
        let gid = made.data.gid;
        let request = self.api.set(Method::DELETE, &["tasks", &gid])?;
        let removed = self
            .api
            .tell(context, request, "removing the test task")
            .await;
        let message = match removed {
            Ok(_) => format!(
                "created the test task {gid} and removed it; Asana keeps it in its owner's trash \
                    for 30 days"
            ),
            Err(error) => format!("created the test task {gid}, which stays: {}", error.public),
        };
        Ok(CheckReport::new(&message, json!({ "task": gid })))
    }
}

/// A comment. Who sees the task reads it; whether that is the customer, Asana does not say.
fn comment(story: Story) -> ExternalComment {
    let text = story.text.as_deref().unwrap_or_default();
    ExternalComment {
        body: Marker::without(text).to_owned(),
        author: story.created_by.map(|who| Actor {
            id: Some(who.gid),
            name: None,
        }),
        created_at: story.created_at.as_deref().and_then(words::moment),
        marker: Marker::find(text).map(str::to_owned),
        id: story.gid,
        ..ExternalComment::default()
    }
}

#[async_trait]
impl Reader for Asana {
    async fn get(
        &self,
        context: &CallContext<'_>,
        item: &ItemRef,
    ) -> Result<Option<ExternalItem>, AdapterError> {
        let gid = item.address();
        if !is_gid(gid) {
            return Ok(None);
        }
        let request = self.api.get(&["tasks", gid])?;
        let request = request.query([("opt_fields", &self.read_fields())]);
        let answer = context.send(request.up_to(PAGE_BYTES)).await?;
        if is_gone(&answer) {
            return Ok(None);
        }
        let what = "reading the task";
        let task: Task = self
            .api
            .take::<Data<Task>>(&answer, Effect::Read, what)?
            .data;
        let what = "listing the comments";
        let mut stories: Vec<Story> = self.all(context, self.stories(gid)?, what).await?;
        stories.retain(Story::is_comment);
        Ok(Some(ExternalItem {
            comments: stories.into_iter().map(comment).collect(),
            ..self.item_of(&task)
        }))
    }

    async fn changes(
        &self,
        context: &CallContext<'_>,
        from: &SyncFrom<'_>,
    ) -> Result<ChangePage, AdapterError> {
        let mut cursor = match from.page {
            None => Cursor::first(from),
            Some(page) => Cursor::read(page).ok_or_else(|| {
                let text = "a page of a sync is asked for that no page before it named";
                AdapterError::new(ErrorClass::Internal, text)
            })?,
        };
        let fields = self.read_fields();
        let request = self.api.get(&["tasks"])?.query([
            ("project", self.project.as_str()),
            ("limit", PAGE),
            ("opt_fields", &fields),
        ]);
        let since = cursor.since.map(words::written);
        let request = request.query(since.iter().map(|since| ("modified_since", since)));
        let request = request.query(cursor.offset.iter().map(|offset| ("offset", offset)));
        let what = "listing what changed";
        let page: Listed<Task> = self
            .api
            .ask(context, request.up_to(PAGE_BYTES), what)
            .await?;
        let changed = page
            .data
            .iter()
            .filter_map(|task| task.at())
            .map(|at| at.low);
        cursor.newest = changed.chain(cursor.newest).max();
        cursor.offset = page.next_page.map(|next| next.offset);
        // Of a single page it would lose what the others show.
        let is_last = cursor.offset.is_none();
        let mark = cursor.newest.map(|newest| words::written(newest - OVERLAP));
        Ok(ChangePage {
            changes: page
                .data
                .iter()
                .map(|task| Change::seen(self.item_of(task)))
                .collect(),
            next: (!is_last).then(|| cursor.text()),
            mark: mark.filter(|_| is_last),
            order: Order::None,
            unreadable: 0,
        })
    }

    async fn choices(
        &self,
        context: &CallContext<'_>,
        search: Option<&str>,
    ) -> Result<Vec<PlatformField>, AdapterError> {
        let fields = self.project_fields(context).await?;
        let mut shown: Vec<PlatformField> = fields.iter().map(Field::shown).collect();
        match self.sections(context).await {
            Ok(sections) => shown.push(PlatformField {
                id: "memberships.section".into(),
                name: "Section".into(),
                kind: Some("section".into()),
                custom: false,
                required: false,
                allowed_values: sections.iter().map(|one| one.name().to_owned()).collect(),
            }),
            // An app with granular scopes may not list them.
            Err(error) if error.class == ErrorClass::Permission => {}
            Err(error) => return Err(error),
        }
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
    fn a_page_is_found_again_and_a_listing_begins_at_the_mark() {
        let at = |text: &str| words::moment(text).unwrap();
        let cursor = Cursor {
            since: Some(at("2026-01-02T03:04:05.000Z")),
            newest: None,
            offset: Some("eyJ|x".into()),
        };
        assert_eq!(Cursor::read(&cursor.text()), Some(cursor));
        assert_eq!(Cursor::read("||"), Some(Cursor::default()));
        assert_eq!(Cursor::read("x||"), None);

        let from = SyncFrom {
            since: Some(at("2026-01-02T03:00:00.000Z")),
            mark: None,
            page: None,
        };
        assert_eq!(
            Cursor::first(&from).since,
            Some(at("2026-01-02T02:58:00.000Z"))
        );
        let mark = "2026-01-01T00:00:00.000Z";
        let marked = SyncFrom {
            mark: Some(mark),
            ..from
        };
        assert_eq!(Cursor::first(&marked).since, Some(at(mark)));
    }
}
