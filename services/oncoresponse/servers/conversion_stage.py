"""Conversion: the series that a model reads, as volumes, and the contours that came with the study, as masks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from oncoresponse.case.case import Case, CaseImage, Lesion, LesionRequest, NamedContour
from oncoresponse.case.left_out import unreadable_sentence
from oncoresponse.case.lesion_errors import about_lesion
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.stored_artifact import StoredArtifact
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.assessable import contour_request, expected_patient, require_whole, true_cause
from oncoresponse.dicom.contours import Contour
from oncoresponse.dicom.limits import DEFAULT_LIMITS, DicomLimits
from oncoresponse.dicom.patient_identity import ExpectedPatient
from oncoresponse.dicom.study import DicomStudy, contours_of, convert_study, read_contour
from oncoresponse.errors import InvalidRequest
from oncoresponse.model.cache import ModelCache
from oncoresponse.model.definition import ImagingResponse
from oncoresponse.model.folder import ModelFolder
from oncoresponse.servers.indexed_study import indexed_study
from oncoresponse.servers.stage_software import stage_software
from oncoresponse.storage.artifact_store import ArtifactStore
from oncoresponse.storage.study_manifest import StudyManifest

_PACKAGES = (
    *("numpy", "scipy", "scikit-image", "SimpleITK", "pydicom", "highdicom"),
    *("pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls", "python-gdcm"),
)

LARGEST_NUMBER_OF_LESIONS = 50
"""As in a request; a contour object of which every structure is a lesion may not hold more either."""


class ConversionStage:
    """See :func:`converted`."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        models_directory: Path,
        limits: DicomLimits = DEFAULT_LIMITS,
        index_of_manifest: Callable[[StoredArtifact], StudyIndex] | None = None,
    ) -> None:
        self._artifacts = artifacts
        self._index_of_manifest = index_of_manifest
        self._models = ModelCache(models_directory, _nothing_loaded)
        self._limits = limits

    async def make_ready(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def run(self, case: Case, model: str, model_sha256: str) -> Case:
        """Convert."""
        folder, _ = await asyncio.to_thread(self._models.get, model, model_sha256)
        return await asyncio.to_thread(self._run, case, folder.imaging)

    def software(self) -> StageSoftware:
        """What it runs with."""
        return stage_software(*_PACKAGES)

    def _run(self, case: Case, model: ImagingResponse) -> Case:
        index = None if self._index_of_manifest is None else self._index_of_manifest(case.study_manifest)
        return converted(case, model, self._artifacts, self._limits, index)


def converted(
    case: Case,
    model: ImagingResponse,
    artifacts: ArtifactStore,
    limits: DicomLimits = DEFAULT_LIMITS,
    index: StudyIndex | None = None,
) -> Case:
    """The case with images by input role, the description of the study, and one lesion for each that was asked for.

    Args:
        case: Its ``order`` and ``study_manifest`` are read.
        model: Says which series are needed.
        artifacts: Holds the study.
        limits: How large a file may be and become.
        index: Of the study; ``None``: as :func:`~oncoresponse.servers.indexed_study.indexed_study`.

    Raises:
        ArtifactNotFound, ChecksumMismatch, InvalidRequest: The manifest or an instance is not in the store, or
            is not what the manifest says.
        DicomError, SuvError, ContourError: What the intake stage raises.
    """
    manifest = artifacts.read_document(case.study_manifest, StudyManifest)
    order = case.order
    expected = expected_patient(order.expected_patient)
    with true_cause(manifest.left_out), ExitStack() as stack:
        study = indexed_study(artifacts, manifest, stack, limits, index)
        found = convert_study(
            study, model.inputs, selected=order.series, anchor=model.segment_on, expected_patient=expected
        )
        require_whole({each.series_instance_uid: each.modality for each in found.description.series}, manifest.left_out)
        lesions, warnings = _lesions(order.lesions, study, found.volumes[model.segment_on], expected, artifacts)
    description = found.description
    said = [*description.warnings, *warnings]
    said += [correction.sentence for correction in manifest.corrections]
    if manifest.left_out:
        said.append(unreadable_sentence(manifest.left_out))
    description = description.model_copy(update={"warnings": tuple(dict.fromkeys(said))})
    return case.with_changes(
        study=artifacts.put_document(description),
        images=tuple(
            CaseImage(
                input_role=role,
                modality=next(item.modality for item in model.inputs if item.role == role),
                series_instance_uid=volume.series_instance_uid,
                volume=artifacts.put_volume(volume),
            )
            for role, volume in found.volumes.items()
        ),
        lesions=lesions,
    )


def _lesions(
    requests: Sequence[LesionRequest],
    study: DicomStudy,
    grid: Volume,
    expected: ExpectedPatient | None,
    artifacts: ArtifactStore,
) -> tuple[tuple[Lesion, ...], list[str]]:
    """One lesion for each request, or for each structure of a contour; without requests the one to be found."""
    lesions: list[Lesion] = []
    warnings: list[str] = []
    for request in requests or (None,):
        named = None if request is None else request.contour or request.rough_contour
        if named is None:
            lesions.append(_lesion_without_contour(len(lesions) + 1, request))
            continue
        with about_lesion(len(lesions) + 1, len(requests)):
            contours, left_out = _contours(study, named, grid, expected)
        warnings += left_out
        for contour in contours:
            warnings += contour.warnings
            lesions.append(
                Lesion(
                    number=len(lesions) + 1,
                    label=contour.label,
                    request=request,
                    supplied_mask=artifacts.put_volume(contour.mask),
                    supplied_kind=contour.kind,
                    supplied_algorithm_type=contour.algorithm_type,
                )
            )
    if len(lesions) > LARGEST_NUMBER_OF_LESIONS:
        raise InvalidRequest(
            f"The contours hold {len(lesions)} lesions, and an assessment takes up to {LARGEST_NUMBER_OF_LESIONS}. "
            "Name the structures that are meant.",
            lesions=len(lesions),
        )
    return tuple(lesions), warnings


def _lesion_without_contour(number: int, request: LesionRequest | None) -> Lesion:
    """Of which the study has no contour; it may have been corrected in an earlier assessment."""
    if request is None or request.correction is None:
        return Lesion(number=number, request=request)
    return Lesion(
        number=number,
        request=request,
        supplied_mask=request.correction.mask,
        supplied_kind="correction",
        supplied_algorithm_type="SEMIAUTOMATIC",
    )


def _contours(
    study: DicomStudy, named: NamedContour, grid: Volume, expected: ExpectedPatient | None
) -> tuple[Sequence[Contour], Sequence[str]]:
    """What a request names, and what has to be said beside it."""
    wanted = contour_request(named)
    if named.every_structure:
        return contours_of(study, wanted, grid, expected_patient=expected)
    return (read_contour(study, wanted, grid, expected_patient=expected),), ()


def _nothing_loaded(_: ModelFolder) -> None:
    return None
