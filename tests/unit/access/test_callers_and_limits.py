"""Client certificates, limits of a caller, and what the settings make of all ways together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from oncoresponse.access.caller import ANONYMOUS, OWN_SERVICES, Caller, Credentials, Identification
from oncoresponse.access.certificates import CertificateCaller, CertificateCallers
from oncoresponse.access.installed import authentication_of
from oncoresponse.access.local_users import add_user
from oncoresponse.access.oidc_settings import OidcSettings
from oncoresponse.access.rate_limit import CallerLimiter, CallerLimits
from oncoresponse.access.roles import AccessRole
from oncoresponse.errors import ConfigurationError, NotAuthenticated, RateLimited
from oncoresponse.rpc.settings import load_settings
from pydantic import ValidationError

READ, SUBMIT = AccessRole.READ, AccessRole.SUBMIT
PACS = CertificateCaller(certificate="pacs.hospital", name="pacs", roles={SUBMIT}, tenant="north")
VIEWER = CertificateCaller(certificate="viewer", name="viewer", roles={READ}, display_name="The viewer")


def person(name: str) -> Caller:
    return Caller(name, frozenset({READ}), Identification.LOCAL_TOKEN)


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    return Clock()


def test_a_certificate_is_that_of_the_entry_with_one_of_its_names():
    callers = CertificateCallers([PACS, VIEWER])
    found = callers.authenticate(Credentials(certificate_names=("other", "pacs.hospital")))
    assert (found.name, found.roles, found.tenant) == ("pacs", {SUBMIT}, "north")
    assert found.identified_by is Identification.CERTIFICATE
    assert callers.authenticate(Credentials(certificate_names=("viewer",))).display_name == "The viewer"
    assert callers.authenticate(Credentials()) is None


@pytest.mark.parametrize(
    "names", [("nobody",), ("PACS.hospital",), ("pacs.hospital\0",), ("pacs",), ("viewer", "pacs.hospital")]
)
def test_a_certificate_of_nobody_or_of_two_is_refused(names):
    with pytest.raises(NotAuthenticated):
        CertificateCallers([PACS, VIEWER]).authenticate(Credentials(certificate_names=names))


def test_entries_of_certificates_that_cannot_be():
    with pytest.raises(ValidationError, match="stage"):
        CertificateCaller(certificate="a", name="a", roles={"stage"})
    with pytest.raises(ConfigurationError, match="twice"):
        CertificateCallers([PACS, PACS])


def test_who_shows_a_token_is_not_taken_for_the_owner_of_the_certificate(tmp_path):
    token = add_user(tmp_path / "users.yaml", "ward", [READ])
    ways = authentication_of(tmp_path / "users.yaml", certificate_callers=[PACS], asks_for_certificates=True)
    certificate = ("pacs.hospital",)
    assert ways.caller(Credentials(certificate_names=certificate)).name == "pacs"
    assert ways.caller(Credentials(token, certificate)).name == "ward"
    with pytest.raises(NotAuthenticated):
        ways.caller(Credentials("unknown", certificate))


def test_a_server_that_would_recognize_nobody_says_which_command_to_run(tmp_path):
    users = tmp_path / "users.yaml"
    with pytest.raises(ConfigurationError, match="oncoresponse users add"):
        authentication_of(users)
    with pytest.raises(ConfigurationError, match="tls_client_authority"):
        authentication_of(users, certificate_callers=[PACS])
    anonymous = authentication_of(users, allow_anonymous=True)
    assert anonymous.caller(Credentials(loopback=True)) is ANONYMOUS
    with pytest.raises(NotAuthenticated):
        anonymous.caller(Credentials(loopback=False))
    # A user that is added later is let in without a new start.
    token = add_user(users, "ward", [READ])
    assert anonymous.caller(Credentials(token)).name == "ward"


def test_settings_of_callers_are_read_from_a_file_and_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "settings.yaml"
    file.write_text(
        "oidc: {issuer: 'https://login.hospital/realms/a', audience: oncoresponse, role_names: {physician: sign}}\n"
        "certificate_callers: [{certificate: pacs.hospital, name: pacs, roles: [submit]}]\n"
    )
    monkeypatch.setenv("ONCORESPONSE_CALLER_LIMITS", '{"calls_per_minute": 5}')
    settings = load_settings(file)
    monkeypatch.delenv("ONCORESPONSE_SETTINGS_FILE")
    assert settings.oidc.meaning_of("physician") == "sign"
    assert settings.oidc.meaning_of("sign") is None
    assert settings.certificate_callers[0].roles == {SUBMIT}
    assert (settings.caller_limits.calls_per_minute, settings.caller_limits.streams) == (5, 100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.hospital"},
        {"issuer": ""},
        {"issuer": "https://user@login.hospital"},
        {"issuer": "file:///etc/passwd"},
        {"jwks_url": "http://169.254.169.254/keys"},
        {"role_names": {"service": "stage"}},
        {"maximum_lifetime_minutes": 0},
        {"introspection_url": "https://login.hospital/introspect"},
        {"unknown": 1},
    ],
)
def test_settings_of_the_issuer_that_cannot_be(wrong):
    with pytest.raises(ValidationError):
        OidcSettings.model_validate({"issuer": "https://login.hospital", "audience": "oncoresponse", **wrong})


def test_calls_are_limited_for_each_caller_by_itself(clock):
    limits = CallerLimiter(CallerLimits(calls_per_minute=60), clock)
    for _ in range(60):
        limits.admit(person("a"))
    with pytest.raises(RateLimited) as caught:
        limits.admit(person("a"))
    assert caught.value.retry_after_seconds == pytest.approx(1.0)
    limits.admit(person("b"))
    clock.now += 1.01
    limits.admit(person("a"))
    with pytest.raises(RateLimited):
        limits.admit(person("a"))
    for _ in range(1000):
        limits.admit(OWN_SERVICES)
        limits.admit(ANONYMOUS)


def test_uploaded_bytes_are_limited_and_a_larger_piece_than_the_limit_still_passes_once(clock):
    limits = CallerLimiter(CallerLimits(bytes_per_hour=3600), clock)
    limits.received(person("a"), 7200)
    with pytest.raises(RateLimited) as caught:
        limits.received(person("a"), 1)
    assert caught.value.retry_after_seconds == pytest.approx(3601)
    clock.now += 3602
    limits.received(person("a"), 1)


def test_streams_are_counted_while_they_are_open(clock):
    limits = CallerLimiter(CallerLimits(streams=2), clock)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(limits.stream(person("a")))
        with pytest.raises(RateLimited), limits.stream(person("a")):
            pass
        with limits.stream(person("b")):
            pass
    with limits.stream(person("a")):
        pass


def test_refused_calls_are_limited_by_network_and_memory_stays_bounded(clock):
    limits = CallerLimiter(CallerLimits(failed_authentications_per_minute=2), clock)
    for address in ("2001:db8::1", "2001:db8::2"):
        limits.refused(address)
    with pytest.raises(RateLimited):
        limits.refused("2001:db8::ffff:3")
    limits.refused("2001:db8:0:1::1")
    for number in range(30_000):
        limits.refused(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limits._failures._levels) == 10_000


def test_no_call_is_lost_or_counted_twice_among_threads(clock):
    limits = CallerLimiter(CallerLimits(calls_per_minute=500), clock)

    def call(_):
        try:
            limits.admit(person("a"))
        except RateLimited:
            return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(call, range(2000))) == 500
