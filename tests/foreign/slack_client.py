"""What people do with the package `slack_sdk`, at a site of the sandbox: slack_client.py URL."""

import json
import sys
import urllib.request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient

url = sys.argv[1]
slack = WebClient(token="xoxb-1", base_url=f"{url}/")


def refused(call, **arguments):
    try:
        call(**arguments)
    except SlackApiError as error:
        return error.response["error"]
    return None


def by_get(call):
    request = urllib.request.Request(f"{url}/{call}", headers={"Authorization": "Bearer xoxb-1"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer).get("error")


section = [{"type": "section", "text": {"type": "mrkdwn", "text": "*Hello*"}}]
posted = slack.chat_postMessage(channel="C0SUPPORT", text="Hello", blocks=section)
place = {"channel": posted["channel"], "ts": posted["ts"]}
slack.chat_postMessage(
    channel="C0SUPPORT", text="A reply", thread_ts=posted["ts"],
    metadata={"event_type": "ours", "event_payload": {"mark": "m"}},
)
slack.chat_update(**place, text="Hello again")
invisible = "\u200b"
seen = {
    "me": slack.auth_test()["user"],
    "link": slack.chat_getPermalink(channel=place["channel"], message_ts=place["ts"])["permalink"],
    "file": slack.files_upload_v2(
        channel="C0SUPPORT", thread_ts=posted["ts"], content="hello", filename="a.txt", title="A",
    )["file"]["id"],
    "history": [m["text"] for m in slack.conversations_history(channel="C0SUPPORT")["messages"]],
    "replies": len(slack.conversations_replies(**place, include_all_metadata=True)["messages"]),
    "refused": [
        refused(slack.chat_postMessage, channel="C0SUPPORT", text=invisible),
        refused(slack.chat_update, **place, text=" "),
        refused(slack.chat_update, **place, text="a", unfurl_links=False),
        by_get("files.getUploadURLExternal?filename=a.txt&length=5"),
    ],
}
hook = WebhookClient(f"{url}/services/T0/B0/x")
answers = [hook.send(text="By a hook"), hook.send(text=" "), hook.send(text="", blocks=[])]
seen["hook"] = [[answer.status_code, answer.body] for answer in answers]
print(json.dumps(seen))
