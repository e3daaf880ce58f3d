-- Drops the ledger. Refused by `ticketwire migrate rollback` while commands are unfinished or tickets hold what the
-- legacy shape cannot (an unknown author), unless --accept-loss.
DROP TABLE integration_tokens, integration_circuits, integration_usage, workers, dead_letters, outbox, command_replies,
  command_attempts, commands;
DROP SEQUENCE command_arrivals;
ALTER TABLE tickets DROP COLUMN tags, DROP COLUMN external_ref, DROP COLUMN integration_result;
DELETE FROM tickets WHERE created_by_id IS NULL OR NOT EXISTS (SELECT FROM users u WHERE u.id = tickets.created_by_id);
UPDATE tickets SET assigned_to_id = NULL
 WHERE assigned_to_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = tickets.assigned_to_id);
ALTER TABLE tickets ALTER COLUMN created_by_id SET NOT NULL;
ALTER TABLE tickets ADD CONSTRAINT tickets_created_by_id_fkey FOREIGN KEY (created_by_id) REFERENCES users (id);
ALTER TABLE tickets ADD CONSTRAINT tickets_assigned_to_id_fkey FOREIGN KEY (assigned_to_id) REFERENCES users (id);
ALTER TABLE integrations DROP COLUMN settings;
