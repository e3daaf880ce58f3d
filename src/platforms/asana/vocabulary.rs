//! What the customer has made in Asana: sections, custom fields, tags. Each is asked for once an
//! hour, and again where Asana refuses what was chosen of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Asana;
use super::facts::is_gid;
use super::words::{Field, Named, is_like};
use crate::domain::TicketStatus;
use crate::platforms::api::{self, Page};
use crate::platforms::text::one_line;
use crate::platforms::{AdapterError, CallContext, ErrorClass, Request};

/// What the memory calls them, and how long they are good.
const SECTIONS: &str = "asana sections";
const FIELDS: &str = "asana fields";
const TAGS: &str = "asana tags";
const HOUR: Duration = Duration::from_secs(3_600);

/// Items of a page ("Pagination": 100 at most), pages that are looked through, bytes of one.
pub(super) const PAGE: &str = "100";
const PAGES_MAX: usize = 100;
pub(super) const PAGE_BYTES: usize = 16 << 20;
/// Tags that one operation sets, and characters of one (unconfirmed what Asana takes).
const TAGS_MAX: usize = 50;
const TAG_MAX: usize = 100;

/// What an answer is wrapped in.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// A page of a listing.
#[derive(Deserialize)]
pub(super) struct Listed<T> {
    pub(super) data: Vec<T>,
    pub(super) next_page: Option<NextPage>,
}

/// Where a listing goes on.
#[derive(Deserialize)]
pub(super) struct NextPage {
    pub(super) offset: String,
}

/// A field of the project.
#[derive(Deserialize)]
struct FieldSetting {
    custom_field: Field,
}

/// What of a list there is, for a person who has to choose.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.take(30).collect::<Vec<_>>().join(", ")
}

