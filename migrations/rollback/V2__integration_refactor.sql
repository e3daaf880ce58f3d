-- The way back: platform_name becomes integration_type again, whatever its case and the blanks around it. What the legacy
-- shape cannot hold was refused before. A type of this name that is there already (the original refactoring left it)
-- is used.
DO $back$
BEGIN
  IF to_regtype('integrationtype') IS NULL THEN
    CREATE TYPE integrationtype AS ENUM ('jira','servicenow','salesforce','zendesk','github','slack','teams','zoom',
      'hubspot','freshdesk','asana','trello','webhook','email','sms');
  END IF;
  ALTER TABLE integrations ADD COLUMN integration_type integrationtype;
  EXECUTE $fill$
    UPDATE integrations SET integration_type = lower(btrim(platform_name, E' \t\r\n'))::integrationtype
  $fill$;
  ALTER TABLE integrations ALTER COLUMN integration_type SET NOT NULL;
  ALTER TABLE integrations RENAME COLUMN enabled TO is_enabled;
  -- The indexes on them go along with the columns.
  ALTER TABLE integrations DROP COLUMN integration_category, DROP COLUMN platform_name;
  IF to_regclass('ix_integrations_is_enabled') IS NULL THEN
    IF to_regclass('ix_integrations_enabled') IS NOT NULL THEN
      ALTER INDEX ix_integrations_enabled RENAME TO ix_integrations_is_enabled;
    ELSE
      CREATE INDEX ix_integrations_is_enabled ON integrations (is_enabled);
    END IF;
  END IF;
  CREATE INDEX ix_integrations_integration_type ON integrations (integration_type);
  BEGIN
    DROP TYPE integrationcategory;
  EXCEPTION WHEN dependent_objects_still_exist THEN
    -- Somebody else uses it by now; up takes it as it is.
    NULL;
  END;
END
$back$;
