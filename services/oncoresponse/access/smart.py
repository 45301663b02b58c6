"""What a token of SMART App Launch 2 lets its bearer read: types of resource by scope, and the one patient of a launch.

Scopes narrow what the access role allows and never widen it. See https://hl7.org/fhir/smart-app-launch/STU2.2/
scopes-and-launch-context.html. A scope with search parameters (``?category=...``) grants less than can be told apart
here, so it grants nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from oncoresponse.case.resource_search import PatientName
from oncoresponse.errors import AccessDenied

_SCOPE = re.compile(
    r"(?P<context>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<access>read|write|\*|c?r?u?d?s?)(?P<query>\?.*)?"
)
_EVERY = "*"
_LONGEST_NAME = 500


@dataclass(frozen=True)
class SmartAccess:
    """What the scopes of a token allow.

    Attributes:
        read: Types that may be read by id, or ``*``.
        search: Types that may be searched, or ``*``.
        patient: Names of the one patient whom the token is for; ``None`` where it is for no single one.
    """

    read: frozenset[str]
    search: frozenset[str]
    patient: tuple[PatientName, ...] | None = None

    def types(self) -> frozenset[str] | None:
        """Types of which anything is shown; ``None`` for all."""
        return None if _EVERY in self.read else self.read

    def require(self, resource_type: str, *, search: bool) -> None:
        """Let nobody pass whom the scopes do not let.

        Raises:
            AccessDenied: The scopes do not allow it.
        """
        allowed = self.search if search else self.read
        if not {_EVERY, resource_type} & allowed:
            what = f"search {resource_type} (scope s)" if search else f"read {resource_type} (scope r)"
            raise AccessDenied(f"The scopes of the token do not allow to {what}. Ask for them at the launch.")


def smart_access(scopes: Iterable[str], patient: Iterable[PatientName]) -> SmartAccess | None:
    """What scopes allow; ``None`` where none of them is about resources, so that the roles alone decide.

    A token with a scope of the form ``patient/...`` is for one patient, whatever other scopes it has.

    Args:
        scopes: Of the token.
        patient: Names of the patient of the launch.
    """
    found = [match for each in scopes if (match := _SCOPE.fullmatch(each)) is not None]
    if not found:
        return None
    read, search = set(), set()
    for match in found:
        access = match["access"]
        if match["query"]:
            continue
        if access in ("read", _EVERY) or "r" in access.replace("write", ""):
            read.add(match["type"])
        if access in ("read", _EVERY) or "s" in access:
            search.add(match["type"])
    of_patient = any(match["context"] == "patient" for match in found)
    return SmartAccess(frozenset(read), frozenset(search), tuple(patient) if of_patient else None)


def patient_names(reference: object, identifier: object, issuer: str) -> list[PatientName]:
    """Names of the patient of a launch.

    Args:
        reference: Value of the claim with the id of the EHR's Patient.
        identifier: Value of the claim with the medical record number, ``SYSTEM|VALUE`` or the value alone.
        issuer: DICOM Issuer of Patient ID of a value alone.
    """
    names = []
    if isinstance(reference, str) and 0 < len(reference) <= _LONGEST_NAME:
        names.append(PatientName("reference", "", reference if "/" in reference else f"Patient/{reference}"))
    if isinstance(identifier, str) and 0 < len(identifier) <= _LONGEST_NAME:
        system, separator, value = identifier.rpartition("|")
        if separator and value:
            names.append(PatientName("identifier", system, value))
        elif not separator:
            names.append(PatientName("dicom", issuer, identifier))
    return names
