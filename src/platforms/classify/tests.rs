//! Every platform's way to refuse over HTTP, said in a table and held against answers as its
//! documentation shows them. The tables are those that the adapters begin from; a platform whose
//! answers no table can say would show here. A mail server's replies have a classifier of their
//! own, beside their transport.

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::super::rate::{Left, Quota, ResetIn};
use super::*;

const NO_QUOTA: RateHeaders = RateHeaders::retry_after(secs(30), Scope::Integration);
const NO_TEXT: Shape = Shape::Json {
    codes: &[],
    texts: &[],
    fields: &[],
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Budget of the whole integration, where the answer says nothing of its own.
const fn limited(seconds: u64) -> Means {
    Means::RateLimited(Scope::Integration, secs(seconds))
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value).unwrap();
            (HeaderName::from_static(name), value)
        })
        .collect();
    Response {
        status,
        headers,
        body: Bytes::from(body.to_owned()),
        truncated: false,
    }
}

/// What an answer to a create says, in a line: class, wait, scope and fields.
fn said(table: &ErrorTable, answer: &Response) -> String {
    let error = match table.judge(answer, Effect::Create, "making it") {
        Judged::Good => return "good".into(),
        Judged::Done => return "done".into(),
        Judged::Exists => return "exists".into(),
        Judged::Failed(error) => error,
    };
    assert_eq!(error.http_status, Some(answer.status));
    let wait =
        |wait: Option<Duration>| wait.map_or(String::new(), |wait| format!(" {}s", wait.as_secs()));
    match &error.class {
        ErrorClass::Transient { retry_after } => format!("transient{}", wait(*retry_after)),
        ErrorClass::RateLimited { retry_after } => {
            let scope = error.budget.unwrap();
            format!("limited{} {scope:?}", wait(*retry_after)).to_lowercase()
        }
        ErrorClass::Validation { fields } => {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("validation{}", fields.join(""))
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

#[track_caller]
fn hold(table: &ErrorTable, rows: &[(u16, &str, &str)]) {
    for (status, body, expected) in rows {
        let found = said(table, &answer(*status, &[], body));
        assert_eq!(found, *expected, "{status} {body}");
    }
}

#[test]
fn jira_names_its_fields_in_an_object_and_its_budget_by_a_reason() {
    static JIRA: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &[],
            texts: &["/errorMessages/0"],
            fields: &[Fields::Map {
                at: "/errors",
                text: "",
            }],
        }],
        rules: &[
            rule(400)
                .text(&["content_limit_exceeded"])
                .means(Means::Validation),
            rule(410).means(Means::Unsupported),
            rule(413).means(Means::Validation),
        ],
        ok: None,
        fields: &[("summary", "title"), ("assignee", "assigned_to")],
        rate: RateHeaders {
            reasons: &[
                ("ratelimit-reason", "burst", Scope::Endpoint),
                ("ratelimit-reason", "per-issue", Scope::Item),
                ("ratelimit-reason", "quota", Scope::Integration),
            ],
            ..RateHeaders::retry_after(secs(5), Scope::Endpoint)
        },
    };
    hold(
        &JIRA,
        &[
            (201, "{\"key\":\"SUP-1\"}", "good"),
            (
                400,
                r#"{"errorMessages":[],"errors":{"summary":"Too long.","customfield_10010":"Not on the screen."}}"#,
                "validation customfield_10010=Not on the screen. title=Too long.",
            ),
            (
                400,
                r#"{"errorMessages":["CONTENT_LIMIT_EXCEEDED"]}"#,
                "validation",
            ),
            (401, "", "authentication"),
            (403, "<html>", "permission"),
            (
                404,
                r#"{"errorMessages":["Issue does not exist"]}"#,
                "notfound",
            ),
            (409, "", "conflict"),
            (410, "", "unsupported"),
            (422, "", "validation"),
            (429, "", "limited 5s endpoint"),
            (503, "", "unknown"),
        ],
    );
    let reason = ("ratelimit-reason", "jira-per-issue-on-write");
    let limited = answer(429, &[reason, ("retry-after", "2")], "");
    assert_eq!(said(&JIRA, &limited), "limited 2s item");
}

