"""From a probability to the mask of one lesion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from oncoresponse.segmentation.lesion_prompt import LesionPoint, LesionPrompt, prompt_channels


def mask_from_probability(probability: sitk.Image, threshold: float, prompt: LesionPrompt | None = None) -> sitk.Image:
    """The part of what reaches the threshold that is meant, as uint8 0/1 on the same grid.

    Without a prompt it is the largest face-connected part; with a box the part that has most probability inside the
    box; with a point the part that holds the point or comes nearest to it.
    """
    mask: sitk.Image = sitk.BinaryThreshold(probability, threshold, 2.0, 1, 0)
    components = sitk.ConnectedComponent(mask, False)
    labels = sitk.GetArrayFromImage(components)
    count = int(labels.max(initial=0))
    if count <= 1:
        return mask
    image = sitk.GetImageFromArray((labels == _meant(labels, count, probability, prompt)).astype(np.uint8))
    image.CopyInformation(mask)
    return image


def _meant(labels: npt.NDArray[np.generic], count: int, probability: sitk.Image, prompt: LesionPrompt | None) -> int:
    # argmax and argmin take the first of equals: a fixed choice, so that equal input gives equal bytes.
    if prompt is None:
        return int(np.bincount(labels.ravel())[1:].argmax()) + 1
    if isinstance(prompt, LesionPoint):
        found = np.argwhere(labels)
        index = np.array(probability.TransformPhysicalPointToContinuousIndex(prompt.position_mm))[::-1]
        steps = np.array(probability.GetSpacing())[::-1]
        nearest = found[(((found - index) * steps) ** 2).sum(axis=1).argmin()]
        return int(labels[tuple(nearest)])
    inside = prompt_channels(prompt, probability)[0] > 0
    weights = np.where(inside, sitk.GetArrayFromImage(probability), 0)
    return int(np.bincount(labels.ravel(), weights=weights.ravel(), minlength=count + 1)[1:].argmax()) + 1
