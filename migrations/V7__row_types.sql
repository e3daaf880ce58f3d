-- The rows that the pipeline hands PostgreSQL, a batch as one array of each. An array a column, as before, costs PostgreSQL
-- a tuple store a column, whatever the batch's size: more than the claim or the settlement of one command itself
-- (docs/adr/0010). No table is made of them. A later version that needs other rows makes types under other names: a worker
-- of this version may still be running.
CREATE TYPE claim_head AS (
  id uuid, type text, organization uuid, integration uuid, ticket uuid, creates boolean
);
CREATE TYPE claim_body AS (
  digest bytea, data text, expires_at timestamptz, traceparent text, tracestate text, parent uuid, doubt_since timestamptz
);
CREATE TYPE settle_command AS (
  id uuid, take integer, state text, attempt integer, events integer, due_at timestamptz, decided_by text, error_code text,
  error text, doubt_since timestamptz, lookups integer, final_event text, final_key text, finished boolean, waits boolean,
  ran boolean, integration uuid, earlier boolean, sole boolean
);
CREATE TYPE settle_attempt AS (
  id uuid, run integer, attempt integer, started_at timestamptz, duration_ms bigint, outcome text, error_code text,
  message text, http_status integer, retry_at timestamptz, decided_by text
);
CREATE TYPE settle_usage AS (
  id uuid, succeeded bigint, failed bigint, last_error text
);
CREATE TYPE settle_event AS (
  id uuid, number integer, routing_key text, body text
);
CREATE TYPE settle_ticket AS (
  command_id uuid, id uuid, organization uuid, title text, description text, priority text, category text, urgency text,
  department text, created_by uuid, assigned_to uuid, integration uuid, external_id text, external_url text,
  integration_result text, external_ref text, custom_fields text, tags text, analysis text, words tsvector
);
CREATE TYPE change_ticket AS (
  command_id uuid, take integer, id uuid, organization uuid, title text, description text, category text, priority text,
  urgency text, department text, custom_fields text, tags text, status text, resolution_summary text, internal_notes text,
  assigns boolean, assigned_to uuid, comments boolean, external_id text, external_url text, external_ref text,
  integration_result text, deletes boolean
);
