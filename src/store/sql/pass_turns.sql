-- Gives each ticket's turn, where nobody holds it, to the earliest command that can use it: a create, or any once the
-- ticket is known. Runs after the release, so that it sees what was inserted while that waited.
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
  -- Somebody else may be giving the same one the turn; whoever comes second looks at the row as it is then, and only at the row:
  -- it may be running by now, or be cancelled. (Not by its state, which would only invite the planner to walk commands_waiting.)
  AND NOT c.turn AND c.finished_at IS NULL
  AND NOT EXISTS (SELECT FROM commands h WHERE h.organization_id = u.org AND h.ticket_id = u.ticket AND h.turn)