#[test]
fn servicenow_refuses_by_policy_with_a_status_of_permission() {
    static SERVICENOW: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/error"],
            texts: &["/error/message", "/error/detail", "/error_description"],
            fields: &[],
        }],
        rules: &[
            rule(403)
                .text(&["mandatory", "data policy"])
                .means(Means::Validation),
            rule(409).means(Means::Exists),
            Rule::any()
                .code(&["invalid_grant", "access_denied"])
                .means(Means::Authentication),
        ],
        ok: None,
        fields: &[],
        rate: RateHeaders {
            quotas: &[Quota {
                left: Left::Unsaid,
                reset: Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
                scope: Scope::Integration,
            }],
            ..RateHeaders::retry_after(secs(60), Scope::Integration)
        },
    };
    hold(
        &SERVICENOW,
        &[
            (
                403,
                r#"{"error":{"message":"Operation Failed","detail":"Data Policy Exception: Resolution code is mandatory"},"status":"failure"}"#,
                "validation",
            ),
            (
                403,
                r#"{"error":{"message":"Operation Failed","detail":"ACL Exception Insert Failed due to security constraints"},"status":"failure"}"#,
                "permission",
            ),
            (
                401,
                r#"{"error":{"message":"User Not Authenticated","detail":null}}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":"access_denied","error_description":"x"}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":{"message":"Invalid table x","detail":null}}"#,
                "validation",
            ),
            (
                404,
                r#"{"error":{"message":"No Record found"}}"#,
                "notfound",
            ),
            (409, "{}", "exists"),
            (
                429,
                r#"{"error":{"message":"Rate limit exceeded"}}"#,
                "limited 60s integration",
            ),
            (500, "<html>hibernating</html>", "unknown"),
        ],
    );
}

#[test]
fn zendesk_has_four_shapes_and_names_fields_by_lists() {
    static ZENDESK: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/errors/0/code", "/error"],
            texts: &[
                "/description",
                "/error/title",
                "/error/message",
                "/errors/0/detail",
            ],
            fields: &[Fields::Map {
                at: "/details",
                text: "/0/description",
            }],
        }],
        rules: &[
            Rule::any()
                .code(&["IdempotentRequestError"])
                .means(Means::Exists),
            rule(422).text(&["closed prevents"]).means(Means::Conflict),
            rule(413).means(Means::Validation),
            rule(429)
                .code(&["TooManyJobs"])
                .means(Means::RateLimited(Scope::Endpoint, secs(60))),
        ],
        ok: None,
        fields: &[("subject", "title"), ("base", "ticket")],
        rate: NO_QUOTA,
    };
    hold(
        &ZENDESK,
        &[
            (
                422,
                r#"{"error":"RecordInvalid","description":"Record validation errors","details":{"subject":[{"description":"Subject: cannot be blank","error":"BlankValue"}]}}"#,
                "validation title=Subject: cannot be blank",
            ),
            (
                422,
                r#"{"error":"RecordInvalid","description":"closed prevents ticket update"}"#,
                "conflict",
            ),
            (
                400,
                r#"{"error":"IdempotentRequestError","description":"x"}"#,
                "exists",
            ),
            (
                403,
                r#"{"error":{"title":"Forbidden","message":"You do not have access"}}"#,
                "permission",
            ),
            (
                404,
                r#"{"error":"RecordNotFound","description":"Not found"}"#,
                "notfound",
            ),
            (
                400,
                r#"{"errors":[{"code":"InvalidPaginationDepth","title":"x","detail":"y"}]}"#,
                "validation",
            ),
            (
                401,
                r#"{"error":"Couldn't authenticate you"}"#,
                "authentication",
            ),
            (409, r#"{"error":"UpdateConflict"}"#, "conflict"),
            (429, r#"{"error":"TooManyJobs"}"#, "limited 60s endpoint"),
            (429, "", "limited 30s integration"),
            (503, "", "unknown"),
        ],
    );
}

#[test]
fn freshdesk_lists_its_faults() {
    static FRESHDESK: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/code", "/errors/0/code"],
            texts: &["/description", "/message"],
            fields: &[Fields::List {
                at: "/errors",
                name: "/field",
                text: "/message",
            }],
        }],
        rules: &[
            Rule::any().code(&["duplicate_value"]).means(Means::Exists),
            Rule::any()
                .code(&["invalid_credentials"])
                .means(Means::Authentication),
            Rule::any()
                .code(&["access_denied"])
                .means(Means::Permission),
            Rule::any().statuses(405, 406).means(Means::Unsupported),
        ],
        ok: None,
        fields: &[("email", "requester_email")],
        rate: RateHeaders {
            quotas: &[Quota {
                left: Left::In("x-ratelimit-remaining"),
                reset: None,
                scope: Scope::Integration,
            }],
            ..RateHeaders::retry_after(secs(60), Scope::Integration)
        },
    };
    hold(
        &FRESHDESK,
        &[
            (
                400,
                r#"{"description":"Validation failed","errors":[{"field":"email","message":"It should be a valid email address","code":"invalid_value"}]}"#,
                "validation requester_email=It should be a valid email address",
            ),
            (
                409,
                r#"{"errors":[{"field":"x","message":"y","code":"duplicate_value"}]}"#,
                "exists",
            ),
            (
                401,
                r#"{"code":"invalid_credentials","message":"You have to be logged in"}"#,
                "authentication",
            ),
            (
                403,
                r#"{"code":"access_denied","message":"x"}"#,
                "permission",
            ),
            (404, "", "notfound"),
            (405, "", "unsupported"),
            (429, "", "limited 60s integration"),
        ],
    );
    let wait = answer(429, &[("retry-after", "7")], "");
    assert_eq!(said(&FRESHDESK, &wait), "limited 7s integration");
}

