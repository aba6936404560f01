"""An nginx in front of a turnoutd, with the site that we ship: conf/nginx/turnout.conf as it is, but for its ports and paths.

    with Nginx(turnout) as nginx:
        with nginx.wire() as wire:
            wire.send(get("/api/events"))
"""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

from server import free_port
from sql_harness import TOP, wait_until
from wire import PATIENCE, Wire

SITE = TOP / "conf" / "nginx" / "turnout.conf"
NAME = "events.example.com"


def program():
    """nginx, or None; Debian has it where ordinary users do not look."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Nginx:
    """Runs as whoever runs the tests, in the foreground, in a session of its own. `upstream`: the socket of turnoutd."""

    def __init__(self, upstream):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ngx."))
        self.upstream = pathlib.Path(upstream)
        self.port = free_port()
        self.plain_port = free_port()
        self.log = self.folder / "error.log"
        self.access_log = self.folder / "access.log"
        self.process = None
        self._make_certificate()
        (self.folder / "site.conf").write_text(self._site(), encoding="utf-8")
        (self.folder / "nginx.conf").write_text(self._main(), encoding="utf-8")
        self.client = ssl.create_default_context(cafile=self.folder / "certificate.pem")

    def _make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}",
                        "-keyout", self.folder / "key.pem", "-out", self.folder / "certificate.pem"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _site(self):
        """The shipped file; what is exchanged must be there, so that an edit of it can't pass this by."""
        text = SITE.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^ *listen \[::\]:.*\n", "", text)
        for there, here, count in [
                ("listen 443 ", f"listen 127.0.0.1:{self.port} ", 1),
                ("listen 80;", f"listen 127.0.0.1:{self.plain_port};", 1),
                ("/run/turnout/http.sock", str(self.upstream), 1),
                ("/etc/ssl/certs/turnout.pem", f"{self.folder}/certificate.pem", 1),
                ("/etc/ssl/private/turnout.key", f"{self.folder}/key.pem", 1),
                ("/var/log/nginx/turnout.log", str(self.access_log), 1)]:
            assert text.count(there) == count, f"{there} stands {text.count(there)} times in {SITE}"
            text = text.replace(there, here)
        return text

    def _main(self):
        """What /etc/nginx/nginx.conf says on a host; with Debian's gzip on, which the site turns off again."""
        owner = f"user {pwd.getpwuid(os.geteuid()).pw_name};\n" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"    {kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        return (f"{owner}daemon off;\nworker_processes 2;\npid {self.folder}/nginx.pid;\nerror_log {self.log} info;\n"
                "events {\n    worker_connections 9000;\n}\n"
                f"http {{\n    gzip on;\n    access_log off;\n{paths}    include {self.folder}/site.conf;\n}}\n")

    def _command(self, *arguments):
        return [program(), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", str(self.log), *arguments]

    def check(self):
        """`nginx -t`: what it says, and whether it was content."""
        done = subprocess.run(self._command("-t"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode == 0, done.stdout

    def start(self):
        self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(self._listens, "nginx listens")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)

    def remove(self):
        try:
            self.stop()
        finally:
            if self.process is not None:
                self.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    def wire(self):
        """A bare connection through TLS."""
        bare = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Wire(self.client.wrap_socket(bare, server_hostname=NAME))

    def plain_wire(self):
        """A bare connection to the port that only redirects."""
        return Wire(socket.create_connection(("127.0.0.1", self.plain_port), timeout=PATIENCE))
