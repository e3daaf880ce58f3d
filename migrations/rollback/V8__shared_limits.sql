DROP TYPE enqueue_head;
DROP TABLE integration_token_leases;
ALTER TABLE integration_circuits DROP COLUMN pauses;
ALTER TABLE integration_circuits DROP COLUMN paused_by;
ALTER TABLE integration_circuits DROP COLUMN paused_until;
