-- What the whole life of integrations and the rest of the ticket commands need.

-- Since when an integration's commands wait for its credential to be mended.
ALTER TABLE integrations ADD COLUMN parked_at timestamptz;

-- Of a child of ticket.bulk_update, its parent; of ticket.ai_create, what the analysis made of it, so that every
-- attempt creates the same ticket.
ALTER TABLE commands ADD COLUMN parent uuid;
ALTER TABLE commands ADD COLUMN prepared text;
CREATE INDEX commands_children ON commands (parent) WHERE parent IS NOT NULL;

-- Failures in a row for a reason of the integration's own, refused credentials among them; the circuit counts only
-- those that time may heal.
ALTER TABLE integration_circuits ADD COLUMN errors integer NOT NULL DEFAULT 0;

-- When each integration is checked and synced next; the lease keeps it to one worker at a time.
CREATE TABLE integration_schedule (
  integration_id uuid NOT NULL,
  task           text NOT NULL CHECK (task IN ('health', 'sync')),
  due_at         timestamptz NOT NULL,
  lease_until    timestamptz,
  PRIMARY KEY (integration_id, task)
) WITH (fillfactor = 50);
CREATE INDEX integration_schedule_due ON integration_schedule (due_at);

-- The places of the integrations with a rate_limit_per_hour, handed out one after the other: place n is an hour after
-- place n - limit at the earliest.
CREATE TABLE integration_places (
  integration_id uuid NOT NULL,
  place          bigint NOT NULL,
  at             timestamptz NOT NULL,
  PRIMARY KEY (integration_id, place)
);
