//! What going back would lose or invent, a list a step: rows are named before anything is changed,
//! and once more under lock in the transaction that changes it.

use tokio_postgres::GenericClient;

use super::refusal::Finding;

/// What a step's way back may lose, and the tables whose writers wait meanwhile, so that nothing
/// slips in behind the checks.
pub(super) struct Losses {
    pub(super) guarded: &'static [&'static str],
    checks: &'static [Check],
}

/// A question whose answer must be empty: rows of one column of text.
struct Check {
    /// What the rows are, read after their number.
    what: &'static str,
    sql: &'static str,
    remedy: &'static str,
    /// Whether `--accept-loss` goes on all the same; what cannot be kept in any way is never
    /// accepted.
    accept_loss: bool,
}

const fn loss(what: &'static str, sql: &'static str, remedy: &'static str) -> Check {
    Check {
        what,
        sql,
        remedy,
        accept_loss: true,
    }
}

const fn never(what: &'static str, sql: &'static str, remedy: &'static str) -> Check {
    Check {
        what,
        sql,
        remedy,
        accept_loss: false,
    }
}

/// Of the shape that V1 made; an adopted one is left to its owner.
pub(super) const LEGACY_SHAPE: Losses = Losses {
    guarded: &["organizations", "users", "integrations", "tickets"],
    checks: &[
        loss(
            "tickets go",
            "SELECT format('%s: %s', id, left(title, 60)) FROM tickets ORDER BY created_at, id",
            "keep them elsewhere, or go back to 1, which keeps them",
        ),
        loss(
            "integrations go",
            "SELECT format('%s (%s)', id, name) FROM integrations ORDER BY created_at, id",
            "keep them elsewhere, or go back to 1, which keeps them",
        ),
        loss(
            "users go",
            "SELECT format('%s (%s)', id, email) FROM users ORDER BY created_at, id",
            "keep them elsewhere, or go back to 1, which keeps them",
        ),
        loss(
            "organizations go",
            "SELECT format('%s (%s)', id, name) FROM organizations ORDER BY created_at, id",
            "keep them elsewhere, or go back to 1, which keeps them",
        ),
    ],
};

/// Of the refactoring.
pub(super) const REFACTOR: Losses = Losses {
    guarded: &["integrations"],
    checks: &[
        never(
            "integrations are of a platform that the legacy application does not know",
            "SELECT format('%s (%s): platform_name %L', id, name, platform_name) FROM integrations \
             WHERE lower(btrim(platform_name, E' \\t\\r\\n')) NOT IN \
             ('jira','servicenow','salesforce','zendesk','github','slack','teams','zoom', \
             'hubspot','freshdesk','asana','trello','webhook','email','sms') \
             ORDER BY platform_name, id",
            "change their platform_name, or delete the rows; no type is invented for them",
        ),
        loss(
            "integrations are in another category than their platform's, which the legacy shape \
             cannot hold: the next upgrade gives the platform's",
            "SELECT format('%s (%s): %s is in %s', id, name, platform_name, \
             integration_category) FROM integrations \
             WHERE integration_category::text IS DISTINCT FROM CASE lower(btrim(platform_name, \
             E' \\t\\r\\n')) \
             WHEN 'jira' THEN 'ticketing' WHEN 'servicenow' THEN 'ticketing' \
             WHEN 'zendesk' THEN 'ticketing' \
             WHEN 'freshdesk' THEN 'ticketing' WHEN 'salesforce' THEN 'crm' \
             WHEN 'hubspot' THEN 'crm' \
             WHEN 'slack' THEN 'messaging' WHEN 'teams' THEN 'messaging' \
             WHEN 'email' THEN 'communication' \
             WHEN 'sms' THEN 'communication' WHEN 'zoom' THEN 'communication' \
             WHEN 'asana' THEN 'project_management' \
             WHEN 'trello' THEN 'project_management' WHEN 'github' THEN 'code_repository' \
             WHEN 'webhook' THEN 'webhook' \
             ELSE integration_category::text END ORDER BY id",
            "change their integration_category to the platform's",
        ),
        never(
            "objects depend on integrations.platform_name or integration_category, which go",
            "SELECT DISTINCT CASE WHEN d.classid = 'pg_rewrite'::regclass THEN (SELECT \
             format('view %s', r.ev_class::regclass) \
             FROM pg_rewrite r WHERE r.oid = d.objid) ELSE pg_describe_object(d.classid, d.objid, \
             d.objsubid) END AS dependent \
             FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid \
             AND a.attnum = d.refobjsubid \
             WHERE d.refclassid = 'pg_class'::regclass \
             AND d.refobjid = to_regclass('integrations') \
             AND a.attname IN ('platform_name', 'integration_category') AND d.deptype = 'n' \
             ORDER BY 1",
            "drop them and make them again on integration_type",
        ),
        never(
            "labels of the legacy application are not in the type integrationtype, which is \
             there already",
            "SELECT l.label FROM \
             unnest(ARRAY['jira','servicenow','salesforce','zendesk','github','slack','teams', \
             'zoom','hubspot','freshdesk','asana','trello','webhook','email','sms']) AS l(label) \
             WHERE to_regtype('integrationtype') IS NOT NULL AND NOT EXISTS (SELECT FROM pg_enum \
             WHERE enumtypid = to_regtype('integrationtype') AND enumlabel = l.label) ORDER BY 1",
            "if nothing uses it: DROP TYPE integrationtype",
        ),
    ],
};

