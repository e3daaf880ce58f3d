#!/usr/bin/env python3
"""Prints every event from the beginning of the events log, a JSON line each, and then goes on with new ones.

    pip install pika
    AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f ./events.py        # --idle 5 ends after 5 s without a new one
"""
import argparse
import os

import pika


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--idle", type=float, default=None, help="end after so many seconds without an event")
    idle = arguments.parse_args().idle
    prefix = os.environ.get("TICKETWIRE_PREFIX", "ticketwire")
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=200)  # a stream wants a prefetch and acknowledgements
    log = channel.consume(
        f"{prefix}.events.log", arguments={"x-stream-offset": "first"}, inactivity_timeout=idle
    )
    for method, _properties, body in log:
        if method is None:
            break
        print(body.decode(), flush=True)
        channel.basic_ack(method.delivery_tag)
    connection.close()


if __name__ == "__main__":
    main()
