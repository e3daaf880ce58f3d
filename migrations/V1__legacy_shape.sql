-- The legacy shape: the tables of the application whose database is adopted (its schema revision a1b2c3d4e5f6). Made
-- only where it is not there already, so that an existing database is taken over, not rebuilt.
DO $shape$
BEGIN
IF to_regclass('integrations') IS NOT NULL THEN
  RAISE NOTICE 'table integrations exists: the database is adopted as it is';
  RETURN;
END IF;

CREATE TYPE integrationtype AS ENUM (
  'jira','servicenow','salesforce','zendesk','github',
  'slack','teams','zoom','hubspot','freshdesk',
  'asana','trello','webhook','email','sms');
CREATE TYPE integrationstatus AS ENUM ('active','inactive','pending','error','expired','suspended');
CREATE TYPE ticketstatus   AS ENUM ('new','open','in_progress','pending','resolved','closed','cancelled');
CREATE TYPE ticketpriority AS ENUM ('low','medium','high','critical');
CREATE TYPE ticketcategory AS ENUM (
  'technical','billing','feature_request','bug','user_access',
  'general','integration','performance','security');
CREATE TYPE userrole AS ENUM ('ADMIN','MANAGER','AGENT','USER','API_USER');   -- upper case, unlike the others


CREATE TABLE organizations (
  name           varchar(255) NOT NULL,
  domain         varchar(255),
  display_name   varchar(255),
  is_enabled     boolean NOT NULL,
  settings       json,
  contact_email  varchar(255),
  contact_phone  varchar(50),
  address        text,
  city           varchar(100),
  state_province varchar(100),
  postal_code    varchar(20),
  country        varchar(100),
  industry       varchar(100),
  size           varchar(50),
  timezone       varchar(50) NOT NULL,
  plan           varchar(50) NOT NULL,
  billing_email  varchar(255),
  feature_flags  json,
  limits         json,
  logo_url       varchar(500),
  brand_colors   json,
  custom_domain  varchar(255),
  id             uuid NOT NULL,
  notes          text,
  extra_metadata text,
  created_at     timestamptz NOT NULL,
  updated_at     timestamptz NOT NULL,
  deleted_at     timestamptz,
  is_deleted     boolean NOT NULL,
  CONSTRAINT organizations_pkey PRIMARY KEY (id)
);
CREATE INDEX        ix_organizations_created_at    ON organizations (created_at);
CREATE UNIQUE INDEX ix_organizations_custom_domain ON organizations (custom_domain);
CREATE INDEX        ix_organizations_deleted_at    ON organizations (deleted_at);
CREATE UNIQUE INDEX ix_organizations_domain        ON organizations (domain);
CREATE INDEX        ix_organizations_is_deleted    ON organizations (is_deleted);
CREATE INDEX        ix_organizations_is_enabled    ON organizations (is_enabled);
CREATE INDEX        ix_organizations_name          ON organizations (name);
CREATE INDEX        ix_organizations_updated_at    ON organizations (updated_at);

