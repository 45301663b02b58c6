"""Values of the workflow database: JSON of ours, and pickles of release 0.1.0 read without running anything."""

from __future__ import annotations

import base64
import datetime
import pickle

import oncoresponse
import pytest
from dbos._serialization import DBOSDefaultSerializer, deserialize_value
from hypothesis import given
from hypothesis import strategies as st
from oncoresponse.errors import InternalError, PeerUnavailable, RecordUnreadable
from oncoresponse.workflow.code_version import code_parts, version_of, workflow_version
from oncoresponse.workflow.plain_pickles import plain_value
from oncoresponse.workflow.stored_json import StoredJson, refuse_pickles

JSON = StoredJson()
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def pickled(value, protocol=pickle.DEFAULT_PROTOCOL):
    return base64.b64encode(pickle.dumps(value, protocol)).decode()


@given(VALUES)
def test_plain_value_comes_back_from_json(value):
    assert JSON.deserialize(JSON.serialize(value)) == value


@given(VALUES)
def test_plain_value_comes_back_from_what_0_1_0_wrote(value):
    assert plain_value(DBOSDefaultSerializer.serialize(value)) == value


def test_error_comes_back_with_its_reason():
    found = JSON.deserialize(JSON.serialize(PeerUnavailable("Wait.", service="study")))
    assert (type(found), found.message, found.metadata) == (PeerUnavailable, "Wait.", {"service": "study"})


def test_exception_of_a_library_is_stored_without_its_text():
    text = JSON.serialize(ValueError("patient DOE^JANE"))
    assert "DOE" not in text
    assert isinstance(JSON.deserialize(text), InternalError)


@pytest.mark.parametrize("value", [datetime.date(2026, 1, 1), {1, 2}, b"bytes", float("nan"), {"$error": {}}, object()])
def test_what_is_no_json_is_not_stored(value):
    with pytest.raises((TypeError, ValueError)):
        JSON.serialize(value)


class Reduced:
    def __reduce__(self):
        return print, ("sprung",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_calls_something_is_refused(protocol, capsys):
    with pytest.raises(RecordUnreadable):
        plain_value(pickled({"result": [Reduced()]}, protocol))
    assert capsys.readouterr().out == ""


def _unfolding(levels):
    value = ["x"]
    for _ in range(levels):
        value = [value, value]
    return value


def _endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "stored",
    [
        pickled(_unfolding(60)),
        pickled(_endless()),
        pickled(ValueError("x")),
        pickled(datetime.datetime(2026, 1, 1)),
        # LONG_BINPUT: a place for four thousand million objects.
        base64.b64encode(b"\x80\x04]r\xff\xff\xff\xff.").decode(),
        base64.b64encode(b"\x80\x04.").decode(),
        base64.b64encode(b"\x80\x04h\x07.").decode(),
        base64.b64encode(pickle.dumps({"a": 1})[:-4]).decode(),
        "not base64",
        "",
    ],
)
def test_pickle_that_is_damaged_or_no_plain_data_is_refused(stored):
    with pytest.raises(RecordUnreadable):
        plain_value(stored)


def test_engine_loads_no_pickle():
    refuse_pickles()
    with pytest.raises(RecordUnreadable):
        deserialize_value(pickled({"a": 1}), "py_pickle", JSON)


def test_version_of_the_workflow_moves_with_its_code_and_its_release():
    parts = {"module a.py": b"1", "message b.proto": b"2"}
    versions = {
        version_of("0.2.0", parts),
        version_of("0.2.1", parts),
        version_of("0.2.0", parts | {"module a.py": b"3"}),
        version_of("0.2.0", parts | {"message b.proto": b"3"}),
        version_of("0.2.0", parts | {"module c.py": b""}),
    }
    assert len(versions) == 5
    assert version_of("0.2.0", dict(reversed(parts.items()))) == version_of("0.2.0", parts)


def test_version_of_the_workflow_stands_on_all_its_modules_and_messages():
    parts = code_parts()
    assert {"module assessment_workflow.py", "module recording_workflow.py", "module stored_json.py"} <= set(parts)
    stored = {"message oncoresponse/v1/assessment.proto", "message oncoresponse/v1/monitoring.proto"}
    assert {*stored, "message oncoresponse/stages/v1/stage.proto"} <= set(parts)
    assert workflow_version() == version_of(oncoresponse.__version__, parts)
