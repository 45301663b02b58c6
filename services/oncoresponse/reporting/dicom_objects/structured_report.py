"""The result as Comprehensive 3D SR by TID 1500 (PS3.16): a measurement group for each lesion, and the prediction.

A lesion has the tracking identifiers of its segment, and refers to that segment. It holds what the report shows and
what the model used, nothing else. The document is preliminary and unverified: a person verifies it by signing.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from highdicom import sr
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from oncoresponse.case.answer_words import answer_line
from oncoresponse.case.identifiers import derived_dicom_uid, tracking_identifier, tracking_uid
from oncoresponse.case.prediction import Contribution, Prediction
from oncoresponse.case.pydicom_messages import without_pydicom_messages
from oncoresponse.reporting.devices import Algorithm, algorithms
from oncoresponse.reporting.dicom_objects.archive_object import (
    SERIES_NUMBERS,
    SourceSeries,
    copy_study,
    long_string,
    object_uid,
    part10,
    set_equipment,
)
from oncoresponse.reporting.dicom_objects.measurement_codes import (
    AT_LEAST,
    coding_schemes,
    feature_code,
    measure_code,
    private,
    unit_code,
)
from oncoresponse.reporting.dicom_objects.source_study import set_times
from oncoresponse.reporting.lesion_distances import DISTANCE_METHOD, UNIT, distance_sentences, reported_distances
from oncoresponse.reporting.lesion_wording import (
    contour_sentences,
    is_lower_bound,
    is_lower_bound_of_total,
    measure_title,
    total_title,
    totals,
)
from oncoresponse.reporting.report_content import ReportContext, ReportedLesion
from oncoresponse.reporting.wording import (
    NOT_SIGNED,
    explanation_sentences,
    interval_name,
    limits,
    probability_title,
    research_use_statement,
    sentences_of_answer,
    warnings,
)

KIND = "structured-report"
_PROCEDURES = {
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
}
_LONGEST_TEXT = 4000
_Group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations


def structured_report(context: ReportContext, source: SourceSeries, segmentation: bytes) -> bytes:
    """Compose the document.

    Args:
        context: What is reported.
        source: Series the lesions were contoured on.
        segmentation: DICOM Segmentation of the lesions, to whose segments the groups refer.

    Returns:
        A DICOM Part 10 file.
    """
    with without_pydicom_messages():
        seg = dcmread(io.BytesIO(segmentation), stop_before_pixels=True)
        made_by = algorithms(context)
        groups: list[_Group] = [_lesion_group(context, lesion, source, seg, made_by) for lesion in context.lesions]
        if totals(context):
            groups.append(_totals_group(context, made_by["measures"]))
        groups.append(_prediction_group(context, made_by))
        report = sr.MeasurementReport(
            observation_context=_observer(context),
            procedure_reported=[
                _PROCEDURES.get(modality, codes.cid100.ImagingProcedure)
                for modality in dict.fromkeys(series.modality for series in context.study.series)
            ],
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        )
        made = sr.Comprehensive3DSR(
            evidence=[*_evidence(source), _seg_evidence(seg, source)],
            content=report,
            series_instance_uid=object_uid(context, KIND, "series"),
            series_number=SERIES_NUMBERS[KIND],
            sop_instance_uid=object_uid(context, KIND, "instance"),
            instance_number=1,
            manufacturer=context.model.manufacturer,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    plain = Dataset()
    plain.update(made)
    plain.pop("ContributingEquipmentSequence", None)
    copy_study(source.first, plain)
    set_equipment(plain, context)
    plain.SeriesDescription = "Tumor measurements, research use only"
    plain.CodingSchemeIdentificationSequence = coding_schemes()
    plain.ContentDate = plain.ContentTime = plain.SeriesDate = plain.SeriesTime = None
    set_times(plain, context.issued, source.first.get("TimezoneOffsetFromUTC"))
    return part10(plain)


def _seg_evidence(seg: Dataset, source: SourceSeries) -> Dataset:
    """What a reference to an object of the study needs, without the patient's names."""
    return _described(source, str(seg.SeriesInstanceUID), str(seg.SOPClassUID), str(seg.SOPInstanceUID))


def _evidence(source: SourceSeries) -> list[Dataset]:
    return [_described(source, source.uid, *instance) for instance in source.instances]


