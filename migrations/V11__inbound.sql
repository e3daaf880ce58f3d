-- The way back: what platforms tell by themselves, and what is needed to know our own echo from news.
--
-- A secret that was replaced stays good for a while, so that deliveries that are under way are not lost.
ALTER TABLE integrations ADD COLUMN webhook_secret_previous_encrypted text;
ALTER TABLE integrations ADD COLUMN webhook_secret_previous_until timestamptz;

-- What an integration's platform was found to say of itself: our account there (`account`), how far its clock is from ours
-- (`clock_skew_ms`).
CREATE TABLE integration_facts (
  integration_id uuid NOT NULL,
  name           text NOT NULL,
  value          jsonb NOT NULL,
  learned_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (integration_id, name)
);

-- Webhooks that are registered with platforms, each with its own address and, where it has one, its own secret.
CREATE TABLE integration_webhooks (
  id              uuid PRIMARY KEY,
  integration_id  uuid NOT NULL,
  external_id     text,
  resource        text,
  url             text NOT NULL,
  secret_sealed   text,
  previous_sealed text,
  previous_until  timestamptz,
  state           text NOT NULL CHECK (state IN ('awaiting', 'active', 'failing', 'disabled', 'gone')),
  awaiting_until  timestamptz,
  expires_at      timestamptz,
  last_seen_at    timestamptz,
  last_error      text,
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX integration_webhooks_of ON integration_webhooks (integration_id);
CREATE INDEX integration_webhooks_updated ON integration_webhooks (updated_at);

-- Changes that were taken, so that none has its effect twice. The id is derived from the integration and the platform's own
-- id of the change. Old ones are removed by a walk over the pages (`retention.inbound`), as finished commands are.
CREATE TABLE inbound_changes (
  id             uuid PRIMARY KEY,
  integration_id uuid NOT NULL,
  ticket_id      uuid,
  command_id     uuid,
  verdict        text NOT NULL,
  seen_at        timestamptz NOT NULL DEFAULT now()
);

-- A ticket's item as its platform was last known to hold it. `base` has, by field, the value in the platform's words, the
-- moment by the platform's clock, and whose it is. `written_at` is ours: what was asked for before it says nothing.
CREATE TABLE ticket_externals (
  ticket_id       uuid PRIMARY KEY,
  organization_id uuid NOT NULL,
  integration_id  uuid NOT NULL,
  external_id     text NOT NULL,
  stable_id       text,
  version         text,
  base            jsonb NOT NULL DEFAULT '{}',
  written_at      timestamptz NOT NULL DEFAULT now(),
  gone            text CHECK (gone IN ('deleted', 'merged', 'moved')),
  gone_at         timestamptz
) WITH (fillfactor = 70);
CREATE INDEX ticket_externals_external ON ticket_externals (integration_id, external_id);
CREATE INDEX ticket_externals_stable ON ticket_externals (integration_id, stable_id) WHERE stable_id IS NOT NULL;

-- Comments of a ticket's item: ours, so that they are known when they come back, and those of others with their text.
CREATE TABLE ticket_comments (
  integration_id      uuid NOT NULL,
  external_comment_id text NOT NULL,
  ticket_id           uuid,
  organization_id     uuid NOT NULL,
  origin              text NOT NULL CHECK (origin IN ('ours', 'theirs')),
  command_id          uuid,
  author_id           text,
  author_name         text,
  public              boolean,
  body                text,
  body_digest         bytea,
  created_at          timestamptz,
  changed_at          timestamptz,
  deleted_at          timestamptz,
  seen_at             timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (integration_id, external_comment_id)
);
CREATE INDEX ticket_comments_ticket ON ticket_comments (ticket_id, created_at);

-- A third task: webhooks are checked, and renewed before they expire. NOT VALID, as the rows there are known to be sound,
-- and a check of them would hold the table.
ALTER TABLE integration_schedule DROP CONSTRAINT integration_schedule_task_check;
ALTER TABLE integration_schedule ADD CONSTRAINT integration_schedule_task_check
  CHECK (task IN ('health', 'sync', 'webhook')) NOT VALID;

-- What settling a command writes of its item, beside `settle_command`; see V7 for why it is a type.
CREATE TYPE settle_external AS (
  command_id uuid, fencing_token integer, ticket_id uuid, organization uuid, integration uuid, external_id text,
  stable_id text, base text, comment_id text, public boolean, body_digest bytea
);
