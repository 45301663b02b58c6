"""UCUM unit of each pyradiomics feature."""

from __future__ import annotations

ARBITRARY_INTENSITY = "{intensity}"
"""Unit of voxels without one (UCUM annotation: a pure number)."""

_SQUARES = {"g/mL": "g2/mL2", "[hnsf'U]": "[hnsf'U]2", "[arb'U]": "[arb'U]2"}
_SHAPE_UNITS = {
    "MeshVolume": "mm3",
    "VoxelVolume": "mm3",
    "SurfaceArea": "mm2",
    "SurfaceVolumeRatio": "/mm",
    "MeshSurface": "mm2",
    "PixelSurface": "mm2",
    "Perimeter": "mm",
    "PerimeterSurfaceRatio": "/mm",
    "Maximum3DDiameter": "mm",
    "Maximum2DDiameterSlice": "mm",
    "Maximum2DDiameterColumn": "mm",
    "Maximum2DDiameterRow": "mm",
    "MaximumDiameter": "mm",
    "MajorAxisLength": "mm",
    "MinorAxisLength": "mm",
    "LeastAxisLength": "mm",
}
_PURE_FIRST_ORDER = frozenset({"Entropy", "Uniformity", "Skewness", "Kurtosis"})
_PURE_IMAGES = ("lbp-",)


def feature_unit(image_type: str, feature_class: str, feature: str, intensity_unit: str) -> str:
    """UCUM unit of a feature.

    Args:
        image_type: pyradiomics' prefix: ``original``, ``log-sigma-4-0-mm-3D``, ``wavelet-LLH``, ...
        feature_class: ``shape``, ``firstorder``, ``glcm``, ...
        feature: Name within the class.
        intensity_unit: UCUM unit of the image's voxels. pyradiomics' LoG is normalized across scale, its wavelets are
            undecimated sums, and its square, root, logarithm and exponential are scaled back, so all keep this unit.
    """
    if feature_class.startswith("shape"):
        return _SHAPE_UNITS.get(feature, "1")
    if feature_class != "firstorder" or feature in _PURE_FIRST_ORDER or image_type.startswith(_PURE_IMAGES):
        return "1"
    if image_type == "gradient":
        intensity_unit = ARBITRARY_INTENSITY
    square = _SQUARES.get(intensity_unit, "{intensity2}")
    if feature == "TotalEnergy":
        return f"{square}.mm3"
    return square if feature in {"Energy", "Variance"} else intensity_unit
