"""RadiomicsService: image and mask in, features and measures out, computed in child processes."""

from __future__ import annotations

from pathlib import Path

import grpc
from oncoradiomics.errors import RadiomicsError
from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.settings import Settings

from oncoresponse.errors import error_for_reason
from oncoresponse.model_folder import ModelFolder
from oncoresponse.servers.model_cache import ModelCache
from oncoresponse.storage.artifact_store import ArtifactStore, StoredArtifact
from oncoresponse.v1 import radiomics_pb2, radiomics_pb2_grpc


def _settings_of(folder: ModelFolder) -> Settings:
    return Settings.from_yaml(folder.file("radiomics/settings.yaml"))
