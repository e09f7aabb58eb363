"""An instance that keyturn tells its version over HTTP: `python instance.py PORT`, beside a keyturn.yaml.

It takes signed messages, reads the version with `keyturn secret get`, and reports what it uses. Put your own pool of
connections in the place of `Pool`, and TLS in front. The signing secret comes from the environment: SIGNING_SECRET.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = base64.b64decode(os.environ["SIGNING_SECRET"].removeprefix("whsec_"))


class Pool:
    """What connects with the credential."""

    version = username = password = None

    def use(self, version, username, password):
        """Connect with a version; raise OSError where that does not work, and keep the old one."""
        self.version, self.username, self.password = version, username, password


def read(service, version, field):
    """Read a field of a version from the store."""
    command = ["keyturn", "secret", "get", f"--version={version}", f"--field={field}", "--reveal", "--", service]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.removesuffix("\n")


def is_signed(headers, body):
    """Tell whether keyturn sent this: Standard Webhooks, one signature or several."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    return any(hmac.compare_digest(each, expected) for each in (headers["webhook-signature"] or "").split())


class Instance(BaseHTTPRequestHandler):
    """The two paths that keyturn asks for."""

    pool = Pool()
    newest = 0

    def do_POST(self):
        """Use a version."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers, body):
            return self.answer(401)
        if int(self.headers["webhook-timestamp"]) < Instance.newest:
            return self.answer(409)  # it was overtaken
        told = json.loads(body)
        try:
            fields = [read(told["service"], told["version"], name) for name in ("username", "password")]
            self.pool.use(told["version"], *fields)
        except (OSError, subprocess.CalledProcessError):
            return self.answer(503)
        Instance.newest = int(self.headers["webhook-timestamp"])
        return self.answer(204)

    def do_GET(self):
        """Report the version that is used."""
        challenge = parse_qs(urlsplit(self.path).query)["challenge"][0]
        password = self.pool.password
        proof = password and hmac.new(challenge.encode(), password.encode(), hashlib.sha256).hexdigest()
        self.answer(200, json.dumps({"version": self.pool.version, "proof": proof}).encode())

    def answer(self, status, body=b""):
        """Send an answer that nobody keeps."""
        self.send_response(status)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Instance).serve_forever()
