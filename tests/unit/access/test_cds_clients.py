"""Keys of CDS clients: from a file that changes, and from an https server of the EHR."""

from __future__ import annotations

import json
import ssl
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from oncoresponse.access.cds_clients import CdsClients, KnownClient
from oncoresponse.errors import NotAuthenticated, PeerUnavailable

ISSUER, ENDPOINT = "https://ehr.hospital.example", "https://cds.hospital.example/cds-services"


@pytest.fixture
def key():
    return ec.generate_private_key(ec.SECP384R1())


def jwks(**keys):
    public = {name: ECAlgorithm.to_jwk(key.public_key(), as_dict=True) for name, key in keys.items()}
    return {"keys": [{**each, "kid": name, "alg": "ES384"} for name, each in public.items()]}


def token(key, audience=ENDPOINT, **headers):
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
    return jwt.encode(claims, key, "ES384", headers={"kid": "a", **headers})


@pytest.fixture
def ehr(make_authority, key):
    """The URL of its keys, its authority, and the paths that were asked for."""
    authority, asked = make_authority("ehr"), []

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps(jwks(a=key)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://localhost:{server.server_address[1]}/jwks", authority.file, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_keys_come_from_the_url_of_the_settings_and_no_other(ehr, key):
    url, authority, asked = ehr
    clients = CdsClients({ISSUER: KnownClient("ehr", jwks_url=url)}, authority)
    for headers in ({}, {"jku": url}):
        assert clients.require(token(key, **headers), ENDPOINT).client == "ehr"
    # Several audiences may be named, as RFC 7519 section 4.1.3 allows.
    assert clients.require(token(key, [ENDPOINT, "https://elsewhere.example"]), ENDPOINT).client == "ehr"
    for wrong in ({"jku": f"{url}/other"}, {"jku": ""}, {"jku": None}, {"kid": "b"}):
        with pytest.raises(NotAuthenticated):
            clients.require(token(key, **wrong), ENDPOINT)
    with pytest.raises(NotAuthenticated):
        clients.require(token(ec.generate_private_key(ec.SECP384R1())), ENDPOINT)
    # Once, however many tokens came, with an invented key id among them.
    assert asked == ["/jwks"]


def test_an_ehr_that_nobody_vouches_for_is_not_believed(ehr, key, make_authority):
    url, _, asked = ehr
    clients = CdsClients({ISSUER: KnownClient("ehr", jwks_url=url)}, make_authority("other").file)
    with pytest.raises(PeerUnavailable):
        clients.require(token(key), ENDPOINT)
    assert asked == []


def test_a_file_of_keys_is_read_anew_when_it_changes(tmp_path, key):
    file, newer = tmp_path / "jwks.json", ec.generate_private_key(ec.SECP384R1())
    clients = CdsClients({ISSUER: KnownClient("ehr", file)})
    with pytest.raises(PeerUnavailable):
        clients.require(token(key), ENDPOINT)
    file.write_text(json.dumps(jwks(a=key)))
    assert clients.require(token(key), ENDPOINT).client == "ehr"
    replaced = tmp_path / "newer.json"
    replaced.write_text(json.dumps(jwks(a=newer)))
    replaced.rename(file)
    assert clients.require(token(newer), ENDPOINT).client == "ehr"
    with pytest.raises(NotAuthenticated):
        clients.require(token(key), ENDPOINT)
