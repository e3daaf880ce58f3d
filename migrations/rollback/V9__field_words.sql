ALTER TYPE change_ticket RENAME ATTRIBUTE fencing_token TO take;
ALTER TYPE settle_attempt DROP ATTRIBUTE wait_reason, DROP ATTRIBUTE wait_detail, ADD ATTRIBUTE decided_by text;
ALTER TYPE settle_command DROP ATTRIBUTE wait_reason, DROP ATTRIBUTE wait_detail, ADD ATTRIBUTE decided_by text;
ALTER TYPE settle_command RENAME ATTRIBUTE single_event TO sole;
ALTER TYPE settle_command RENAME ATTRIBUTE fencing_token TO take;
ALTER TYPE enqueue_body RENAME TO claim_body;
CREATE TYPE claim_head AS (
  id uuid, type text, organization uuid, integration uuid, ticket uuid, creates boolean
);

ALTER TABLE commands ADD COLUMN decided_by text;
ALTER TABLE command_attempts ADD COLUMN decided_by text;
CREATE FUNCTION pg_temp.sentence(reason text, detail integer) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE reason
    WHEN 'retry_schedule' THEN format('retry.schedule[%s]', detail)
    WHEN 'retry_after' THEN format('Retry-After: %s s', detail)
    WHEN 'platform_rate_limit' THEN 'the platform''s rate limit (it named no time)'
    WHEN 'credential_refused' THEN 'settings.on_auth_failure'
    WHEN 'maintenance_window' THEN 'maintenance_window_end'
    WHEN 'settle_after' THEN format('look-up %s (dispatch.settle_after)', detail)
    WHEN 'unknown_outcome' THEN 'look-up of an unknown outcome'
    WHEN 'look_up_schedule' THEN format('look-up %s of the platform''s ladder', detail)
    WHEN 'ticket_unknown' THEN 'the ticket is not known yet'
    WHEN 'children' THEN format('%s of its children are not done', detail)
    WHEN 'worker_stopped' THEN 'the worker that held it stopped'
    WHEN 'worker_died' THEN 'the process that ran it died'
    WHEN 'command_retry' THEN 'command retry'
    WHEN 'database_unavailable' THEN 'the database is not reachable'
    ELSE reason
  END
$$;
UPDATE commands SET decided_by = pg_temp.sentence(wait_reason, wait_detail) WHERE wait_reason IS NOT NULL;
UPDATE command_attempts SET decided_by = pg_temp.sentence(wait_reason, wait_detail) WHERE wait_reason IS NOT NULL;
DROP FUNCTION pg_temp.sentence(text, integer);
ALTER TABLE commands DROP COLUMN wait_reason, DROP COLUMN wait_detail;
ALTER TABLE command_attempts DROP COLUMN wait_reason, DROP COLUMN wait_detail;

ALTER INDEX commands_poison_candidate RENAME TO commands_suspect;
ALTER TABLE commands RENAME COLUMN isolated TO alone;
ALTER TABLE commands RENAME COLUMN poison_candidate TO suspect;
ALTER TABLE commands RENAME COLUMN fencing_token TO take;
