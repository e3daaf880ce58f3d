DROP TABLE integration_sync;
ALTER TABLE integration_tokens DROP COLUMN api_base;
