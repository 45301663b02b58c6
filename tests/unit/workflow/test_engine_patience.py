"""What the workflow engine takes for an interruption, and how long it waits for the next attempt."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy
from dbos import _sys_db
from oncoresponse.workflow.engine_patience import LONGEST_PAUSE_SECONDS, is_interruption, outlast_the_database
from sqlalchemy.exc import DBAPIError


@pytest.mark.parametrize(
    "url",
    [
        # A host name that is not there, as that of a container that restarts; no socket file; a refused connection.
        "postgresql+psycopg://nobody@host.invalid/none",
        "postgresql+psycopg://nobody@/none?host=/nowhere",
        "postgresql+psycopg://nobody@127.0.0.1:9/none",
    ],
)
def test_connection_that_cannot_be_made_is_an_interruption(url):
    engine = sqlalchemy.create_engine(url, connect_args={"connect_timeout": 5})
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    assert is_interruption(caught.value)


def test_error_of_the_server_about_a_statement_is_none():
    error = psycopg.errors.QueryCanceled("x")
    assert not is_interruption(DBAPIError("SELECT 1", {}, error))
    assert not is_interruption(DBAPIError("SELECT 1", {}, psycopg.errors.UndefinedTable("x")))
    assert not is_interruption(ValueError("x"))


def test_engine_tries_again_within_seconds(monkeypatch):
    """Six failures in a row would make the engine wait for half a minute before the next attempt."""
    assert outlast_the_database() > 20
    pauses = []
    monkeypatch.setattr(_sys_db.time, "sleep", pauses.append)

    class Database(_sys_db.SystemDatabase):
        _is_sqlite = False

        def __init__(self):
            self.left = 6

        @property
        def engine(self):
            if self.left:
                self.left -= 1
                raise DBAPIError("SELECT 1", {}, psycopg.errors.AdminShutdown("x"), connection_invalidated=True)
            raise LookupError("answers again")

    Database.__abstractmethods__ = frozenset()
    with pytest.raises(LookupError):
        Database().get_workflow_children("run")
    assert len(pauses) == 6
    assert max(pauses) <= LONGEST_PAUSE_SECONDS * 1.5
