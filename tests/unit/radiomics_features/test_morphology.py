"""Mesh and diameters of the native engine against pyradiomics' C code and against solids with known measures."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oncoradiomics.native.morphology import mesh_area_and_volume, mesh_diameters

from radiomics import cShape


def padded(mask: np.ndarray) -> np.ndarray:
    return np.pad(mask, 1).astype(np.uint8)


def test_every_cube_has_the_area_and_volume_of_pyradiomics():
    """Single cubes, and beside a second layer, where the orientation of each surface shows in the volume."""
    spacing = (1.5, 0.8, 2.1)
    for configuration in range(1, 256):
        cube = np.array([configuration >> corner & 1 for corner in range(8)], bool).reshape(2, 2, 2)
        for layers in (cube, np.concatenate([cube[:1], cube]), np.concatenate([cube, cube[:, 1:]], axis=1)):
            area, volume, _ = cShape.calculate_coefficients(np.ascontiguousarray(layers), np.array(spacing))
            found = mesh_area_and_volume(np.ascontiguousarray(layers, np.uint8), spacing)
            assert found == pytest.approx((area, volume), rel=1e-12, abs=1e-12), f"configuration {configuration}"


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*(st.integers(1, 8) for _ in range(3))),
    filled=st.floats(0.05, 0.95),
    spacing=st.tuples(*(st.floats(0.4, 5) for _ in range(3))),
)
def test_random_masks(seed, shape, filled, spacing):
    mask = np.random.default_rng(seed).random(shape) < filled
    mask[0, 0, 0] = True
    area, volume, diameters = cShape.calculate_coefficients(np.pad(mask, 1), np.array(spacing))
    assert mesh_area_and_volume(padded(mask), spacing) == pytest.approx((area, volume), rel=1e-10)
    assert mesh_diameters(padded(mask), spacing) == pytest.approx(diameters, rel=1e-10)


def test_a_ball_has_the_volume_and_diameter_of_a_ball():
    radius, spacing = 20.0, (1.0, 0.8, 1.25)
    axes = [np.arange(-28, 29) * step for step in spacing]
    k, j, i = np.meshgrid(*axes, indexing="ij")
    mask = padded(k**2 + j**2 + i**2 <= radius**2)
    _, volume = mesh_area_and_volume(mask, spacing)
    assert volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    assert mesh_diameters(mask, spacing) == pytest.approx((2 * radius,) * 4, abs=1.5)


def test_a_single_voxel_is_an_octahedron():
    for spacing in itertools.permutations((1.0, 2.0, 3.0)):
        area, volume = mesh_area_and_volume(padded(np.ones((1, 1, 1))), spacing)
        assert volume == pytest.approx(1.0)
        face = 0.5 * math.sqrt((2 * 3 / 4) ** 2 + (1 * 3 / 4) ** 2 + (1 * 2 / 4) ** 2)
        assert area == pytest.approx(8 * face)
