DROP INDEX IF EXISTS tickets_search_created, tickets_search_updated, tickets_search_text;
