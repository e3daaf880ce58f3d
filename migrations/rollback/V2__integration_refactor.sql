-- The way back: platform_name becomes integration_type again. Refused where the legacy shape has no such platform.
DO $back$
DECLARE
  unknown text;
BEGIN
  SELECT string_agg(id || ' (' || platform_name || ')', ', ' ORDER BY id) INTO unknown FROM integrations
   WHERE lower(trim(platform_name)) NOT IN ('jira','servicenow','salesforce','zendesk','github','slack','teams','zoom',
     'hubspot','freshdesk','asana','trello','webhook','email','sms');
  IF unknown IS NOT NULL THEN
    RAISE EXCEPTION 'the legacy shape does not know the platform of these integrations: %', unknown;
  END IF;
  CREATE TYPE integrationtype AS ENUM ('jira','servicenow','salesforce','zendesk','github','slack','teams','zoom',
    'hubspot','freshdesk','asana','trello','webhook','email','sms');
  ALTER TABLE integrations ADD COLUMN integration_type integrationtype;
  EXECUTE 'UPDATE integrations SET integration_type = lower(trim(platform_name))::integrationtype';
  ALTER TABLE integrations ALTER COLUMN integration_type SET NOT NULL;
  ALTER TABLE integrations RENAME COLUMN enabled TO is_enabled;
  DROP INDEX ix_integrations_integration_category, ix_integrations_platform_name;
  ALTER TABLE integrations DROP COLUMN integration_category, DROP COLUMN platform_name;
  ALTER INDEX ix_integrations_enabled RENAME TO ix_integrations_is_enabled;
  CREATE INDEX ix_integrations_integration_type ON integrations (integration_type);
  DROP TYPE integrationcategory;
END
$back$;
