use super::*;

#[test]
fn a_custom_field_is_renamed_unless_another_has_the_name() {
    let mut ticket = TicketView {
        id: crate::domain::TicketId::new(uuid::Uuid::nil()),
        title: String::new(),
        description: String::new(),
        status: crate::domain::TicketStatus::New,
        priority: crate::domain::Priority::Low,
        urgency: crate::domain::Priority::Low,
        category: crate::domain::TicketCategory::General,
        department: None,
        assigned_to: None,
        created_by: None,
        tags: Vec::new(),
        custom_fields: Map::from_iter([("a".to_owned(), json!(1))]),
        external_id: None,
        external_url: None,
        external_ref: Map::new(),
    };
    let names = FieldMap::of(&Map::from_iter([("a".to_owned(), json!("b"))]));

    assert_eq!(Value::from(renamed(&ticket, &names)), json!({ "b": 1 }));
    ticket.custom_fields.insert("b".into(), json!(2));
    let both = json!({ "a": 1, "b": 2 });
    assert_eq!(Value::from(renamed(&ticket, &names)), both);
}

#[test]
fn a_template_takes_values_whole_and_in_texts() {
    let event = json!({ "type": "ticket.created", "data": { "title": "Fire \"here\"", "tags": ["a"],
        "n": 3, "none": null } });
    let template = json!({
        "text": "{{ data.title }} ({{data.n}}{{data.none}}) {{data.nowhere}}{{open",
        "tags": "{{data.tags}}", "none": "{{data.nowhere}}", "list": ["{{type}}", 7, true],
    });

    assert_eq!(
        fill(&template, &event, &mut 1_000).unwrap(),
        json!({
            "text": "Fire \"here\" (3) {{open", "tags": ["a"], "none": null,
            "list": ["ticket.created", 7, true],
        })
    );
}

#[test]
fn what_a_template_makes_has_an_end() {
    let event =
        json!({ "data": { "description": "x".repeat(1 << 20), "all": ["y".repeat(1 << 20)] } });
    for placeholder in [
        "{{data.description}}",
        "a {{data.description}}",
        "{{data.all}}",
        "a {{data}}",
    ] {
        let template = json!(vec![placeholder; 3_000]);
        let began = std::time::Instant::now();

        assert_eq!(
            fill(&template, &event, &mut (8 << 20)),
            None,
            "{placeholder}"
        );
        assert!(fill(&json!([placeholder]), &event, &mut (8 << 20)).is_some());
        assert!(
            began.elapsed().as_secs() < 5,
            "{placeholder}: {:?}",
            began.elapsed()
        );
    }
    // Open and never closed: looked at once, not once for each.
    let open = json!("{{".repeat(500_000));
    let began = std::time::Instant::now();
    assert_eq!(fill(&open, &event, &mut 0), Some(open.clone()));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}
