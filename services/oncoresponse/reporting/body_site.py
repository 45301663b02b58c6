"""The part of the body that a series shows, as FHIR: what DICOM says of it, never read off pixels.

Codes are those that DICOM gives to the terms of Body Part Examined (0018,0015), PS3.16 table L-1, in SNOMED CT. A
term that is not among them, or that somebody typed, is said in its own words.
"""

from __future__ import annotations

from oncoresponse.case.study_description import SeriesDescription
from oncoresponse.reporting.code_systems import SNOMED, Code, Json, concept
from oncoresponse.reporting.report_content import ReportContext

_WHOLE_BODY = frozenset({"WHOLEBODY", "BODY"})
_SITES = {
    "ABDOMEN": ("818981001", "Abdomen"),
    "ABDOMENPELVIS": ("818982008", "Abdomen and Pelvis"),
    "AXILLA": ("91470000", "Axilla"),
    "BACK": ("77568009", "Back"),
    "BLADDER": ("89837001", "Bladder"),
    "BRAIN": ("12738006", "Brain"),
    "BREAST": ("76752008", "Breast"),
    "BUTTOCK": ("46862004", "Buttock"),
    "CHEST": ("816094009", "Chest"),
    "CHESTABDPELVIS": ("416775004", "Chest, Abdomen and Pelvis"),
    "CLAVICLE": ("51299004", "Clavicle"),
    "COLON": ("71854001", "Colon"),
    "CSPINE": ("122494005", "Cervical spine"),
    "ESOPHAGUS": ("32849002", "Esophagus"),
    "EXTREMITY": ("66019005", "Extremity"),
    "FACE": ("89545001", "Face"),
    "FEMUR": ("71341001", "Femur"),
    "FLANK": ("58602004", "Flank"),
    "FOOT": ("56459004", "Foot"),
    "FOREARM": ("14975008", "Forearm"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "HEADNECK": ("774007", "Head and Neck"),
    "HIP": ("29836001", "Hip"),
    "HUMERUS": ("85050009", "Humerus"),
    "KIDNEY": ("64033007", "Kidney"),
    "KNEE": ("72696002", "Knee"),
    "LARYNX": ("4596009", "Larynx"),
    "LIVER": ("10200004", "Liver"),
    "LOWERLEG": ("30021000", "Lower leg"),
    "LOWERLIMB": ("61685007", "Lower limb"),
    "LSPINE": ("122496007", "Lumbar spine"),
    "LUNG": ("39607008", "Lung"),
    "MEDIASTINUM": ("72410000", "Mediastinum"),
    "NECK": ("45048000", "Neck"),
    "OVARY": ("15497006", "Ovary"),
    "PANCREAS": ("15776009", "Pancreas"),
    "PELVIS": ("816092008", "Pelvis"),
    "PROSTATE": ("41216001", "Prostate"),
    "RECTUM": ("34402009", "Rectum"),
    "SHOULDER": ("16982005", "Shoulder"),
    "SPINE": ("421060004", "Spine"),
    "STOMACH": ("69695003", "Stomach"),
    "THIGH": ("68367000", "Thigh"),
    "THYROID": ("69748006", "Thyroid"),
    "TSPINE": ("122495006", "Thoracic spine"),
    "UPPERARM": ("40983000", "Upper arm"),
    "UPPERLIMB": ("53120007", "Upper limb"),
    "UTERUS": ("35039007", "Uterus"),
}
_SIDES = {
    "L": Code(SNOMED, "7771000", "Left"),
    "R": Code(SNOMED, "24028007", "Right"),
    "B": Code(SNOMED, "51440002", "Bilateral"),
}


def series_site(series: SeriesDescription) -> Code | None:
    """SNOMED CT code of what the series shows; ``None`` where it names no part that has one.

    One item of Anatomic Region Sequence (0008,2218) in SNOMED CT goes before Body Part Examined; of several items none
    is chosen.
    """
    if len(series.anatomic_regions) == 1 and series.anatomic_regions[0].scheme == "SCT":
        region = series.anatomic_regions[0]
        return Code(SNOMED, region.value, region.meaning or None)
    found = _SITES.get(_term(series))
    return None if found is None else Code(SNOMED, *found)


def series_side(series: SeriesDescription) -> Code | None:
    """SNOMED CT code of Laterality; ``None`` where it is not stated, or says that it is unpaired."""
    return _SIDES.get((series.laterality or "").strip().upper())


def body_site(context: ReportContext) -> Json | None:
    """``Observation.bodySite``: the part of the body that the series shows in which lesions are contoured.

    It is that of the images and not a diagnosis: a study of the whole body, or one that names no part, has none.
    """
    series = context.study.series_of_role(context.model.segment_on)
    if series is None:
        return None
    code, side, stated = series_site(series), series_side(series), (series.body_part_examined or "").strip()
    if _term(series) in _WHOLE_BODY or not (code or stated):
        return None
    words = stated if code is None or code.display is None else code.display
    said = f"{words}, {side.display.lower()}" if side is not None and side.display else words
    return concept(*([code] if code else []), text=f"{said} (part of the body that the images name)")


def _term(series: SeriesDescription) -> str:
    return "".join(letter for letter in (series.body_part_examined or "").upper() if letter.isalpha())