#[test]
fn salesforce_answers_with_a_list_and_its_code_outranks_its_status() {
    static SALESFORCE: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/0/errorCode", "/error"],
            texts: &["/0/message", "/error_description"],
            fields: &[Fields::List {
                at: "",
                name: "/fields",
                text: "/message",
            }],
        }],
        rules: &[
            Rule::any()
                .code(&["REQUEST_LIMIT_EXCEEDED"])
                .text(&["concurrent"])
                .means(limited(30)),
            Rule::any()
                .code(&["REQUEST_LIMIT_EXCEEDED"])
                .means(limited(1200)),
            Rule::any()
                .code(&["rate_limit_exceeded"])
                .means(limited(60)),
            Rule::any()
                .code(&[
                    "INVALID_SESSION_ID",
                    "INVALID_AUTH_HEADER",
                    "invalid_grant",
                    "invalid_client*",
                ])
                .means(Means::Authentication),
            Rule::any()
                .code(&[
                    "INSUFFICIENT_ACCESS*",
                    "API_*",
                    "FUNCTIONALITY_NOT_ENABLED",
                    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                ])
                .means(Means::Permission),
            Rule::any()
                .code(&[
                    "NOT_FOUND",
                    "ENTITY_IS_DELETED",
                    "MALFORMED_ID",
                    "INVALID_CROSS_REFERENCE_KEY",
                ])
                .means(Means::NotFound),
            Rule::any().code(&["DUPLICATE_VALUE"]).means(Means::Exists),
            Rule::any()
                .code(&["DUPLICATES_DETECTED"])
                .means(Means::Conflict),
            Rule::any()
                .code(&["UNABLE_TO_LOCK_ROW"])
                .means(Means::Transient),
            rule(300).means(Means::Conflict),
            rule(412).means(Means::Conflict),
            rule(405).means(Means::Unsupported),
        ],
        ok: None,
        fields: &[("Subject", "title"), ("Status", "status")],
        rate: RateHeaders {
            quotas: &[Quota {
                left: Left::UsedOf("sforce-limit-info", "api-usage"),
                reset: None,
                scope: Scope::Integration,
            }],
            ..RateHeaders::retry_after(secs(900), Scope::Integration)
        },
    };
    hold(
        &SALESFORCE,
        &[
            (
                400,
                r#"[{"message":"Required fields are missing: [Subject]","errorCode":"REQUIRED_FIELD_MISSING","fields":["Subject"]}]"#,
                "validation title=Required fields are missing: [Subject]",
            ),
            (
                400,
                r#"[{"message":"bad value","errorCode":"INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST","fields":["Status","Type"]}]"#,
                "validation Type=bad value status=bad value",
            ),
            (
                401,
                r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#,
                "authentication",
            ),
            (
                400,
                r#"[{"message":"x","errorCode":"INSUFFICIENT_ACCESS_OR_READONLY"}]"#,
                "permission",
            ),
            (
                403,
                r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
                "limited 1200s integration",
            ),
            (
                403,
                r#"[{"message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#,
                "limited 30s integration",
            ),
            (
                400,
                r#"[{"message":"duplicate value found: X duplicates value on record with id: 500xx","errorCode":"DUPLICATE_VALUE"}]"#,
                "exists",
            ),
            (
                400,
                r#"[{"message":"unable to obtain exclusive access","errorCode":"UNABLE_TO_LOCK_ROW"}]"#,
                "transient",
            ),
            (
                300,
                r#"["/services/data/v62.0/sobjects/Case/500a"]"#,
                "conflict",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":"rate_limit_exceeded","error_description":"x"}"#,
                "limited 60s integration",
            ),
            (
                404,
                r#"[{"message":"gone","errorCode":"ENTITY_IS_DELETED"}]"#,
                "notfound",
            ),
            (
                500,
                r#"[{"message":"x","errorCode":"UNKNOWN_EXCEPTION"}]"#,
                "unknown",
            ),
        ],
    );
}

