-- The ledger: what the worker needs besides the tables it adopts. Expand only: the legacy application's reads go on.

-- What is not secret of an integration (project, channel, list). Secrets stay in credentials_encrypted.
ALTER TABLE integrations ADD COLUMN settings jsonb;

-- A worker cannot know the people of every application that publishes commands, so a ticket may have an author or an
-- assignee that `users` does not hold.
ALTER TABLE tickets ALTER COLUMN created_by_id DROP NOT NULL;
ALTER TABLE tickets DROP CONSTRAINT IF EXISTS tickets_created_by_id_fkey;
ALTER TABLE tickets DROP CONSTRAINT IF EXISTS tickets_assigned_to_id_fkey;
ALTER TABLE tickets ADD COLUMN integration_result jsonb;
-- What an adapter wants to see again of its item, e.g. the numeric Jira id that survives a move between projects.
ALTER TABLE tickets ADD COLUMN external_ref jsonb;
ALTER TABLE tickets ADD COLUMN tags jsonb;

-- Arrival order: identity values would be given in insertion order, which is sorted against deadlocks.
CREATE SEQUENCE command_arrivals AS bigint;

CREATE TABLE commands (
  id              uuid PRIMARY KEY,
  arrival         bigint NOT NULL,
  type            text NOT NULL,
  organization_id uuid NOT NULL,
  integration_id  uuid,
  ticket_id       uuid,
  state           text NOT NULL CHECK (state IN ('pending','running','deferred','succeeded','failed','cancelled')),
  -- Holds its ticket's turn: commands of one ticket take effect one after the other. True where there is no ticket.
  turn            boolean NOT NULL,
  run             integer NOT NULL DEFAULT 1,
  attempt         integer NOT NULL DEFAULT 0,
  -- Events numbered so far; an event's id is derived from its number.
  events          integer NOT NULL DEFAULT 0,
  -- Counts each time a process took it: with the owner, the fence of its settlement.
  take            integer NOT NULL DEFAULT 0,
  -- The incarnation of the process that runs it.
  owner           uuid,
  -- The lane it waits in (its integration, or the nil UUID) and when it may run; NULL while it runs, waits for its
  -- turn or is finished.
  lane            uuid NOT NULL,
  due_at          timestamptz,
  -- When it runs next, for people; of a command that waits for its turn, when that is looked at again.
  retry_at        timestamptz,
  -- Which setting, header or gate decided retry_at.
  decided_by      text,
  received_at     timestamptz NOT NULL DEFAULT now(),
  started_at      timestamptz,
  finished_at     timestamptz,
  expires_at      timestamptz,
  error_code      text,
  error           text,
  -- Since when an attempt of unknown outcome stands behind it: the moment its request can last have been sent.
  doubt_since     timestamptz,
  lookups         integer NOT NULL DEFAULT 0,
  -- It was running when its process died, so it runs alone next; and how often a process died while it ran alone.
  suspect         boolean NOT NULL DEFAULT false,
  alone           boolean NOT NULL DEFAULT false,
  deaths          integer NOT NULL DEFAULT 0,
  -- Of type, organization and data, secrets by keyed hash: tells a repeat from another command under the same id.
  digest          bytea NOT NULL,
  -- As sent, secrets sealed. Text, not jsonb: what the producer wrote is kept, and nothing in it can fail a batch.
  data            text NOT NULL,
  traceparent     text,
  tracestate      text,
  -- The final event, so that a repeat is answered with the first outcome.
  final_event     text,
  final_key       text
) WITH (fillfactor = 85);

-- One command a ticket holds the turn; the index is what two workers that insert neighbours at once meet at.
CREATE UNIQUE INDEX commands_turn ON commands (organization_id, ticket_id) WHERE turn AND ticket_id IS NOT NULL;
CREATE INDEX commands_due ON commands (lane, due_at, arrival) WHERE due_at IS NOT NULL;
CREATE INDEX commands_waiting ON commands (organization_id, ticket_id, arrival) WHERE state = 'pending' AND NOT turn;
CREATE INDEX commands_waiting_check ON commands (retry_at) WHERE state = 'pending' AND NOT turn;
CREATE INDEX commands_running ON commands (owner) WHERE state = 'running';
CREATE INDEX commands_received ON commands USING brin (received_at) WITH (autosummarize = on);

