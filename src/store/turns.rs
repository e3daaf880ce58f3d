//! Turns: of the commands about a ticket, one runs at a time. A settlement passes the turn on
//! (`sql/pass_turns.sql`); here is what gives it to those that came while it was being passed.

use uuid::Uuid;

use super::{Store, StoreError, keep_if_sound, limited};
use crate::domain::{OrganizationId, TicketId};

/// Waits for settlements in progress that release these turns, and keeps others from beginning.
pub(super) const LOCK_HOLDERS: &str = "SELECT c.id FROM (SELECT DISTINCT org, ticket \
                                       FROM unnest($1::uuid[], $2::uuid[]) \
                                       AS u(org, ticket) ORDER BY org, ticket) u \
                                       JOIN commands c ON c.organization_id = u.org \
                                       AND c.ticket_id = u.ticket \
                                       AND c.turn FOR UPDATE OF c";
impl Store {
    /// Gives the turns of these tickets away where nobody holds them: for commands that came to
    /// wait while the turn was being released. Locks the holders, so that a settlement in progress
    /// is waited for and its outcome seen.
    ///
    /// # Errors
    /// [`StoreError::Contention`] when a race for a turn was lost: somebody else has given it away.
    pub async fn offer_turns(
        &self,
        tickets: &[(OrganizationId, TicketId)],
    ) -> Result<u64, StoreError> {
        let mut pairs: Vec<(Uuid, Uuid)> = tickets
            .iter()
            .map(|(organization, ticket)| (organization.uuid(), ticket.uuid()))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let (orgs, tickets): (Vec<Uuid>, Vec<Uuid>) = pairs.into_iter().unzip();
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            limited(transaction.query(LOCK_HOLDERS, &[&orgs, &tickets])).await?;
            let passed = limited(
                transaction.execute(include_str!("sql/pass_turns.sql"), &[&orgs, &tickets]),
            )
            .await?;
            limited(transaction.commit()).await?;
            Ok(passed)
        }
        .await;
        keep_if_sound(client, result)
    }

    /// What the fallback clock does for commands that wait for their ticket's turn: gives free
    /// turns away, and looks again later at the rest. At most `limit` rows a call; returns how many
    /// it looked at.
    ///
    /// # Errors
    /// [`StoreError::Contention`] when a race for a turn was lost: the next round does it.
    pub async fn check_waiting(&self, limit: i64) -> Result<usize, StoreError> {
        let mut client = self.hot().await?;
        let result = async {
            let transaction = limited(client.transaction()).await?;
            let rows = limited(transaction.query(
                "UPDATE commands c SET retry_at = now() + CASE WHEN EXISTS (SELECT \
                 FROM commands h WHERE \
                 h.organization_id = c.organization_id AND h.ticket_id = c.ticket_id AND h.turn) \
                 THEN interval '5 seconds' ELSE interval '1 second' END \
                 FROM (SELECT id FROM commands WHERE state = 'pending' AND NOT turn \
                 AND retry_at <= now() \
                 ORDER BY retry_at LIMIT $1 FOR UPDATE SKIP LOCKED) p WHERE c.id = p.id \
                 RETURNING c.organization_id, c.ticket_id",
                &[&limit],
            ))
            .await?;
            let mut pairs: Vec<(Uuid, Uuid)> = rows
                .iter()
                .filter_map(|row| Some((row.get(0), row.get::<_, Option<Uuid>>(1)?)))
                .collect();
            pairs.sort_unstable();
            pairs.dedup();
            let (orgs, tickets): (Vec<Uuid>, Vec<Uuid>) = pairs.into_iter().unzip();
            if !orgs.is_empty() {
                limited(
                    transaction.execute(include_str!("sql/pass_turns.sql"), &[&orgs, &tickets]),
                )
                .await?;
            }
            limited(transaction.commit()).await?;
            Ok(rows.len())
        }
        .await;
        keep_if_sound(client, result)
    }
}
