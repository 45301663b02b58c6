"""An ImagingStudy that a FHIR server already has learns of the series that a report adds to the study.

The report Bundle creates the study where the server has none (``ifNoneExist``), which leaves one that is there without
the segmentation, the structured report and the page. None of what R4 offers inside the transaction mends that: a
conditional update would put our few series in the place of all that the server knows of the study, and a patch is no
repeatable step (JSON Patch adds again, few servers take FHIRPath Patch, a conditional one fails where there is none).

So the study is read first, and sent with it: what the server has, and the series that it lacks, as an update of that
version (``If-Match``). Repeated, nothing is lacking, and nothing is sent; if somebody changed the study in between the
server refuses (412), and the delivery is tried again. Nothing that the server has of the study is changed or removed.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def study_query(bundle: Json) -> str:
    """Search for the study of a report Bundle, as ``ImagingStudy?identifier=...``; empty where it has none."""
    entry = _study_entry(bundle)
    query = entry["request"].get("ifNoneExist", "") if entry is not None else ""
    return f"ImagingStudy?{query}" if query else ""


def with_held_study(bundle: Json, held: Json | None) -> Json:
    """The Bundle, in which the study that the server has is updated by the series that it lacks.

    Args:
        bundle: Transaction of a report.
        held: ImagingStudy as the server has it; ``None`` where it has none. Of several the caller takes none.

    Returns:
        The Bundle as it is where nothing is lacking.
    """
    entry = _study_entry(bundle)
    if entry is None or held is None or not held.get("id"):
        return bundle
    merged = merged_study(held, entry["resource"])
    if merged is None:
        return bundle
    request: Json = {"method": "PUT", "url": f"ImagingStudy/{held['id']}"}
    if version := held.get("meta", {}).get("versionId"):
        request["ifMatch"] = f'W/"{version}"'
    updated = {**entry, "resource": merged, "request": request}
    return {**bundle, "entry": [updated if each is entry else each for each in bundle["entry"]]}


def merged_study(held: Json, ours: Json) -> Json | None:
    """The study of the server with the series and instances of ours that it lacks; ``None`` where it lacks none."""
    series = [dict(item) for item in held.get("series", [])]
    by_uid = {item.get("uid"): item for item in series}
    lacking = False
    for item in ours.get("series", []):
        known = by_uid.get(item["uid"])
        if known is None:
            series.append(item)
            lacking = True
            continue
        listed = known.get("instance", [])
        uids = {instance.get("uid") for instance in listed}
        new = [instance for instance in item.get("instance", []) if instance["uid"] not in uids]
        # A series that lists no instance names them all by its number.
        if new and listed:
            known["instance"] = [*listed, *new]
            known["numberOfInstances"] = max(int(known.get("numberOfInstances", 0)), len(known["instance"]))
            lacking = True
    if not lacking:
        return None
    merged: Json = {**held, "series": series}
    codes = {(coding.get("system"), coding.get("code")) for coding in held.get("modality", [])}
    added = [item for item in ours.get("modality", []) if (item.get("system"), item.get("code")) not in codes]
    merged["modality"] = [*held.get("modality", []), *added]
    if "numberOfSeries" in held:
        merged["numberOfSeries"] = max(int(held["numberOfSeries"]), len(series))
    if "numberOfInstances" in held:
        gained = sum(int(item.get("numberOfInstances", 0)) for item in series if item["uid"] not in by_uid)
        merged["numberOfInstances"] = int(held["numberOfInstances"]) + gained
    return merged


def _study_entry(bundle: Json) -> Json | None:
    studies = (entry for entry in bundle["entry"] if entry.get("resource", {}).get("resourceType") == "ImagingStudy")
    return next(studies, None)
