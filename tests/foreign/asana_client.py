"""What people do with the package `asana`, at a site of the sandbox: asana_client.py URL."""

import json
import os
import sys
import tempfile

import asana
from asana.rest import ApiException

PROJECT, WORKSPACE = "1200000000000001", "1100000000000001"

configuration = asana.Configuration()
configuration.host = sys.argv[1] + "/api/1.0"
configuration.access_token = "2/1100/t0k3n"
client = asana.ApiClient(configuration)
tasks, stories = asana.TasksApi(client), asana.StoriesApi(client)
tags, sections = asana.TagsApi(client), asana.SectionsApi(client)
files, users = asana.AttachmentsApi(client), asana.UsersApi(client)
FIELDS = "name,notes,completed,assignee.gid,tags.name,memberships.section.name,custom_fields.display_value"


def refused(call):
    try:
        call()
    except ApiException as error:
        return [error.status, json.loads(error.body)["errors"][0]["message"]]
    return None


def data(**members):
    return {"data": members}


made = tasks.create_task(data(
    name="By another client", html_notes="<body>Hello <strong>you</strong>\n<ul><li>one</li></ul></body>",
    projects=[PROJECT], assignee="known+ann@example.test", tags=["1600000000000001"],
    custom_fields={"1400000000000001": "140000000000000102", "1400000000000003": "ACME"},
), {"opt_fields": FIELDS})
seen = {
    "me": users.get_user("me", {"opt_fields": "name"})["name"],
    "made": [made["name"], made["notes"], made["completed"], [tag["name"] for tag in made["tags"]]],
    "custom": [field["display_value"] for field in made["custom_fields"]][:3],
    "sparse": sorted(tasks.get_task(made["gid"], {"opt_fields": "completed"})),
}
gid = made["gid"]
named = {s["name"]: s["gid"] for s in sections.get_sections_for_project(PROJECT, {})}
sections.add_task_for_section(named["Done"], {"body": data(task=gid)})
tag = tags.create_tag_for_workspace(data(name="smoke"), WORKSPACE, {})
tasks.add_tag_for_task(data(tag=tag["gid"]), gid)
tasks.remove_tag_for_task(data(tag="1600000000000001"), gid)
tasks.update_task(data(completed=True, assignee=None), gid, {})
stories.create_story_for_task(data(text="A remark"), gid, {})
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "a.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write("hello")
    files.create_attachment_for_object({"parent": gid, "file": path})
for number in range(4):
    tasks.create_task(data(name=f"Task {number}", projects=[PROJECT]), {})
shown = tasks.get_task(gid, {"opt_fields": FIELDS})
seen["shown"] = [shown["completed"], shown["assignee"], [t["name"] for t in shown["tags"]],
                 shown["memberships"][0]["section"]["name"]]
comments = stories.get_stories_for_task(gid, {"opt_fields": "resource_subtype,text"})
seen["comments"] = [s["text"] for s in comments if s["resource_subtype"] == "comment_added"]
seen["files"] = [[f["name"], f["size"]] for f in files.get_attachments_for_object(gid, {"opt_fields": "name,size"})]
seen["listed"] = len(list(tasks.get_tasks({"project": PROJECT, "limit": 2, "opt_fields": "name"})))
seen["refused"] = [
    refused(lambda: tasks.create_task(data(name="Nowhere"), {})),
    refused(lambda: tasks.create_task(data(projects=[PROJECT], html_notes="<body><p>x</p></body>"), {})),
    refused(lambda: tasks.update_task(data(assignee="bo@elsewhere.test"), gid, {})),
    refused(lambda: tasks.get_task("1", {})),
]
tasks.delete_task(gid)
seen["deleted"] = refused(lambda: tasks.get_task(gid, {}))[0]
print(json.dumps(seen))
