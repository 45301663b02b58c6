"""Lines of the log, for people and for programs."""

import json
import logging

import pytest
from oncoresponse.access.call import correlated
from oncoresponse.rpc.process_log import CALL_FIELDS, JsonLines, TextLines, TextWithheld


@pytest.fixture
def record():
    fields = {"method": "/service/Method", "status": "OK", "reason": "", "milliseconds": 7}
    made = logging.LogRecord("oncoresponse.rpc", logging.INFO, "file.py", 1, "%s done", ("Method",), None)
    setattr(made, CALL_FIELDS, fields)
    return made


def test_a_line_for_a_program(record):
    with correlated("order-4711-abcdef"):
        line = json.loads(JsonLines().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "oncoresponse.rpc",
        "message": "Method done",
        "correlation_id": "order-4711-abcdef",
        "method": "/service/Method",
        "status": "OK",
        "reason": "",
        "milliseconds": 7,
    }
    assert "correlation_id" not in json.loads(JsonLines().format(record))


def test_a_line_for_people(record):
    with correlated("order-4711-abcdef"):
        assert TextLines().format(record).endswith("INFO oncoresponse.rpc Method done [order-4711-abcdef]")
    assert TextLines().format(record).endswith("Method done")


@pytest.mark.parametrize("lines", [JsonLines(), TextLines()], ids=["json", "text"])
def test_what_others_say_is_withheld_in_both(lines):
    said = logging.LogRecord("pydicom", logging.WARNING, "file.py", 1, "Doe^Jane is no %s", ("date",), None)
    TextWithheld().filter(said)
    assert "Doe" not in lines.format(said)
    assert "text withheld" in lines.format(said)
