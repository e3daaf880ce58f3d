-- The ticket rows of creates. A ticket that exists unbound is bound; what the legacy application supplied as defaults
-- is supplied here, as its table has none.
INSERT INTO tickets (id, organization_id, title, description, status, priority, category, urgency, department,
  created_by_id, assigned_to_id, integration_id, external_ticket_id, external_ticket_url, integration_result,
  external_ref, custom_fields, tags, ai_confidence_score, ai_reasoning, ai_tags, ai_keywords, source_channel, business_impact, communication_count, escalation_level,
  sla_breached, last_activity_at, created_at, updated_at, is_deleted)
SELECT u.id, u.org, u.title, u.description, 'new', u.priority::ticketpriority, u.category::ticketcategory,
  u.urgency::ticketpriority, u.department, u.created_by, u.assigned_to, u.integration, u.external_id, u.external_url,
  u.integration_result::jsonb, u.external_ref::jsonb, u.custom_fields::json, u.tags::jsonb,
  u.analysis::json ->> 'confidence', u.analysis::json ->> 'reasoning', u.analysis::json -> 'tags',
  u.analysis::json -> 'keywords', 'api', 'low', 0, 0, false,
  now(), now(), now(), false
FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::uuid[], $12::uuid[], $13::uuid[], $14::text[], $15::text[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::text[])
     AS u(command_id, take, id, org, title, description, priority, category, urgency, department, created_by,
          assigned_to, integration, external_id, external_url, integration_result, external_ref, custom_fields, tags, analysis)
JOIN commands c ON c.id = u.command_id AND c.take = u.take AND c.owner IS NULL
ON CONFLICT (id) DO UPDATE SET
  integration_id = COALESCE(excluded.integration_id, tickets.integration_id),
  external_ticket_id = COALESCE(excluded.external_ticket_id, tickets.external_ticket_id),
  external_ticket_url = COALESCE(excluded.external_ticket_url, tickets.external_ticket_url),
  integration_result = COALESCE(excluded.integration_result, tickets.integration_result),
  external_ref = COALESCE(excluded.external_ref, tickets.external_ref),
  last_activity_at = now(), updated_at = now()
WHERE tickets.organization_id = excluded.organization_id AND tickets.external_ticket_id IS NULL
