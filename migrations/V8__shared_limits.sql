-- Limits that all workers share.
--
-- A platform that refuses by budget (429) pauses its integration for every worker until `paused_until`. The column stays set
-- until a request is answered after that moment: until then one worker at a time sends one request, as for a circuit that is
-- half open. `pauses` counts the refusals in a row.
ALTER TABLE integration_circuits ADD COLUMN paused_until timestamptz;
ALTER TABLE integration_circuits ADD COLUMN paused_by text;
ALTER TABLE integration_circuits ADD COLUMN pauses integer NOT NULL DEFAULT 0;

-- Who refreshes an integration's access token now. A row, not a lock: a lock would hold a connection while the platform's
-- token endpoint is waited for, and an endpoint that hangs would use up the pool.
CREATE TABLE integration_token_leases (
  integration_id uuid PRIMARY KEY,
  holder         uuid NOT NULL,
  lease_until    timestamptz NOT NULL
);

-- `claim_head` with the lane that the message itself decides. That type stays: a worker of the version before may still be
-- running.
CREATE TYPE enqueue_head AS (
  id uuid, type text, organization uuid, integration uuid, ticket uuid, creates boolean, lane uuid
);
