-- The field's words for what the ledger holds, and the reason of a wait as a name of a closed set instead of a sentence.
-- Columns and types change their names under running workers of the version before, so `up` wants them stopped.
ALTER TABLE commands RENAME COLUMN take TO fencing_token;
ALTER TABLE commands RENAME COLUMN suspect TO poison_candidate;
ALTER TABLE commands RENAME COLUMN alone TO isolated;
ALTER INDEX commands_suspect RENAME TO commands_poison_candidate;

-- What decided when a command runs next (`domain::WaitReason`), and the index, count or seconds that its sentence needs.
ALTER TABLE commands ADD COLUMN wait_reason text, ADD COLUMN wait_detail integer;
ALTER TABLE command_attempts ADD COLUMN wait_reason text, ADD COLUMN wait_detail integer;

CREATE FUNCTION pg_temp.wait_reason(sentence text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN sentence LIKE 'retry.schedule[%' THEN 'retry_schedule'
    WHEN sentence LIKE 'Retry-After:%' THEN 'retry_after'
    WHEN sentence LIKE 'the platform''s rate limit%' THEN 'platform_rate_limit'
    WHEN sentence = 'rate_limit_per_hour' THEN 'rate_limit_per_hour'
    WHEN sentence = 'settings.on_auth_failure' THEN 'credential_refused'
    WHEN sentence = 'maintenance_window_end' THEN 'maintenance_window'
    WHEN sentence LIKE 'look-up % (dispatch.settle_after)' THEN 'settle_after'
    WHEN sentence LIKE 'look-up of%' THEN 'unknown_outcome'
    WHEN sentence LIKE 'look-up %' THEN 'look_up_schedule'
    WHEN sentence = 'the ticket is not known yet' THEN 'ticket_unknown'
    WHEN sentence = 'routed' THEN 'routed'
    WHEN sentence LIKE '% children are not done' THEN 'children'
    WHEN sentence = 'the worker that held it stopped' THEN 'worker_stopped'
    WHEN sentence = 'the process that ran it died' THEN 'worker_died'
    WHEN sentence = 'command retry' THEN 'command_retry'
    WHEN sentence = 'an operator' THEN NULL
    WHEN sentence IS NOT NULL THEN 'database_unavailable'
  END
$$;
CREATE FUNCTION pg_temp.wait_detail(sentence text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN sentence ~ '^(retry\.schedule\[|Retry-After:|look-up \d|\d+ of)'
              THEN left((regexp_match(sentence, '\d+'))[1], 9)::integer END
$$;
UPDATE commands SET wait_reason = pg_temp.wait_reason(decided_by), wait_detail = pg_temp.wait_detail(decided_by)
WHERE decided_by IS NOT NULL;
UPDATE command_attempts SET wait_reason = pg_temp.wait_reason(decided_by), wait_detail = pg_temp.wait_detail(decided_by)
WHERE decided_by IS NOT NULL;
DROP FUNCTION pg_temp.wait_reason(text);
DROP FUNCTION pg_temp.wait_detail(text);

ALTER TABLE commands DROP COLUMN decided_by;
ALTER TABLE command_attempts DROP COLUMN decided_by;

DROP TYPE claim_head;
ALTER TYPE claim_body RENAME TO enqueue_body;
ALTER TYPE settle_command RENAME ATTRIBUTE take TO fencing_token;
ALTER TYPE settle_command RENAME ATTRIBUTE sole TO single_event;
ALTER TYPE settle_command DROP ATTRIBUTE decided_by, ADD ATTRIBUTE wait_reason text, ADD ATTRIBUTE wait_detail integer;
ALTER TYPE settle_attempt DROP ATTRIBUTE decided_by, ADD ATTRIBUTE wait_reason text, ADD ATTRIBUTE wait_detail integer;
ALTER TYPE change_ticket RENAME ATTRIBUTE take TO fencing_token;
