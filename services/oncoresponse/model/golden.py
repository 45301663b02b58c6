"""``golden.json``: fixed inputs of a model whose results must come out again wherever it is loaded.

A library may read its own file and answer otherwise (https://github.com/dmlc/xgboost/issues/3664), and so may another
release of it, or hardware. The hashes of the manifest do not see that; this does. The document holds results of inputs
that code makes by formula: of the networks (:mod:`oncoresponse.segmentation.golden`) and of the features
(:mod:`oncoresponse.servers.golden_features`). The response model has its own in ``response/response.json``.
"""

from __future__ import annotations

import logging

from pydantic import Field, ValidationError

from oncoresponse.errors import ModelFolderInvalid, ModelGoldenMismatch
from oncoresponse.model.definition import Strict
from oncoresponse.model.folder import ModelFolder

GOLDEN_FILE = "golden.json"
_log = logging.getLogger(__name__)


class GoldenFeatures(Strict):
    """Features and measures of a lesion that :mod:`oncoresponse.servers.golden_features` makes.

    Attributes:
        made_for: SHA-256 of the radiomics settings.
        values: By name, in the unit of each; reproduced to a relative 1e-6.
    """

    made_for: str
    values: dict[str, float] = Field(min_length=1)


class GoldenNetworks(Strict):
    """Probabilities at some voxels of the inputs that :mod:`oncoresponse.segmentation.golden` makes.

    Attributes:
        made_for: SHA-256 of ``network.json``, which names the weights.
        probabilities: For each network of the ensemble, in its order, of an input of the size of the training patches.
        small: The same of a small input; ``None`` in vectors that were made before there was one.
    """

    made_for: str
    probabilities: tuple[tuple[float, ...], ...] = Field(min_length=1)
    small: tuple[tuple[float, ...], ...] | None = Field(default=None, min_length=1)


class GoldenVectors(Strict):
    """Contents of ``golden.json``; a part that the model does not have is ``None``."""

    features: GoldenFeatures | None = None
    networks: GoldenNetworks | None = None


def golden_vectors(folder: ModelFolder, *, required: bool = False) -> GoldenVectors:
    """The golden vectors of a model folder; empty, with a warning, where it has none.

    Args:
        folder: Of the model.
        required: Refuse a folder without.

    Raises:
        ModelGoldenMismatch: There are none, and they are required.
        ModelFolderInvalid: They cannot be read.
    """
    name = folder.definition.name
    if not folder.has(GOLDEN_FILE):
        if required:
            raise ModelGoldenMismatch(
                f"Model '{name}' has no {GOLDEN_FILE}, which the setting require_golden_vectors asks for. Make it "
                f"where the model was validated: 'oncoresponse models golden {name}'."
            )
        _log.warning("model %s has no golden vectors: whether it computes what it should is not checked", name)
        return GoldenVectors()
    try:
        return GoldenVectors.model_validate_json(folder.file(GOLDEN_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelFolderInvalid(f"{GOLDEN_FILE} of model '{name}' cannot be read. Install the model again.") from error


def require_made_for(folder: ModelFolder, made_for: str, relative: str) -> None:
    """Refuse golden vectors of other files than those that are there.

    Raises:
        ModelGoldenMismatch: They are.
    """
    if folder.manifest.files.get(relative) != made_for:
        raise ModelGoldenMismatch(
            f"{GOLDEN_FILE} of model '{folder.definition.name}' was made for another {relative}. Make it anew: "
            "'oncoresponse models golden'.",
            file=relative,
        )


def golden_mismatch(folder: ModelFolder, what: str, difference: float) -> ModelGoldenMismatch:
    """The error of a model that does not compute what it did when it was made.

    Args:
        folder: Of the model.
        what: Which part.
        difference: The largest that was found.
    """
    return ModelGoldenMismatch(
        f"{what} of model '{folder.definition.name}' do not reproduce their golden vectors here (largest difference "
        f"{difference:.1e}), so the model is not served. Install the libraries of constraints.txt and the complete "
        "model, and look whether the hardware computes rightly.",
        part=what,
    )
