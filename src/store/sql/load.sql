-- Everything dispatch needs of commands that this process has just taken.
SELECT c.id, c.type, c.organization_id, c.integration_id, c.ticket_id, c.run, c.attempt, c.events, c.fencing_token,
       c.received_at, c.expires_at, c.doubt_since, c.lookups, c.data, c.traceparent, c.tracestate,
       i.xmin::text::bigint, (o.id IS NOT NULL AND NOT o.is_deleted), COALESCE(o.is_enabled, false), c.deaths,
       c.parent, c.prepared, c.wait_reason
FROM commands c
LEFT JOIN integrations i ON i.id = c.integration_id
LEFT JOIN organizations o ON o.id = c.organization_id
WHERE c.id = ANY ($1::uuid[]) AND c.owner = $2
