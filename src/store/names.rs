//! What people call things by: the beginning of an id, or an integration's name.

use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};

/// What may be named by the beginning of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A command.
    Command,
    /// A ticket.
    Ticket,
    /// An integration that is not deleted; also by its name.
    Integration,
    /// An organization.
    Organization,
}

impl Store {
    /// The ids from `first` to `last`, at most `limit`; of integrations, also those of exactly this
    /// name, without regard to case. Of one organization, or of all.
    ///
    /// # Errors
    /// As the connection's.
    pub async fn ids_of(
        &self,
        named: Named,
        range: Option<(Uuid, Uuid)>,
        name: &str,
        organization: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Uuid>, StoreError> {
        let (first, last) = range.unzip();
        let client = self.get().await?;
        let result = if named == Named::Integration {
            const SQL: &str = "SELECT id FROM integrations WHERE NOT is_deleted \
                               AND (id BETWEEN $1 AND $2 OR lower(name) = lower($3)) \
                               AND ($5::uuid IS NULL OR organization_id = $5) \
                               ORDER BY id LIMIT $4";
            limited(client.query(SQL, &[&first, &last, &name, &limit, &organization])).await
        } else {
            let sql = match named {
                Named::Command => {
                    "SELECT id FROM commands WHERE id BETWEEN $1 AND $2 \
                     AND ($4::uuid IS NULL OR organization_id = $4) LIMIT $3"
                }
                Named::Ticket => {
                    "SELECT id FROM tickets WHERE id BETWEEN $1 AND $2 \
                     AND ($4::uuid IS NULL OR organization_id = $4) LIMIT $3"
                }
                Named::Integration | Named::Organization => {
                    "SELECT id FROM organizations WHERE id BETWEEN $1 AND $2 \
                     AND ($4::uuid IS NULL OR id = $4) LIMIT $3"
                }
            };
            limited(client.query(sql, &[&first, &last, &limit, &organization])).await
        };
        keep_if_sound(
            client,
            result.map(|rows| rows.iter().map(|row| row.get(0)).collect()),
        )
    }
}