#[test]
fn hubspot_hides_faults_in_its_message_and_partial_failures_in_a_success() {
    static HUBSPOT: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/policyName", "/category", "/errors/0/category", "/error"],
            texts: &["/message", "/errors/0/message"],
            fields: &[
                Fields::List {
                    at: "/errors",
                    name: "/context/propertyName",
                    text: "/message",
                },
                Fields::Embedded {
                    name: "/name",
                    text: "/message",
                    code: "/error",
                },
            ],
        }],
        rules: &[
            rule(207)
                .code(&["*"])
                .text(&["conflicting_unique_value"])
                .means(Means::Exists),
            rule(207).code(&["*"]).means(Means::Validation),
            Rule::any()
                .text(&["conflicting_unique_value"])
                .means(Means::Exists),
            Rule::any()
                .code(&["invalid_grant", "invalid_client"])
                .means(Means::Authentication),
            rule(423).means(Means::Later(secs(2))),
            rule(477).means(Means::Later(secs(600))),
            rule(429)
                .code(&["SECONDLY"])
                .means(Means::RateLimited(Scope::Endpoint, secs(1))),
            rule(429).code(&["TEN_SECONDLY_ROLLING"]).means(limited(10)),
            rule(429).code(&["DAILY"]).means(limited(3600)),
        ],
        ok: None,
        fields: &[("subject", "title"), ("hs_pipeline_stage", "status")],
        rate: RateHeaders::retry_after(secs(10), Scope::Integration),
    };
    hold(
        &HUBSPOT,
        &[
            (200, r#"{"status":"COMPLETE","results":[]}"#, "good"),
            (
                207,
                r#"{"status":"COMPLETE","numErrors":1,"errors":[{"status":"error","category":"VALIDATION_ERROR","message":"no"}]}"#,
                "validation",
            ),
            (
                400,
                r#"{"status":"error","message":"x","category":"VALIDATION_ERROR","errors":[{"message":"was not a valid number","code":"INVALID_INTEGER","context":{"propertyName":["subject"]}}]}"#,
                "validation title=was not a valid number",
            ),
            (
                400,
                r#"{"status":"error","message":"Property values were not valid: [{\"isValid\":false,\"message\":\"Property \\\"missing\\\" does not exist\",\"error\":\"PROPERTY_DOESNT_EXIST\",\"name\":\"missing\"}]","category":"VALIDATION_ERROR"}"#,
                "validation missing=Property \"missing\" does not exist",
            ),
            (
                400,
                r#"{"status":"error","message":"Property values were not valid: [{\"isValid\":false,\"message\":\"taken\",\"error\":\"CONFLICTING_UNIQUE_VALUE\",\"name\":\"external_ticket_id\"}]"}"#,
                "exists",
            ),
            (
                429,
                r#"{"status":"error","message":"You have reached your ten_secondly_rolling limit.","policyName":"TEN_SECONDLY_ROLLING"}"#,
                "limited 10s integration",
            ),
            (
                429,
                r#"{"message":"You have reached your secondly limit.","policyName":"SECONDLY"}"#,
                "limited 1s endpoint",
            ),
            (
                429,
                r#"{"policyName":"DAILY"}"#,
                "limited 3600s integration",
            ),
            (423, "", "transient 2s"),
            (
                401,
                r#"{"category":"EXPIRED_AUTHENTICATION"}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":"invalid_grant","status":"BAD_REFRESH_TOKEN"}"#,
                "authentication",
            ),
            (403, r#"{"category":"MISSING_SCOPES"}"#, "permission"),
            (409, r#"{"category":"CONFLICT"}"#, "conflict"),
            (524, "", "unknown"),
        ],
    );
    let migrating = answer(477, &[("retry-after", "3600")], "");
    assert_eq!(said(&HUBSPOT, &migrating), "transient 3600s");
}

#[test]
fn slack_refuses_with_success_and_its_hook_by_a_word() {
    static SLACK: ErrorTable = ErrorTable {
        shapes: &[
            Shape::Json {
                codes: &["/error"],
                texts: &["/needed", "/response_metadata/messages/0"],
                fields: &[],
            },
            Shape::Text,
        ],
        rules: &[
            Rule::any()
                .code(&[
                    "invalid_auth",
                    "not_authed",
                    "token_*",
                    "account_inactive",
                    "invalid_token",
                ])
                .means(Means::Authentication),
            Rule::any()
                .code(&["missing_scope"])
                .means(Means::Permission)
                .advice("the app needs the scope {}"),
            Rule::any()
                .code(&["msg_too_long"])
                .field("description")
                .advice("is longer than it takes"),
            Rule::any()
                .code(&["restricted_action*", "slack_connect_*_blocked"])
                .means(Means::Permission),
            Rule::any()
                .code(&["not_in_channel"])
                .means(Means::Permission)
                .advice("invite the bot into the channel (/invite @bot)"),
            Rule::any()
                .code(&["channel_not_found", "message_not_found"])
                .means(Means::NotFound),
            Rule::any()
                .code(&["no_service*", "no_team", "no_active_hooks"])
                .means(Means::Gone),
            rule(410).means(Means::Gone),
            Rule::any()
                .code(&["ratelimited", "rate_limited"])
                .means(Means::RateLimited(Scope::Endpoint, secs(30))),
            Rule::any()
                .code(&["message_limit_exceeded"])
                .means(limited(600)),
            Rule::any()
                .code(&["internal_error", "fatal_error", "service_unavailable"])
                .means(Means::Doubtful),
            Rule::any()
                .code(&["request_timeout"])
                .means(Means::Transient),
            Rule::any()
                .code(&["team_added_to_org"])
                .means(Means::Later(secs(3600))),
            Rule::any().code(&["already_reacted"]).means(Means::Done),
            Rule::any()
                .code(&["method_deprecated", "unknown_method"])
                .means(Means::Unsupported),
        ],
        ok: Some("/ok"),
        fields: &[],
        rate: RateHeaders::retry_after(secs(30), Scope::Endpoint),
    };
    let no = |code: &str| format!(r#"{{"ok":false,"error":"{code}"}}"#);
    for (code, expected) in [
        ("invalid_auth", "authentication"),
        ("token_revoked", "authentication"),
        ("slack_connect_file_upload_sharing_blocked", "permission"),
        ("channel_not_found", "notfound"),
        ("rate_limited", "limited 30s endpoint"),
        ("message_limit_exceeded", "limited 600s integration"),
        ("fatal_error", "unknown"),
        ("request_timeout", "transient"),
        ("team_added_to_org", "transient 3600s"),
        ("already_reacted", "done"),
        ("unknown_method", "unsupported"),
        ("missing_scope", "permission"),
        (
            "msg_too_long",
            "validation description=is longer than it takes",
        ),
        ("new_in_2031", "validation"),
    ] {
        assert_eq!(
            said(&SLACK, &answer(200, &[], &no(code))),
            expected,
            "{code}"
        );
    }
    hold(
        &SLACK,
        &[
            (200, r#"{"ok":true,"ts":"1"}"#, "good"),
            // Neither yes nor no: a body cut off, or that of somebody else.
            (200, r#"{"ok":tr"#, "unknown"),
            (200, r#"{"ts":"1"}"#, "unknown"),
            (200, "<html>", "unknown"),
            (404, "no_service", "gone"),
            (403, "invalid_token", "authentication"),
            (410, "channel_is_archived", "gone"),
            (400, "no_text", "validation"),
            (500, "rollup_error", "unknown"),
        ],
    );
    let invited = answer(200, &[], &no("not_in_channel"));
    let Judged::Failed(error) = SLACK.judge(&invited, Effect::Create, "posting the ticket") else {
        panic!("it is refused");
    };
    assert_eq!(
        error.public,
        "posting the ticket: the credentials are not permitted to do this (not_in_channel); \
         invite the bot into the channel (/invite @bot)"
    );
    let needs = r#"{"ok":false,"error":"missing_scope","needed":"chat:\u0007write"}"#;
    for (body, advice) in [
        (needs, "(missing_scope); the app needs the scope chat:write"),
        (&no("missing_scope"), "(missing_scope)"),
        (
            &no("msg_too_long"),
            "(msg_too_long); description is longer than it takes",
        ),
    ] {
        let Judged::Failed(error) = SLACK.judge(&answer(200, &[], body), Effect::Create, "x")
        else {
            panic!("it is refused");
        };
        assert!(error.public.ends_with(advice), "{}", error.public);
    }
    let read = SLACK.judge(&answer(200, &[], &no("fatal_error")), Effect::Read, "x");
    let Judged::Failed(error) = read else {
        panic!("it is refused");
    };
    assert_eq!(error.class, ErrorClass::Transient { retry_after: None });
}

#[test]
fn teams_has_one_shape_for_graph_and_for_workflows() {
    static TEAMS: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/error/code", "/error"],
            texts: &["/error/message", "/error_description"],
            fields: &[],
        }],
        rules: &[
            Rule::any().text(&["aadsts65001"]).means(Means::Permission),
            Rule::any()
                .code(&["invalid_client", "invalid_grant"])
                .means(Means::Authentication),
            rule(410).means(Means::Gone),
            rule(412).means(Means::Transient),
            rule(400)
                .code(&["WorkflowTriggerIsNotEnabled"])
                .means(Means::Gone),
        ],
        ok: None,
        fields: &[],
        rate: RateHeaders::retry_after(secs(1), Scope::Integration),
    };
    hold(
        &TEAMS,
        &[
            (202, "", "good"),
            (
                401,
                r#"{"error":{"code":"InvalidAuthenticationToken","message":"x","innerError":{}}}"#,
                "authentication",
            ),
            (
                403,
                r#"{"error":{"code":"Forbidden","message":"x"}}"#,
                "permission",
            ),
            (404, r#"{"error":{"code":"itemNotFound"}}"#, "notfound"),
            (
                400,
                r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret","error_codes":[7000215]}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"AADSTS65001: consent"}"#,
                "permission",
            ),
            (
                400,
                r#"{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"x"}}"#,
                "gone",
            ),
            (410, "", "gone"),
            (412, "", "transient"),
            (
                413,
                r#"{"error":{"code":"RequestEntityTooLarge"}}"#,
                "validation",
            ),
            (
                429,
                r#"{"error":{"code":"TooManyRequests"}}"#,
                "limited 1s integration",
            ),
            (503, "", "unknown"),
        ],
    );
}

#[test]
fn twilio_s_numbers_say_more_than_its_statuses() {
    static SMS: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/code"],
            texts: &["/message"],
            fields: &[],
        }],
        rules: &[
            Rule::any()
                .code(&["20003", "20005"])
                .statuses(401, 401)
                .means(Means::Authentication),
            Rule::any()
                .code(&[
                    "20003", "20403", "21408", "21606", "21659", "21660", "21608", "30002",
                ])
                .means(Means::Permission),
            Rule::any().code(&["21610"]).means(Means::Gone),
            Rule::any()
                .code(&["20404", "21703", "21704", "21705"])
                .means(Means::NotFound),
            Rule::any().code(&["20429"]).means(limited(1)),
            Rule::any()
                .code(&["21611", "14107", "30001", "30022"])
                .means(limited(600)),
        ],
        ok: None,
        fields: &[],
        rate: RateHeaders::retry_after(secs(1), Scope::Integration),
    };
    hold(
        &SMS,
        &[
            (
                401,
                r#"{"code":20003,"message":"Authenticate","status":401}"#,
                "authentication",
            ),
            (
                403,
                r#"{"code":20003,"message":"x","status":403}"#,
                "permission",
            ),
            (
                400,
                r#"{"code":21211,"message":"The 'To' number x is not a valid phone number."}"#,
                "validation",
            ),
            (400, r#"{"code":21610,"message":"unsubscribed"}"#, "gone"),
            (
                400,
                r#"{"code":21611,"message":"queue full"}"#,
                "limited 600s integration",
            ),
            (
                429,
                r#"{"code":20429,"message":"Too Many Requests"}"#,
                "limited 1s integration",
            ),
            (404, r#"{"code":20404,"message":"x"}"#, "notfound"),
            (503, r#"{"code":20503,"message":"x"}"#, "unknown"),
        ],
    );
}

#[test]
fn zoom_has_one_status_for_many_meanings() {
    static ZOOM: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/code", "/error"],
            texts: &["/message", "/reason"],
            fields: &[Fields::List {
                at: "/errors",
                name: "/field",
                text: "/message",
            }],
        }],
        rules: &[
            Rule::any()
                .code(&["124", "7010", "invalid_client"])
                .means(Means::Authentication),
            Rule::any()
                .code(&["4700", "4711", "5403", "5418", "5421"])
                .means(Means::Permission),
            Rule::any()
                .code(&["200"])
                .text(&["only the sender", "permission"])
                .means(Means::Permission),
            Rule::any()
                .code(&["1001", "4130", "4131", "5404"])
                .means(Means::NotFound),
            Rule::any()
                .code(&["300"])
                .text(&["does not exist"])
                .means(Means::NotFound),
            Rule::any()
                .code(&["5420", "5419", "4717"])
                .means(Means::Gone),
            rule(429).text(&["daily"]).means(limited(3600)),
            rule(429).means(limited(1)),
            Rule::any().code(&["5301"]).means(Means::Doubtful),
        ],
        ok: None,
        fields: &[("message", "description")],
        rate: RateHeaders::retry_after(secs(1), Scope::Integration),
    };
    hold(
        &ZOOM,
        &[
            (201, r#"{"id":"8cfaf567"}"#, "good"),
            (
                401,
                r#"{"code":124,"message":"Invalid access token."}"#,
                "authentication",
            ),
            (
                400,
                r#"{"code":124,"message":"Invalid access token."}"#,
                "authentication",
            ),
            (
                400,
                r#"{"code":300,"message":"Message does not exist"}"#,
                "notfound",
            ),
            (
                400,
                r#"{"code":300,"message":"Validation Failed.","errors":[{"field":"message","message":"Invalid field."}]}"#,
                "validation description=Invalid field.",
            ),
            (
                400,
                r#"{"code":200,"message":"Only the sender of this message can make updates"}"#,
                "permission",
            ),
            (400, r#"{"code":5420,"message":"archived"}"#, "gone"),
            (
                400,
                r#"{"code":5301,"message":"Message sending failed"}"#,
                "unknown",
            ),
            (
                429,
                r#"{"code":429,"message":"You have reached the maximum per-second rate limit for this API."}"#,
                "limited 1s integration",
            ),
            (
                429,
                r#"{"code":429,"message":"You have reached the maximum daily rate limit"}"#,
                "limited 3600s integration",
            ),
            (
                400,
                r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
                "authentication",
            ),
        ],
    );
    let until = chrono::Utc::now() + chrono::TimeDelta::seconds(90);
    let iso = until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let daily = answer(429, &[("retry-after", &iso)], r#"{"message":"daily"}"#);
    let found = said(&ZOOM, &daily);
    assert!(
        ["limited 88s integration", "limited 89s integration"].contains(&found.as_str()),
        "{found}"
    );
}

#[test]
fn asana_names_a_field_before_a_colon() {
    static ASANA: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/error"],
            texts: &[
                "/errors/0/message",
                "/errors/1/message",
                "/error_description",
            ],
            fields: &[Fields::BeforeColon],
        }],
        rules: &[
            Rule::any()
                .code(&["invalid_grant"])
                .means(Means::Authentication),
            rule(402).means(Means::Permission),
            rule(412).means(Means::Conflict),
            rule(451).means(Means::Gone),
        ],
        ok: None,
        fields: &[("name", "title"), ("project", "settings.project_gid")],
        rate: RateHeaders::retry_after(secs(60), Scope::Integration),
    };
    hold(
        &ASANA,
        &[
            (
                400,
                r#"{"errors":[{"message":"project: Missing input","help":"x"},{"message":"name: Too long"}]}"#,
                "validation settings.project_gid=Missing input title=Too long",
            ),
            (
                400,
                r#"{"errors":[{"message":"Could not parse, at all: really"}]}"#,
                "validation",
            ),
            (
                401,
                r#"{"errors":[{"message":"Not Authorized"}]}"#,
                "authentication",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"x"}"#,
                "authentication",
            ),
            (
                402,
                r#"{"errors":[{"message":"Payment Required"}]}"#,
                "permission",
            ),
            (
                404,
                r#"{"errors":[{"message":"task: Unknown object: 7"}]}"#,
                "notfound",
            ),
            (412, "{}", "conflict"),
            (
                429,
                r#"{"errors":[{"message":"You've made too many requests"}]}"#,
                "limited 60s integration",
            ),
            (
                500,
                r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid snuggle softly"}]}"#,
                "unknown",
            ),
        ],
    );
    let wait = answer(429, &[("retry-after", "23")], "");
    assert_eq!(said(&ASANA, &wait), "limited 23s integration");
}

