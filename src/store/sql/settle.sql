-- Settles a batch of attempts: command, attempt row, events, usage. Fenced: a command that somebody else has meanwhile
-- taken over is not touched and not returned, and neither is anything that hangs on it.
WITH inp AS MATERIALIZED (
  SELECT * FROM unnest($2::uuid[], $3::int[], $4::text[], $5::int[], $6::int[], $7::timestamptz[], $8::text[],
                       $9::text[], $10::text[], $11::timestamptz[], $12::int[], $13::text[], $14::text[], $15::bool[],
                       $16::bool[], $17::bool[], $18::uuid[])
       AS u(id, take, state, attempt, events, due_at, decided_by, error_code, error, doubt_since, lookups, final_event,
            final_key, finished, waits, ran, integration)
), upd AS (
  UPDATE commands c SET
    state = i.state, attempt = i.attempt, events = i.events, owner = NULL,
    turn = NOT (i.finished OR i.waits),
    due_at = CASE WHEN i.finished OR i.waits THEN NULL ELSE i.due_at END,
    retry_at = CASE WHEN i.finished THEN NULL WHEN i.waits OR i.state = 'deferred' THEN i.due_at END,
    decided_by = i.decided_by, error_code = i.error_code, error = i.error,
    doubt_since = i.doubt_since, lookups = i.lookups,
    finished_at = CASE WHEN i.finished THEN now() END,
    integration_id = COALESCE(i.integration, c.integration_id), 
    lane = CASE WHEN c.type LIKE 'integration.%' THEN c.lane ELSE COALESCE(i.integration, c.lane) END,
    final_event = i.final_event, final_key = i.final_key, suspect = c.suspect AND NOT i.ran, alone = c.alone AND NOT i.ran
  FROM inp i
  -- Whoever has an owner is running; saying so would only invite the planner to walk commands_running.
  WHERE c.id = i.id AND c.owner = $1 AND c.take = i.take
  RETURNING c.id
), att AS (
  INSERT INTO command_attempts (command_id, run, attempt, worker, started_at, duration_ms, outcome, error_code, message,
                                http_status, retry_at, decided_by)
  SELECT a.id, a.run, a.attempt, $19, a.started_at, a.duration_ms, a.outcome, a.error_code, a.message, a.http_status,
         a.retry_at, a.decided_by
  FROM unnest($20::uuid[], $21::int[], $22::int[], $23::timestamptz[], $24::bigint[], $25::text[], $26::text[],
              $27::text[], $28::int[], $29::timestamptz[], $30::text[])
       AS a(id, run, attempt, started_at, duration_ms, outcome, error_code, message, http_status, retry_at, decided_by)
  JOIN upd ON upd.id = a.id
  ON CONFLICT DO NOTHING
), evt AS (
  -- Behind an older event that is still unsent, an event belongs to the sweep, which keeps them in order.
  INSERT INTO outbox (command_id, number, routing_key, body, owner)
  SELECT e.id, e.number, e.routing_key, e.body,
         CASE WHEN EXISTS (SELECT FROM outbox x WHERE x.command_id = e.id AND x.target = '') THEN NULL ELSE $1 END
  FROM unnest($31::uuid[], $32::int[], $33::text[], $34::text[]) AS e(id, number, routing_key, body)
  JOIN upd ON upd.id = e.id
)
SELECT upd.id,
       EXISTS (SELECT FROM outbox x WHERE x.command_id = upd.id AND x.target = '') AS older_unsent
FROM upd