def _described(source: SourceSeries, series_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = source.first.StudyInstanceUID
    item.SeriesInstanceUID, item.SOPClassUID, item.SOPInstanceUID = series_uid, sop_class_uid, sop_instance_uid
    # highdicom quotes a name it finds odd in a warning; patient and study go in afterwards.
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(item, keyword, None)
    item.StudyDate = item.StudyTime = None
    return item


def _observer(context: ReportContext) -> sr.ObservationContext:
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=derived_dicom_uid("device", context.software_version, context.model_sha256),
                name="OncoResponse",
                manufacturer_name=context.model.manufacturer or None,
                model_name=f"{context.model.name} {context.model.version}",
                serial_number=context.model_sha256[:16],
            ),
        )
    )


def _lesion_group(
    context: ReportContext,
    lesion: ReportedLesion,
    source: SourceSeries,
    seg: Dataset,
    made_by: dict[str, Algorithm],
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """TID 1411: measures of a lesion, then the features that the model used of it."""
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(context.assessment_id, lesion.number),
            identifier=tracking_identifier(context.assessment_id, lesion.number),
        ),
        referenced_segment=sr.ReferencedSegment(
            str(seg.SOPClassUID),
            str(seg.SOPInstanceUID),
            lesion.number,
            source_series=sr.SourceSeriesForSegmentation(source.uid),
        ),
        # As the segment: a mass, because the software asserts no diagnosis, and no site, because it knows none.
        finding_type=codes.SCT.Mass,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        algorithm_id=_algorithm(made_by["measures"]),
        measurements=[*_measures(lesion), *_distances(lesion), *_features(context, lesion, made_by["radiomics"])],
        qualitative_evaluations=_absent_distances(lesion) or None,
    )
    bounds = [measure_title(item) for item in lesion.features.measures if is_lower_bound(lesion, item)]
    said = [
        *([f"At least, as only a part is seen: {', '.join(bounds)}."] if bounds else []),
        *contour_sentences(lesion),
        *distance_sentences(lesion.distances),
        *([DISTANCE_METHOD] if lesion.distances else []),
    ]
    if lesion.label:
        said.append(f"Name of the structure in the contour that came with the study: {lesion.label}")
    _add_texts(group, codes.DCM.Comment, said)
    return group


def _measures(lesion: ReportedLesion) -> list[sr.Measurement]:
    found = []
    for item in lesion.features.measures:
        code = measure_code(item, lesion.features.image_quantity)
        found.append(
            sr.Measurement(
                name=code.name,
                value=_decimal(item.value),
                unit=unit_code(item.unit),
                derivation=code.derivation,
                method=code.method or private(f"{item.name}_method", item.method),
            )
        )
    return found


def _distances(lesion: ReportedLesion) -> list[sr.Measurement]:
    """To bone and skin, where there is a value, with a qualifier where it is a lower bound.

    Numeric Value Qualifier (0040,A301) takes CID 42, which may be extended and has no code for a lower bound (PS3.3
    C.18.1). DCM 121243 "Distance from skin" stands among the measures of a breast alone (CID 6165), and none stands for
    bone, so both names are ours.
    """
    return [
        sr.Measurement(
            name=private(item.name, item.title),
            value=_decimal(item.mm),
            unit=unit_code(UNIT),
            qualifier=AT_LEAST if item.is_lower_bound else None,
            method=private("distance_method", "Shortest line between surfaces on CT"),
        )
        for item in reported_distances(lesion.distances)
        if item.mm is not None
    ]


def _absent_distances(lesion: ReportedLesion) -> list[sr.QualitativeEvaluation]:
    """That a distance has no value, as a code of CID 42.

    A NUM item with an empty Measured Value Sequence would say the same (PS3.3 C.18.1), but highdicom 0.28 then cannot
    read the whole document.
    """
    return [
        sr.QualitativeEvaluation(
            name=private(item.name, item.title),
            value=codes.DCM.ValueUnknown if item.was_tried else codes.DCM.MeasurementNotAttempted,
        )
        for item in reported_distances(lesion.distances)
        if item.mm is None
    ]


def _features(context: ReportContext, lesion: ReportedLesion, engine: Algorithm) -> list[sr.Measurement]:
    """Radiomic features that the model used: they are in the prediction's contributions, measured on one lesion."""
    prediction = context.prediction
    if prediction is None or lesion.number not in context.predicted_lesions or context.predicts_from_totals:
        return []
    titles = {item.input: item.title for item in prediction.contributions}
    return [
        sr.Measurement(
            name=feature_code(item, titles[item.name]),
            value=_decimal(item.value),
            unit=unit_code(item.unit),
            algorithm_id=_algorithm(engine),
        )
        for item in lesion.features.features
        if item.name in titles
    ]


