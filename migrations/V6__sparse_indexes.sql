-- Nine of the legacy application's indexes on tickets are on columns that are empty in a ticket's first days, or for ever.
-- An entry for nothing costs a write as much as any other, so each now holds only rows that have something there
-- (docs/adr/0009). Same name, same column; `column = ...`, `<`, `BETWEEN` find what they found. They are built beside
-- readers and writers, after the migrations (`INDEXES` in src/store/migrate/indexes.rs).
DROP INDEX IF EXISTS ix_tickets_assigned_to_id, ix_tickets_closed_at, ix_tickets_created_by_id, ix_tickets_deleted_at,
  ix_tickets_department, ix_tickets_first_response_at, ix_tickets_is_deleted, ix_tickets_resolved_at, ix_tickets_sla_due_date;
