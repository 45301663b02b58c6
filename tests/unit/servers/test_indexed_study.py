"""Headers of source images for the report: from the index without a file, from the files where there is no index."""

from __future__ import annotations

import numpy as np
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from oncoresponse.case.study_index import StudyIndex
from oncoresponse.dicom.reading import read_instance
from oncoresponse.dicom.study_index import read_object
from oncoresponse.servers.indexed_study import headers_of_images
from oncoresponse.storage.artifact_store import DICOM_MEDIA_TYPE, ArtifactStore
from oncoresponse.storage.study_manifest import ManifestInstance, StudyManifest
from pydicom.sr.codedict import codes


def segmentation(images):
    """What highdicom takes over from source images, written around one voxel."""
    pixels = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
    pixels[3, 4, 5] = 1
    segment = SegmentDescription(
        1, "Tumor", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Mass, SegmentAlgorithmTypeValues.MANUAL
    )
    made = Segmentation(
        images, pixels, SegmentationTypeValues.BINARY, [segment], "1.2.3", 1, "1.2.4", 1, "a", "b", "c", "d"
    )
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime"):
        delattr(made, keyword)
    for keyword in ("SeriesDate", "SeriesTime", "ContributingEquipmentSequence", "DimensionOrganizationSequence"):
        made.pop(keyword, None)
    for item in made.DimensionIndexSequence:
        del item.DimensionOrganizationUID
    return made


@pytest.mark.filterwarnings("ignore::UserWarning")  # highdicom quotes the odd names of the public data set
def test_headers_of_source_images(examples, tmp_path, monkeypatch):
    artifacts = ArtifactStore(str(tmp_path))
    files = sorted((examples / "STS_019" / "PET").glob("0*.dcm"))[:8]
    stored = [artifacts.put_file(file, DICOM_MEDIA_TYPE) for file in files]
    instances = tuple(ManifestInstance(sha256=item.sha256, size_bytes=item.size_bytes) for item in stored)
    index = artifacts.put_document(StudyIndex.of(map(read_object, files)))
    series = str(read_instance(files[0]).series_instance_uid)
    digests = [item.sha256 for item in reversed(stored)]
    expected = [read_instance(file).dataset for file in reversed(files)]

    without_index = headers_of_images(artifacts, StudyManifest(instances=instances), series, digests)
    assert without_index == expected
    for item in stored:
        artifacts.delete(item)
    found = headers_of_images(artifacts, StudyManifest(instances=instances, index=index), series, digests)
    assert [image.SOPInstanceUID for image in found] == [image.SOPInstanceUID for image in expected]
    assert segmentation(found) == segmentation(expected)
