#!/usr/bin/env python3
"""Makes an integration, tests it, creates a ticket, and prints the result: everything by commands.

    pip install pika
    export AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f ORGANIZATION=6f9619ff-8b86-d011-b42d-00c04fc964ff
    ./producer.py https://example.atlassian.net bot@example.org API_TOKEN SUP
"""
import json
import os
import sys
import uuid

import pika

PREFIX = os.environ.get("TICKETWIRE_PREFIX", "ticketwire")


class Ticketwire:
    """Publishes commands and waits for their final events."""

    def __init__(self, url, organization):
        self.organization = organization
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()  # basic_publish returns when the broker has the command, or raises
        self.answers = {}
        # Direct reply-to: no queue to declare; the answers come to this channel.
        self.channel.basic_consume("amq.rabbitmq.reply-to", self.on_answer, auto_ack=True)

    def on_answer(self, _channel, _method, properties, body):
        self.answers[properties.correlation_id] = json.loads(body)

    def call(self, command_type, data, timeout=60):
        command = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),  # the idempotency key: a repeat goes out under the same id
            "source": "/examples/python",
            "type": command_type,
            "organizationid": self.organization,
            "data": data,
        }
        self.channel.basic_publish(
            exchange=f"{PREFIX}.commands",
            routing_key=command_type,  # must be the type
            body=json.dumps(command),
            mandatory=True,
            properties=pika.BasicProperties(
                content_type="application/cloudevents+json",
                delivery_mode=2,  # persistent
                reply_to="amq.rabbitmq.reply-to",
                correlation_id=command["id"],
            ),
        )
        self.connection.process_data_events(time_limit=0)
        waited = 0
        while command["id"] not in self.answers:
            if waited >= timeout:
                sys.exit(f"no answer to {command_type} within {timeout} s; the command {command['id']} goes on")
            self.connection.process_data_events(time_limit=1)
            waited += 1
        event = self.answers.pop(command["id"])
        if event["data"]["outcome"] != "succeeded":
            sys.exit(f"{command_type}: {event['data']['error']}")
        return event["data"]["result"]


def main():
    base_url, email, api_token, project = sys.argv[1:5]
    ticketwire = Ticketwire(os.environ["AMQP_URL"], os.environ["ORGANIZATION"])
    made = ticketwire.call("integration.create", {
        "name": "Support desk",
        "platform_name": "jira",
        "base_url": base_url,
        "credentials": {"email": email, "api_token": api_token},
        "settings": {"project_key": project},
    })
    tested = ticketwire.call("integration.test", {"integration_id": made["integration_id"]})
    if not tested["success"]:
        sys.exit(f"the integration does not work: {tested['tests']}")
    ticket = ticketwire.call("ticket.create", {
        "title": "Login page returns 500",
        "description": "Since the **last deploy**.",
        "category": "bug",
        "priority": "high",
        "integration_id": made["integration_id"],
    })
    print(json.dumps(ticket))


if __name__ == "__main__":
    main()
