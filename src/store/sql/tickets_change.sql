-- What update, status, assign and comment change of a ticket's row; null leaves a column as it is.
UPDATE tickets t SET
  title = COALESCE(u.title, t.title),
  description = COALESCE(u.description, t.description),
  category = COALESCE(u.category::ticketcategory, t.category),
  priority = COALESCE(u.priority::ticketpriority, t.priority),
  urgency = COALESCE(u.urgency::ticketpriority, t.urgency),
  department = COALESCE(u.department, t.department),
  custom_fields = CASE WHEN u.custom_fields IS NULL THEN t.custom_fields
                       -- The legacy application writes JSON null where there are none.
                       ELSE (CASE WHEN json_typeof(t.custom_fields) = 'object' THEN t.custom_fields::jsonb
                                  ELSE '{}' END || u.custom_fields::jsonb)::json END,
  tags = COALESCE(u.tags::jsonb, t.tags),
  status = CASE WHEN u.deletes AND t.status NOT IN ('closed', 'cancelled') THEN 'closed'
                ELSE COALESCE(u.status::ticketstatus, t.status) END,
  resolution_summary = COALESCE(u.resolution_summary, t.resolution_summary),
  internal_notes = COALESCE(u.internal_notes, t.internal_notes),
  resolved_at = CASE WHEN u.status IS NULL THEN t.resolved_at
                     WHEN u.status IN ('resolved', 'closed') THEN COALESCE(t.resolved_at, now()) END,
  closed_at = CASE WHEN u.deletes THEN COALESCE(t.closed_at, now())
                   WHEN u.status IS NULL THEN t.closed_at
                   WHEN u.status IN ('closed', 'cancelled') THEN COALESCE(t.closed_at, now()) END,
  assigned_to_id = CASE WHEN u.assigns THEN u.assigned_to ELSE t.assigned_to_id END,
  communication_count = t.communication_count + CASE WHEN u.comments THEN 1 ELSE 0 END,
  external_ticket_id = COALESCE(u.external_id, t.external_ticket_id),
  external_ticket_url = COALESCE(u.external_url, t.external_ticket_url),
  external_ref = CASE WHEN u.external_ref IS NULL THEN t.external_ref
                      ELSE COALESCE(t.external_ref, '{}') || u.external_ref::jsonb END,
  integration_result = COALESCE(u.integration_result::jsonb, t.integration_result),
  is_deleted = t.is_deleted OR u.deletes,
  deleted_at = CASE WHEN u.deletes THEN COALESCE(t.deleted_at, now()) ELSE t.deleted_at END,
  last_activity_at = now(), updated_at = now()
FROM unnest($1::change_ticket[]) AS u
JOIN commands c ON c.id = u.command_id AND c.fencing_token = u.fencing_token AND c.owner IS NULL
WHERE t.id = u.id AND t.organization_id = u.organization
