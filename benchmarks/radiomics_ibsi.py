"""Features of the native engine in ``ibsi`` mode against the IBSI reference values: a table for ``docs/radiomics.md``.

``python -m benchmarks.radiomics_ibsi FOLDER`` with the Image Biomarker Standardisation Initiative's data: the folders
``digital_phantom`` and ``ct_phantom`` (each ``image/phantom.nii.gz`` and ``mask/mask.nii.gz``) and the reference values
``ibsi_1_dig_phantom.csv`` and ``ibsi_1_chest_config_[a-e].csv`` (value; tolerance; tag).
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from oncoradiomics.extraction import extract
from oncoradiomics.settings import Settings

PHANTOM_CSV = Path(__file__).parents[1] / "tests" / "unit" / "radiomics_features" / "ibsi_digital_phantom.csv"
LINEAR, CUBIC = {"interpolator": "sitkLinear"}, {"interpolator": "sitkBSpline"}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "digital": {"binWidth": 1},
    "A": {"binWidth": 25, "resegmentRange": [-500, 400], "force2D": True},
    "B": {"binCount": 32, "resegmentRange": [-500, 400], "force2D": True, "resampledPixelSpacing": [2, 2, 0]} | LINEAR,
    "C": {"binWidth": 25, "resegmentRange": [-1000, 400], "resampledPixelSpacing": [2, 2, 2]} | LINEAR,
    "D": {"binCount": 32, "removeOutliers": 3, "resampledPixelSpacing": [2, 2, 2]} | LINEAR,
    "E": {"binCount": 32, "removeOutliers": 3, "resegmentRange": [-1000, 400], "resampledPixelSpacing": [2, 2, 2]}
    | CUBIC,
}
FAMILIES = {"shape": "morph", "firstorder": "stat", "glcm": "cm", "glrlm": "rlm", "glszm": "szm", "gldm": "ngl"}
FAMILIES["ngtdm"] = "ngt"
TAGS = {
    "shape": "MeshVolume volume|VoxelVolume vol_approx|SurfaceArea area_mesh|SurfaceVolumeRatio av"
    "|Sphericity sphericity|Maximum3DDiameter diam|MajorAxisLength pca_maj_axis"
    "|MinorAxisLength pca_min_axis|LeastAxisLength pca_least_axis"
    "|Elongation pca_elongation|Flatness pca_flatness",
    "firstorder": "Mean mean|Variance var|Skewness skew|Kurtosis kurt|Median median|Minimum min|Maximum max"
    "|InterquartileRange iqr|Range range|MeanAbsoluteDeviation mad|RobustMeanAbsoluteDeviation rmad|Energy energy"
    "|RootMeanSquared rms|10Percentile p10|90Percentile p90|Entropy ih_entropy|Uniformity ih_uniformity",
    "glcm": "Autocorrelation auto_corr|ClusterProminence clust_prom|ClusterShade clust_shade|ClusterTendency clust_tend"
    "|Contrast contrast|Correlation corr|DifferenceAverage diff_avg|DifferenceEntropy diff_entr"
    "|DifferenceVariance diff_var|Id inv_diff|Idm inv_diff_mom|Idmn inv_diff_mom_norm|Idn inv_diff_norm|Imc1 info_corr1"
    "|Imc2 info_corr2|InverseVariance inv_var|JointAverage joint_avg|JointEnergy energy|JointEntropy joint_entr"
    "|MaximumProbability joint_max|SumAverage sum_avg|SumEntropy sum_entr|SumSquares joint_var",
    "glrlm": "GrayLevelNonUniformity glnu|GrayLevelNonUniformityNormalized glnu_norm|GrayLevelVariance gl_var"
    "|HighGrayLevelRunEmphasis hgre|LongRunEmphasis lre|LongRunHighGrayLevelEmphasis lrhge"
    "|LongRunLowGrayLevelEmphasis lrlge|LowGrayLevelRunEmphasis lgre|RunEntropy rl_entr|RunLengthNonUniformity rlnu"
    "|RunLengthNonUniformityNormalized rlnu_norm|RunPercentage r_perc|RunVariance rl_var|ShortRunEmphasis sre"
    "|ShortRunHighGrayLevelEmphasis srhge|ShortRunLowGrayLevelEmphasis srlge",
    "glszm": "GrayLevelNonUniformity glnu|GrayLevelNonUniformityNormalized glnu_norm|GrayLevelVariance gl_var"
    "|HighGrayLevelZoneEmphasis hgze|LargeAreaEmphasis lze|LargeAreaHighGrayLevelEmphasis lzhge"
    "|LargeAreaLowGrayLevelEmphasis lzlge|LowGrayLevelZoneEmphasis lgze|SizeZoneNonUniformity zsnu"
    "|SizeZoneNonUniformityNormalized zsnu_norm|SmallAreaEmphasis sze|SmallAreaHighGrayLevelEmphasis szhge"
    "|SmallAreaLowGrayLevelEmphasis szlge|ZoneEntropy zs_entr|ZonePercentage z_perc|ZoneVariance zs_var",
    "gldm": "DependenceEntropy dc_entr|DependenceNonUniformity dcnu|DependenceNonUniformityNormalized dcnu_norm"
    "|DependenceVariance dc_var|GrayLevelNonUniformity glnu|GrayLevelVariance gl_var|HighGrayLevelEmphasis hgce"
    "|LargeDependenceEmphasis hde|LargeDependenceHighGrayLevelEmphasis hdhge|LargeDependenceLowGrayLevelEmphasis hdlge"
    "|LowGrayLevelEmphasis lgce|SmallDependenceEmphasis lde|SmallDependenceHighGrayLevelEmphasis ldhge"
    "|SmallDependenceLowGrayLevelEmphasis ldlge",
    "ngtdm": "Busyness busyness|Coarseness coarseness|Complexity complexity|Contrast contrast|Strength strength",
}


def tag(feature_class: str, feature: str, *, in_planes: bool) -> str:
    """IBSI's tag: textures averaged over directions, in planes from merged slices (2.5D) or in three dimensions."""
    stem = dict(pair.split(" ") for pair in TAGS[feature_class].split("|"))[feature]
    if stem.startswith("ih_"):
        return stem
    name = f"{FAMILIES[feature_class]}_{stem}"
    if feature_class in {"shape", "firstorder"}:
        return name
    averaged = "_avg" if feature_class in {"glcm", "glrlm"} else ""
    return f"{name}_{'2_5D' if in_planes else '3D'}{averaged}"


