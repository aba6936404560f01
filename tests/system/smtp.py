"""A real SMTP server for tests, aiosmtpd in a thread: it keeps every message with its envelope, and is told while it runs what to
answer at which stage, to hang, or to close."""

import asyncio
import collections
import email
import email.policy
import ssl
import subprocess
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from server import free_port
from sql_harness import wait_until

Taken = collections.namedtuple("Taken", "sender recipient data")


def make_certificates(folder, name="localhost"):
    """A CA of its own and a certificate of it for `name`: (ca, certificate, key)."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, request = folder / "server.pem", folder / "server.key", folder / "server.csr"
    extension = folder / "extension"
    extension.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n" if name == "localhost" else f"subjectAltName=DNS:{name}\n",
                         encoding="ascii")

    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", "/CN=test", "-days", 30)
    openssl("req", *curve, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", certificate, "-days", 30,
            "-extfile", extension)
    return ca, certificate, key


# For `answers` of RCPT: nothing is answered, and the connection breaks.
CLOSE = "421 closing"


class Conversation(SMTP):
    """One connection."""

    def connection_made(self, transport):
        sink = self.event_handler.sink
        if not self._over_tls(transport):
            sink.connections += 1
            sink.open += 1
            greeting = sink.answer("GREETING", None)
            if greeting is not None:
                transport.write(greeting.encode() + b"\r\n")
                transport.close()
        super().connection_made(transport)

    def connection_lost(self, error):
        self.event_handler.sink.open -= 1
        super().connection_lost(error)

    @staticmethod
    def _over_tls(transport):
        return transport.get_extra_info("sslcontext") is not None


class Handler:
    """What aiosmtpd calls."""

    def __init__(self, sink):
        self.sink = sink

    async def _answer(self, stage, what):
        while self.sink.hanging == stage:
            self.sink.hung += 1
            await asyncio.sleep(0.01)
        return self.sink.answer(stage, what)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # pylint: disable=invalid-name,too-many-arguments
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]] if self.sink.pipelining else responses

    async def handle_MAIL(self, server, session, envelope, address, options):  # pylint: disable=invalid-name,too-many-arguments
        answer = await self._answer("MAIL", address)
        if answer is not None:
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # pylint: disable=invalid-name,too-many-arguments
        answer = await self._answer("RCPT", address)
        if answer == CLOSE:
            server.transport.abort()
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # pylint: disable=invalid-name
        assert len(envelope.rcpt_tos) == 1, envelope.rcpt_tos
        answer = await self._answer("DATA", envelope.rcpt_tos[0])
        if answer is not None:
            return answer
        self.sink.take(Taken(envelope.mail_from, envelope.rcpt_tos[0], envelope.original_content))
        if self.sink.delay:
            await asyncio.sleep(self.sink.delay)
        return "250 2.0.0 taken"


class Sink:
    """`answers`: by stage (GREETING, MAIL, RCPT, DATA) a function of the address that gives the line to answer, or None for yes.
    `hanging`: the stage at which nothing is answered. `delay`: seconds between taking a message and saying so.
    `pipelining`: it offers to take several commands at once."""

    def __init__(self, certificates=None, login=None, start=True, pipelining=True):
        self.port, self.pipelining = free_port(), pipelining
        self.certificates, self.login = certificates, login
        self.taken, self.lock = [], threading.Lock()
        self.answers, self.asked = {}, collections.Counter()
        self.connections, self.open, self.hanging, self.hung, self.delay = 0, 0, None, 0, 0
        self.controller = None
        if start:
            self.start()

    @property
    def options(self):
        """Of turnoutd, to send here."""
        if self.certificates is None:
            return {"smtp_url": f"smtp://127.0.0.1:{self.port}", "smtp_tls": "off", "mail_from": "Events <events@example.com>"}
        return {"smtp_url": f"smtp://localhost:{self.port}", "smtp_tls": "starttls", "smtp_ca_file": self.certificates[0],
                "mail_from": "Events <events@example.com>"}

    def start(self):
        context = None
        if self.certificates is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*self.certificates[1:])
        handler, login = Handler(self), self.login

        def authenticate(_server, _session, _envelope, _mechanism, data):
            known = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == login
            return AuthResult(success=known, handled=False)  # it answers itself

        class Server(Controller):
            """With conversations of our kind."""

            def factory(self):
                return Conversation(self.handler, enable_SMTPUTF8=False, tls_context=context, require_starttls=False,
                                    authenticator=authenticate if login else None, auth_required=login is not None,
                                    auth_require_tls=context is not None, hostname="sink.example.com", loop=self.loop)

        self.controller = Server(handler, hostname="127.0.0.1", port=self.port, ready_timeout=30)
        before = self.connections
        self.controller.start()
        # aiosmtpd connects to itself to see that it serves
        wait_until(lambda: self.connections > before and self.open == 0, "the sink has seen itself")
        self.connections = before

    def stop(self):
        """Refuses connections from now on; those that stand are cut."""
        if self.controller is not None:
            self.hanging = None
            self.controller.stop()
            self.controller = None
            self.open = 0

    def answer(self, stage, what):
        self.asked[stage] += 1
        return self.answers[stage](what) if stage in self.answers else None

    def take(self, message):
        with self.lock:
            self.taken.append(message)

    def messages(self, recipient=None):
        """Parsed, in the order in which they came."""
        with self.lock:
            taken = list(self.taken)
        return [email.message_from_bytes(one.data, policy=email.policy.SMTP) for one in taken
                if recipient is None or one.recipient == recipient]

    def recipients(self):
        with self.lock:
            return collections.Counter(one.recipient for one in self.taken)

    def by_message_id(self):
        """How often each came."""
        with self.lock:
            taken = list(self.taken)
        return collections.Counter(email.message_from_bytes(one.data)["Message-ID"] for one in taken)

    def wait(self, count, patience=60):
        """Until so many have come."""
        wait_until(lambda: len(self.taken) >= count, f"{count} mails have come, {len(self.taken)} so far", patience)
        return self.messages()
