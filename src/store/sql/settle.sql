-- Settles a batch of attempts: command, attempt row, usage, events, the ticket rows of creates. Fenced: a command that somebody
-- else has meanwhile taken over is not touched and not returned, and neither is anything that hangs on it.
--
-- What stands between --[ and --] is left out where all are first tries (`FIRST_TRIES` in settle/mod.rs): there is nothing yet that
-- it could find, and to look for it is a tenth of what a settlement costs.
WITH upd AS (
  UPDATE commands c SET
    state = i.state, attempt = i.attempt, events = i.events, owner = NULL,
    turn = NOT (i.finished OR i.waits),
    due_at = CASE WHEN i.finished OR i.waits THEN NULL ELSE i.due_at END,
    retry_at = CASE WHEN i.finished THEN NULL WHEN i.waits OR i.state = 'deferred' THEN i.due_at END,
    wait_reason = i.wait_reason, wait_detail = i.wait_detail, error_code = i.error_code, error = i.error,
    doubt_since = i.doubt_since, lookups = i.lookups,
    finished_at = CASE WHEN i.finished THEN now() END,
    integration_id = COALESCE(i.integration, c.integration_id),
    lane = CASE WHEN c.type LIKE 'integration.%' THEN c.lane ELSE COALESCE(i.integration, c.lane) END,
    final_event = i.final_event, final_key = i.final_key,
    poison_candidate = c.poison_candidate AND NOT i.ran, isolated = c.isolated AND NOT i.ran
  FROM unnest($3::settle_command[]) AS i
  -- Whoever has an owner is running; saying so would only invite the planner to walk commands_running.
  WHERE c.id = i.id AND c.owner = $1 AND c.fencing_token = i.fencing_token
  RETURNING c.id, i.earlier, i.single_event
), att AS (
  INSERT INTO command_attempts (command_id, run, attempt, worker, started_at, duration_ms, outcome, error_code, message,
                                http_status, retry_at, wait_reason, wait_detail)
  SELECT a.id, a.run, a.attempt, $2, a.started_at, a.duration_ms, a.outcome, a.error_code, a.message, a.http_status,
         a.retry_at, a.wait_reason, a.wait_detail
  FROM unnest($4::settle_attempt[]) AS a JOIN upd ON upd.id = a.id
--[
  ON CONFLICT DO NOTHING
--]
), usd AS (
  -- One narrow row per worker and integration, written once a batch. Not fenced, what was sent was sent; but a batch that
  -- is written again, as the answer to its commit was lost, and finds nothing left to settle, was counted then.
  INSERT INTO integration_usage AS n (integration_id, worker, total, succeeded, failed, last_request_at,
                                      last_success_at, last_error_at, last_error_message)
  SELECT u.id, $2, u.succeeded + u.failed, u.succeeded, u.failed, now(), CASE WHEN u.succeeded > 0 THEN now() END,
         CASE WHEN u.failed > 0 THEN now() END, u.last_error
  FROM unnest($5::settle_usage[]) AS u
--[
  WHERE NOT $9 OR EXISTS (SELECT FROM upd)
--]
  ORDER BY u.id
  ON CONFLICT (integration_id, worker) DO UPDATE SET total = n.total + excluded.total,
    succeeded = n.succeeded + excluded.succeeded, failed = n.failed + excluded.failed,
    last_request_at = excluded.last_request_at,
    last_success_at = COALESCE(excluded.last_success_at, n.last_success_at),
    last_error_at = COALESCE(excluded.last_error_at, n.last_error_at),
    last_error_message = COALESCE(excluded.last_error_message, n.last_error_message)
), bat AS (
  -- Most have one event, the final one: it is in the command's row, so the outbox need only name those rows.
  INSERT INTO outbox_batches (id, owner, command_ids)
  SELECT $6, $1, array_agg(upd.id) FROM upd WHERE upd.single_event HAVING count(*) > 0
--[
), evt AS (
  -- Behind an older event that is still unsent, an event belongs to the sweep, which keeps them in order. Who has had
  -- none before is not looked up.
  INSERT INTO outbox (command_id, number, routing_key, body, owner)
  SELECT e.id, e.number, e.routing_key, e.body,
         CASE WHEN upd.earlier AND EXISTS (SELECT FROM outbox x WHERE x.command_id = e.id AND x.target = '') THEN NULL
              ELSE $1 END
  FROM unnest($8::settle_event[]) AS e JOIN upd ON upd.id = e.id
--]
), tik AS (
  -- A ticket that exists unbound is bound; what the legacy application supplied as defaults is supplied here, as its
  -- table has none.
  INSERT INTO tickets (id, organization_id, title, description, status, priority, category, urgency, department,
    created_by_id, assigned_to_id, integration_id, external_ticket_id, external_ticket_url, integration_result,
    external_ref, custom_fields, tags, ai_confidence_score, ai_reasoning, ai_tags, ai_keywords, source_channel,
    business_impact, communication_count, escalation_level, sla_breached, last_activity_at, created_at, updated_at,
    is_deleted, words)
  SELECT u.id, u.organization, u.title, u.description, 'new', u.priority::ticketpriority, u.category::ticketcategory,
    u.urgency::ticketpriority, u.department, u.created_by, u.assigned_to, u.integration, u.external_id, u.external_url,
    u.integration_result::jsonb, u.external_ref::jsonb, u.custom_fields::json, u.tags::jsonb,
    u.analysis::json ->> 'confidence', u.analysis::json ->> 'reasoning', u.analysis::json -> 'tags',
    u.analysis::json -> 'keywords', 'api', 'low', 0, 0, false,
    now(), now(), now(), false, u.words
  FROM unnest($7::settle_ticket[]) AS u JOIN upd ON upd.id = u.command_id
--[
  ON CONFLICT (id) DO UPDATE SET
    integration_id = COALESCE(excluded.integration_id, tickets.integration_id),
    external_ticket_id = COALESCE(excluded.external_ticket_id, tickets.external_ticket_id),
    external_ticket_url = COALESCE(excluded.external_ticket_url, tickets.external_ticket_url),
    integration_result = COALESCE(excluded.integration_result, tickets.integration_result),
    external_ref = COALESCE(excluded.external_ref, tickets.external_ref),
    last_activity_at = now(), updated_at = now()
  WHERE tickets.organization_id = excluded.organization_id AND tickets.external_ticket_id IS NULL
--]
  RETURNING tickets.id
)
SELECT upd.id
--[
       , upd.earlier AND EXISTS (SELECT FROM outbox x WHERE x.command_id = upd.id AND x.target = '') AS older_unsent
       -- Divides by zero, and so is refused, where a ticket's row was to be made whose id another organization has: "no row
       -- was made" is told apart from "a row was there".
       , 1 / CASE WHEN asked.id IS NULL OR tik.id IS NOT NULL OR t.id IS NOT NULL THEN 1 ELSE 0 END AS kept
--]
FROM upd
--[
LEFT JOIN (SELECT u.command_id, u.id, u.organization FROM unnest($7::settle_ticket[]) AS u) asked ON asked.command_id = upd.id
LEFT JOIN tik ON tik.id = asked.id
LEFT JOIN tickets t ON t.id = asked.id AND t.organization_id = asked.organization
--]
