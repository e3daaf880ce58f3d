"""A mail server of the package `aiosmtpd`: mail_server.py CERTIFICATE KEY.

It takes mails from `bot` after STARTTLS alone, says where it listens, and at the end of its input
what it took, as Python's own `email` reads it."""

import asyncio
import email
import email.policy
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

certificate, key = sys.argv[1:]
logging.getLogger("mail.log").setLevel(logging.ERROR)
trusted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
trusted.load_cert_chain(certificate, key)
took = []


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 User unknown"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        took.append({
            "tls": session.ssl is not None, "from": envelope.mail_from, "to": envelope.rcpt_tos,
            "ascii": raw.isascii(), "longest": max(map(len, raw.splitlines())),
            "bare": b"\n" in raw.replace(b"\r\n", b"") or b"\r" in raw.replace(b"\r\n", b""),
            "defects": [str(defect) for part in mail.walk() for defect in part.defects],
            "sender": str(mail["from"]), "subject": mail["subject"], "id": mail["message-id"],
            "answers": mail["in-reply-to"], "references": mail["references"],
            "automatic": mail["auto-submitted"], "dated": mail["date"].datetime.isoformat(),
            "types": [part.get_content_type() for part in mail.walk()],
            "plain": mail.get_body(("plain",)).get_content(),
            "html": mail.get_body(("html",)).get_content(),
            "files": [[part.get_filename(), part.get_payload(decode=True).decode()]
                      for part in mail.iter_attachments()],
        })
        return f"250 2.0.0 Ok: queued as {len(took)}"


def authenticate(server, session, envelope, mechanism, given):
    known = given.login == b"bot" and given.password == "pässwörd".encode()
    return AuthResult(success=known, handled=False)


def connection():
    return SMTP(
        Handler(), hostname="mail.example.test", tls_context=trusted, require_starttls=True,
        authenticator=authenticate, auth_required=True, data_size_limit=100_000,
    )


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(took))


asyncio.run(main())
