"""A receiver of webhooks as a program of its own: takes what is signed and of now, each id once, and writes it down.

It knows Standard Webhooks 1.0 and nothing of ours. Arguments: the secret in base64, and the file to write to, a line of
JSON for each; its first line on standard output is the port. What comes to /fhir is a notification, with no signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

SECRET, TAKEN = base64.b64decode(sys.argv[1]), Path(sys.argv[2])
TOLERANCE_SECONDS = 300
ids: set[str] = set()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 204
        if self.path != "/fhir":
            status = self.judged(body)
        if status == 204:
            with TAKEN.open("ab") as taken:
                taken.write(json.dumps({"path": self.path, "body": json.loads(body)}).encode() + b"\n")
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def judged(self, body: bytes) -> int:
        name, seconds = self.headers["webhook-id"], self.headers["webhook-timestamp"]
        signed = f"{name}.{seconds}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        given = self.headers["webhook-signature"].split()
        if not any(hmac.compare_digest(each, wanted) for each in given):
            return 401
        if abs(time.time() - int(seconds)) > TOLERANCE_SECONDS:
            return 400
        if name in ids:
            return 409
        ids.add(name)
        return 204

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Receiver)
sys.stdout.write(f"{server.server_port}\n")
sys.stdout.flush()
server.serve_forever()
