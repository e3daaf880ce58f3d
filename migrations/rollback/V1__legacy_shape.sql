-- Drops the four tables that V1 made, with everything in them: refused while they hold rows, unless --accept-loss. Tables
-- that V1 found and adopted are left alone; `ticketwire migrate rollback` then only forgets the version.
DROP TABLE tickets, integrations, users, organizations;
DROP TYPE integrationtype, integrationstatus, ticketstatus, ticketpriority, ticketcategory, userrole;
