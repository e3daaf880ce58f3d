DROP TABLE integration_places;
DROP TABLE integration_schedule;
ALTER TABLE integration_circuits DROP COLUMN errors;
DROP INDEX commands_children;
ALTER TABLE commands DROP COLUMN prepared;
ALTER TABLE commands DROP COLUMN parent;
ALTER TABLE integrations DROP COLUMN parked_at;
