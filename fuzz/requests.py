"""Every request message of the protos, filled so that the rules of the protos accept most of it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_PROTOS = Path(__file__).parents[1] / "protos"
_DEEPEST = 6
_ID = "7d2c0d5e-9b9a-4d0e-9a53-6c1d1f0c7d11"
_DIGEST = "ab" * 32
# By the end of the field's name; what the rules of the protos ask for.
_TEXTS = {
    "request_id": _ID,
    "study": f"studies/{_ID}",
    "studies": f"studies/{_ID}",
    "except_studies": f"studies/{_ID}",
    "model": "models/sts-petct",
    "assessment": f"assessments/{_ID}",
    "assessments": f"assessments/{_ID}",
    "replaces": f"assessments/{_ID}",
    "sha256": _DIGEST,
    "model_sha256": _DIGEST,
    "confirmation": _DIGEST,
    "uri": f"artifact:sha256/{_DIGEST}",
    "url": "https://pacs.example/dicomweb",
    "study_instance_uid": "1.2.3",
    "series_instance_uid": "1.2.3",
    "sop_instance_uid": "1.2.3",
    "frame_of_reference_uid": "1.2.3",
    "media_type": "application/json",
    "file_name": "report.pdf",
    "stage": "segmentation",
    "since_month": "2026-03",
    "until_month": "2026-03",
    "before_month": "2026-03",
    "birth_date": "19500101",
    "study_date_from": "20260101",
    "study_date_to": "20260101",
    "sex": "F",
    "modality": "PT",
    "directory": "/import/study",
    "contour_algorithm_type": "MANUAL",
    "patient_reference": "Patient/1",
    "service_request_reference": "ServiceRequest/1",
}
_ITEMS = {"size": 3, "spacing_mm": 3, "origin_mm": 3, "direction": 9}
# Fields that exclude each other by a rule of the message.
_ONE_OF = {"oncoresponse.v1.CreateAssessmentRequest": ("contour", "lesion", "lesions")}
_NAMES = {"Study": f"studies/{_ID}", "Assessment": f"assessments/{_ID}", "Model": "models/sts-petct"}


@cache
def fuzzed_messages() -> tuple[Message, ...]:
    """One of each kind of request, and one for each way to fill a ``oneof`` of it."""
    found: dict[bytes, Message] = {}
    for descriptor in _requests():
        ways = [len(one.fields) for one in descriptor.oneofs] + [len(_ONE_OF.get(descriptor.full_name, ()))]
        for choice in range(1 + max(ways)):
            message = GetMessageClass(descriptor)()
            _fill(message, choice, 0)
            found[descriptor.full_name.encode() + message.SerializeToString(deterministic=True)] = message
    return tuple(found.values())


def _requests() -> Iterator[Descriptor]:
    seen = set()
    for path in sorted(_PROTOS.rglob("*.proto")):
        module = importlib.import_module(".".join(path.relative_to(_PROTOS).with_suffix("").parts) + "_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if method.input_type.full_name not in seen:
                    seen.add(method.input_type.full_name)
                    yield method.input_type


def _fill(message: Message, choice: int, depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        one = field.containing_oneof
        if one is not None and len(one.fields) > 1 and one.fields[choice % len(one.fields)] is not field:
            continue
        exclusive = _ONE_OF.get(message.DESCRIPTOR.full_name, ())
        if field.name in exclusive and exclusive[choice % len(exclusive)] != field.name:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            if depth < _DEEPEST:
                of = getattr(message, field.name)
                inner = of.add() if field.is_repeated else of
                inner.SetInParent()
                _fill(inner, choice, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend([_value(field)] * _ITEMS.get(field.name, 1))
        else:
            setattr(message, field.name, _value(field))
    # A box has its low corner below its high one.
    if {"low", "high"} <= set(message.DESCRIPTOR.fields_by_name):
        for position in message.low.DESCRIPTOR.fields:  # type: ignore[attr-defined]
            setattr(message.low, position.name, 0.0)  # type: ignore[attr-defined]


def _value(field: FieldDescriptor) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return b"chunk" * 20
        if field.name == "name":
            owner = field.containing_type.name
            return next((name for word, name in _NAMES.items() if word in owner), "age")
        return _TEXTS.get(field.name, "text")
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return False
    return 1.0 if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT) else 1
