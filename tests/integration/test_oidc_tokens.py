"""Attacks on tokens of an issuer, and what happens when it changes its keys, takes a token back, or goes away."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from oncoresponse.access.caller import Caller, Credentials, Identification
from oncoresponse.access.issuer_http import fetch_json, tls_context
from oncoresponse.access.oidc import OidcTokens
from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.access.revocations import Revocations, revoke
from oncoresponse.access.roles import AccessRole
from oncoresponse.errors import ConfigurationError, NotAuthenticated, PeerUnavailable

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


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """An issuer that answers while the test lasts."""
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(issuer, clock):
    return make(issuer, clock)


def make(issuer: Issuer, clock: Clock, revocations: Revocations | None = None, **settings: object) -> OidcTokens:
    given = {"issuer": issuer.url, "audience": AUDIENCE, **settings}
    return OidcTokens(OidcSettings.model_validate(given), revocations, clock)


def caller(tokens: OidcTokens, token: str) -> Caller | None:
    return tokens.authenticate(Credentials(bearer=token))


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_right_token_names_its_caller(issuer, tokens):
    found = caller(tokens, issuer.token(roles=["read", "sign", "break_glass", "other"], name="Dr. Åse Öz"))
    assert found.name == f"{issuer.url}#u-17"
    assert found.roles == {AccessRole.READ, AccessRole.SIGN}
    assert (found.display_name, found.may_break_glass) == ("Dr. Åse Öz", True)
    assert found.identified_by is Identification.OIDC
    assert caller(tokens, issuer.token(aud=["other", AUDIENCE])).roles == {AccessRole.READ}


@pytest.mark.parametrize(
    ("algorithm", "make_key"),
    [
        *((name, lambda: rsa.generate_private_key(65537, 2048)) for name in ("RS384", "PS256", "PS512")),
        ("ES256", lambda: ec.generate_private_key(ec.SECP256R1())),
        ("ES384", lambda: ec.generate_private_key(ec.SECP384R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate),
    ],
)
def test_signatures_that_are_accepted(issuer, tokens, algorithm, make_key):
    issuer.keys["other"] = make_key()
    assert caller(tokens, issuer.token("other", algorithm)).roles == {AccessRole.READ}


def forged(issuer: Issuer) -> dict[str, str]:
    """By what is wrong with it."""
    now, right = int(time.time()), issuer.token()
    header, claims, signature = right.split(".")
    own = issuer.keys["one"]
    pem = own.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public_n = json.dumps(public_jwk("one", own)).encode()
    foreign = rsa.generate_private_key(65537, 2048)
    content = jwt.decode(right, options={"verify_signature": False})

    def hmac_signed(secret: bytes, algorithm: str = "HS256") -> str:
        signing = f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': 'one'})}.{claims}"
        algorithms = jwt.algorithms.get_default_algorithms()[algorithm]
        return f"{signing}.{encoded(algorithms.sign(signing.encode(), secret))}"

    def by_foreign_key(**headers: object) -> str:
        return jwt.encode(content, foreign, "RS256", headers={"kid": "one", **headers})

    def with_header(**fields: object) -> str:
        return f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': 'one', **fields})}.{claims}.{signature}"

    return {
        "alg none": f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        "alg nOnE": f"{encoded({'alg': 'nOnE', 'kid': 'one'})}.{claims}.{signature}",
        "HS256 with the public key (PEM)": hmac_signed(pem),
        "HS512 with the public key (PEM)": hmac_signed(pem, "HS512"),
        "HS256 with the public key (JWK)": hmac_signed(public_n),
        "HS256 with nothing": hmac_signed(b""),
        "alg is a list": with_header(alg=["RS256"]),
        "no signature": f"{header}.{claims}.",
        "another claim": f"{header}.{encoded({**content, 'roles': ['administer']})}.{signature}",
        "signed by a stranger": by_foreign_key(),
        "jku of a stranger": by_foreign_key(jku="https://evil.example/keys"),
        "x5u of a stranger": by_foreign_key(x5u="https://evil.example/cert"),
        "jwk of a stranger": by_foreign_key(jwk=public_jwk("one", foreign)),
        "x5c of a stranger": by_foreign_key(x5c=[encoded(b"certificate")]),
        "kid is a path": by_foreign_key(kid="../../../../dev/null"),
        "kid is a query": by_foreign_key(kid="' OR 1=1 --"),
        "kid is long": by_foreign_key(kid="k" * 5000),
        "kid is a number": with_header(kid=1),
        "critical extension": issuer.token(headers={"crit": ["exp"], "exp": now}),
        "detached payload": with_header(b64=False, crit=["b64"]),
        "another issuer": issuer.token(iss="https://evil.example"),
        "issuer with a slash": issuer.token(iss=f"{issuer.url}/"),
        "issuer is a list": jwt.api_jws.encode(
            json.dumps({**content, "iss": [issuer.url]}).encode(), own, "RS256", headers={"kid": "one"}
        ),
        "no issuer": issuer.token(iss=None),
        "another audience": issuer.token(aud="another"),
        "audience as object": issuer.token(aud={"oncoresponse": 1}),
        "no audience": issuer.token(aud=None),
        "expired": issuer.token(iat=now - 600, exp=now - 31),
        "no end": issuer.token(exp=None),
        "end is infinite": issuer.token(exp=float("inf")),
        "end is not a number": issuer.token(exp=float("nan")),
        "end is a text": issuer.token(exp=str(now + 600)),
        "not before in the future": issuer.token(nbf=now + 60),
        "issued in the future": issuer.token(iat=now + 60),
        "no time of issue": issuer.token(iat=None),
        "lives too long": issuer.token(iat=now, exp=now + 3601),
        "no subject": issuer.token(sub=None),
        "empty subject": issuer.token(sub=""),
        "subject in Unicode": issuer.token(sub="аdmin"),
        "subject of two lines": issuer.token(sub="a\nb"),
        "long subject": issuer.token(sub="s" * 256),
        "id token of a log-out": issuer.token(headers={"typ": "logout+jwt"}),
        "typ is a number": with_header(typ=5),
        "header is a list": f"{encoded([1])}.{claims}.{signature}",
        "header is deep": f"{encoded(b'[' * 8000)}.{claims}.{signature}",
        "header is no UTF-8": f"{encoded(bytes([255]) * 9)}.{claims}.{signature}",
        "huge": issuer.token(roles=["x" * 20_000]),
    }


def test_every_forged_token_is_refused_and_nothing_is_fetched_for_it(issuer, clock):
    tokens = make(issuer, clock)
    assert caller(tokens, issuer.token())
    asked = list(issuer.asked)
    attacks = forged(issuer)
    for attack, token in attacks.items():
        with pytest.raises(NotAuthenticated) as caught:
            pytest.fail(f"{attack}: let in as {caller(tokens, token)}")
        assert token not in str(caught.value), attack
    assert issuer.asked == asked
    assert len(attacks) >= 45


@pytest.mark.parametrize(
    "garbage", ["", "..", "a.b", "a.b.c.d", "a.b.c.d.e", "ä.ö.ü", "a b.c.d", "x" * 100_000, "\0.\0.\0"]
)
def test_what_is_no_signed_token_is_left_to_other_ways(tokens, garbage):
    assert caller(tokens, garbage) is None


def test_roles_come_from_the_claim_that_is_named_and_stage_from_none(issuer, clock):
    assert caller(make(issuer, clock), issuer.token(roles=["stage", "STAGE", "read"])).roles == {AccessRole.READ}
    for odd in ({"read": True}, 7, [["read"]], None):
        assert caller(make(issuer, clock), issuer.token(roles=odd)).roles == frozenset()
    assert caller(make(issuer, clock), issuer.token(roles="read submit")).roles == {AccessRole.READ, AccessRole.SUBMIT}
    keycloak = make(issuer, clock, roles_claim="realm_access.roles", role_names={"onco-physician": "sign"})
    found = caller(keycloak, issuer.token(realm_access={"roles": ["onco-physician", "administer"]}))
    assert found.roles == {AccessRole.SIGN}
    dotted = make(issuer, clock, roles_claim="https://hospital.example/roles")
    assert caller(dotted, issuer.token(**{"https://hospital.example/roles": ["train"]})).roles == {AccessRole.TRAIN}


def test_a_tenant_is_that_of_the_claim_and_has_to_be_there(issuer, clock):
    tokens = make(issuer, clock, tenant_claim="org.tenant")
    assert caller(tokens, issuer.token(org={"tenant": "north"})).tenant == "north"
    for wrong in (None, {"tenant": ""}, {"tenant": ["north"]}, {"tenant": "../south"}):
        with pytest.raises(NotAuthenticated):
            caller(tokens, issuer.token(org=wrong))


@pytest.mark.parametrize("name", ["two\nlines", "\u202eesrever", "x" * 101, 5, ""])
def test_a_name_that_cannot_stand_in_a_report_gives_way_to_the_subject(issuer, tokens, name):
    assert caller(tokens, issuer.token(name=name)).display_name == f"{issuer.url}#u-17"


def test_keys_that_cannot_be_used_are_left_out(issuer, tokens):
    weak, own = rsa.generate_private_key(65537, 1024), issuer.keys["one"]  # noqa: S505 - that is the attack
    listed = [
        public_jwk("weak", weak),
        {**public_jwk("encryption", own), "use": "enc"},
        {**public_jwk("pinned", own), "alg": "RS512"},
        {"kty": "oct", "kid": "secret", "k": encoded(b"s" * 32)},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        public_jwk("twice", own),
        public_jwk("twice", own),
        "nonsense",
        {},
    ]
    issuer.answers["/keys"] = lambda handler: issuer.reply(handler, {"keys": listed})
    issuer.keys |= dict.fromkeys(("encryption", "pinned", "twice"), own) | {"weak": weak}
    for key_id in ("weak", "encryption", "pinned", "twice"):
        with pytest.raises(NotAuthenticated), pytest.warns() if key_id == "weak" else pytest.MonkeyPatch.context():
            caller(tokens, issuer.token(key_id))
    assert caller(tokens, issuer.token("pinned", "RS512"))


def test_rotated_keys_are_found_and_invented_ids_ask_once_a_minute(issuer, tokens, clock):
    old = issuer.token()
    assert caller(tokens, old)
    issuer.keys = {"two": rsa.generate_private_key(65537, 2048)}
    with pytest.raises(NotAuthenticated):
        caller(tokens, issuer.token("two"))  # within the minute after the issuer was asked
    clock.now += 60
    assert caller(tokens, issuer.token("two"))
    with pytest.raises(NotAuthenticated):
        caller(tokens, old)
    asked = len(issuer.asked)
    clock.now += 60
    for number in range(50):
        with pytest.raises(NotAuthenticated):
            caller(tokens, issuer.token("two", headers={"kid": f"invented-{number}"}))
    assert len(issuer.asked) == asked + 2  # where the keys are, and the keys


def test_keys_are_used_for_a_bounded_time_when_the_issuer_is_away(issuer, clock):
    tokens = make(issuer, clock, keys_kept_minutes=30)
    assert caller(tokens, issuer.token())
    issuer.server.shutdown()
    issuer.server.server_close()
    for _ in range(2):
        clock.now += 14 * 60
        assert caller(tokens, issuer.token())
    clock.now += 3 * 60
    with pytest.raises(PeerUnavailable, match="issuer"):
        caller(tokens, issuer.token())


def test_an_issuer_that_never_answered_is_said_to_be_away(issuer, clock):
    tokens = make(issuer, clock)
    issuer.server.shutdown()
    issuer.server.server_close()
    with pytest.raises(PeerUnavailable):
        caller(tokens, issuer.token())


def redirect(handler):
    handler.send_response(302)
    handler.send_header("Location", "http://169.254.169.254/latest")
    handler.end_headers()


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" " * 65536)


@pytest.mark.parametrize(
    "answer",
    [
        redirect,
        endless,
        lambda handler: handler.send_error(500),
        lambda handler: Issuer.reply(handler, [1]),
        lambda handler: Issuer.reply(handler, {"issuer": "https://evil.example", "jwks_uri": "https://evil.example"}),
        lambda handler: handler.wfile.write(b"not HTTP"),
    ],
)
def test_answers_that_are_none(issuer, tokens, answer):
    issuer.answers["/.well-known/openid-configuration"] = answer
    with pytest.raises(PeerUnavailable):
        caller(tokens, issuer.token())


def test_keys_at_an_address_without_tls_are_not_fetched(issuer, tokens):
    document = {"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/keys"}
    issuer.answers["/.well-known/openid-configuration"] = lambda handler: issuer.reply(handler, document)
    with pytest.raises(PeerUnavailable):
        caller(tokens, issuer.token())


def test_an_answer_that_drips_is_cut(issuer):
    ended = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while not ended.wait(0.05):
                handler.wfile.write(b" ")
        except OSError:
            pass

    issuer.answers["/drip"] = drip
    start = time.monotonic()
    with pytest.raises(PeerUnavailable):
        fetch_json(f"{issuer.url}/drip", tls_context(None), seconds=0.5)
    ended.set()
    assert time.monotonic() - start < 5


def test_tokens_that_were_taken_back_here(issuer, clock, tmp_path):
    file = tmp_path / "revoked.yaml"
    tokens = make(issuer, clock, Revocations(file))
    assert caller(tokens, issuer.token())
    revoke(file, token_id="t-1")  # noqa: S106 - an id
    with pytest.raises(NotAuthenticated, match="taken back"):
        caller(tokens, issuer.token())
    assert caller(tokens, issuer.token(jti="t-2"))
    revoke(file, subject="u-17")
    with pytest.raises(NotAuthenticated, match="taken back"):
        caller(tokens, issuer.token(jti="t-2"))
    assert caller(tokens, issuer.token(sub="u-18", jti=None))


def test_tokens_that_the_issuer_took_back(issuer, clock, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s/cret\n")
    asking = {
        "introspection_url": f"{issuer.url}/introspect",
        "introspection_client": "server",
        "introspection_secret_file": str(secret),
    }
    with pytest.raises(ConfigurationError, match="chmod 600"):
        secret.chmod(0o644)
        make(issuer, clock, **asking)
    secret.chmod(0o600)
    tokens, token = make(issuer, clock, **asking), issuer.token()
    assert caller(tokens, token)
    issuer.taken_back.add(token)
    assert caller(tokens, token)  # the answer holds for a minute
    clock.now += 60
    with pytest.raises(NotAuthenticated, match="taken the token back"):
        caller(tokens, token)
    asked = issuer.asked.count("/introspect")
    with pytest.raises(NotAuthenticated):
        caller(tokens, issuer.token(aud="another"))
    assert issuer.asked.count("/introspect") == asked
    secret.write_text("another")
    with pytest.raises(PeerUnavailable):
        caller(make(issuer, clock, **asking), issuer.token())
