"""Which pyradiomics feature is which IBSI feature.

Identifiers: Image Biomarker Standardisation Initiative reference manual, doi:10.48550/arXiv.1612.07003. A feature is in
:data:`IBSI_IDENTIFIERS` only if pyradiomics 3.0.1 reproduces the consensus value of the digital phantom within its
published tolerance; ``docs/radiomics.md`` has the whole table.

Left out on purpose, with the identifier each would have (the first three have it in ``ibsi`` mode):

- ``firstorder_Kurtosis`` (IPH6): pyradiomics does not subtract 3, so its value is IBSI's plus 3.
- ``shape_MinorAxisLength`` (P9VJ) and ``shape_LeastAxisLength`` (7J51): outside the tolerance on the phantom.
- ``firstorder_TotalEnergy``, ``glcm_MCC`` and the three ``shape_Maximum2DDiameter*``: IBSI does not define them.
"""

from __future__ import annotations

from types import MappingProxyType

from oncoradiomics.settings import Settings

_SHAPE = {
    "MeshVolume": "RNU0",
    "VoxelVolume": "YEKZ",
    "SurfaceArea": "C0JK",
    "SurfaceVolumeRatio": "2PR5",
    "Sphericity": "QCFX",
    "Maximum3DDiameter": "L0JK",
    "MajorAxisLength": "TDIC",
    "Elongation": "Q3CK",
    "Flatness": "N17B",
}
_FIRST_ORDER = {
    "Mean": "Q4LE",
    "Variance": "ECT3",
    "Skewness": "KE2A",
    "Median": "Y12H",
    "Minimum": "1GSF",
    "10Percentile": "QG58",
    "90Percentile": "8DWT",
    "Maximum": "84IY",
    "InterquartileRange": "SALO",
    "Range": "2OJQ",
    "MeanAbsoluteDeviation": "4FUA",
    "RobustMeanAbsoluteDeviation": "1128",
    "Energy": "N8CA",
    "RootMeanSquared": "5ZWQ",
    # Of the discretized intensities: IBSI's intensity histogram family.
    "Entropy": "TLU2",
    "Uniformity": "BJ5W",
}
_GLCM = {
    "Autocorrelation": "QWB0",
    "ClusterProminence": "AE86",
    "ClusterShade": "7NFM",
    "ClusterTendency": "DG8W",
    "Contrast": "ACUI",
    "Correlation": "NI2N",
    "DifferenceAverage": "TF7R",
    "DifferenceEntropy": "NTRS",
    "DifferenceVariance": "D3YU",
    "Id": "IB1Z",
    "Idm": "WF0Z",
    "Idmn": "1QCO",
    "Idn": "NDRX",
    "Imc1": "R8DG",
    "Imc2": "JN9H",
    "InverseVariance": "E8JP",
    "JointAverage": "60VM",
    "JointEnergy": "8ZQL",
    "JointEntropy": "TU9B",
    "MaximumProbability": "GYBY",
    "SumAverage": "ZGXS",
    "SumEntropy": "P6QZ",
    "SumSquares": "UR99",
}
_GLRLM = {
    "GrayLevelNonUniformity": "R5YN",
    "GrayLevelNonUniformityNormalized": "OVBL",
    "GrayLevelVariance": "8CE5",
    "HighGrayLevelRunEmphasis": "G3QZ",
    "LongRunEmphasis": "W4KF",
    "LongRunHighGrayLevelEmphasis": "3KUM",
    "LongRunLowGrayLevelEmphasis": "IVPO",
    "LowGrayLevelRunEmphasis": "V3SW",
    "RunEntropy": "HJ9O",
    "RunLengthNonUniformity": "W92Y",
    "RunLengthNonUniformityNormalized": "IC23",
    "RunPercentage": "9ZK5",
    "RunVariance": "SXLW",
    "ShortRunEmphasis": "22OV",
    "ShortRunHighGrayLevelEmphasis": "GD3A",
    "ShortRunLowGrayLevelEmphasis": "HTZT",
}
_GLSZM = {
    "GrayLevelNonUniformity": "JNSA",
    "GrayLevelNonUniformityNormalized": "Y1RO",
    "GrayLevelVariance": "BYLV",
    "HighGrayLevelZoneEmphasis": "5GN9",
    "LargeAreaEmphasis": "48P8",
    "LargeAreaHighGrayLevelEmphasis": "J17V",
    "LargeAreaLowGrayLevelEmphasis": "YH51",
    "LowGrayLevelZoneEmphasis": "XMSY",
    "SizeZoneNonUniformity": "4JP3",
    "SizeZoneNonUniformityNormalized": "VB3A",
    "SmallAreaEmphasis": "5QRC",
    "SmallAreaHighGrayLevelEmphasis": "HW1V",
    "SmallAreaLowGrayLevelEmphasis": "5RAI",
    "ZoneEntropy": "GU8N",
    "ZonePercentage": "P30P",
    "ZoneVariance": "3NSA",
}
# IBSI calls it the neighboring grey level dependence matrix (NGLDM).
_GLDM = {
    "DependenceEntropy": "FCBV",
    "DependenceNonUniformity": "Z87G",
    "DependenceNonUniformityNormalized": "OKJI",
    "DependenceVariance": "DNX2",
    "GrayLevelNonUniformity": "FP8K",
    "GrayLevelVariance": "1PFV",
    "HighGrayLevelEmphasis": "OAE7",
    "LargeDependenceEmphasis": "IMOQ",
    "LargeDependenceHighGrayLevelEmphasis": "9QMG",
    "LargeDependenceLowGrayLevelEmphasis": "NBZI",
    "LowGrayLevelEmphasis": "TL9H",
    "SmallDependenceEmphasis": "SODN",
    "SmallDependenceHighGrayLevelEmphasis": "JA6D",
    "SmallDependenceLowGrayLevelEmphasis": "EQ3F",
}
_NGTDM = {"Busyness": "NQ30", "Coarseness": "QCDE", "Complexity": "HDEZ", "Contrast": "65HE", "Strength": "1X9X"}

