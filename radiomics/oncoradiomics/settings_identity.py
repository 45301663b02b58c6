"""One identity for settings: two parameter files that ask for the same numbers have the same SHA-256."""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import SimpleITK as sitk

if TYPE_CHECKING:
    from oncoradiomics.settings import Settings

# Settings of a filter matter to the images of that filter alone, wherever the file states them.
_OF_FILTER = MappingProxyType(
    {
        "LoG": ("sigma",),
        "Wavelet": ("wavelet", "start_level", "level"),
        "Gradient": ("gradientUseSpacing",),
        "LBP2D": ("lbp2DRadius", "lbp2DSamples", "lbp2DMethod"),
        "LBP3D": ("lbp3DLevels", "lbp3DIcosphereRadius", "lbp3DIcosphereSubdivision"),
    }
)
_ANY_FILTER = frozenset(name for names in _OF_FILTER.values() for name in names)


def settings_sha256(settings: Settings) -> str:
    """SHA-256 over the canonical JSON of what the settings mean.

    Order, comments and spelled-out defaults of a file do not matter; nor does whether a list names every feature of a
    class or none, an image type repeats what holds for all, an interpolator is given by name or number, a number is
    written 4 or 4.0, or a filter's setting stands with the filter or above.
    """
    common = _plain(settings.setting.model_dump(mode="json", by_alias=True))
    content: dict[str, dict[str, Any]] = {
        "featureClass": {name: _features(name, listed) for name, listed in settings.feature_classes.items()},
        "imageType": {},
        "setting": {name: value for name, value in common.items() if name not in _ANY_FILTER},
    }
    for image_type, overrides in settings.image_types.items():
        stated = _plain(overrides.model_dump(mode="json", by_alias=True, exclude_unset=True))
        changed = {
            name: value for name, value in stated.items() if name not in _ANY_FILTER and value != common.get(name)
        }
        own = {name: stated.get(name, common[name]) for name in _OF_FILTER.get(image_type, ())}
        content["imageType"][image_type] = changed | own
    # So that hashes of settings that know nothing of it stay what they are.
    if not settings.setting.ibsi:
        del content["setting"]["ibsi"]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    found = {name: _number(value) for name, value in values.items()}
    if isinstance(name := found.get("interpolator"), str):
        found["interpolator"] = int(getattr(sitk, name))
    return found


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _features(feature_class: str, listed: tuple[str, ...]) -> list[str]:
    if not listed:
        return []
    from radiomics.featureextractor import getFeatureClasses

    names = getFeatureClasses()[feature_class].getFeatureNames()
    current = {name for name, deprecated in names.items() if not deprecated}
    # pyradiomics takes a class without a list to be all of it but the deprecated.
    return [] if set(listed) == current else sorted(set(listed))
