"""What stands in a backup: a header first, the members, and at the end a manifest that says what there has to be."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import AwareDatetime, BaseModel, ConfigDict

import oncoresponse
from oncoresponse.errors import SchemaTooNew
from oncoresponse.storage.schema_migrations import migrations, release_number

FORMAT = 1
HEADER, MANIFEST = "header.json", "manifest.json"
DATABASES, DATA, ARTIFACTS = "databases/", "data/", "artifacts/"
DUMP_SUFFIX, SQLITE_SUFFIX = ".pgdump", ".sqlite"
STUDIES, ASSESSMENTS, AUDIT = "studies", "assessments", "audit"

MEMBER = re.compile(
    r"header\.json|manifest\.json|artifacts/[0-9a-f]{64}"
    r"|databases/(studies|assessments|audit)(\.sqlite|\.pgdump/[0-9]{6})"
    r"|data/(?!/)(?!.*(^|/)\.\.(/|$))[A-Za-z0-9._/-]{1,200}"
)
"""Names that a member may have. None leads out of the folder of the restore."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Header(_Document):
    """The first member.

    Attributes:
        format: Of the whole file.
        release: Of OncoResponse that made it.
        begun: When, before the first database was read. What was erased since then is to be erased again (UTC).
        databases: ``sqlite`` or ``postgresql`` by name; the audit record may stand in that of the assessments.
        schemas: Number of the schema by area.
        models: SHA-256 of each installed model by its name. The models themselves are not in the backup.
        from_settings: Secrets and files outside the data folder that the settings name, by setting; not in the backup.
    """

    format: int = FORMAT
    release: str
    begun: AwareDatetime
    databases: Mapping[str, str]
    schemas: Mapping[str, int]
    models: Mapping[str, str]
    from_settings: tuple[str, ...] = ()

    def require_known(self) -> None:
        """Refuse what a newer release has written.

        Raises:
            SchemaTooNew: A newer release has.
        """
        newer = self.format > FORMAT or release_number(self.release) > release_number(oncoresponse.__version__)
        for area, version in self.schemas.items():
            newest = _newest(area)
            if version > newest or newer:
                raise SchemaTooNew(
                    f"The backup was made by OncoResponse {self.release}, and {area} has schema {version}; this is "
                    f"OncoResponse {oncoresponse.__version__}, which knows schemas up to {newest}. Install that "
                    "release or a newer one, and restore with it.",
                    area=area,
                    found=version,
                    newest=newest,
                )


class Member(_Document):
    """One member, artifacts left out."""

    sha256: str
    size_bytes: int


class Manifest(_Document):
    """The last member.

    Attributes:
        header: SHA-256 of the first one.
        members: All but artifacts, header and manifest, by name.
        artifacts: How many artifacts; each has its SHA-256 for a name.
        artifacts_sha256: Over their names in the order of the file.
        artifact_bytes: Their length.
        damaged: Artifacts that were not any more what their name says.
        unknown_files: How many files of the data folder have no line in the inventory, and were left out.
    """

    header: str
    members: Mapping[str, Member]
    artifacts: int
    artifacts_sha256: str
    artifact_bytes: int
    damaged: tuple[str, ...] = ()
    unknown_files: int = 0

    @property
    def file_count(self) -> int:
        """Members of every kind."""
        return len(self.members) + self.artifacts


def _newest(area: str) -> int:
    try:
        return migrations(area)[-1].version
    except (FileNotFoundError, IndexError):
        return 0
