"""References to artifacts as they travel in messages."""

from __future__ import annotations

from pydantic import ValidationError

from oncoresponse.case.stored_artifact import URI_PREFIX, StoredArtifact
from oncoresponse.case.volume import VolumeGeometry
from oncoresponse.errors import InvalidRequest
from oncoresponse.v1 import artifact_pb2


def artifact_message(artifact: StoredArtifact) -> artifact_pb2.ArtifactReference:
    """The reference as it travels."""
    message = artifact_pb2.ArtifactReference(
        uri=artifact.uri, sha256=artifact.sha256, size_bytes=artifact.size_bytes, media_type=artifact.media_type
    )
    if artifact.grid is not None:
        message.grid.size.extend(artifact.grid.size)
        message.grid.spacing_mm.extend(artifact.grid.spacing_mm)
        message.grid.origin_mm.extend(artifact.grid.origin_mm)
        message.grid.direction.extend(artifact.grid.direction)
        message.grid.frame_of_reference_uid = artifact.grid.frame_of_reference_uid
    return message


def stored_artifact(message: artifact_pb2.ArtifactReference) -> StoredArtifact:
    """Inverse of :func:`artifact_message`.

    Raises:
        InvalidRequest: The URI names another digest than the reference, or a field is malformed.
    """
    if message.uri != URI_PREFIX + message.sha256:
        raise InvalidRequest("The uri and the sha256 of an artifact reference differ. Pass it on unchanged.")
    grid = None
    try:
        if message.HasField("grid"):
            grid = VolumeGeometry.model_validate(
                {
                    "size": tuple(message.grid.size),
                    "spacing_mm": tuple(message.grid.spacing_mm),
                    "origin_mm": tuple(message.grid.origin_mm),
                    "direction": tuple(message.grid.direction),
                    "frame_of_reference_uid": message.grid.frame_of_reference_uid,
                }
            )
        return StoredArtifact(
            sha256=message.sha256, size_bytes=message.size_bytes, media_type=message.media_type, grid=grid
        )
    except ValidationError as error:
        raise InvalidRequest("An artifact reference is malformed. Pass it on unchanged.") from error
