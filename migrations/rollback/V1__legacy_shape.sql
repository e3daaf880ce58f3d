-- Drops the four tables with everything in them. An adopted database should be rolled back to 1 at most: `ticketwire
-- migrate rollback` refuses to go to 0 while they hold rows, unless --accept-loss.
DROP TABLE tickets, integrations, users, organizations;
DROP TYPE integrationtype, integrationstatus, ticketstatus, ticketpriority, ticketcategory, userrole;
