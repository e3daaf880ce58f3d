"""What people do with the package `jira`, at a site of the sandbox: jira_client.py URL cloud|data_center."""

import io
import json
import sys

from jira import JIRA, JIRAError

url, deployment = sys.argv[1:]
is_cloud = deployment == "cloud"
if is_cloud:
    # As nearly everybody does: the API's version 2, at Cloud.
    jira = JIRA(server=url, basic_auth=("bot@example.test", "token"))
else:
    jira = JIRA(server=url, token_auth="token")

seen = {
    "deployment": jira.server_info()["deploymentType"],
    "me": jira.myself()["displayName"],
    "priorities": [priority.name for priority in jira.priorities()],
    "fields": [field["id"] for field in jira.fields() if field["custom"]],
}
# By names: the client looks up their ids.
issue = jira.create_issue(
    project="SUP", issuetype="Task", summary="By another client", description="h1. Hello",
    labels=["tkt-foreign"], priority={"name": "High"}, customfield_10010="ACME",
)
seen["made"] = {
    "key": issue.key, "project": issue.fields.project.key, "type": issue.fields.issuetype.name,
    "description": issue.fields.description, "customer": issue.fields.customfield_10010,
}
seen["projects"] = [project.key for project in jira.projects()]
issue.update(summary="Changed", fields={"labels": ["tkt-foreign", "vip"]})
comment = jira.add_comment(issue, "A *remark*")
seen["comment"] = jira.comment(issue.key, comment.id).body
seen["comments"] = len(jira.comments(issue))
jira.assign_issue(issue, "known+ann@example.test")
jira.transition_issue(issue, "Done", resolution={"name": "Done"})
file = jira.add_attachment(issue, io.BytesIO(b"hello"), filename="a.txt")
seen["file"] = [file.filename, file.size]
found = jira.search_issues('project = "SUP" AND labels = "tkt-foreign"')
seen["found"] = [[one.key, one.fields.summary, one.fields.status.name] for one in found]
seen["latest"] = jira._session.get(f"{url}/rest/api/latest/issue/{issue.key}").json()["key"]
try:
    # An issue type that is none is refused before anything else is looked at.
    jira.create_issue(project={"key": "SUP"}, issuetype={"name": "Nothing"}, summary="x" * 300)
except JIRAError as error:
    seen["refused"] = [error.status_code, error.response.json()["errors"]]
print(json.dumps(seen))
