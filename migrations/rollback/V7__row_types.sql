DROP TYPE claim_head, claim_body, settle_command, settle_attempt, settle_usage, settle_event, settle_ticket, change_ticket;
