DROP TABLE integration_sync_seen;
ALTER TABLE integration_sync DROP COLUMN kept;
ALTER TABLE integration_sync DROP COLUMN progress;
