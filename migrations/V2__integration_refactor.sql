-- integration_type becomes integration_category + platform_name, is_enabled becomes enabled. Nothing else changes: no
-- id, no status, no timestamp. A database that was refactored before is left alone, its leftovers cleared away.
DO $refactor$
BEGIN
IF NOT EXISTS (SELECT FROM pg_type WHERE typname = 'integrationcategory') THEN
  CREATE TYPE integrationcategory AS ENUM ('ticketing','crm','messaging','communication','project_management',
    'code_repository','webhook');
END IF;

IF EXISTS (SELECT FROM information_schema.columns WHERE table_schema = current_schema()
           AND table_name = 'integrations' AND column_name = 'integration_type') THEN
  ALTER TABLE integrations ADD COLUMN integration_category integrationcategory, ADD COLUMN platform_name varchar(50);
  EXECUTE $up$
    UPDATE integrations SET platform_name = integration_type::text, integration_category = (CASE integration_type::text
      WHEN 'jira' THEN 'ticketing' WHEN 'servicenow' THEN 'ticketing' WHEN 'zendesk' THEN 'ticketing'
      WHEN 'freshdesk' THEN 'ticketing' WHEN 'salesforce' THEN 'crm' WHEN 'hubspot' THEN 'crm'
      WHEN 'slack' THEN 'messaging' WHEN 'teams' THEN 'messaging' WHEN 'email' THEN 'communication'
      WHEN 'sms' THEN 'communication' WHEN 'zoom' THEN 'communication' WHEN 'asana' THEN 'project_management'
      WHEN 'trello' THEN 'project_management' WHEN 'github' THEN 'code_repository' WHEN 'webhook' THEN 'webhook'
    END)::integrationcategory
  $up$;
  ALTER TABLE integrations ALTER COLUMN integration_category SET NOT NULL, ALTER COLUMN platform_name SET NOT NULL;
  ALTER TABLE integrations RENAME COLUMN is_enabled TO enabled;
  CREATE INDEX ix_integrations_integration_category ON integrations (integration_category);
  CREATE INDEX ix_integrations_platform_name ON integrations (platform_name);
  DROP INDEX ix_integrations_integration_type;
  ALTER TABLE integrations DROP COLUMN integration_type;
END IF;

-- What the original refactoring left behind: the index under its old name, the type without a user.
IF to_regclass('ix_integrations_is_enabled') IS NOT NULL AND to_regclass('ix_integrations_enabled') IS NULL THEN
  ALTER INDEX ix_integrations_is_enabled RENAME TO ix_integrations_enabled;
END IF;
DROP TYPE IF EXISTS integrationtype;
END
$refactor$;
