"""What people do with the package `zenpy`, at a site of the sandbox: zendesk_client.py URL."""

import json
import sys

import requests
from requests.adapters import HTTPAdapter
from zenpy import Zenpy
from zenpy.lib.api_objects import Comment, Ticket
from zenpy.lib.exception import APIException

url = sys.argv[1]


class Sandbox(HTTPAdapter):
    """The package knows its own domain alone, and paths as they were spelled once, with `.json`."""

    def send(self, request, **arguments):
        theirs = request.url
        request.url = theirs.replace("https://acme.zendesk.com", url).replace(".json", "")
        answer = super().send(request, **arguments)
        # It tells by the address what an answer is.
        answer.url = request.url = theirs
        return answer


session = requests.Session()
session.mount("https://acme.zendesk.com", Sandbox())
zendesk = Zenpy(subdomain="acme", email="bot@example.test", token="t0k3n", session=session)

made = zendesk.tickets.create(Ticket(
    subject="By another client", comment=Comment(body="Hello", public=True),
    external_id="tkt-foreign", tags=["vip"], priority="high",
)).ticket
seen = {
    "me": zendesk.users.me().email,
    "made": [made.subject, made.external_id, made.status, made.priority, made.tags],
}
ticket = zendesk.tickets(id=made.id)
ticket.status = "open"
ticket.comment = Comment(body="A remark", public=False)
audit = zendesk.tickets.update(ticket)
seen["status"] = zendesk.tickets(id=made.id).status
seen["comments"] = [[c.plain_body or c.body, c.public] for c in zendesk.tickets.comments(made.id)]
seen["found"] = [t.id == made.id for t in zendesk.tickets(external_id="tkt-foreign")]
try:
    zendesk.tickets.create(Ticket(subject="No comment"))
except APIException as error:
    seen["refused"] = error.response.status_code
print(json.dumps(seen))