/// Of the ledger.
pub(super) const LEDGER: Losses = Losses {
    guarded: &[
        "integrations",
        "tickets",
        "commands",
        "outbox",
        "dead_letters",
        "workers",
    ],
    checks: &[
        WORKERS,
        loss(
            "commands go, with their attempts and the memory of their ids",
            "SELECT format('%s %s, %s', id, type, state) FROM commands \
             ORDER BY finished_at IS NOT NULL, arrival",
            "let them finish: `ticketwire command list`; those that finished are the ledger's \
             memory",
        ),
        loss(
            "events that nobody has got yet go",
            "SELECT format('%s of command %s', routing_key, command_id) FROM outbox \
             ORDER BY created_at, command_id, number",
            "run a worker until they are out",
        ),
        loss(
            "dead letters go",
            "SELECT format('%s %s: %s', id, reason, left(message, 80)) FROM dead_letters \
             ORDER BY id",
            "`ticketwire dead list`, then replay or drop them",
        ),
        loss(
            "integrations lose their access tokens; where the platform rotates refresh tokens, \
             the latest stands here alone",
            "SELECT integration_id::text FROM integration_tokens ORDER BY 1",
            "authorize them anew in the legacy application",
        ),
        loss(
            "integrations lose their settings",
            "SELECT format('%s (%s): %s', id, name, (SELECT string_agg(key, ', ' ORDER BY key) \
             FROM jsonb_object_keys(settings) AS k(key))) FROM integrations \
             WHERE jsonb_typeof(settings) = 'object' AND settings <> '{}' ORDER BY id",
            "keep what `ticketwire integration show` says of them",
        ),
        loss(
            "integrations have credentials that only Ticketwire can read",
            "SELECT format('%s (%s)', id, name) FROM integrations \
             WHERE starts_with(credentials_encrypted, 'tw1.') \
             OR starts_with(webhook_secret_encrypted, 'tw1.') ORDER BY id",
            "`ticketwire keys rotate --to-legacy` writes them as the legacy application reads them",
        ),
        loss(
            "tickets lose what platforms returned, or their tags",
            "SELECT format('%s: %s', id, concat_ws(', ', CASE \
             WHEN integration_result IS NOT NULL THEN \
             'integration_result' END, CASE WHEN external_ref IS NOT NULL THEN 'external_ref' END, \
             CASE WHEN tags IS NOT NULL THEN 'tags' END)) FROM tickets \
             WHERE integration_result IS NOT NULL OR external_ref IS NOT NULL OR tags IS NOT NULL \
             ORDER BY created_at, id",
            "keep these three columns elsewhere; external_ticket_id and external_ticket_url stay",
        ),
        loss(
            "tickets go, as their author is not among the users and the legacy application \
             demands one",
            "SELECT format('%s: created_by_id %s, %s', id, COALESCE(created_by_id::text, \
             'NULL'), left(title, 60)) \
             FROM tickets t WHERE created_by_id IS NULL OR NOT EXISTS (SELECT FROM users u \
             WHERE u.id = t.created_by_id) \
             ORDER BY created_at, id",
            "give them a created_by_id of a user",
        ),
        loss(
            "tickets lose their assignee, who is not among the users",
            "SELECT format('%s: assigned_to_id %s', id, assigned_to_id) FROM tickets t \
             WHERE assigned_to_id IS NOT NULL \
             AND NOT EXISTS (SELECT FROM users u WHERE u.id = t.assigned_to_id) \
             ORDER BY created_at, id",
            "give them an assigned_to_id of a user",
        ),
    ],
};

/// Of the life of integrations.
pub(super) const INTEGRATION_LIFE: Losses = Losses {
    guarded: &["integrations", "commands", "workers"],
    checks: &[
        WORKERS,
        loss(
            "commands of several tickets are not finished, and lose the tie to their children",
            "SELECT format('%s, child of %s', id, parent) FROM commands WHERE parent IS NOT NULL \
             AND finished_at IS NULL ORDER BY arrival",
            "let them finish",
        ),
        loss(
            "commands lose what was made ready for them, so that another attempt may come to \
             something else",
            "SELECT format('%s %s, %s', id, type, state) FROM commands WHERE prepared IS NOT NULL \
             AND finished_at IS NULL ORDER BY arrival",
            "let them finish",
        ),
    ],
};

