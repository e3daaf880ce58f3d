-- What a sync in steps keeps beside its page: `progress` is of the run that is under way, `kept` goes from run to run.
ALTER TABLE integration_sync ADD COLUMN progress jsonb NOT NULL DEFAULT '{}';
ALTER TABLE integration_sync ADD COLUMN kept jsonb NOT NULL DEFAULT '{}';

-- What a run has seen, sixteen bytes each: hashes of items and of page tokens, and the ids of tickets. Removed when the run
-- ends. Unlogged, as losing it costs a run its certainty and no data: what it then takes for missing is asked for by id.
CREATE UNLOGGED TABLE integration_sync_seen (
  run  uuid NOT NULL,
  item bytea NOT NULL,
  PRIMARY KEY (run, item)
);
