"""What is added later enters erasure, retention, backup, index, audit, the table of access and the fuzz targets."""

import importlib
import re
from importlib import resources
from pathlib import Path

import pytest
from dbos._schemas.system_database import SystemSchema
from oncoresponse.access.audit_event import AuditAction
from oncoresponse.access.rpc_rules import RPC_RULES
from oncoresponse.storage.inventory import FILES, RPCS, TABLES, Erased, Handles, Kind, kept_file

PROTOS = Path(__file__).parents[3] / "protos"
# The last one on PostgreSQL alone; nothing here writes to it.
_BY_THE_MIGRATIONS = {"oncoresponse_schema", "dbos_migrations", "event_dispatch_kv"}


def tables_of_ours() -> set[str]:
    folder = resources.files("oncoresponse.storage") / "sql"
    statements = "".join(
        file.read_text(encoding="utf-8") for area in folder.iterdir() if area.is_dir() for file in area.iterdir()
    )
    return set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", statements))


def requests() -> dict[str, type]:
    """Request message of every RPC of the protos."""
    found = {}
    for path in PROTOS.rglob("*.proto"):
        module = importlib.import_module(".".join(path.relative_to(PROTOS).with_suffix("").parts) + "_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            found |= {f"{service.full_name}/{method.name}": method.input_type.full_name for method in service.methods}
    return found


def test_every_table_has_a_line_and_every_line_a_table():
    engine = {table.name for table in SystemSchema.metadata_obj.tables.values()}
    assert set(TABLES) == tables_of_ours() | engine | _BY_THE_MIGRATIONS


def test_every_rpc_has_a_line_a_rule_and_an_action_of_the_audit_record():
    assert set(RPCS) == set(requests()) == set(RPC_RULES)
    assert all(isinstance(RPC_RULES[name].action, AuditAction) for name in RPCS)


def test_every_request_is_a_fuzz_target():
    from fuzz.requests import fuzzed_messages

    assert {message.DESCRIPTOR.full_name for message in fuzzed_messages()} == set(requests().values())


@pytest.mark.parametrize("kept", [*TABLES.values(), *FILES.values()])
def test_what_holds_data_of_a_patient_has_an_end_or_a_law(kept):
    if kept.erased in (Erased.NEVER_THERE, Erased.SHORT_LIVED):
        assert not kept.found_by
    else:
        assert kept.found_by
        assert kept.backed_up
    if kept.retention is Kind.AUDIT:
        assert kept.erased is Erased.BY_LAW


def test_what_shows_a_patient_is_for_nobody_who_only_trains():
    for name, handles in RPCS.items():
        if handles in (Handles.IMAGES, Handles.IDENTITY, Handles.RESULTS):
            assert "train" not in RPC_RULES[name].roles, name


def test_a_file_that_nobody_has_thought_of_has_no_line():
    assert kept_file("artifacts/ab/cd/" + "ab" * 32) is not None
    assert kept_file("oncoresponse.sqlite-wal") is not None
    assert kept_file("copy-of-patient.json") is None
    assert kept_file("studies/new-index.sqlite") is None
