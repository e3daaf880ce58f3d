//! From an integration's settings and credentials to a connection, parsed once into types.

use reqwest::header::{ACCEPT, HeaderValue};
use url::Url;

use super::super::api::Api;
use super::super::mapping::{FieldMap, Mapping};
use super::super::members::{Members, url};
use super::super::path::below;
use super::super::tokens::{Client, ClientAuth, Grant, OauthFlow};
use super::super::users::Users;
use super::super::{AdapterError, Auth};
use super::facts::{ERRORS, cloud_id, project_key};
use super::{Jira, Version, custom};
use crate::domain::{AuthType, Integration, Platform, Priority, TicketCategory};
use crate::secrets::Credentials;

/// API gateway for OAuth; the site's own host does not take these tokens.
const GATEWAY: &str = "https://api.atlassian.com/ex/jira";
/// Token endpoint of OAuth 2.0 (3LO).
const TOKEN_URL: &str = "https://auth.atlassian.com/oauth/token";
/// Issue types of categories that have one of their own.
static ISSUE_TYPES: [(TicketCategory, &str); 2] = [
    (TicketCategory::Bug, "Bug"),
    (TicketCategory::FeatureRequest, "Story"),
];
/// Names of Jira's default priority scheme.
static PRIORITIES: [(Priority, &str); 4] = [
    (Priority::Low, "Low"),
    (Priority::Medium, "Medium"),
    (Priority::High, "High"),
    (Priority::Critical, "Highest"),
];

impl Jira {
    /// Parses settings and credentials.
    ///
    /// # Errors
    /// Class validation, naming the member that is missing or wrong.
    pub fn connect(
        integration: &Integration,
        credentials: &Credentials,
    ) -> Result<Self, AdapterError> {
        let members = Members::new(Platform::Jira, integration, credentials);
        let (auth, cloud) = auth(integration.auth_type, &members)?;
        // The credentials say what the site is. A stored number may be older than its check.
        let version = if cloud { Version::V3 } else { Version::V2 };
        if !matches!(integration.api_version.as_deref(), None | Some("2" | "3")) {
            let fault = "must be 2 or 3 for jira";
            return Err(AdapterError::field("api_version", fault));
        }
        let own = integration.base_url.clone();
        let site = own.or_else(|| credentials.text("url"));
        let site = site.map(|base| parse("base_url", &base)).transpose()?;
        let (host, flow) = if integration.auth_type == AuthType::Oauth2 {
            (gateway(&members)?, Some(flow(&members)?))
        } else {
            let missing = || AdapterError::field("base_url", "is required for jira");
            (site.clone().ok_or_else(missing)?, None)
        };
        let number = match version {
            Version::V2 => "2",
            Version::V3 => "3",
        };
        let default_issue_type = members.setting("default_issue_type");
        let (mappable, unmappable) = custom::mappable(&integration.custom_fields_mapping);
        Ok(Self {
            version,
            api: Api::new(below(&host, &["rest", "api", number])?, auth, &ERRORS)
                .header(ACCEPT, HeaderValue::from_static("application/json")),
            site: site.unwrap_or(host),
            project_key: project_key(&members.required_setting("project_key")?)?,
            issue_types: Mapping::of(&members, "category_map", &ISSUE_TYPES)?,
            default_issue_type: default_issue_type.unwrap_or_else(|| "Task".to_owned()),
            transitions: Mapping::of(&members, "status_transitions", &[])?,
            statuses: Mapping::of(&members, "status_map", &[])?,
            transition_fields: members
                .object("transition_fields")?
                .cloned()
                .unwrap_or_default(),
            priorities: Mapping::of(&members, "priority_map", &PRIORITIES)?
                .with_back(&[("Lowest", Priority::Low)]),
            internal_comments: members.setting("internal_comments"),
            fields: FieldMap::of(&mappable),
            unmappable,
            users: Users::of(&members)?,
            flow,
        })
    }
}

fn parse(name: &str, text: &str) -> Result<Url, AdapterError> {
    url(name, text, "https://example.atlassian.net")
}

/// How requests are authenticated, and whether that is Cloud's way.
fn auth(auth_type: AuthType, members: &Members<'_>) -> Result<(Auth, bool), AdapterError> {
    let basic = |user: &str, secret: &str| {
        Ok::<_, AdapterError>(Auth::Basic {
            user: members.text(user)?,
            secret: members.secret(secret)?,
        })
    };
    Ok(match auth_type {
        AuthType::ApiKey => (basic("email", "api_token")?, true),
        AuthType::Oauth2 => (Auth::OAuth, true),
        AuthType::Bearer => (Auth::Bearer(members.secret("token")?), false),
        AuthType::Basic => (basic("username", "password")?, false),
        AuthType::Custom => {
            let fault = "custom is not taken by jira";
            return Err(AdapterError::field("auth_type", fault));
        }
    })
}

/// Where the API is for OAuth.
fn gateway(members: &Members<'_>) -> Result<Url, AdapterError> {
    match members.setting("api_url") {
        Some(url) => parse("settings.api_url", &url),
        None => below(
            &parse("settings.api_url", GATEWAY)?,
            &[&cloud_id(&members.text("cloud_id")?)?],
        ),
    }
}

fn flow(members: &Members<'_>) -> Result<OauthFlow, AdapterError> {
    let token_url = members.setting("token_url");
    let token_url = token_url.as_deref().unwrap_or(TOKEN_URL);
    let token_url = parse("settings.token_url", token_url)?;
    let client = Client {
        id: members.text("client_id")?,
        secret: Some(members.secret("client_secret")?),
        auth: ClientAuth::Json,
    };
    let grant = Grant::Refresh(members.secret("refresh_token")?);
    Ok(OauthFlow::new("Atlassian", token_url, grant, client))
}
