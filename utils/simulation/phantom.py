"""One patient's slices as tissue: the template head, deformed, with a tumour and its mask."""

import functools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from utils.simulation.head import ORIGIN, SPACING, TEMPLATE_ORIGIN, head_model, sample
from utils.simulation.tumour import Tumour, arrival_at, grow

SIZE = 256
# Points of the in-plane grids, every 8 and every 4 pixels, on which smooth fields are worked out
# before they are enlarged to all pixels.
COARSE = SIZE // 8 + 1
MIDDLE = SIZE // 4 + 1
LATTICE = 48
# A reader does not outline specks.
SMALLEST_PX = 45


class Phantom(NamedTuple):
    """Tissue of one patient at the voxels of its slices.

    From `points` on, there is one value for each voxel in `head`, in its order.

    Attributes
    ----------
    head : ndarray of bool, (slices, 256, 256)
        Voxels in or near the head.
    mask : ndarray of bool, (slices, 256, 256)
        The tumour as a careful reader would outline it.
    plane : ndarray of float32, (3, slices, COARSE, COARSE)
        Position in the scanner in mm, every 8 pixels.
    middle : ndarray of float32, (3, slices, MIDDLE, MIDDLE)
        Position in template space in mm, every 4 pixels.
    points : ndarray of float32, (3, n)
        Position in template space, mm.
    grey, white : ndarray of float32, (n,)
        Shares of grey and white matter, 0 to 1; the rest of the cavity is fluid.
    cavity_mm, surface_mm, ventricle_mm : ndarray of float32, (n,)
        Distances as in `head.Head`, with this patient's scalp.
    slope : ndarray of float32, (n,)
        How much a slice's thickness blurs the surfaces, 0 to 1.
    labels : ndarray of uint8, (n,)
        Tissue labels.
    arrival : ndarray of float32, (n,)
        Arrival time of the tumour's front, 1 at the border.
    """

    head: np.ndarray
    mask: np.ndarray
    plane: np.ndarray
    middle: np.ndarray
    points: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    cavity_mm: np.ndarray
    surface_mm: np.ndarray
    slope: np.ndarray
    ventricle_mm: np.ndarray
    labels: np.ndarray
    arrival: np.ndarray


def make_phantom(slices: int, rng: np.random.Generator) -> Phantom:
    """Deform the head, grow a tumour in it and read the tissue at the slices' voxels."""
    template = head_model()
    volume = float(np.clip(rng.lognormal(np.log(52), 0.85), 12, 240))
    tumour = grow(template, volume, rng)
    plane = _scanner_plane(slices, rng)
    coarse = _to_template(plane, template, tumour, rng)
    middle = np.stack([enlarge(component, 2) for component in coarse])
    scalp = _sample_middle(template.surface_mm, middle) - np.float32(rng.normal(0.0, 1.8))
    scalp -= 1.2 * lattice_noise(middle, 45, rng)
    surface = to_pixels(scalp)
    head = surface < 3.0
    points = np.stack([to_pixels(component)[head] for component in middle])
    cavity = sample(template.cavity_mm, points, ORIGIN, SPACING)
    grey, white = _brain(template, points, cavity, middle, head, rng)
    arrival = _rough_border(arrival_at(tumour, points), points, rng)
    ventricle = np.full_like(cavity, 50)
    near = (cavity < -8) & (np.abs(points[0]) < 60)
    ventricle[near] = sample(template.ventricle_mm, points[:, near], ORIGIN, SPACING)
    return Phantom(
        head=head,
        mask=_outline(head, arrival, grey + white, cavity),
        plane=plane,
        middle=middle,
        points=points,
        grey=grey,
        white=white,
        cavity_mm=cavity,
        surface_mm=surface[head],
        slope=to_pixels(_sample_middle(template.slope, middle))[head],
        ventricle_mm=ventricle,
        labels=sample(template.labels, points, ORIGIN, SPACING, order=0),
        arrival=arrival,
    )