/// Of what makes tickets cheap to write: the foreign keys come back.
pub(super) const WRITE_PATH: Losses = Losses {
    guarded: &["organizations", "integrations", "tickets", "workers"],
    checks: &[
        WORKERS,
        loss(
            "tickets go, as their organization is not there",
            "SELECT format('%s: organization_id %s, %s', id, organization_id, left(title, 60)) \
             FROM tickets t \
             WHERE NOT EXISTS (SELECT FROM organizations o WHERE o.id = t.organization_id) \
             ORDER BY created_at, id",
            "make the organization, or give them an organization_id that is there",
        ),
        loss(
            "tickets lose their integration, which is not there",
            "SELECT format('%s: integration_id %s', id, integration_id) FROM tickets t \
             WHERE integration_id IS NOT NULL \
             AND NOT EXISTS (SELECT FROM integrations i WHERE i.id = t.integration_id) \
             ORDER BY created_at, id",
            "give them an integration_id that is there, or none",
        ),
    ],
};

/// Of the indexes that leave out what is empty: nothing is lost, they are built anew.
pub(super) const SPARSE_INDEXES: Losses = Losses {
    guarded: &["tickets", "workers"],
    checks: &[WORKERS],
};

/// Of the types of what the pipeline hands over: nothing is stored in them.
pub(super) const ROW_TYPES: Losses = Losses {
    guarded: &["workers"],
    checks: &[WORKERS],
};

/// Of the limits that workers share: a pause that is lost costs one more refusal, a lease one more
/// refresh.
pub(super) const SHARED_LIMITS: Losses = Losses {
    guarded: &["workers"],
    checks: &[WORKERS],
};

/// Of the field's words: sentences are made of reasons again.
pub(super) const FIELD_WORDS: Losses = Losses {
    guarded: &["commands", "command_attempts", "workers"],
    checks: &[WORKERS],
};

/// Whether workers of an older version run, whose statements name columns as they were.
pub(super) async fn running_workers(
    client: &impl GenericClient,
) -> Result<Option<Finding>, tokio_postgres::Error> {
    Finding::of_rows(client, WORKERS.sql, WORKERS.what, WORKERS.remedy).await
}

/// Of what platforms say of themselves: an address that is lost costs one more refresh.
pub(super) const GRANTS_AND_SYNC: Losses = Losses {
    guarded: &["integration_sync", "workers"],
    checks: &[
        WORKERS,
        loss(
            "integrations lose how far their sync has come: the next one begins anew",
            "SELECT format('%s: %s', integration_id, COALESCE(left(mark, 60), \
             'a run is under way')) \
             FROM integration_sync WHERE mark IS NOT NULL OR run IS NOT NULL ORDER BY 1",
            "nothing has to be kept: what a sync sees again changes nothing",
        ),
    ],
};

/// Of what platforms tell by themselves.
pub(super) const INBOUND: Losses = Losses {
    guarded: &[
        "integrations",
        "integration_webhooks",
        "ticket_comments",
        "workers",
    ],
    checks: &[
        WORKERS,
        loss(
            "webhooks are registered whose secrets nobody will know any more",
            "SELECT format('%s: %s at %s', integration_id, state, left(url, 120)) \
             FROM integration_webhooks WHERE state <> 'gone' ORDER BY 1",
            "remove them at their platforms first (`ticketwire integration webhook ID --remove`)",
        ),
        loss(
            "comments that came from platforms are lost",
            "SELECT format('%s of ticket %s', external_comment_id, ticket_id) \
             FROM ticket_comments WHERE origin = 'theirs' AND body IS NOT NULL ORDER BY 1 LIMIT 20",
            "copy the table `ticket_comments` if they are wanted",
        ),
        loss(
            "webhook secrets that were replaced are still good, and will not be",
            "SELECT format('%s, until %s', id, webhook_secret_previous_until) \
             FROM integrations WHERE webhook_secret_previous_until > now() ORDER BY 1",
            "wait until then, or give the platform the new secret",
        ),
    ],
};

/// Of what a sync in steps keeps: the next run begins where the last one ended.
pub(super) const SYNC_SEEN: Losses = Losses {
    guarded: &["integration_sync", "workers"],
    checks: &[
        WORKERS,
        loss(
            "syncs are under way that would begin anew",
            "SELECT format('%s: %s pages', integration_id, pages) \
             FROM integration_sync WHERE run IS NOT NULL ORDER BY 1",
            "nothing has to be kept: what a sync sees again changes nothing",
        ),
    ],
};

/// A running worker is of its own schema, whichever that is.
const WORKERS: Check = never(
    "workers are running",
    "SELECT format('%s, since %s', id, to_char(started_at AT TIME ZONE 'UTC', \
     'YYYY-MM-DD HH24:MI:SS UTC')) \
         FROM workers WHERE EXISTS (SELECT FROM pg_locks l \
         JOIN pg_database d ON d.oid = l.database \
         WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 \
         AND l.granted \
         AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended('ticketwire worker ' \
         || workers.id, 0)) \
         ORDER BY id",
    "stop them (SIGTERM)",
);

/// The rows that would be lost.
pub(super) async fn findings(
    client: &impl GenericClient,
    losses: &Losses,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let mut findings = Vec::new();
    for check in losses.checks {
        let found = Finding::of_rows(client, check.sql, check.what, check.remedy).await?;
        findings.extend(found.map(|finding| Finding {
            accept_loss: check.accept_loss,
            ..finding
        }));
    }
    Ok(findings)
}
