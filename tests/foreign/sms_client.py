"""What people do with the package `twilio`, at a site of the sandbox: sms_client.py URL.

It also signs two deliveries by its own validator, for the address that the test verifies."""

import json
import sys
from urllib.parse import urlsplit

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

url = urlsplit(sys.argv[1])
account = "AC00000000000000000000000000000001"


class Sandbox(TwilioHttpClient):
    """The package knows Twilio's own hosts alone."""

    def request(self, method, uri, *arguments, **named):
        there = uri.replace("https://api.twilio.com", url.geturl())
        return super().request(method, there, *arguments, **named)


twilio = Client(account, "t0ken", http_client=Sandbox())
sender, phone = "+14155550100", "+14155550199"
made = twilio.messages.create(to=phone, from_=sender, body="By another client – 1")
twilio.messages.create(to=phone, from_=sender, body="Two", media_url=["https://x.test/a.png"])
for number in range(3):
    twilio.messages.create(to=phone, from_=sender, body=f"More {number}")
seen = {
    "me": [twilio.api.accounts(account).fetch().status, made.account_sid == account],
    "made": [made.sid[:2], made.status, made.direction, made.num_segments, made.error_code],
    "date": made.date_created is not None,
    "shown": twilio.messages(made.sid).fetch().status,
    # Over pages of two, the newest first.
    "listed": [m.body for m in twilio.messages.list(to=phone, page_size=2)],
    "none": len(twilio.messages.list(to="+14155550111")),
    "media": [m.num_media for m in twilio.messages.list(to=phone) if m.sid.startswith("MM")],
    "numbers": [n.phone_number for n in twilio.incoming_phone_numbers.list()],
    "redacted": twilio.messages(made.sid).update(body="").body,
    "deleted": twilio.messages(made.sid).delete(),
    "refused": [],
}
for fields in [
    {"to": "12", "from_": sender, "body": "x"},
    {"to": phone, "from_": sender},
    {"to": phone, "body": "x"},
    {"to": phone, "from_": "+14155550155", "body": "x"},
    {"to": phone, "from_": sender, "body": "x" * 1601},
    {"to": phone, "messaging_service_sid": "MG1", "body": "x"},
]:
    try:
        twilio.messages.create(**fields)
    except TwilioRestException as error:
        seen["refused"].append([error.status, error.code])
try:
    twilio.messages(made.sid).fetch()
except TwilioRestException as error:
    seen["refused"].append([error.status, error.code])
try:
    Client(account, "wrong", http_client=Sandbox()).api.accounts(account).fetch()
except TwilioRestException as error:
    seen["refused"].append([error.status, error.code])

hook = "https://hooks.example.com/webhooks/1?mark=tkt-1"
form = {"MessageSid": "SM1", "From": phone, "To": sender, "Body": "grüße ✓ #ab0ac58d"}
validator = RequestValidator("12345")
seen["signed"] = validator.compute_signature(hook, form)
print(json.dumps(seen))
