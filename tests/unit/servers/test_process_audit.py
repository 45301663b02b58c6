"""What a server process keeps in the audit record of itself."""

from __future__ import annotations

from oncoresponse.access.local_users import USERS_FILE, add_user
from oncoresponse.access.roles import AccessRole
from oncoresponse.rpc.settings import ServerSettings
from oncoresponse.servers.process_audit import ProcessAudit, settings_digest
from oncoresponse.storage.audit_store import audit_rows


def settings(folder, **values) -> ServerSettings:
    return ServerSettings(data_directory=folder, **values)


def test_a_setting_that_changes_shows_and_a_password_does_not(tmp_path):
    plain = settings_digest(settings(tmp_path))
    assert plain == settings_digest(settings(tmp_path))
    assert plain != settings_digest(settings(tmp_path, judgement_first=True))
    assert plain == settings_digest(settings(tmp_path, database_url="postgresql://user:secret@host/name"))


def test_a_file_of_callers_that_somebody_changes_is_kept(tmp_path):
    audit = ProcessAudit(settings(tmp_path))
    audit._look()
    add_user(tmp_path / USERS_FILE, "somebody", [AccessRole.READ])
    audit._look()
    audit._look()
    audit.close()
    begun, changed, ended = [row.values for row in audit_rows(f"sqlite:///{tmp_path / 'audit.sqlite'}")]
    assert changed["operation"] == "oncoresponse serve: users.yaml changed"
    assert begun["remark"] == ended["remark"]
