-- What a platform says of itself while it is used.
--
-- Some token endpoints say where the platform is (Salesforce's `instance_url`, Zoom's `api_url`). The address belongs to the
-- token: it is kept with it and goes with it.
ALTER TABLE integration_tokens ADD COLUMN api_base text;

-- How far an integration's sync has come. `mark` is durable: where the next run begins. All else is of the run that is under
-- way, so that another worker can go on with it: the page it is at, what it has counted, what the page before had.
CREATE TABLE integration_sync (
  integration_id uuid PRIMARY KEY,
  run            uuid,
  kind           text,
  started_at     timestamptz,
  since          timestamptz,
  mark           text,
  page           text,
  pages          integer NOT NULL DEFAULT 0,
  counts         jsonb NOT NULL DEFAULT '{}',
  tokens         bytea[],
  last_ids       bytea,
  lease_until    timestamptz
) WITH (fillfactor = 50); -- one row an integration, written a page: an update stays on its page of the table