def smooth_noise(phantom: Phantom, wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise of standard deviation about 1 at the head's voxels, (n,) float32."""
    grid = phantom.middle[:, :, ::2, ::2] if wavelength > 20 else phantom.middle
    return to_pixels(lattice_noise(grid, wavelength, rng))[phantom.head]


def enlarge(field: np.ndarray, factor: int) -> np.ndarray:
    """Interpolate a field linearly in the plane.

    Parameters
    ----------
    field : ndarray of float32, (slices, size, size)
    factor : int
        Steps to make of one.

    Returns
    -------
    ndarray of float32, (slices, factor * (size - 1) + 1, factor * (size - 1) + 1)
    """
    for axis in (1, 2):
        shape = list(field.shape)
        shape[axis] = factor * (shape[axis] - 1) + 1
        larger = np.empty(shape, np.float32)
        source, target = np.moveaxis(field, axis, 0), np.moveaxis(larger, axis, 0)
        target[-1] = source[-1]
        for step in range(factor):
            share = np.float32(step / factor)
            target[step:-1:factor] = source[:-1] * (1 - share) + source[1:] * share
        field = larger
    return field


def to_pixels(field: np.ndarray) -> np.ndarray:
    """Enlarge a field on the coarse or the middle grid to (slices, 256, 256)."""
    return enlarge(field, SIZE // (field.shape[1] - 1))[:, :SIZE, :SIZE]


def lattice_noise(points: np.ndarray, wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise at points in template space, standard deviation about 1.

    Parameters
    ----------
    points : ndarray of float32, (3, ...)
    wavelength : float
        Distance in mm over which the noise forgets itself.

    Returns
    -------
    ndarray of float32, (...)
    """
    # One lattice serves all fields: a random corner of 48**3 periods is as good as a new one.
    corner = rng.uniform(0, LATTICE, 3).astype(np.float32)
    order = rng.permutation(3)
    flat = points.reshape(3, -1)[order] / np.float32(wavelength) + corner[:, None]
    noise = ndimage.map_coordinates(_lattice(), flat, order=1, mode="grid-wrap", prefilter=False)
    return noise.reshape(points.shape[1:])


@functools.cache
def _lattice() -> np.ndarray:
    """Return periodic smooth noise of standard deviation 1 on a cube of LATTICE points a side."""
    noise = np.random.default_rng(48).standard_normal((LATTICE,) * 3, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, 0.7, mode="wrap")
    return noise / noise.std()


def _scanner_plane(slices: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of the coarse pixels in the scanner, (3, slices, COARSE, COARSE)."""
    millimetres = rng.normal(0.95, 0.045)
    if rng.random() < 0.08:
        millimetres = rng.uniform(0.74, 0.8)
    half = SIZE / 2 * np.clip(millimetres, 0.74, 1.06)
    line = np.linspace(-half, half, COARSE, dtype=np.float32)
    x = line + np.float32(rng.normal(0, 4))
    y = np.float32(rng.normal(-15, 6)) - line
    z = np.linspace(rng.uniform(-102, -60), rng.uniform(74, 98), slices, dtype=np.float32)
    grid = np.meshgrid(z, y, x, indexing="ij")
    return np.stack(grid[::-1])


def _to_template(plane, template, tumour: Tumour, rng) -> np.ndarray:
    """Map scanner positions to template space: tilt, size, individual shape, mass effect."""
    # Slices are usually tipped so that the back of the head lies higher than the brow.
    rotation = _rotation(np.deg2rad(rng.normal([-6, 0, 0], [7, 3, 4])))
    size = rng.normal(1.0, 0.04, 3)
    x, y, z = plane.reshape(3, -1)
    # Summed term by term: a matrix product may differ with the number of threads.
    turned = [row[0] * x + row[1] * y + row[2] * z for row in rotation]
    points = np.stack([line / scale for line, scale in zip(turned, size, strict=True)])
    points = points.astype(np.float32)
    for wavelength, amplitude in ((70, 3.5), (28, 1.6)):
        shift = np.stack([lattice_noise(points, wavelength, rng) for _ in range(3)])
        points = points + np.float32(amplitude) * shift
    points = _mass_effect(points, template, tumour, rng)
    points = _ventricle_size(points, rng)
    return points.reshape(plane.shape)


def _sample_middle(volume: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Read a coarse volume of the template on the middle grid, (slices, MIDDLE, MIDDLE)."""
    values = sample(volume, middle.reshape(3, -1), ORIGIN, SPACING)
    return values.reshape(middle.shape[1:])


def _rough_border(arrival, points, rng) -> np.ndarray:
    """Fray the front a little at the scale of gyri and of single pixels."""
    near = arrival < 2
    for wavelength, amount in ((9, rng.uniform(0.05, 0.2)), (3.5, rng.uniform(0.03, 0.1))):
        arrival[near] += np.float32(amount) * lattice_noise(points[:, near], wavelength, rng)
    return arrival


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation matrix for angles in radians about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second] = -np.sin(angle)
        turn[second, first] = np.sin(angle)
        matrix = turn @ matrix
    return matrix


def _mass_effect(points, template, tumour, rng) -> np.ndarray:
    """Push tissue away from the tumour's centre, less towards the unyielding skull."""
    offset = points - tumour.centre[:, None]
    reach = 1.3 * tumour.radius_mm
    strength = rng.uniform(0.0, 0.4) * np.exp(-(offset**2).sum(0) / (2 * reach**2))
    cavity = sample(template.cavity_mm, points, ORIGIN, SPACING)
    strength = strength * np.clip(-cavity / 18, 0, 1)
    return points - strength * offset


def _ventricle_size(points, rng) -> np.ndarray:
    """Widen or narrow the ventricles by stretching space about their middle."""
    offset = points - np.array([0, -8, 14], np.float32)[:, None]
    reach = np.array([22, 40, 18], np.float32)[:, None]
    weight = np.exp(-((offset / reach) ** 2).sum(0))
    stretch = np.float32(rng.uniform(-0.25, 0.45))
    stretched = offset * (1 - stretch * weight)
    return (points - offset + stretched).astype(np.float32)


def _brain(template, points, cavity, middle, head, rng) -> tuple[np.ndarray, np.ndarray]:
    """Shares of grey and white matter, with sharper folds than the average brain has."""
    inside = cavity < 0.5
    grey, white = np.zeros_like(cavity), np.zeros_like(cavity)
    grey[inside] = sample(template.grey, points[:, inside], TEMPLATE_ORIGIN, 1.0)
    white[inside] = sample(template.white, points[:, inside], TEMPLATE_ORIGIN, 1.0)
    # Averaging 152 brains has washed the sulci out. Bring their fluid back, and cut some more in
    # along the zero lines of a smooth field, near the surface only.
    tissue = np.clip(grey + white, 0, 1)
    sharper = np.clip((tissue - 0.8) * rng.uniform(0.8, 2.6) + 0.85, 0, 1)
    folds = np.abs(to_pixels(lattice_noise(middle, rng.uniform(7, 11), rng))[head])
    depth = rng.uniform(10, 26)
    cut = np.clip(1.4 - folds / rng.uniform(0.08, 0.35), 0, 1) * np.clip((cavity + depth) / 8, 0, 1)
    white = np.clip((white - 0.5) * rng.uniform(1.0, 1.6) + 0.5, 0, 1) * inside
    white = np.minimum(white, sharper)
    grey = np.clip(sharper - white, 0, 1) * inside
    return grey * (1 - cut), white * (1 - 0.5 * cut)


def _outline(head, arrival, tissue, cavity) -> np.ndarray:
    """Return the mask: the front's interior without fluid, as smooth as a hand draws it."""
    mask = np.zeros(head.shape, bool)
    mask[head] = (arrival < 1) & ((tissue > 0.45) | (arrival < 0.5)) & (cavity < -0.5)
    disk = ndimage.generate_binary_structure(2, 1)
    for index in np.flatnonzero(mask.any((1, 2))):
        smooth = ndimage.binary_closing(mask[index], disk)
        smooth = ndimage.binary_opening(smooth, disk)
        parts, count = ndimage.label(smooth)
        sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
        keep = sizes >= SMALLEST_PX
        keep[0] = False
        mask[index] = ndimage.binary_fill_holes(keep[parts])
    return mask
