"""One FHIR R4 Device for each algorithm and one for the software that ran them.

A Device is the same in every report made by the same version, so its identifier derives from the version and the
digest, not from the assessment.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhir.resources.R4B.device import Device

from oncoresponse.reporting.code_systems import (
    AI_KIND,
    ARTIFICIAL_INTELLIGENCE,
    ARTIFICIAL_INTELLIGENCE_DCM,
    DEEP_LEARNING,
    MACHINE_LEARNING,
    MODEL_CARD_DESCRIPTION,
    SHA256,
    Json,
    concept,
)
from oncoresponse.reporting.document_references import model_card_reference
from oncoresponse.reporting.fhir_elements import narrative
from oncoresponse.reporting.fhir_identifiers import full_url, identifier
from oncoresponse.reporting.report_content import ReportContext

LESION_MEASURES = "OncoRadiomics lesion measures"
"""Volume, diameters, SUV, MTV and TLG are computed by :mod:`oncoradiomics.lesion_measures`, whatever the engine of the
radiomic features; it is released together with OncoResponse and has its version."""


@dataclass(frozen=True)
class Algorithm:
    """What a Device resource describes.

    Attributes:
        role: ``software``, ``measures``, ``radiomics``, ``segmentation`` or ``response``.
        name: Model name shown in the chart.
        version: Its version.
        manufacturer: Who made it; ``None`` where the model folder does not say.
        digests: Name and SHA-256 of each file that defines its behavior.
        is_artificial_intelligence: Learned from data, as opposed to a fixed formula.
    """

    role: str
    name: str
    version: str
    manufacturer: str | None
    digests: tuple[tuple[str, str], ...]
    is_artificial_intelligence: bool

    @property
    def identity(self) -> tuple[str, ...]:
        """Parts the identifiers derive from."""
        return ("device", self.role, self.name, self.version, *(digest for _, digest in self.digests))

    @property
    def reference(self) -> Json:
        """Reference to the Device in the Bundle."""
        return {"reference": full_url(*self.identity), "type": "Device", "display": f"{self.name} {self.version}"}


def algorithms(context: ReportContext) -> dict[str, Algorithm]:
    """The algorithms that took part, by role.

    ``segmentation`` is absent where every contour was supplied and ``response`` where nothing was predicted. All
    lesions of an assessment were measured with the same settings.
    """
    model, prediction, features = context.model, context.prediction, context.lesions[0].features
    found = [
        Algorithm("software", "OncoResponse", context.software_version, model.manufacturer, (), False),
        Algorithm("measures", LESION_MEASURES, context.software_version, model.manufacturer, (), False),
        Algorithm(
            "radiomics",
            features.engine,
            features.engine_version,
            None,
            (("settings", features.settings_sha256),),
            False,
        ),
    ]
    if context.network_sha256 is not None:
        digests = (("network", context.network_sha256), ("model folder", context.model_sha256))
        found.append(
            Algorithm("segmentation", f"{model.name} segmentation", model.version, model.manufacturer, digests, True)
        )
    if prediction is not None:
        digests = (("booster", prediction.booster_sha256 or ""), ("model folder", context.model_sha256))
        name = f"{model.name} response"
        found.append(Algorithm("response", name, prediction.model_version, model.manufacturer, digests, True))
    return {algorithm.role: algorithm for algorithm in found}


def device(context: ReportContext, algorithm: Algorithm) -> Device:
    """R4 Device: name, version, digests, and the regulatory status as a note."""
    element: Json = {
        "text": narrative(f"{algorithm.name} {algorithm.version}. {context.model.intended_use.device_status}"),
        "identifier": [
            identifier(*algorithm.identity),
            *({"system": SHA256, "value": digest} for _, digest in algorithm.digests if digest),
        ],
        "status": "active",
        "deviceName": [{"name": algorithm.name, "type": "model-name"}],
        "type": (
            concept(ARTIFICIAL_INTELLIGENCE, ARTIFICIAL_INTELLIGENCE_DCM)
            if algorithm.is_artificial_intelligence
            else concept(text="Software")
        ),
        "version": [
            {"type": {"text": "version"}, "value": algorithm.version},
            *(
                {"type": {"text": f"SHA-256 of the {name}"}, "value": digest}
                for name, digest in algorithm.digests
                if digest
            ),
        ],
        "note": [{"text": context.model.intended_use.device_status}],
    }
    if algorithm.is_artificial_intelligence:
        kind = DEEP_LEARNING if algorithm.role == "segmentation" else MACHINE_LEARNING
        element["extension"] = [{"url": AI_KIND, "valueCodeableConcept": concept(kind)}]
        if card := model_card_reference(context):
            element["extension"].append({"url": MODEL_CARD_DESCRIPTION, "valueReference": card})
    if algorithm.manufacturer:
        element["manufacturer"] = algorithm.manufacturer
    return Device.model_validate(element)