impl Asana {
    /// The pages of a listing, one after the other.
    fn pages<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        context: &'a CallContext<'_>,
        first: &'a Request,
        what: &'a str,
    ) -> impl FnMut(Request) -> futures_util::future::BoxFuture<'a, Result<Page<T>, AdapterError>>
    {
        move |request| {
            Box::pin(async move {
                let listed: Listed<T> = self.api.ask(context, request, what).await?;
                let next = listed.next_page.map(|next| {
                    let request = first.clone();
                    request.query([("offset", next.offset.as_str())])
                });
                Ok(Page {
                    items: listed.data,
                    next,
                })
            })
        }
    }

    /// All of a listing.
    pub(super) async fn all<T: DeserializeOwned + Send>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
    ) -> Result<Vec<T>, AdapterError> {
        let first = request.query([("limit", PAGE)]).up_to(PAGE_BYTES);
        api::all(PAGES_MAX, first.clone(), self.pages(context, &first, what)).await
    }

    /// The first of a listing that is wanted.
    pub(super) async fn first<T: DeserializeOwned + Send>(
        &self,
        context: &CallContext<'_>,
        request: Request,
        what: &str,
        is_wanted: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, AdapterError> {
        let first = request.query([("limit", PAGE)]).up_to(PAGE_BYTES);
        let read = self.pages(context, &first, what);
        api::find(PAGES_MAX, first.clone(), read, is_wanted).await
    }

    pub(super) async fn sections(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Named>>, AdapterError> {
        let load = async {
            let request = self.api.get(&["projects", &self.project, "sections"])?;
            let request = request.query([("opt_fields", "gid,name")]);
            self.all(context, request, "listing the sections").await
        };
        context.recall(SECTIONS, HOUR, load).await
    }

    pub(super) async fn project_fields(
        &self,
        context: &CallContext<'_>,
    ) -> Result<Arc<Vec<Field>>, AdapterError> {
        let load = async {
            let path = ["projects", &self.project, "custom_field_settings"];
            let request = self.api.get(&path)?.query([(
                "opt_fields",
                "custom_field.gid,custom_field.name,custom_field.resource_subtype,\
                    custom_field.enum_options.gid,custom_field.enum_options.name,\
                    custom_field.enum_options.enabled",
            )]);
            let what = "listing the custom fields";
            let listed: Vec<FieldSetting> = self.all(context, request, what).await?;
            Ok(listed.into_iter().map(|one| one.custom_field).collect())
        };
        context.recall(FIELDS, HOUR, load).await
    }

    async fn tags(&self, context: &CallContext<'_>) -> Result<Arc<Vec<Named>>, AdapterError> {
        let load = async {
            let request = self.api.get(&["workspaces", &self.workspace, "tags"])?;
            let request = request.query([("opt_fields", "gid,name")]);
            self.all(context, request, "listing the tags").await
        };
        context.recall(TAGS, HOUR, load).await
    }

    pub(super) fn forget_fields(context: &CallContext<'_>) {
        context.forget(FIELDS);
    }

    /// Forgets what the customer may have changed.
    pub(super) fn look_anew(context: &CallContext<'_>) {
        for name in [SECTIONS, FIELDS, TAGS] {
            context.forget(name);
        }
    }

    /// The section of a status, where one is mapped. One that is named by its gid needs no listing,
    /// which an app with granular scopes may not have.
    pub(super) async fn section_of(
        &self,
        context: &CallContext<'_>,
        status: TicketStatus,
    ) -> Result<Option<String>, AdapterError> {
        let Some(word) = self.statuses.out(status) else {
            return Ok(None);
        };
        if is_gid(word) {
            return Ok(Some(word.to_owned()));
        }
        let is_it = |section: &&Named| section.is_called(word);
        let mut sections = self.sections(context).await?;
        if !sections.iter().any(|section| is_it(&section)) {
            // It may be new.
            context.forget(SECTIONS);
            sections = self.sections(context).await?;
        }
        let found = sections.iter().find(is_it);
        found
            .map(|section| Some(section.gid.clone()))
            .ok_or_else(|| {
                let names = listed(sections.iter().map(Named::name));
                let fault = format!("must name a section of the project, which has: {names}");
                AdapterError::field(&format!("settings.status_map.{status}"), fault)
            })
    }

    /// The gids of tags, some of which are made for it; and what had to be left out, with the
    /// reason. A tag that is made twice does no harm: the first of a name is used.
    pub(super) async fn tag_gids(
        &self,
        context: &CallContext<'_>,
        names: &[String],
    ) -> Result<(Vec<Named>, Option<String>), AdapterError> {
        let (wanted, dropped) = wanted_tags(names);
        let mut left_out = (dropped > 0).then(|| format!("left out: more than {TAGS_MAX}"));
        if wanted.is_empty() {
            return Ok((Vec::new(), left_out));
        }
        let known = match self.tags(context).await {
            Ok(known) => known,
            // More than are looked through.
            Err(error) if error.class == ErrorClass::Unsupported => {
                let why = format!("left out: the workspace's tags: {}", error.public);
                return Ok((Vec::new(), Some(why)));
            }
            Err(error) => return Err(error),
        };
        let (mut found, mut is_new) = (Vec::new(), false);
        for name in wanted {
            if let Some(tag) = known.iter().find(|tag| tag.is_called(&name)) {
                found.push(tag.clone());
                continue;
            }
            let path = ["workspaces", &self.workspace, "tags"];
            // A second one changes nothing for the task.
            let request = self.api.set(Method::POST, &path)?;
            let request = request.query([("opt_fields", "gid,name")]);
            let request = request.json(&json!({ "data": { "name": name } }));
            let made: Result<Data<Named>, _> = self.api.ask(context, request, "making a tag").await;
            match made {
                Ok(made) => {
                    is_new = true;
                    found.push(made.data);
                }
                Err(error) if error.class == ErrorClass::Permission => {
                    left_out = Some(format!("left out, as it cannot be made: {name}"));
                }
                Err(error) => return Err(error),
            }
        }
        if is_new {
            context.forget(TAGS);
        }
        Ok((found, left_out))
    }

    /// Sets the tags of a task to these: adds what is missing, takes away what is too much.
    pub(super) async fn set_tags(
        &self,
        context: &CallContext<'_>,
        task: &str,
        names: &[String],
    ) -> Result<Option<String>, AdapterError> {
        #[derive(Deserialize)]
        struct Tagged {
            tags: Vec<Named>,
        }
        let request = self.api.get(&["tasks", task])?;
        let request = request.query([("opt_fields", "tags.gid,tags.name")]);
        let now: Data<Tagged> = self.api.ask(context, request, "reading the tags").await?;
        let now = now.data.tags;
        let has = |name: &str| now.iter().any(|tag| tag.is_called(name));
        let (wanted, _) = wanted_tags(names);
        let missing: Vec<String> = wanted.iter().filter(|name| !has(name)).cloned().collect();
        let (add, left_out) = self.tag_gids(context, &missing).await?;
        let is_wanted = |tag: &&Named| wanted.iter().any(|name| tag.is_called(name));
        let remove = now.iter().filter(|tag| !is_wanted(tag));
        let steps = add.iter().map(|tag| ("addTag", tag));
        for (what, tag) in steps.chain(remove.map(|tag| ("removeTag", tag))) {
            let request = self.api.set(Method::POST, &["tasks", task, what])?;
            let request = request.json(&json!({ "data": { "tag": tag.gid } }));
            self.api.tell(context, request, "setting a tag").await?;
        }
        Ok(left_out)
    }

    /// Puts a task into a section of the project.
    pub(super) async fn move_to(
        &self,
        context: &CallContext<'_>,
        task: &str,
        section: &str,
    ) -> Result<(), AdapterError> {
        let path = ["sections", section, "addTask"];
        let request = self.api.set(Method::POST, &path)?;
        let request = request.json(&json!({ "data": { "task": task } }));
        let what = "moving the task to its section";
        let moved = self.api.tell(context, request, what).await;
        if moved
            .as_ref()
            .is_err_and(|error| error.http_status == Some(404))
        {
            context.forget(SECTIONS);
        }
        moved.map(drop)
    }
}

/// Tags as Asana has them, each once; and how many are too many.
fn wanted_tags(names: &[String]) -> (Vec<String>, usize) {
    let mut wanted: Vec<String> = Vec::new();
    for name in names {
        let name: String = one_line(name).chars().take(TAG_MAX).collect();
        if !name.is_empty() && !wanted.iter().any(|known| is_like(known, &name)) {
            wanted.push(name);
        }
    }
    let dropped = wanted.len().saturating_sub(TAGS_MAX);
    wanted.truncate(TAGS_MAX);
    (wanted, dropped)
}
