"""A small issuer of tokens over a real HTTP socket, whose keys, answers and pauses a test decides."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "oncoresponse"


class Issuer:
    """What it answers may be changed at any time.

    Attributes:
        url: Its name and address.
        keys: Private keys by id.
        asked: Path of each request, in order.
        answers: Path -> function of the handler, in place of the usual answer.
        taken_back: Tokens that introspection calls inactive.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": rsa.generate_private_key(65537, 2048)}
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.taken_back: set[str] = set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if self.path in issuer.answers:
                    issuer.answers[self.path](self)
                elif self.path == "/.well-known/openid-configuration":
                    issuer.reply(self, {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})
                else:
                    issuer.reply(self, {"keys": [public_jwk(key_id, key) for key_id, key in issuer.keys.items()]})

            def do_POST(self) -> None:
                issuer.asked.append(self.path)
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                known = self.headers["Authorization"] == "Basic " + base64.b64encode(b"server:s%2Fcret").decode()
                if known:
                    issuer.reply(self, {"active": form["token"][0] not in issuer.taken_back})
                else:
                    self.send_error(401)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def reply(handler: BaseHTTPRequestHandler, content: object) -> None:
        body = json.dumps(content).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def token(self, key_id: str = "one", algorithm: str = "RS256", headers: dict | None = None, **claims: Any) -> str:
        """A right token but for what is given; a claim that is ``None`` is left out."""
        now = int(time.time())
        usual = {"iss": self.url, "aud": AUDIENCE, "sub": "u-17", "iat": now, "exp": now + 600, "jti": "t-1"}
        content = {name: value for name, value in (usual | {"roles": ["read"]} | claims).items() if value is not None}
        return jwt.encode(content, self.keys[key_id], algorithm, headers={"kid": key_id} | (headers or {}))


def public_jwk(key_id: str, key: Any) -> dict[str, Any]:
    """The public part of a key, as an issuer shows it."""
    writers = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        ed25519.Ed25519PrivateKey: OKPAlgorithm,
    }
    (writer,) = (writer for kind, writer in writers.items() if isinstance(key, kind))
    return {**writer.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that answers while the block lasts."""
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()
