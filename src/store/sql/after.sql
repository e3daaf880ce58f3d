-- What follows from a settlement, in its transaction and after it, so that it sees what was inserted while the rows were
-- waited for: turns are passed on (`pass_turns.sql`), and the waiting callers of finished commands go out of
-- `command_replies` into the outbox.
WITH passed AS (
  UPDATE commands c SET turn = true, due_at = now(), retry_at = NULL
  FROM unnest($1::uuid[], $2::uuid[]) AS u(org, ticket)
  CROSS JOIN LATERAL (
    SELECT w.id FROM commands w
    WHERE w.organization_id = u.org AND w.ticket_id = u.ticket AND w.state = 'pending' AND NOT w.turn
      AND (w.type IN ('ticket.create', 'ticket.ai_create') OR w.received_at < now() - interval '30 seconds'
           OR EXISTS (SELECT FROM tickets t WHERE t.id = u.ticket AND t.organization_id = u.org AND NOT t.is_deleted))
    ORDER BY w.arrival LIMIT 1
  ) n
  WHERE c.id = n.id
    AND NOT EXISTS (SELECT FROM commands h WHERE h.organization_id = u.org AND h.ticket_id = u.ticket AND h.turn)
  RETURNING c.id
), gone AS (
  DELETE FROM command_replies r USING commands c
  WHERE r.command_id = ANY($3) AND c.id = r.command_id AND c.final_event IS NOT NULL
  RETURNING r.command_id, c.events, r.reply_to, r.correlation_id, c.final_event
), sent AS (
  INSERT INTO outbox (command_id, number, target, correlation_id, routing_key, body, owner)
  SELECT command_id, events, reply_to, correlation_id, reply_to, final_event, $4 FROM gone
  ON CONFLICT DO NOTHING
  RETURNING command_id, number, target, correlation_id, body
)
SELECT s.command_id, s.number, s.target, s.correlation_id, s.body, p.turns
FROM (SELECT count(*) AS turns FROM passed) p LEFT JOIN sent s ON true
