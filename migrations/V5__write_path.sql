-- What a command costs to write: the foreign keys of its ticket, checked row by row, the text index, and its event, stored
-- a second time in the outbox, were half of PostgreSQL's share (docs/adr/0009).

-- The words of title and description where the worker has split them, else NULL: then the text index has PostgreSQL do it.
ALTER TABLE tickets ADD COLUMN words tsvector;

-- Whoever changes the text without the words, as the legacy application does, leaves no wrong words behind.
CREATE OR REPLACE FUNCTION ticketwire_forget_words() RETURNS trigger LANGUAGE plpgsql AS $forget$ BEGIN
  NEW.words := NULL;
  RETURN NEW;
END $forget$;
CREATE TRIGGER ticketwire_forget_words BEFORE UPDATE OF title, description, organization_id ON tickets
  FOR EACH ROW WHEN (OLD.words IS NOT NULL
    AND (OLD.title, OLD.description, OLD.organization_id) IS DISTINCT FROM (NEW.title, NEW.description, NEW.organization_id))
  EXECUTE FUNCTION ticketwire_forget_words();

-- The claim has looked both up, and neither is ever deleted but by `ticketwire erase`. What the keys kept from happening
-- beside us, the deletion of a row that tickets refer to, is kept from happening still.
ALTER TABLE tickets DROP CONSTRAINT IF EXISTS tickets_integration_id_fkey;
ALTER TABLE tickets DROP CONSTRAINT IF EXISTS tickets_organization_id_fkey;
CREATE OR REPLACE FUNCTION ticketwire_keep_referenced() RETURNS trigger LANGUAGE plpgsql AS $keep$ BEGIN
  IF (TG_TABLE_NAME = 'integrations' AND EXISTS (SELECT FROM tickets WHERE integration_id = OLD.id))
     OR (TG_TABLE_NAME = 'organizations' AND EXISTS (SELECT FROM tickets WHERE organization_id = OLD.id)) THEN
    RAISE foreign_key_violation USING
      MESSAGE = format('delete on table "%s": tickets still refer to %s', TG_TABLE_NAME, OLD.id), TABLE = 'tickets';
  END IF;
  RETURN OLD;
END $keep$;
CREATE TRIGGER ticketwire_keep_referenced BEFORE DELETE ON integrations
  FOR EACH ROW EXECUTE FUNCTION ticketwire_keep_referenced();
CREATE TRIGGER ticketwire_keep_referenced BEFORE DELETE ON organizations
  FOR EACH ROW EXECUTE FUNCTION ticketwire_keep_referenced();

-- Commands whose only event so far is their final one and is not confirmed yet, a row a settlement: the event itself is
-- in `commands`. All other events are rows of `outbox`.
CREATE TABLE outbox_batches (
  id          uuid PRIMARY KEY,
  command_ids uuid[] NOT NULL,
  -- As in `outbox`.
  owner       uuid,
  created_at  timestamptz NOT NULL DEFAULT now(),
  due_at      timestamptz NOT NULL DEFAULT now(),
  tries       integer NOT NULL DEFAULT 0
);
CREATE OR REPLACE VIEW unsent_events AS
  SELECT command_id, number, target, created_at, tries FROM outbox
  UNION ALL SELECT unnest(command_ids), 1, '', created_at, tries FROM outbox_batches;