def within(value: float, reference: float, tolerance: float) -> bool:
    """IBSI gives three significant digits; a tolerance of 0 means that these agree."""
    rounding = 0.5 * 10.0 ** (math.floor(math.log10(abs(reference))) - 2) if reference else 0.0
    return abs(value - reference) <= max(tolerance, rounding * (1 + 1e-9))


def compare(folder: Path, configuration: str) -> dict[tuple[str, str], tuple[float, float, float, bool]]:
    """(class, feature) to value, reference, tolerance and whether it complies."""
    digital = configuration == "digital"
    phantom = folder / ("digital_phantom" if digital else "ct_phantom")
    image = sitk.ReadImage(str(phantom / "image" / "phantom.nii.gz"))
    mask = sitk.Cast(sitk.ReadImage(str(phantom / "mask" / "mask.nii.gz")) > 0, sitk.sitkUInt8)
    setting = CONFIGURATIONS[configuration] | {"ibsi": True}
    found = extract(image, mask, Settings.from_mapping({"setting": setting}))
    name = "ibsi_1_dig_phantom.csv" if digital else f"ibsi_1_chest_config_{configuration.lower()}.csv"
    with (folder / name).open(newline="", encoding="utf-8-sig") as file:
        references = {row["tag"]: row for row in csv.DictReader(file, delimiter=";")}
    out = {}
    with PHANTOM_CSV.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (row["feature_class"], row["feature"])
            reference = references.get(tag(*key, in_planes="force2D" in setting))
            if reference is None or not reference["reference value"]:
                continue
            value = found.get(f"original_{key[0]}_{key[1]}", math.nan)
            wanted, tolerance = float(reference["reference value"]), float(reference["tolerance"] or 0)
            out[key] = (value, wanted, tolerance, within(value, wanted, tolerance))
    return out


def main() -> None:
    """Print the table as Markdown."""
    folder = Path(sys.argv[1])
    columns = {name: compare(folder, name) for name in CONFIGURATIONS}
    with PHANTOM_CSV.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    print(f"| feature | IBSI | {' | '.join(columns)} | complies |")
    print("|---" * (len(columns) + 3) + "|")
    for row in rows:
        key = (row["feature_class"], row["feature"])
        cells = []
        for found in columns.values():
            value, wanted, tolerance, complies = found[key]
            cells.append(f"{value:.4g}" if complies else f"**{value:.4g}**, not {wanted:g} within {tolerance:g}")
        everywhere = "yes" if all(found[key][3] for found in columns.values()) else "**no**"
        print(f"| `{key[0]}_{key[1]}` | {row['ibsi_id']} | {' | '.join(cells)} | {everywhere} |")
    print()
    for name, found in columns.items():
        print(f"{name}: {sum(cell[3] for cell in found.values())} of {len(found)}")


if __name__ == "__main__":
    main()
