"""The file of local users: what is kept, who is recognized, and what a change or a fault of the file does."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys

import pytest
import yaml
from oncoresponse.access.caller import Credentials, Identification
from oncoresponse.access.local_users import LocalUsers, add_user, local_users, new_token, remove_user
from oncoresponse.access.private_file import WatchedFile
from oncoresponse.access.revocations import Revocations, RevocationsFile, revoke
from oncoresponse.access.roles import AccessRole
from oncoresponse.errors import ConfigurationError, NotAuthenticated

READ, SUBMIT, STAGE = AccessRole.READ, AccessRole.SUBMIT, AccessRole.STAGE


@pytest.fixture
def file(tmp_path):
    return tmp_path / "data" / "users.yaml"


def caller(users: LocalUsers, token: str):
    return users.authenticate(Credentials(bearer=token))


def test_a_user_is_recognized_by_the_token_that_is_kept_nowhere(file):
    users = LocalUsers(file)
    assert users.is_empty
    token = add_user(
        file, "ward", [READ, SUBMIT], display_name="Dr. Jürgen Äther", tenant="north", may_break_glass=True
    )
    found = caller(users, token)
    assert (found.name, found.roles, found.identified_by) == ("ward", {READ, SUBMIT}, Identification.LOCAL_TOKEN)
    assert (found.display_name, found.tenant, found.may_break_glass) == ("Dr. Jürgen Äther", "north", True)
    assert token not in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["users.yaml"]


@pytest.mark.parametrize("wrong", ["", "x", "a.b.c", "ünïcode", "\udcff"])
def test_what_is_no_local_token_is_left_to_other_ways(file, wrong):
    add_user(file, "ward", [READ])
    assert caller(LocalUsers(file), wrong) is None


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "A", lambda t: t[:-1] + "ü", lambda t: t * 5000])
def test_a_changed_token_is_nobodys(file, change):
    token = add_user(file, "ward", [READ])
    with pytest.raises(NotAuthenticated) as caught:
        caller(LocalUsers(file), change(token))
    assert token not in caught.value.message


def test_a_token_ends(file):
    token = add_user(file, "ward", [READ], expires_days=1)
    today = datetime.datetime.now(datetime.UTC)
    assert caller(LocalUsers(file, lambda: today), token) is not None
    with pytest.raises(NotAuthenticated, match="ended"):
        caller(LocalUsers(file, lambda: today + datetime.timedelta(days=1, seconds=1)), token)


def test_changes_hold_from_the_next_call_on(file):
    users = LocalUsers(file)
    first = add_user(file, "ward", [READ])
    assert caller(users, first)
    second = new_token(file, "ward")
    assert caller(users, second)
    with pytest.raises(NotAuthenticated):
        caller(users, first)
    other = add_user(file, "clinic", [SUBMIT])
    remove_user(file, "ward")
    with pytest.raises(NotAuthenticated):
        caller(users, second)
    assert caller(users, other).name == "clinic"
    file.unlink()  # taken away: nobody is let in
    with pytest.raises(NotAuthenticated):
        caller(users, other)


@pytest.mark.parametrize(
    "broken",
    [b"users: [", b"users: 5", b"\xff\xfeu", b"users: []\nother: 1", b"[" * 100_000],
    ids=["open", "number", "encoding", "unknown key", "deep"],
)
def test_a_broken_file_leaves_what_was_known(file, caplog, broken):
    token = add_user(file, "ward", [READ])
    users = LocalUsers(file)
    file.write_bytes(broken)
    for _ in range(3):
        assert caller(users, token)
    assert len([record for record in caplog.records if "stays in force" in record.message]) == 1
    with pytest.raises(ConfigurationError):
        LocalUsers(file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_may_open_is_refused(file, mode):
    add_user(file, "ward", [READ])
    file.chmod(mode)
    for use in (LocalUsers, local_users, lambda path: add_user(path, "other", [READ])):
        with pytest.raises(ConfigurationError, match="chmod 600"):
            use(file)


def test_a_pipe_in_place_of_the_file_holds_nothing_up(file):
    file.parent.mkdir()
    os.mkfifo(file, 0o600)
    with pytest.raises(ConfigurationError, match="not a file"):
        LocalUsers(file)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "no spaces"},
        {"name": "anonymous"},
        {"name": "issuer#subject"},
        {"name": "ward", "roles": [STAGE]},
        {"name": "ward", "tenant": "a/b"},
        {"name": "ward", "display_name": "two\nlines"},
        {"name": "ward", "display_name": "\u202eretsim"},
    ],
)
def test_users_that_cannot_be(file, fields):
    with pytest.raises(ConfigurationError):
        add_user(file, fields.pop("name"), fields.pop("roles", [READ]), **fields)
    assert not file.exists()


def test_the_role_of_the_services_cannot_be_written_into_the_file(file):
    add_user(file, "ward", [READ])
    content = yaml.safe_load(file.read_text())
    content["users"][0]["roles"] = ["stage"]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match="stage"):
        LocalUsers(file)


def test_users_added_by_several_commands_at_once_are_all_there(file):
    code = (
        "import sys, pathlib; from oncoresponse.access.local_users import add_user; "
        "[add_user(pathlib.Path(sys.argv[1]), f'{sys.argv[2]}{n}', ['read']) for n in range(20)]"
    )
    commands = [subprocess.Popen([sys.executable, "-c", code, file, name]) for name in "ab"]
    assert [command.wait(60) for command in commands] == [0, 0]
    assert {user.name for user in local_users(file)} == {f"{name}{n}" for name in "ab" for n in range(20)}


def test_tokens_of_the_issuer_are_refused_and_accepted_again(tmp_path):
    path = tmp_path / "revoked.yaml"
    refused = Revocations(path)
    assert not refused.refuses("somebody", "")
    revoke(path, subject="somebody")
    revoke(path, token_id="one")  # noqa: S106 - an id
    assert refused.refuses("somebody", "")
    assert refused.refuses("other", "one")
    assert not refused.refuses("other", "two")
    revoke(path, subject="somebody", undo=True)
    assert not refused.refuses("somebody", "two")
    for wrong in ({}, {"subject": "a", "token_id": "b"}, {"subject": "never", "undo": True}, {"subject": "x" * 256}):
        with pytest.raises(ConfigurationError):
            revoke(path, **wrong)
    assert WatchedFile(path, RevocationsFile, "x").content.token_ids == ("one",)
