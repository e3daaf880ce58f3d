-- The waiting callers of finished commands go out of `command_replies` into the outbox. Continues a statement that has
-- passed turns on before (`passed`), and tells how many.
gone AS (
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
