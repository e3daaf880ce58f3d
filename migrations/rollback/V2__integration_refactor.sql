-- The way back: platform_name becomes integration_type again, whatever its case and the blanks around it. What the legacy
-- shape cannot hold was refused before. A type of this name that is there already (the original refactoring left it)
-- is used. The column changes its type rather than giving way to another: that writes the table once, and holds up its
-- readers for a quarter of the time.
DO $back$
BEGIN
  IF to_regtype('integrationtype') IS NULL THEN
    CREATE TYPE integrationtype AS ENUM ('jira','servicenow','salesforce','zendesk','github','slack','teams','zoom',
      'hubspot','freshdesk','asana','trello','webhook','email','sms');
  END IF;
  ALTER TABLE integrations DROP COLUMN integration_category,
    ALTER COLUMN platform_name TYPE integrationtype USING lower(btrim(platform_name, E' \t\r\n'))::integrationtype,
    ALTER COLUMN platform_name SET NOT NULL;
  ALTER TABLE integrations RENAME COLUMN platform_name TO integration_type;
  ALTER TABLE integrations RENAME COLUMN enabled TO is_enabled;
  IF to_regclass('ix_integrations_platform_name') IS NOT NULL THEN
    ALTER INDEX ix_integrations_platform_name RENAME TO ix_integrations_integration_type;
  ELSE
    CREATE INDEX ix_integrations_integration_type ON integrations (integration_type);
  END IF;
  IF to_regclass('ix_integrations_is_enabled') IS NULL THEN
    IF to_regclass('ix_integrations_enabled') IS NOT NULL THEN
      ALTER INDEX ix_integrations_enabled RENAME TO ix_integrations_is_enabled;
    ELSE
      CREATE INDEX ix_integrations_is_enabled ON integrations (is_enabled);
    END IF;
  END IF;
  BEGIN
    DROP TYPE integrationcategory;
  EXCEPTION WHEN dependent_objects_still_exist THEN
    -- Somebody else uses it by now; up takes it as it is.
    NULL;
  END;
END
$back$;