CREATE TABLE command_attempts (
  command_id   uuid NOT NULL,
  run          integer NOT NULL,
  attempt      integer NOT NULL,
  worker       text NOT NULL,
  started_at   timestamptz NOT NULL,
  duration_ms  bigint NOT NULL,
  outcome      text NOT NULL,
  error_code   text,
  message      text,
  http_status  integer,
  retry_at     timestamptz,
  decided_by   text,
  PRIMARY KEY (command_id, run, attempt)
);

-- Whoever waits for a command's final event.
CREATE TABLE command_replies (
  command_id     uuid NOT NULL,
  reply_to       text NOT NULL,
  correlation_id text NOT NULL DEFAULT '',
  PRIMARY KEY (command_id, reply_to, correlation_id)
);

-- Events between the commit and the broker's confirm.
CREATE TABLE outbox (
  command_id     uuid NOT NULL,
  number         integer NOT NULL,
  -- '' is the events exchange, else a reply queue.
  target         text NOT NULL DEFAULT '',
  correlation_id text NOT NULL DEFAULT '',
  routing_key    text NOT NULL,
  body           text NOT NULL,
  -- The incarnation that will publish it from memory; others leave it alone while that process lives.
  owner          uuid,
  created_at     timestamptz NOT NULL DEFAULT now(),
  due_at         timestamptz NOT NULL DEFAULT now(),
  tries          integer NOT NULL DEFAULT 0,
  PRIMARY KEY (command_id, number, target, correlation_id)
);

CREATE TABLE dead_letters (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  received_at     timestamptz NOT NULL DEFAULT now(),
  reason          text NOT NULL,
  message         text NOT NULL,
  command_id      uuid,
  organization_id uuid,
  origin          text,
  routing_key     text NOT NULL,
  headers         jsonb NOT NULL DEFAULT '{}',
  content_type    text,
  payload         text NOT NULL,
  -- What makes a redelivery of the same message the same row.
  fingerprint     bytea NOT NULL UNIQUE
);
CREATE INDEX dead_letters_received ON dead_letters (received_at);
CREATE INDEX dead_letters_command ON dead_letters (command_id);

-- One row a worker id; the incarnation names the process that holds it. The lease is the worker's, so renewing it is
-- one row however many commands it runs.
CREATE TABLE workers (
  id          text PRIMARY KEY,
  incarnation uuid NOT NULL UNIQUE,
  started_at  timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz NOT NULL,
  version     text NOT NULL
);

-- Usage in narrow rows per worker, folded into the wide integrations row every few seconds.
CREATE TABLE integration_usage (
  integration_id     uuid NOT NULL,
  worker             text NOT NULL,
  total              bigint NOT NULL DEFAULT 0,
  succeeded          bigint NOT NULL DEFAULT 0,
  failed             bigint NOT NULL DEFAULT 0,
  last_request_at    timestamptz,
  last_success_at    timestamptz,
  last_error_at      timestamptz,
  last_error_message text,
  PRIMARY KEY (integration_id, worker)
) WITH (fillfactor = 50);

-- Circuit state, shared by all workers. No row: closed, nothing failed lately.
CREATE TABLE integration_circuits (
  integration_id uuid PRIMARY KEY,
  failures       integer NOT NULL DEFAULT 0,
  open_until     timestamptz,
  probe_until    timestamptz
) WITH (fillfactor = 50);

-- Access tokens, sealed; the refresh token is the latest where a platform rotates them.
CREATE TABLE integration_tokens (
  integration_id uuid PRIMARY KEY,
  access_sealed  text NOT NULL,
  refresh_sealed text,
  expires_at     timestamptz NOT NULL
);
CREATE INDEX commands_suspect ON commands (due_at) WHERE suspect AND due_at IS NOT NULL;
