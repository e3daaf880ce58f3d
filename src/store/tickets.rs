//! Reading tickets.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::row::Json;
use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{
    IntegrationId, OrganizationId, Priority, TicketCategory, TicketId, TicketStatus, TicketView,
    UserRef,
};

/// A ticket as stored.
#[derive(Debug, Clone)]
pub struct StoredTicket {
    /// What an adapter is shown.
    pub view: TicketView,
    /// The tenant.
    pub organization_id: OrganizationId,
    /// Where it lives, if it is bound.
    pub integration_id: Option<IntegrationId>,
    /// Whether it was deleted.
    pub is_deleted: bool,
}

/// Tickets by id (`$1`), with the people they name. Another organization's people are not known
/// here: what is known of a person goes to the organization's platform.
pub(super) const READ: &str = "SELECT t.id, t.organization_id, t.integration_id, t.is_deleted, \
                               t.title, t.description, \
                               t.status::text, t.priority::text, t.urgency::text, \
                               t.category::text, t.department, \
                               t.external_ticket_id, \
                               t.external_ticket_url, t.external_ref, t.tags, t.custom_fields, \
                               t.assigned_to_id, a.email, \
                               a.full_name, \
                               t.created_by_id, b.email, b.full_name \
                               FROM unnest($1::uuid[]) AS u(id) JOIN tickets t ON t.id = u.id \
                               LEFT JOIN users a ON a.id = t.assigned_to_id \
                               AND a.organization_id = t.organization_id \
                               AND NOT a.is_deleted \
                               LEFT JOIN users b ON b.id = t.created_by_id \
                               AND b.organization_id = t.organization_id \
                               AND NOT b.is_deleted";

impl Store {
    /// The tickets that exist among `ids`, whichever organization they belong to, with the people
    /// they name.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn tickets(&self, ids: &[Uuid]) -> Result<Vec<StoredTicket>, StoreError> {
        let client = self.hot().await?;
        let result = async {
            let statement = client.prepare_cached(READ).await?;
            let rows = limited(client.query(&statement, &[&ids])).await?;
            Ok(rows.iter().map(read).collect())
        }
        .await;
        keep_if_sound(client, result)
    }

    /// Whether an organization is enabled; `None` where there is no such.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn organization(&self, id: OrganizationId) -> Result<Option<bool>, StoreError> {
        let client = self.hot().await?;
        let sql = "SELECT is_enabled FROM organizations WHERE id = $1 AND NOT is_deleted";
        let result = limited(client.query_opt(sql, &[&id.uuid()]))
            .await
            .map(|row| row.map(|row| row.get(0)));
        keep_if_sound(client, result)
    }

    /// The people among these that `users` knows as their organization's.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn users(
        &self,
        wanted: &[(OrganizationId, Uuid)],
    ) -> Result<Vec<(OrganizationId, UserRef)>, StoreError> {
        let client = self.hot().await?;
        let sql = "SELECT u.organization_id, u.id, u.email, u.full_name \
                   FROM unnest($1::uuid[], $2::uuid[]) AS x(organization, id) \
                   JOIN users u ON u.id = x.id AND u.organization_id = x.organization \
                   WHERE NOT u.is_deleted";
        let organizations: Vec<Uuid> = wanted.iter().map(|(id, _)| id.uuid()).collect();
        let ids: Vec<Uuid> = wanted.iter().map(|(_, id)| *id).collect();
        let result = limited(client.query(sql, &[&organizations, &ids]))
            .await
            .map(|rows| {
                rows.iter()
                    .map(|row| {
                        let user = UserRef {
                            id: row.get(1),
                            email: row.get(2),
                            full_name: row.get(3),
                        };
                        (OrganizationId::new(row.get(0)), user)
                    })
                    .collect()
            });
        keep_if_sound(client, result)
    }
}

pub(super) fn read(row: &tokio_postgres::Row) -> StoredTicket {
    let text = |index: usize| row.get::<_, &str>(index);
    let person = |id: usize| {
        row.get::<_, Option<Uuid>>(id).map(|user| UserRef {
            id: user,
            email: row.get(id + 1),
            full_name: row.get(id + 2),
        })
    };
    let object = |index: usize| match row.get::<_, Json>(index).0 {
        Some(Value::Object(map)) => map,
        Some(_) | None => Map::new(),
    };
    let tags = match row.get::<_, Json>(14).0 {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        Some(_) | None => Vec::new(),
    };
    StoredTicket {
        organization_id: OrganizationId::new(row.get(1)),
        integration_id: row.get::<_, Option<Uuid>>(2).map(IntegrationId::new),
        is_deleted: row.get(3),
        view: TicketView {
            id: TicketId::new(row.get(0)),
            title: row.get(4),
            description: row.get(5),
            // The enum types of the database admit nothing else.
            status: TicketStatus::parse(text(6)).unwrap_or(TicketStatus::Open),
            priority: Priority::parse(text(7)).unwrap_or(Priority::Medium),
            urgency: Priority::parse(text(8)).unwrap_or(Priority::Medium),
            category: TicketCategory::parse(text(9)).unwrap_or(TicketCategory::General),
            department: row.get(10),
            external_id: row.get(11),
            external_url: row.get(12),
            external_ref: object(13),
            tags,
            custom_fields: object(15),
            assigned_to: person(16),
            created_by: person(19),
        },
    }
}
