use super::super::facts::tests::answer;
use super::*;

const ROOT: &str = "1700000000.000100";

fn me() -> Identity {
    serde_json::from_value(json!({
        "url": "https://acme.slack.com/", "team": "Acme", "user": "bot", "bot_id": "B0OURS",
    }))
    .unwrap()
}

fn read(messages: &Value) -> Option<ExternalItem> {
    let page = answer(&json!({ "ok": true, "messages": messages, "has_more": false }));
    let (messages, next) = read_page(&page, "reading").unwrap();
    assert_eq!(next, None);
    let root = MessageRef::parse(&format!("C0SUPPORT:{ROOT}")).unwrap();
    whole(&root, &messages, &me())
}

fn root(more: &Value) -> Value {
    let mut root = json!({
        "ts": ROOT, "thread_ts": ROOT, "bot_id": "B0OURS", "text": "A & B (high, new)",
        "blocks": [{ "block_id": "title", "text": { "type": "plain_text", "text": "A &amp; B" } }],
        "metadata": { "event_type": "ticketwire_ticket", "event_payload": { "mark": "tkt-1" } },
    });
    for (name, value) in more.as_object().unwrap() {
        root[name] = value.clone();
    }
    root
}

#[test]
fn a_thread_is_its_ticket_and_what_others_said() {
    let ours = json!({ "event_type": "ticketwire_ticket", "event_payload": { "mark": "cmd-1" } });
    let thread = json!([
        root(&json!({ "edited": { "ts": "1700000050.000000" } })),
        { "ts": "1700000001.000100", "thread_ts": ROOT, "bot_id": "B0OURS", "text": "Ours" },
        { "ts": "1700000002.000100", "thread_ts": ROOT, "bot_id": "B0OLD", "text": "Ours before",
            "metadata": ours },
        { "ts": "1700000003.000100", "thread_ts": ROOT, "user": "U1",
            "text": "<@U2> see <https://x.test|there> &lt;now&gt;",
          "files": [{ "id": "F1", "name": "a.txt", "mimetype": "text/plain", "size": 5 }] },
        { "ts": "1700000004.000100", "thread_ts": ROOT, "bot_id": "B0BUILD", "username": "build",
            "text": "Broken" },
        { "ts": "1700000005.000100", "thread_ts": ROOT, "subtype": "tombstone",
            "text": "This message was deleted." },
    ]);

    let item = read(&thread).unwrap();

    assert_eq!(item.item.external_id, format!("C0SUPPORT:{ROOT}"));
    assert_eq!(item.item.stable_id.as_deref(), Some(ROOT));
    assert_eq!(item.at, moment("1700000050.000000").map(Moment::exact));
    assert_eq!(item.facts.title.as_deref(), Some("A & B"));
    let page = "https://acme.slack.com/archives/C0SUPPORT/p1700000000000100";
    assert_eq!(item.facts.url.as_deref(), Some(page));
    assert_eq!((item.facts.status, item.facts.priority), (None, None));
    assert_eq!(item.marker.as_deref(), Some("tkt-1"));
    let said: Vec<_> = item
        .comments
        .iter()
        .map(|comment| (comment.id.as_str(), comment.body.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("1700000003.000100", "@U2 see there (https://x.test) <now>"),
            ("1700000004.000100", "Broken")
        ]
    );
    let author = item.comments[1].author.as_ref().unwrap();
    assert_eq!(author.id.as_deref(), Some("B0BUILD"));
    assert_eq!(author.name.as_deref(), Some("build"));
    assert_eq!((item.files.len(), item.files[0].size), (1, Some(5)));
}

#[test]
fn a_message_that_was_deleted_is_gone_with_replies_or_without() {
    let stone = json!([root(&json!({ "subtype": "tombstone" }))]);
    assert_eq!(read(&stone), None);
    assert_eq!(read(&json!([])), None);
    let gone = |code: &str| is_gone(&answer(&json!({ "ok": false, "error": code })));
    assert!(gone("thread_not_found"));
    assert!(
        !gone("channel_not_found"),
        "who cannot see the channel knows nothing of the message"
    );
}

#[test]
fn a_text_of_slack_is_read_as_people_see_it() {
    for (text, expected) in [
        ("plain", "plain"),
        ("a &amp;lt; b", "a &lt; b"),
        ("<https://x.test>", "https://x.test"),
        ("<mailto:a@x.test|a@x.test>!", "a@x.test!"),
        (
            "<#C1|general> <!here> <!subteam^S1|@crew>",
            "#general @here @crew",
        ),
        ("<@U1|jo> 1 < 2", "@jo 1 < 2"),
    ] {
        assert_eq!(plain(text), expected, "{text}");
    }
}

#[test]
fn a_time_is_exact_to_the_microsecond_and_no_fraction() {
    let at = moment("1700000000.000100").unwrap();
    assert_eq!(at.timestamp_micros(), 1_700_000_000_000_100);
    assert_eq!(written(at), "1700000000.000100");
    assert_eq!(moment("yesterday"), None);
    assert_eq!(moment("1.99999999999"), None);
}

#[test]
fn a_channel_is_a_choice_by_its_id() {
    let channel = json!({ "id": "C1", "name": "support", "is_private": true, "topic": {} });
    let channel: Channel = serde_json::from_value(channel).unwrap();

    let field = channel.field();

    assert_eq!((field.id.as_str(), field.name.as_str()), ("C1", "#support"));
    assert_eq!(field.kind.as_deref(), Some("private channel"));
}
