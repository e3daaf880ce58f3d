-- The search of tickets. Its indexes are built after this, concurrently, as `tickets` may be large and in use: see INDEXES in
-- src/store/ticket_search.rs.
SELECT 1;
