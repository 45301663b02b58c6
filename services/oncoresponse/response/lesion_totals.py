"""Totals of a patient in the place of one lesion, for a model that predicts from all lesions together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oncoradiomics.features import FeatureDocument, Measure

from oncoresponse.case.case import Lesion, LesionMeasure
from oncoresponse.case.totals import totals_of
from oncoresponse.response.answering import MeasuredLesion
from oncoresponse.response.input_provenance import require_same_extraction

_VOLUME = "lesion_volume"


def lesions_together(lesions: Sequence[MeasuredLesion]) -> MeasuredLesion:
    """All lesions as one: their totals (:func:`~oncoresponse.case.totals.totals_of`) are its measures.

    Each plausible contour of one lesion goes with each of another; the two ends are kept as variants: of every lesion
    the smallest contour, and of every lesion the largest.

    Args:
        lesions: At least one, all measured, in their order.

    Raises:
        QuantityMismatch, SettingsMismatch: They were not measured alike.
    """
    documents = [lesion.features for lesion in lesions if lesion.features is not None]
    for lesion in lesions:
        for variant in (*documents[1:], *lesion.variants):
            require_same_extraction(documents[0].identity, variant.identity)
    has_variants = any(lesion.variants for lesion in lesions)
    ends: tuple[Callable[..., FeatureDocument], ...] = (min, max) if has_variants else ()
    return MeasuredLesion(
        features=_totals(documents),
        variants=[
            _totals(
                [
                    end((document, *lesion.variants), key=_volume)
                    for document, lesion in zip(documents, lesions, strict=True)
                ]
            )
            for end in ends
        ],
        review_reasons=[
            reason if len(lesions) == 1 else f"Lesion {number}: {reason}"
            for number, lesion in enumerate(lesions, start=1)
            for reason in lesion.review_reasons
        ],
        volume_high_ml=(
            sum(
                max(lesion.volume_high_ml, _volume(document))
                for document, lesion in zip(documents, lesions, strict=True)
            )
            if any(lesion.volume_high_ml for lesion in lesions)
            else 0.0
        ),
        algorithm_type=next((lesion.algorithm_type for lesion in lesions if lesion.algorithm_type != "MANUAL"), ""),
    )


def _volume(document: FeatureDocument) -> float:
    return document.values()[_VOLUME]


def _totals(documents: Sequence[FeatureDocument]) -> FeatureDocument:
    lesions = [
        Lesion(
            number=number,
            measures=tuple(
                LesionMeasure(name=item.name, value=item.value, unit=item.unit) for item in document.measures
            ),
        )
        for number, document in enumerate(documents, start=1)
    ]
    measures = tuple(
        Measure(
            name=total.name,
            title=total.name.replace("_", " ").capitalize(),
            value=total.value,
            unit=total.unit,
            method="Over all lesions of the patient.",
        )
        for total in totals_of(lesions)
    )
    return FeatureDocument(**documents[0].identity.model_dump(), features=(), measures=measures)
