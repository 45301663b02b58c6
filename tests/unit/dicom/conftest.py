"""Contours to order, in index coordinates of a series: closed, open, doubled, broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oncoresponse.case.volume import Volume
from oncoresponse.dicom.contour_request import ContourRequest
from oncoresponse.dicom.contours import Contour
from oncoresponse.dicom.study import convert_study, read_contour, read_study
from oncoresponse.model.definition import ImageInput
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

Ring = Sequence[tuple[float, float]]


@dataclass(eq=False)
class Drawing:
    """A CT, 12 slices of 20 x 24 voxels of 1 x 1 x 2 mm, and an RTSTRUCT to be drawn on it."""

    series: Any
    grid: Volume
    path: Path
    files: Sequence[Path]
    structures: list[tuple[str, str, list[tuple[str, np.ndarray]]]] = field(default_factory=list)
    announce_points: int | None = None
    references_series: bool = True
    plane_distance_mm: float | None = None

    def structure(self, name: str = "GTV", algorithm: str = "MANUAL") -> Drawing:
        self.structures.append((name, algorithm, []))
        return self

    def contour(self, k: float, ring: Ring, kind: str = "CLOSED_PLANAR", noise_mm: float = 0.0) -> Drawing:
        """Add a contour at slice index k, its vertices as (i, j)."""
        if not self.structures:
            self.structure()
        points = np.array(
            [self.grid.image.TransformContinuousIndexToPhysicalPoint((float(i), float(j), float(k))) for i, j in ring]
        )
        points += noise_mm * np.sign(np.random.default_rng(3).normal(size=points.shape))
        self.structures[-1][2].append((kind, points))
        return self

    def save(self) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, RTStructureSetStorage
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.Modality, dataset.PatientID = RTStructureSetStorage, "RTSTRUCT", "SYNTHETIC"
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(self.path)])
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.series.study_instance_uid, generate_uid()
        referenced, study, frame = Dataset(), Dataset(), Dataset()
        referenced.SeriesInstanceUID = self.series.series_instance_uid
        frame.FrameOfReferenceUID = self.series.frame_of_reference_uid
        if self.references_series:
            study.RTReferencedSeriesSequence = [referenced]
            frame.RTReferencedStudySequence = [study]
        dataset.ReferencedFrameOfReferenceSequence = [frame]
        dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
        for number, (name, algorithm, contours) in enumerate(self.structures, start=1):
            roi, drawn, observation = Dataset(), Dataset(), Dataset()
            roi.ROINumber = drawn.ReferencedROINumber = observation.ReferencedROINumber = number
            roi.ROIName, roi.ROIGenerationAlgorithm = name, algorithm
            roi.ReferencedFrameOfReferenceUID = self.series.frame_of_reference_uid
            observation.RTROIInterpretedType, drawn.ContourSequence = "", []
            if self.plane_distance_mm is not None:
                planes = Dataset()
                planes.SpacingBetweenSlices = self.plane_distance_mm
                drawn.SourcePixelPlanesCharacteristicsSequence = [planes]
            for kind, points in contours:
                item, image = Dataset(), Dataset()
                image.ReferencedSOPInstanceUID = generate_uid(
                    entropy_srcs=[
                        self.series.study_instance_uid,
                        self.series.series_instance_uid,
                        self.series.frame_of_reference_uid,
                        "CT",
                        "3",
                    ]
                )
                item.ContourGeometricType, item.ContourImageSequence = kind, [image]
                item.NumberOfContourPoints = self.announce_points or len(points)
                item.ContourData = [f"{value:.10g}" for value in np.ravel(points)]
                drawn.ContourSequence.append(item)
            dataset.StructureSetROISequence.append(roi)
            dataset.ROIContourSequence.append(drawn)
            dataset.RTROIObservationsSequence.append(observation)
        dataset.save_as(self.path)
        return self.path

    def read(self, more: Sequence[Path] = (), **request: str) -> Contour:
        """The contour on the series' own grid."""
        return read_contour(read_study([*self.files, self.save(), *more]), ContourRequest(**request), self.grid)

    def area(self, contour: Contour, k: int) -> int:
        """Voxels on one slice."""
        return int(contour.mask.array[k].sum())


@pytest.fixture
def draw(write_series: Callable[..., Any], tmp_path: Path) -> Callable[..., Drawing]:
    """Factory of :class:`Drawing`; keywords go to ``write_series``."""

    def start(**options: Any) -> Drawing:
        series = write_series(**{"shape": (12, 20, 24), "spacing_mm": (1.0, 1.0, 2.0), **options})
        grid = convert_study(read_study(series.directory), ImageInput.any_of("CT")).volumes["CT"]
        return Drawing(series, grid, tmp_path / "structures", series.files)

    return start