def _totals_group(context: ReportContext, engine: Algorithm) -> sr.MeasurementsAndQualitativeEvaluations:
    """TID 1501: what all lesions measure together; a sum has no public code, as those stand for one lesion."""
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(context, "all-lesions"),
        algorithm_id=_algorithm(engine),
        measurements=[
            sr.Measurement(
                name=private(item.name, total_title(item)), value=_decimal(item.value), unit=unit_code(item.unit)
            )
            for item in totals(context)
        ],
    )
    bounds = [total_title(item) for item in totals(context) if is_lower_bound_of_total(context, item)]
    if bounds:
        _add_texts(group, codes.DCM.Comment, [f"At least, as only a part is seen: {', '.join(bounds)}."])
    return group


def _prediction_group(
    context: ReportContext, made_by: dict[str, Algorithm]
) -> sr.MeasurementsAndQualitativeEvaluations:
    """TID 1501: the answer, with a probability and its interval only where a call is made; always the limits."""
    prediction = context.prediction
    measurements: list[sr.Measurement] = []
    evaluations: list[sr.QualitativeEvaluation] = []
    algorithm = made_by["software"]
    said = [research_use_statement(context), NOT_SIGNED]
    if prediction is None:
        said.append("No response prediction was made.")
    else:
        algorithm = made_by["response"]
        measurements = [*_probability(prediction), *_other_inputs(context, prediction)]
        evaluations = [
            sr.QualitativeEvaluation(
                name=private("answer", f"Answer: {prediction.outcome_title}"),
                value=private(prediction.answer.value, answer_line(prediction)),
            )
        ]
        said += [*sentences_of_answer(context, prediction), *explanation_sentences(prediction)]
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(context, "prediction"),
        algorithm_id=_algorithm(algorithm),
        measurements=measurements or None,
        qualitative_evaluations=evaluations or None,
    )
    _add_texts(group, codes.DCM.Comment, [*said, *warnings(context), *limits(context)])
    return group


def _probability(prediction: Prediction) -> list[sr.Measurement]:
    """In percent, with both ends of the interval; nothing where the model abstains, as the number is no answer then."""
    if prediction.abstains or prediction.probability is None:
        return []
    title, interval = probability_title(prediction), interval_name(prediction)
    named = (
        ("probability", title, prediction.probability),
        ("interval-low", f"Lower end of the {interval}", prediction.interval_low),
        ("interval-high", f"Upper end of the {interval}", prediction.interval_high),
    )
    return [
        sr.Measurement(name=private(code, words), value=round(100 * value, 1), unit=unit_code("%"))
        for code, words, value in named
        if value is not None
    ]


def _other_inputs(context: ReportContext, prediction: Prediction) -> list[sr.Measurement]:
    """Inputs of the model that no group of a lesion holds: covariates, and values under another name."""
    held: set[str] = {item.name for item in totals(context)}
    if not context.predicts_from_totals:
        for number in context.predicted_lesions:
            document = context.lesions[number - 1].features
            held |= {item.name for item in document.measures} | {item.name for item in document.features}
    return [_input(item) for item in prediction.contributions if item.input not in held and item.value is not None]


def _input(item: Contribution) -> sr.Measurement:
    value = 0.0 if item.value is None else item.value
    return sr.Measurement(name=private(item.input, item.title), value=_decimal(value), unit=unit_code(item.unit))


def _tracking(context: ReportContext, what: str) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=object_uid(context, KIND, what), identifier=what)


def _algorithm(algorithm: Algorithm) -> sr.AlgorithmIdentification:
    """TID 4019."""
    family = codes.DCM.ArtificialIntelligence if algorithm.is_artificial_intelligence else codes.DCM.AnalyticalAlgorithm
    parameters = [f"SHA-256 of the {name}: {digest}" for name, digest in algorithm.digests if digest]
    return sr.AlgorithmIdentification(
        name=long_string(algorithm.name),
        version=long_string(algorithm.version),
        parameters=parameters or None,
        family=family,
        manufacturer=algorithm.manufacturer or None,
    )


def _add_texts(group: Sequence[Dataset], name: sr.CodedConcept, texts: Iterable[str]) -> None:
    """Text items in a group, each text once (TID 1501 and 1411 are extensible)."""
    for text in dict.fromkeys(" ".join(text.split())[:_LONGEST_TEXT] for text in texts):
        if text:
            group[0].ContentSequence.append(
                sr.TextContentItem(name=name, value=text, relationship_type=sr.RelationshipTypeValues.CONTAINS)
            )


def _decimal(value: float) -> float:
    """Six significant digits, which is more than any of these measures holds, and fits a DS of 16 characters."""
    return float(f"{value:.6g}")