IBSI_IDENTIFIERS = MappingProxyType(
    {
        (feature_class, feature): identifier
        for feature_class, table in {
            "shape": _SHAPE,
            "firstorder": _FIRST_ORDER,
            "glcm": _GLCM,
            "glrlm": _GLRLM,
            "glszm": _GLSZM,
            "gldm": _GLDM,
            "ngtdm": _NGTDM,
        }.items()
        for feature, identifier in table.items()
    }
)
"""(pyradiomics feature class, feature) to IBSI identifier."""

IDENTIFIERS_OF_IBSI_MODE = MappingProxyType(
    {
        ("firstorder", "Kurtosis"): "IPH6",
        ("shape", "MinorAxisLength"): "P9VJ",
        ("shape", "LeastAxisLength"): "7J51",
    }
)
"""What complies in addition where the settings ask for IBSI's definitions (``ibsi: true``)."""

_CHANGED_BY_INTENSITY_SHIFT = frozenset({"Energy", "RootMeanSquared"})


def ibsi_identifier(feature_class: str, feature: str, settings: Settings) -> str | None:
    """IBSI identifier of a feature computed with ``settings``, or ``None``.

    A setting that takes the computation away from IBSI's definition takes the identifier away as well: an asymmetric
    GLCM, weighted co-occurrence or run-length matrices, or intensities shifted before energy and root mean square.
    """
    setting = settings.setting
    if feature_class == "glcm" and not setting.symmetrical_glcm:
        return None
    if feature_class in {"glcm", "glrlm"} and setting.weighting_norm is not None:
        return None
    if feature_class == "firstorder" and feature in _CHANGED_BY_INTENSITY_SHIFT and setting.voxel_array_shift != 0:
        return None
    if setting.ibsi and (feature_class, feature) in IDENTIFIERS_OF_IBSI_MODE:
        return IDENTIFIERS_OF_IBSI_MODE[feature_class, feature]
    return IBSI_IDENTIFIERS.get((feature_class, feature))
