"""A head to simulate from: the ICBM152 brain with a skull, a scalp and a face around it.

nilearn ships the ICBM152 2009 average brain (Fonov et al., NeuroImage 54, 2011) without the head
that it sits in. Everything outside the brain is therefore built here from distances to the brain
and a few dozen ellipsoids. It is no atlas: it only has to put bright fat, dark bone, air, muscle
and vessels where a network meets them in real slices.

Coordinates are millimetres in the template's space: x to the right, y forwards, z upwards.
"""

import functools
from typing import NamedTuple

import numpy as np
from nilearn import datasets
from scipy import ndimage

from utils.headparts import LABEL, ORIGIN, SHAPE, SPACING, TISSUES, axes, ellipsoid, paint

__all__ = [
    "LABEL",
    "ORIGIN",
    "SPACING",
    "TEMPLATE_ORIGIN",
    "TISSUES",
    "Head",
    "axes",
    "head_model",
    "sample",
]

TEMPLATE_ORIGIN = np.array([-98.0, -134.0, -72.0])

# Depth in mm of the closing that turns the folded brain into the inside of the skull.
CLOSING_MM = 12.0


class Head(NamedTuple):
    """The template head.

    Attributes
    ----------
    grey, white : ndarray of float32, 0..1, on the template's 1 mm grid
        Share of grey and white matter.
    cavity_mm : ndarray of float32, on the coarse grid
        Signed distance to the inside of the skull, negative in it.
    surface_mm : ndarray of float32, on the coarse grid
        Signed distance to the skin, negative in the head.
    slope : ndarray of float32, 0..1, on the coarse grid
        How much `surface_mm` changes for a step along z: 1 at the vertex, 0 at the temples.
    ventricle_mm : ndarray of float32, on the coarse grid
        Distance to the lateral ventricles.
    labels : ndarray of uint8, on the coarse grid
        Index into `TISSUES` of what the ellipsoids put there; 0 for nothing in particular.
    """

    grey: np.ndarray
    white: np.ndarray
    cavity_mm: np.ndarray
    surface_mm: np.ndarray
    slope: np.ndarray
    ventricle_mm: np.ndarray
    labels: np.ndarray


@functools.cache
def head_model() -> Head:
    """Build the head (some three seconds), once in a process."""
    brain, grey, white = (
        np.ascontiguousarray(image.get_fdata(dtype=np.float32))
        for image in (
            datasets.load_mni152_template(resolution=1),
            datasets.load_mni152_gm_template(resolution=1),
            datasets.load_mni152_wm_template(resolution=1),
        )
    )
    x, y, z = axes()
    coarse_brain = _resample(brain > 0)
    tissue = _resample(grey + white)
    cavity = _cavity_distance(coarse_brain > 0.5)
    surface = _surface_distance(cavity, x, y, z)
    slope = np.abs(np.gradient(surface, SPACING, axis=2)).clip(0, 1)
    ventricles = (
        (tissue < 0.5) & (coarse_brain > 0.5) & (np.abs(x) < 40) & (y > -60) & (y < 42) & (z > -8)
    )
    ventricles &= (z < 34) & (cavity < -22)
    ventricle_distance = ndimage.distance_transform_edt(~ventricles[::2, ::2, ::2], 2 * SPACING)
    ventricle_distance = ndimage.affine_transform(
        ventricle_distance.astype(np.float32), np.full(3, 0.5), 0.0, SHAPE, order=1, mode="nearest"
    )
    return Head(
        grey=grey,
        white=white,
        cavity_mm=cavity.astype(np.float32),
        surface_mm=surface.astype(np.float32),
        slope=slope.astype(np.float32),
        ventricle_mm=ventricle_distance.astype(np.float32),
        labels=paint(x, y, z, cavity, surface),
    )


def sample(
    volume: np.ndarray, points: np.ndarray, origin: np.ndarray, spacing: float, order: int = 1
) -> np.ndarray:
    """Read a volume at points in mm.

    Parameters
    ----------
    volume : ndarray, (nx, ny, nz)
    points : ndarray of float32, (3, n)
    origin : ndarray, (3,)
        Position of the volume's first voxel.
    spacing : float
        Size of a voxel in mm.
    order : {0, 1}
        Nearest voxel or linear interpolation.

    Returns
    -------
    ndarray, (n,)
        Of the volume's type. Points outside take the value of the nearest edge.
    """
    position = (points - np.asarray(origin, np.float32)[:, None]) / np.float32(spacing)
    return ndimage.map_coordinates(volume, position, order=order, mode="nearest", prefilter=False)


def _resample(volume: np.ndarray) -> np.ndarray:
    """Return a 1 mm template volume on the coarse grid, 0 outside it."""
    start = (ORIGIN - TEMPLATE_ORIGIN).astype(np.float64)
    return ndimage.affine_transform(
        volume.astype(np.float32), np.full(3, SPACING), start, SHAPE, order=1, mode="constant"
    )


def _cavity_distance(brain: np.ndarray) -> np.ndarray:
    """Signed distance to a smooth shell around the brain: the inside of the skull.

    Worked out on every second voxel, as the shell is smooth and distance transforms are slow.
    """
    spacing = 2 * SPACING
    brain = brain[::2, ::2, ::2]
    reach = ndimage.distance_transform_edt(~brain, spacing) < CLOSING_MM
    # Less than what the dilation added: room for fluid outside the cortex.
    inside = ndimage.distance_transform_edt(reach, spacing) > CLOSING_MM - 1.0
    outwards = ndimage.distance_transform_edt(~inside, spacing)
    inwards = ndimage.distance_transform_edt(inside, spacing)
    smooth = ndimage.gaussian_filter((outwards - inwards).astype(np.float32), 0.8)
    return ndimage.affine_transform(smooth, np.full(3, 0.5), 0.0, SHAPE, order=1, mode="nearest")


def _smooth_union(first: np.ndarray, second: np.ndarray, width: float) -> np.ndarray:
    """Polynomial smooth minimum of two distances, rounding the joint over `width` mm."""
    share = np.clip(0.5 + 0.5 * (second - first) / width, 0, 1)
    return second + (first - second) * share - width * share * (1 - share)


def _surface_distance(cavity, x, y, z) -> np.ndarray:
    """Signed distance to the skin: brain case, temples, face, nose, ears and neck."""
    temple = 7.0 * np.exp(-(((y - 20) / 30) ** 2) - ((z + 25) / 28) ** 2)
    surface = cavity - (12.5 + temple)
    face = ellipsoid(x, y, z, (0, 34, -78), (66, 58, 84))
    neck = np.hypot(x / 60, (y + 42) / 60) - 1.0
    neck = np.maximum(neck * 60, (z + 66)) + 0 * surface
    surface = _smooth_union(surface, face, 14)
    surface = _smooth_union(surface, neck, 22)
    jaw = ellipsoid(x, y, z, (0, -10, -88), (66, 44, 60))
    surface = _smooth_union(surface, jaw, 14)
    surface = _smooth_union(surface, ellipsoid(x, y, z, (0, 92, -58), (14, 24, 24)), 9)
    ears = ellipsoid(x + 0 * y, y + 0.35 * (np.abs(x) - 78), z, (79, -24, -46), (8, 15, 25))
    return _smooth_union(surface, ears, 2)