CREATE TABLE users (
  email                  varchar(255) NOT NULL,
  full_name              varchar(255),
  password_hash          varchar(255),
  is_active              boolean NOT NULL,
  is_verified            boolean NOT NULL,
  is_admin               boolean NOT NULL,
  role                   userrole NOT NULL,
  permissions            json,
  last_login_at          timestamptz,
  login_count            varchar(50) NOT NULL,
  failed_login_attempts  varchar(50) NOT NULL,
  locked_until           timestamptz,
  external_auth_provider varchar(50),
  external_auth_id       varchar(255),
  preferences            json,
  timezone               varchar(50) NOT NULL,
  language               varchar(10) NOT NULL,
  api_key_hash           varchar(255),
  api_key_created_at     timestamptz,
  api_key_last_used_at   timestamptz,
  rate_limit_override    varchar(50),
  avatar_url             varchar(500),
  department             varchar(100),
  organization_id        uuid,
  id                     uuid NOT NULL,
  notes                  text,
  extra_metadata         text,
  created_at             timestamptz NOT NULL,
  updated_at             timestamptz NOT NULL,
  deleted_at             timestamptz,
  is_deleted             boolean NOT NULL,
  CONSTRAINT users_pkey PRIMARY KEY (id),
  CONSTRAINT users_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE UNIQUE INDEX ix_users_api_key_hash     ON users (api_key_hash);
CREATE INDEX        ix_users_created_at       ON users (created_at);
CREATE INDEX        ix_users_deleted_at       ON users (deleted_at);
CREATE UNIQUE INDEX ix_users_email            ON users (email);
CREATE INDEX        ix_users_external_auth_id ON users (external_auth_id);
CREATE INDEX        ix_users_is_active        ON users (is_active);
CREATE INDEX        ix_users_is_admin         ON users (is_admin);
CREATE INDEX        ix_users_is_deleted       ON users (is_deleted);
CREATE INDEX        ix_users_organization_id  ON users (organization_id);
CREATE INDEX        ix_users_role             ON users (role);
CREATE INDEX        ix_users_updated_at       ON users (updated_at);

CREATE TABLE integrations (
  name                     varchar(255) NOT NULL,
  integration_type         integrationtype NOT NULL,
  status                   integrationstatus NOT NULL,
  description              text,
  base_url                 varchar(500),
  api_version              varchar(20),
  auth_type                varchar(50) NOT NULL,
  credentials_encrypted    text,
  oauth_scopes             json,
  last_health_check_at     timestamptz,
  health_check_status      varchar(20),
  health_check_error       text,
  connection_test_count    integer NOT NULL,
  total_requests           integer NOT NULL,
  successful_requests      integer NOT NULL,
  failed_requests          integer NOT NULL,
  last_request_at          timestamptz,
  last_success_at          timestamptz,
  last_error_at            timestamptz,
  last_error_message       text,
  rate_limit_per_hour      integer,
  current_hour_requests    integer NOT NULL,
  rate_limit_reset_at      timestamptz,
  routing_rules            json,
  default_priority         integer NOT NULL,
  supports_categories      json,
  supports_priorities      json,
  department_mapping       json,
  custom_fields_mapping    json,
  webhook_url              varchar(500),
  webhook_secret_encrypted text,
  sync_enabled             boolean NOT NULL,
  sync_frequency_minutes   integer NOT NULL,
  last_sync_at             timestamptz,
  notification_events      json,
  notification_channels    json,
  environment              varchar(50) NOT NULL,
  region                   varchar(50),
  monitoring_enabled       boolean NOT NULL,
  alert_on_failure         boolean NOT NULL,
  failure_threshold        integer NOT NULL,
  consecutive_failures     integer NOT NULL,
  maintenance_window_start varchar(10),
  maintenance_window_end   varchar(10),
  auto_disable_on_error    boolean NOT NULL,
  expires_at               timestamptz,
  last_activation_at       timestamptz,
  activation_method        varchar(20),
  organization_id          uuid,
  id                       uuid NOT NULL,
  notes                    text,
  extra_metadata           text,
  created_at               timestamptz NOT NULL,
  updated_at               timestamptz NOT NULL,
  deleted_at               timestamptz,
  is_deleted               boolean NOT NULL,
  is_enabled               boolean DEFAULT true NOT NULL,
  CONSTRAINT integrations_pkey PRIMARY KEY (id),
  CONSTRAINT integrations_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE INDEX ix_integrations_created_at       ON integrations (created_at);
CREATE INDEX ix_integrations_deleted_at       ON integrations (deleted_at);
CREATE INDEX ix_integrations_integration_type ON integrations (integration_type);
CREATE INDEX ix_integrations_is_deleted       ON integrations (is_deleted);
CREATE INDEX ix_integrations_is_enabled       ON integrations (is_enabled);
CREATE INDEX ix_integrations_organization_id  ON integrations (organization_id);
CREATE INDEX ix_integrations_status           ON integrations (status);
CREATE INDEX ix_integrations_updated_at       ON integrations (updated_at);

CREATE TABLE tickets (
  title                     varchar(500) NOT NULL,
  description               text NOT NULL,
  status                    ticketstatus NOT NULL,
  priority                  ticketpriority NOT NULL,
  category                  ticketcategory NOT NULL,
  subcategory               varchar(100),
  created_by_id             uuid NOT NULL,
  assigned_to_id            uuid,
  department                varchar(100),
  external_ticket_id        varchar(255),
  external_ticket_url       varchar(500),
  ai_confidence_score       varchar(10),
  ai_reasoning              text,
  ai_tags                   json,
  ai_keywords               json,
  ai_similar_patterns       json,
  urgency                   ticketpriority NOT NULL,
  business_impact           varchar(50) NOT NULL,
  customer_segment          varchar(100),
  estimated_effort          varchar(50),
  estimated_resolution_time varchar(100),
  resolution_summary        text,
  resolution_time_minutes   integer,
  first_response_at         timestamptz,
  resolved_at               timestamptz,
  closed_at                 timestamptz,
  last_activity_at          timestamptz NOT NULL,
  communication_count       integer NOT NULL,
  satisfaction_rating       integer,
  satisfaction_feedback     text,
  escalation_level          integer NOT NULL,
  escalated_at              timestamptz,
  escalated_by_id           uuid,
  escalation_reason         text,
  source_channel            varchar(50) NOT NULL,
  source_details            json,
  custom_fields             json,
  internal_notes            text,
  sla_due_date              timestamptz,
  sla_breached              boolean NOT NULL,
  related_kb_articles       json,
  id                        uuid NOT NULL,
  notes                     text,
  extra_metadata            text,
  created_at                timestamptz NOT NULL,
  updated_at                timestamptz NOT NULL,
  deleted_at                timestamptz,
  is_deleted                boolean NOT NULL,
  organization_id           uuid NOT NULL,
  integration_id            uuid,
  CONSTRAINT tickets_pkey PRIMARY KEY (id),
  CONSTRAINT tickets_assigned_to_id_fkey  FOREIGN KEY (assigned_to_id)  REFERENCES users (id),
  CONSTRAINT tickets_created_by_id_fkey   FOREIGN KEY (created_by_id)   REFERENCES users (id),
  CONSTRAINT tickets_escalated_by_id_fkey FOREIGN KEY (escalated_by_id) REFERENCES users (id),
  CONSTRAINT tickets_integration_id_fkey  FOREIGN KEY (integration_id)  REFERENCES integrations (id),
  CONSTRAINT tickets_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id)
);
CREATE INDEX ix_tickets_assigned_to_id     ON tickets (assigned_to_id);
CREATE INDEX ix_tickets_category           ON tickets (category);
CREATE INDEX ix_tickets_closed_at          ON tickets (closed_at);
CREATE INDEX ix_tickets_created_at         ON tickets (created_at);
CREATE INDEX ix_tickets_created_by_id      ON tickets (created_by_id);
CREATE INDEX ix_tickets_deleted_at         ON tickets (deleted_at);
CREATE INDEX ix_tickets_department         ON tickets (department);
CREATE INDEX ix_tickets_external_ticket_id ON tickets (external_ticket_id);
CREATE INDEX ix_tickets_first_response_at  ON tickets (first_response_at);
CREATE INDEX ix_tickets_integration_id     ON tickets (integration_id);
CREATE INDEX ix_tickets_is_deleted         ON tickets (is_deleted);
CREATE INDEX ix_tickets_last_activity_at   ON tickets (last_activity_at);
CREATE INDEX ix_tickets_organization_id    ON tickets (organization_id);
CREATE INDEX ix_tickets_priority           ON tickets (priority);
CREATE INDEX ix_tickets_resolved_at        ON tickets (resolved_at);
CREATE INDEX ix_tickets_sla_due_date       ON tickets (sla_due_date);
CREATE INDEX ix_tickets_status             ON tickets (status);
CREATE INDEX ix_tickets_title              ON tickets (title);
CREATE INDEX ix_tickets_updated_at         ON tickets (updated_at);

-- The legacy database carries a second unique index on every id. It has to be added by ALTER TABLE:
-- PostgreSQL folds a UNIQUE into an identical PRIMARY KEY when both stand in one CREATE TABLE.
ALTER TABLE organizations ADD CONSTRAINT organizations_id_key UNIQUE (id);
ALTER TABLE users         ADD CONSTRAINT users_id_key         UNIQUE (id);
ALTER TABLE integrations  ADD CONSTRAINT integrations_id_key  UNIQUE (id);
ALTER TABLE tickets       ADD CONSTRAINT tickets_id_key       UNIQUE (id);
END
$shape$;
