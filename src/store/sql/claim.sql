-- Starts due commands, oldest first, fair by lane: each lane gives at most its room, a lane whose circuit is open or whose
-- integration is paused gives nothing, one that is half open gives the one probe the caller won. Skips what others are
-- taking, and organizations that have their share of this process's memory.
WITH RECURSIVE found(lane) AS (
  (SELECT lane FROM commands WHERE due_at IS NOT NULL ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT c.lane FROM commands c WHERE c.due_at IS NOT NULL AND c.lane > f.lane ORDER BY c.lane LIMIT 1)
  FROM found f WHERE f.lane IS NOT NULL
), lanes AS (
  SELECT f.lane, CASE WHEN k.open_until IS NULL AND k.paused_until IS NULL THEN COALESCE(r.room, $3)
                      WHEN f.lane = ANY ($6::uuid[]) THEN LEAST(1, COALESCE(r.room, $3))
                      ELSE 0 END AS room
  FROM found f
  LEFT JOIN unnest($1::uuid[], $2::int[]) AS r(lane, room) ON r.lane = f.lane
  LEFT JOIN integration_circuits k ON k.integration_id = f.lane
  WHERE f.lane IS NOT NULL
), picked AS (
  SELECT p.id FROM lanes l CROSS JOIN LATERAL (
    SELECT c.id, c.due_at FROM commands c
    WHERE c.lane = l.lane AND c.due_at <= now() AND NOT c.poison_candidate
      AND NOT c.organization_id = ANY ($7::uuid[])
    ORDER BY c.due_at, c.arrival LIMIT l.room
    FOR UPDATE SKIP LOCKED
  ) p WHERE l.room > 0
  ORDER BY p.due_at LIMIT $4
)
-- wait_reason stays: who comes back for a place that was reserved must be known again.
UPDATE commands c SET state = 'running', owner = $5, fencing_token = c.fencing_token + 1, due_at = NULL, retry_at = NULL,
       started_at = now()
-- By an array, not by a join: the look-up by key is then the only plan there is.
WHERE c.id = ANY (ARRAY(SELECT id FROM picked))
RETURNING c.id
