"""What people do with the package `py-trello`, at a site of the sandbox: trello_client.py URL. It
names key and token in the header `Authorization: OAuth`, and sends JSON."""

import io
import json
import sys

import requests
from trello import TrelloClient
from trello.exceptions import ResourceUnavailable, Unauthorized


class Sandbox:
    """The package has Trello's address in it: its transport goes to the sandbox."""

    @staticmethod
    def request(method, url, **options):
        return requests.request(method, url.replace("https://api.trello.com", sys.argv[1]), **options)


def client(token):
    return TrelloClient("k3y", api_secret="secret", token=token, http_service=Sandbox)


def refused(call):
    try:
        call()
    except (ResourceUnavailable, Unauthorized) as error:
        return str(error).split(" at ")[0]
    return None


board = client("ATTAt0k3n").get_board("5f0000000000000000000b01")
todo = board.list_lists("open")[0]
made = todo.add_card("By another client", "In *text*", labels=board.get_labels()[:1])
made.comment("A remark")
made.attach(name="a.txt", mimeType="text/plain", file=io.BytesIO(b"hello"))
again = client("ATTAt0k3n").get_card(made.id)
seen = {
    "board": board.name,
    "fields": [field.name for field in board.get_custom_field_definitions()],
    "card": [again.name, again.description, again.closed, again.list_id == todo.id],
    "labels": [label.name for label in again.labels],
    "comments": [one["data"]["text"] for one in again.fetch_comments()],
    "files": [[one["name"], one["bytes"]] for one in again.fetch_attachments()],
    "open": [card.name for card in board.get_cards({"fields": "all"}, "open")],
    "refused": [
        refused(lambda: client("wrong").get_board(board.id)),
        refused(lambda: client("forbidden").get_card(made.id).comment("x")),
        refused(lambda: todo.add_card("x" * 16_385)),
    ],
}
print(json.dumps(seen))
