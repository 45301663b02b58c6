"""Makes ``golden.json`` of a model folder from what it computes here."""

from __future__ import annotations

import asyncio
from pathlib import Path

from oncoradiomics.extraction_processes import ExtractionProcesses
from oncoradiomics.settings import Settings

from oncoresponse.model.folder import ModelFolder
from oncoresponse.model.golden import GOLDEN_FILE, GoldenFeatures, GoldenNetworks, GoldenVectors, golden_vectors
from oncoresponse.segmentation.golden import NETWORK_PATH, made_networks
from oncoresponse.segmentation.inference import Segmenter
from oncoresponse.segmentation.open_segmenter import open_segmenter
from oncoresponse.servers.features_stage import measured_golden_lesion
from oncoresponse.servers.golden_features import SETTINGS_PATH, made_features


def make_golden_vectors(path: Path) -> GoldenVectors:
    """Compute the golden vectors of a folder on the CPU and write them. The folder has to be sealed afterwards.

    Networks from elsewhere (``external_network.json``) have none.

    Raises:
        ModelFolderInvalid, ModelHashMismatch: The folder cannot be opened.
    """
    folder = ModelFolder.open(path, verify=False)
    networks: GoldenNetworks | None = None
    if folder.has("segmentation"):
        segmenter = open_segmenter(folder, "cpu")
        if isinstance(segmenter, Segmenter):
            networks = made_networks(folder, segmenter)
    features = asyncio.run(_features(folder)) if folder.has("radiomics") else None
    golden = GoldenVectors(features=features, networks=networks)
    (path / GOLDEN_FILE).write_text(golden.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return golden


def golden_vectors_are_current(folder: ModelFolder) -> bool:
    """Whether the golden vectors of a sealed folder are of the networks and settings that it has now."""
    wanted = {name for name in (NETWORK_PATH, SETTINGS_PATH) if name in folder.manifest.files}
    golden = golden_vectors(folder) if folder.has(GOLDEN_FILE) else GoldenVectors()
    made_for = {
        NETWORK_PATH: golden.networks.made_for if golden.networks else None,
        SETTINGS_PATH: golden.features.made_for if golden.features else None,
    }
    return all(made_for[name] == folder.manifest.files[name] for name in wanted)


async def _features(folder: ModelFolder) -> GoldenFeatures:
    settings = Settings.from_yaml(folder.file("radiomics/settings.yaml"))
    async with ExtractionProcesses(1) as processes:
        return made_features(folder, await measured_golden_lesion(folder, settings, processes))
