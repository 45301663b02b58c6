"""What a replay takes for the same: numbers within tolerances, masks in every voxel, references by what they say."""

import datetime
import json

import numpy as np
import pytest
import SimpleITK as sitk
from oncoresponse.case.case import Case, Lesion, Order
from oncoresponse.case.quantity import Quantity
from oncoresponse.case.stage_software import StageSoftware
from oncoresponse.case.volume import Volume
from oncoresponse.servers.replay_comparison import MOST_DIFFERENCES, compare_results
from oncoresponse.storage.artifact_store import ArtifactStore


@pytest.fixture
def store(tmp_path):
    return ArtifactStore((tmp_path / "artifacts").as_uri())


def case_with(store, outputs, *, mask=None, versions=None):
    """A case that hands out these documents, and the references to them."""
    stored = {
        name: value if hasattr(value, "sha256") else store.put_bytes(json.dumps(value).encode(), "application/json")
        for name, value in outputs.items()
    }
    case = Case(
        order=Order(report_id="a-1", issued=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)),
        study_manifest=store.put_bytes(b"{}", "application/json"),
        lesions=() if mask is None else (Lesion(number=1, mask=store.put_volume(mask)),),
        outputs=stored,
        software={"features": StageSoftware(versions=versions or {"numpy": "2.2"})},
    )
    return store.put_document(case), stored


def compared(store, recorded, replayed, **now):
    then, handed_out = case_with(store, recorded)
    again, _ = case_with(store, replayed, **now)
    return compare_results(then, again, store, handed_out=handed_out)


def mask_with(voxels):
    array = np.zeros((3, 4, 5), dtype=np.uint8)
    array.flat[:voxels] = 1
    return Volume(sitk.GetImageFromArray(array), Quantity.MASK, "1.2.3", "1.2.4")


@pytest.mark.parametrize(
    ("name", "recorded", "replayed", "same"),
    [
        ("value", 1234.0, 1234.0 * (1 + 0.9e-6), True),
        ("value", 1234.0, 1234.0 * (1 + 1.1e-6), False),
        ("value", 0.0, 1e-12, False),
        ("value", 3, 3.0, True),
        ("probability", 0.25, 0.25 + 0.9e-9, True),
        ("probability", 0.25, 0.25 + 1.1e-9, False),
        ("margin_log_odds", -2.0, -2.0 + 1.1e-9, False),
        ("answer", True, False, False),
        ("answer", None, 1.0, False),
        ("added_later", None, [], True),
    ],
)
def test_numbers_and_answers(store, name, recorded, replayed, same):
    found = compared(store, {"prediction.json": {name: recorded}}, {"prediction.json": {name: replayed}})
    assert found.same is same
    assert [item.place for item in found.differences] == ([] if same else [f"prediction.json/{name}"])


def test_words_that_differ_are_not_quoted(store):
    found = compared(store, {"report.json": {"family": "Muster"}}, {"report.json": {"family": "Other"}})
    assert [(item.place, item.recorded, item.replayed) for item in found.differences] == [
        ("report.json/family", "words", "other words")
    ]


def test_a_reference_to_a_document_that_says_the_same_is_the_same(store):
    one, other = ({"value": value} for value in (1.0, 1.0 + 1e-9))
    refer = [case_with(store, {"features.json": item})[1]["features.json"].uri for item in (one, other)]
    found = compared(
        store,
        {"report.json": {"made_of": refer[0]}, "features.json": one},
        {"report.json": {"made_of": refer[1]}, "features.json": other},
    )
    assert found.same
    assert found.other_bytes == ["features.json", "report.json"]
    assert (found.artifacts, found.identical) == (2, 0)


def test_a_reference_to_another_document_is_not(store):
    refer = [store.put_bytes(text, "application/json").uri for text in (b"[1]", b"[2]")]
    found = compared(store, {"report.json": {"made_of": refer[0]}}, {"report.json": {"made_of": refer[1]}})
    assert [item.place for item in found.differences] == ["report.json/made_of"]


def test_one_voxel_of_a_mask_counts(store):
    then, handed_out = case_with(store, {}, mask=mask_with(20))
    again, _ = case_with(store, {}, mask=mask_with(21))
    found = compare_results(then, again, store, handed_out=handed_out)
    assert [(item.place, item.recorded, item.replayed) for item in found.differences] == [
        ("case/lesions/0/mask voxels", "20 in the lesion", "21 in the lesion, 1 changed")
    ]


def test_pictures_are_counted_by_their_bytes_alone(store):
    pictures = [store.put_bytes(data, "image/png") for data in (b"one", b"other")]
    found = compared(store, {"key-image.png": pictures[0]}, {"key-image.png": pictures[1]})
    assert (found.same, found.other_bytes) == (True, ["key-image.png"])


def test_a_file_that_is_missing_or_was_removed_is_named(store):
    gone = store.put_bytes(b"[1]", "application/json")
    now = store.put_bytes(b"[2]", "application/json")
    store.delete(gone)
    found = compared(store, {"features.json": gone, "a.json": {}}, {"features.json": now})
    assert [(item.place, item.recorded, item.replayed) for item in found.differences] == [
        ("a.json", "a file", "nothing"),
        ("features.json", "not kept any more", "another file"),
    ]


def test_software_is_told_apart_and_is_no_difference(store):
    found = compared(store, {"a.json": {}}, {"a.json": {}}, versions={"numpy": "2.3"})
    assert found.same
    assert found.environment == ["numpy: 2.2 then, 2.3 now (features)"]


def test_differences_without_end_are_counted(store):
    many = MOST_DIFFERENCES + 30
    found = compared(store, {"a.json": [0] * many}, {"a.json": [1] * many})
    assert (len(found.differences), found.left_out, found.numbers) == (MOST_DIFFERENCES, 30, many)
