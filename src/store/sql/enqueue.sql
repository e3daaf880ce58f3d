-- Makes a batch of commands durable and starts those that may start at once. One statement, so one round trip and one
-- commit. A row that is not returned is a repeat, or its ticket's turn is taken: the caller tells them apart.
-- What is only stored joins at the insert: each step copies its rows.
--
-- The fence keeps the order of arrival where two workers store at once: one that was paused goes on with deliveries that the
-- broker has meanwhile given to another. Whoever comes second finds repeats. Arrivals are numbered under the fence.
WITH fence AS MATERIALIZED (
  SELECT pg_advisory_xact_lock(hashtextextended('ticketwire enqueue', 0)) AS held
), inp AS MATERIALIZED (
  SELECT u.*, nextval('command_arrivals') AS arrival
  FROM fence, unnest($1::enqueue_head[]) WITH ORDINALITY AS u(id, type, org, integ, ticket, creates, named_lane, n)
), own AS MATERIALIZED (
  SELECT i.id, i.organization_id
  FROM (SELECT DISTINCT integ FROM inp WHERE integ IS NOT NULL) named JOIN integrations i ON i.id = named.integ
), res AS MATERIALIZED (
  SELECT inp.*,
         COALESCE(inp.integ, CASE WHEN NOT inp.creates THEN t.integration_id END) AS integration,
         -- What changes or tests an integration has a lane of its own: it does not wait behind its tickets, nor for its
         -- circuit. One that names another organization's integration, or none, is in nobody's: what holds the other's
         -- commands up does not hold it up, and so tells it nothing.
         COALESCE(inp.named_lane, own.id, CASE WHEN NOT inp.creates AND inp.integ IS NULL THEN t.integration_id END) AS in_lane,
         -- A create passes those that wait for it; nothing else passes one that waits for the turn.
         (inp.ticket IS NULL OR inp.creates
          OR (t.id IS NOT NULL
              AND NOT EXISTS (SELECT FROM commands w WHERE w.organization_id = inp.org AND w.ticket_id = inp.ticket
                              AND w.state = 'pending' AND NOT w.turn))) AS ready
  -- Nobody asks for the ticket of a create, so it is not looked up.
  FROM inp LEFT JOIN own ON own.id = inp.integ AND own.organization_id = inp.org
  LEFT JOIN tickets t ON t.id = CASE WHEN NOT inp.creates THEN inp.ticket END AND t.organization_id = inp.org
       AND NOT t.is_deleted
), lanes AS MATERIALIZED (
  SELECT d.lane, i.xmin::text::bigint AS version,
         CASE WHEN c.open_until IS NOT NULL OR c.paused_until IS NOT NULL
                OR EXISTS (SELECT FROM commands b WHERE b.lane = d.lane AND b.due_at <= now())
              THEN 0 ELSE COALESCE(r.room, $5) END AS room
  FROM (SELECT DISTINCT COALESCE(in_lane, '00000000-0000-0000-0000-000000000000') AS lane FROM res) d
  LEFT JOIN integrations i ON i.id = d.lane
  LEFT JOIN integration_circuits c ON c.integration_id = d.lane
  LEFT JOIN unnest($3::uuid[], $4::int[]) AS r(lane, room) ON r.lane = d.lane
), ranked AS (
  SELECT res.*, l.lane, l.version,
         res.ready
           AND row_number() OVER (PARTITION BY l.lane ORDER BY res.ready DESC, res.n) <= l.room
           AND res.n <= $6
           -- An organization that has its share of this process's memory goes on in the ledger.
           AND NOT res.org = ANY ($8::uuid[]) AS runs
  FROM res JOIN lanes l ON l.lane = COALESCE(res.in_lane, '00000000-0000-0000-0000-000000000000')
), ins AS (
  INSERT INTO commands (id, arrival, type, organization_id, integration_id, ticket_id, state, turn, fencing_token, owner, lane,
                        due_at, retry_at, started_at, expires_at, digest, data, traceparent, tracestate)
  SELECT id, arrival, type, org, integration, ticket, CASE WHEN runs THEN 'running' ELSE 'pending' END, ready,
         CASE WHEN runs THEN 1 ELSE 0 END, CASE WHEN runs THEN $7::uuid END, lane,
         CASE WHEN ready AND NOT runs THEN now() END, CASE WHEN NOT ready THEN now() + interval '1 second' END,
         CASE WHEN runs THEN now() END, expires_at, digest, data, traceparent, tracestate
  FROM ranked JOIN unnest($2::enqueue_body[]) WITH ORDINALITY
       AS stored(digest, data, expires_at, traceparent, tracestate, parent, doubt, n) USING (n)
  ORDER BY org, ticket, id -- everybody in the same order: no deadlocks at the turn index
  ON CONFLICT DO NOTHING
  RETURNING id, state, integration_id, lane, organization_id, received_at, turn
)
SELECT ins.id, ins.state = 'running', ins.integration_id, l.version, ins.received_at,
       (o.id IS NOT NULL AND NOT o.is_deleted) AS organization_known, COALESCE(o.is_enabled, false), NOT ins.turn AS waits
FROM ins JOIN lanes l ON l.lane = ins.lane LEFT JOIN organizations o ON o.id = ins.organization_id
