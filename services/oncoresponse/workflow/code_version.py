"""Under which version the workflow engine runs: a run goes on only under the version that it was begun with.

The engine replays the finished steps of a run from the database and goes on with the next; under changed code it would
put old answers into new steps. So the version has two parts. The release, because a report names one release for
everything in it, contour and measures included. And a digest of the code that decides how stored steps are read, the
modules of this package and the messages (``oncoresponse.v1``) that they store, so that it moves between two releases
too, where nobody thought of it. Code of the stages is not in the digest: it may run in other processes.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

import oncoresponse
from oncoresponse.stages.v1 import stage_pb2
from oncoresponse.v1 import (
    artifact_pb2,
    assessment_pb2,
    lesion_pb2,
    monitoring_pb2,
    response_pb2,
    study_pb2,
)

_MESSAGES = (
    artifact_pb2,
    assessment_pb2,
    lesion_pb2,
    monitoring_pb2,
    response_pb2,
    stage_pb2,
    study_pb2,
)


@functools.cache
def workflow_version() -> str:
    """``RELEASE+DIGEST``, such as ``0.3.0+1f0c2b9a7d34``."""
    return version_of(oncoresponse.__version__, code_parts())


def code_parts() -> dict[str, bytes]:
    """What the digest is made of: the source of each module here, the descriptor of each file of messages, by name."""
    parts = {
        f"module {each.name}": each.read_bytes()
        for each in resources.files("oncoresponse.workflow").iterdir()
        if each.name.endswith(".py")
    }
    return parts | {f"message {each.DESCRIPTOR.name}": each.DESCRIPTOR.serialized_pb for each in _MESSAGES}


def version_of(release: str, parts: dict[str, bytes]) -> str:
    """Version of a release whose code is ``parts`` (bytes by name)."""
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{release}+{digest.hexdigest()[:12]}"