#[test]
fn trello_speaks_plain_text_and_its_401_has_two_meanings() {
    static TRELLO: ErrorTable = ErrorTable {
        shapes: &[
            Shape::Json {
                codes: &["/error", "/code"],
                texts: &["/message"],
                fields: &[Fields::After("invalid value for ")],
            },
            Shape::Text,
        ],
        rules: &[
            rule(401)
                .text(&["permission requested"])
                .means(Means::Permission),
            rule(400).text(&["already on the card"]).means(Means::Done),
            rule(429)
                .code(&["API_TOO_MANY_CARDS_REQUESTED"])
                .means(Means::Unsupported),
            rule(429).text(&["/1/member"]).means(limited(900)),
            rule(449).means(Means::Transient),
        ],
        ok: None,
        fields: &[("idList", "settings.list_id"), ("name", "title")],
        rate: RateHeaders::retry_after(secs(10), Scope::Integration),
    };
    hold(
        &TRELLO,
        &[
            (401, "invalid token", "authentication"),
            (401, r#"{"message":"missing scopes"}"#, "authentication"),
            (401, "unauthorized card permission requested", "permission"),
            (404, "The requested resource was not found.", "notfound"),
            (
                400,
                r#"{"message":"invalid value for idList"}"#,
                "validation settings.list_id=invalid value for idList",
            ),
            (400, "that label is already on the card", "done"),
            (
                429,
                r#"{"error":"API_TOKEN_LIMIT_EXCEEDED","message":"Rate limit exceeded"}"#,
                "limited 10s integration",
            ),
            (
                429,
                r#"{"error":"RATE_LIMIT_EXCEEDED","message":"Exceeded rate limit to /1/member"}"#,
                "limited 900s integration",
            ),
            (
                429,
                r#"{"error":"API_TOO_MANY_CARDS_REQUESTED"}"#,
                "unsupported",
            ),
            (449, "", "transient"),
            (413, "", "validation"),
            (504, "", "unknown"),
        ],
    );
}

#[test]
fn github_s_403_may_be_a_limit() {
    static GITHUB: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/errors/0/code"],
            texts: &["/message", "/errors/0/message", "/errors/0"],
            fields: &[Fields::List {
                at: "/errors",
                name: "/field",
                text: "/code",
            }],
        }],
        rules: &[
            Rule::any()
                .statuses(403, 403)
                .header("retry-after", "")
                .means(limited(60)),
            rule(403)
                .header("x-ratelimit-remaining", "0")
                .means(limited(60)),
            rule(403)
                .text(&["secondary rate limit", "abuse"])
                .means(limited(60)),
            rule(422).text(&["spammed"]).means(limited(60)),
        ],
        ok: None,
        fields: &[("title", "title"), ("body", "description")],
        rate: RateHeaders {
            quotas: &[Quota {
                left: Left::In("x-ratelimit-remaining"),
                reset: Some(("x-ratelimit-reset", ResetIn::EpochSeconds)),
                scope: Scope::Integration,
            }],
            ..RateHeaders::retry_after(secs(60), Scope::Integration)
        },
    };
    hold(
        &GITHUB,
        &[
            (201, "{}", "good"),
            (
                422,
                r#"{"message":"Validation Failed","errors":[{"resource":"Issue","field":"title","code":"missing_field"}],"status":"422"}"#,
                "validation title=missing_field",
            ),
            (
                422,
                r#"{"message":"Validation Failed","errors":["body is too long"]}"#,
                "validation",
            ),
            (
                403,
                r#"{"message":"Resource not accessible by integration"}"#,
                "permission",
            ),
            (
                403,
                r#"{"message":"You have exceeded a secondary rate limit."}"#,
                "limited 60s integration",
            ),
            (401, r#"{"message":"Bad credentials"}"#, "authentication"),
            (404, r#"{"message":"Not Found"}"#, "notfound"),
            (
                410,
                r#"{"message":"Issues are disabled for this repo"}"#,
                "notfound",
            ),
            (429, "", "limited 60s integration"),
        ],
    );
    let primary = [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1769860920"),
        ("date", "Sat, 31 Jan 2026 12:01:00 GMT"),
    ];
    let primary = answer(403, &primary, r#"{"message":"API rate limit exceeded"}"#);
    assert_eq!(said(&GITHUB, &primary), "limited 60s integration");
    let secondary = answer(403, &[("retry-after", "47")], r#"{"message":"x"}"#);
    assert_eq!(said(&GITHUB, &secondary), "limited 47s integration");
}

#[test]
fn a_webhook_says_it_by_status_alone() {
    static WEBHOOK: ErrorTable = ErrorTable {
        shapes: &[NO_TEXT],
        rules: &[
            rule(410).means(Means::Gone),
            rule(407).means(Means::Authentication),
        ],
        ok: None,
        fields: &[],
        rate: RateHeaders::retry_after(secs(30), Scope::Integration),
    };
    hold(
        &WEBHOOK,
        &[
            (204, "", "good"),
            (410, "", "gone"),
            (407, "", "authentication"),
            (401, "", "authentication"),
            (404, "", "notfound"),
            (302, "", "validation base_url=leads to a redirect"),
            (425, "", "unknown"),
            (429, "", "limited 30s integration"),
            (415, r#"{"error":"x"}"#, "validation"),
        ],
    );
}

#[test]
fn what_is_published_is_short_and_holds_no_strange_characters() {
    static TABLE: ErrorTable = ErrorTable {
        shapes: &[Shape::Json {
            codes: &["/code"],
            texts: &["/text"],
            fields: &[Fields::Map {
                at: "/fields",
                text: "",
            }],
        }],
        ..ErrorTable::of_status(NO_QUOTA)
    };
    let body = serde_json::json!({
        "code": format!("<script>\n{}", "x".repeat(500)), "text": "t0p secret",
        "fields": { "a\u{1b}": format!("\u{1b}[31m{}", "y".repeat(500)) },
    });

    let judged = TABLE.judge(
        &answer(400, &[], &body.to_string()),
        Effect::Create,
        "making",
    );
    let Judged::Failed(error) = judged else {
        panic!("it is refused");
    };

    assert!(error.public.chars().count() < 200, "{}", error.public);
    assert!(!error.public.contains('<') && !error.public.contains("secret"));
    let ErrorClass::Validation { fields } = &error.class else {
        panic!("it is the data");
    };
    let fault = &fields["a"];
    assert_eq!(fault.chars().count(), FAULT_MAX);
    assert!(!fault.contains('\u{1b}'));
    // What is only for the log is cut, too.
    assert!(error.internal.unwrap().chars().count() < 600);
}
