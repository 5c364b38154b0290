"""One patient's slices as tissue: the template head, deformed, with a tumour and its mask."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from utils.anatomy import ORIGIN, SPACING, TEMPLATE_ORIGIN, head_model, sample
from utils.tumour import Tumour, arrival_at, grow

SIZE = 256
# Points of the coarse in-plane grid on which smooth fields are made before they are enlarged.
COARSE = 33


class Phantom(NamedTuple):
    """Tissue of one patient at the voxels of its slices.

    All but `head`, `mask`, `plane` and `millimetres` have one value for each voxel in `head`, in
    its order.

    Attributes
    ----------
    head : ndarray of bool, (slices, 256, 256)
        Voxels in or near the head.
    mask : ndarray of bool, (slices, 256, 256)
        The tumour as a careful reader would outline it.
    plane : ndarray of float32, (3, slices, COARSE, COARSE)
        Position in the scanner in mm, on the coarse grid.
    millimetres : float
        Size of a pixel.
    points : ndarray of float32, (3, n)
        Position in template space, mm.
    grey, white : ndarray of float32, (n,)
        Shares of grey and white matter, 0 to 1; the rest of the cavity is fluid.
    cavity_mm, surface_mm, ventricle_mm : ndarray of float32, (n,)
        Distances as in `anatomy.Head`, with this patient's scalp.
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
    millimetres: float
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
    volume = float(np.clip(rng.lognormal(np.log(42), 0.85), 4, 190))
    tumour = grow(template, volume, rng)
    millimetres = float(np.clip(rng.normal(0.89, 0.05), 0.76, 1.02))
    plane = _scanner_plane(slices, millimetres, rng)
    coarse = _to_template(plane, template, tumour, rng)
    points = np.stack([enlarge(component) for component in coarse])
    scalp = float(rng.normal(0.0, 1.6))
    surface = sample(template.surface_mm, points.reshape(3, -1), ORIGIN, SPACING) - scalp
    head = (surface < 3.0).reshape(points.shape[1:])
    points = points[:, head]
    grey, white = _brain(template, points, rng)
    arrival = arrival_at(tumour, points)
    arrival = arrival + 0.06 * lattice_noise(points, 3.5, rng) * (arrival < 2)
    cavity = sample(template.cavity_mm, points, ORIGIN, SPACING)
    labels = sample(template.labels, points, ORIGIN, SPACING, order=0)
    return Phantom(
        head=head,
        mask=_outline(head, arrival, grey + white, cavity),
        plane=plane,
        millimetres=millimetres,
        points=points,
        grey=grey,
        white=white,
        cavity_mm=cavity,
        surface_mm=surface[head.reshape(-1)],
        slope=sample(template.slope, points, ORIGIN, SPACING),
        ventricle_mm=sample(template.ventricle_mm, points, ORIGIN, SPACING),
        labels=labels,
        arrival=arrival,
    )


def enlarge(field: np.ndarray) -> np.ndarray:
    """Interpolate a smooth field from the coarse grid to all pixels.

    Parameters
    ----------
    field : ndarray of float32, (slices, COARSE, COARSE)

    Returns
    -------
    ndarray of float32, (slices, 256, 256)
    """
    position = np.linspace(0, COARSE - 1, SIZE, dtype=np.float32)
    low = np.minimum(position.astype(np.intp), COARSE - 2)
    share = position - low
    rows = field[:, low] * (1 - share[:, None]) + field[:, low + 1] * share[:, None]
    return rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share


def lattice_noise(points: np.ndarray, wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise at points in template space, standard deviation about 1.

    Parameters
    ----------
    points : ndarray of float32, (3, n)
    wavelength : float
        Distance in mm over which the noise forgets itself.

    Returns
    -------
    ndarray of float32, (n,)
    """
    # A periodic lattice keeps the memory small however fine the noise is.
    lattice = rng.standard_normal((48, 48, 48), dtype=np.float32)
    lattice = ndimage.gaussian_filter(lattice, 0.7, mode="wrap")
    lattice /= lattice.std()
    position = points / np.float32(wavelength)
    return ndimage.map_coordinates(lattice, position, order=1, mode="grid-wrap", prefilter=False)


def _scanner_plane(slices: int, millimetres: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of the coarse pixels in the scanner, (3, slices, COARSE, COARSE)."""
    low = rng.uniform(-112, -66)
    high = rng.uniform(76, 102)
    half = (SIZE - 1) / 2 * millimetres
    line = np.linspace(-half, half, COARSE, dtype=np.float32)
    x = line + np.float32(rng.normal(0, 4))
    y = -line + np.float32(rng.normal(-12, 6))
    z = np.linspace(low, high, slices, dtype=np.float32)
    grid = np.meshgrid(z, y, x, indexing="ij")
    return np.stack(grid[::-1])


def _to_template(plane, template, tumour: Tumour, rng) -> np.ndarray:
    """Map scanner positions to template space: tilt, size, individual shape, mass effect."""
    points = plane.reshape(3, -1).astype(np.float64)
    tilt = np.deg2rad(rng.normal([4, 0, 0], [7, 3, 4]))
    rotation = _rotation(tilt)
    points = rotation @ points
    points = points / rng.normal([1.0, 1.0, 1.0], [0.04, 0.04, 0.04])[:, None]
    points = points.astype(np.float32)
    for wavelength, amplitude in ((70, 3.5), (28, 1.6)):
        points = points + amplitude * np.stack(
            [lattice_noise(points, wavelength, rng) for _ in range(3)]
        )
    points = _mass_effect(points, template, tumour, rng)
    points = _ventricle_size(points, rng)
    return points.reshape(plane.shape)


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


def _brain(template, points, rng) -> tuple[np.ndarray, np.ndarray]:
    """Shares of grey and white matter, with sharper folds than the average brain has."""
    grey = sample(template.grey, points, TEMPLATE_ORIGIN, 1.0)
    white = sample(template.white, points, TEMPLATE_ORIGIN, 1.0)
    cavity = sample(template.cavity_mm, points, ORIGIN, SPACING)
    inside = (cavity < 0.5).astype(np.float32)
    # Averaging 152 brains has washed the sulci out: cut some back in along the zero lines of a
    # smooth field, near the surface only.
    folds = np.abs(lattice_noise(points, 9.0, rng))
    depth = rng.uniform(8, 22)
    width = rng.uniform(0.05, 0.3)
    cut = np.clip(1.3 - folds / width, 0, 1) * np.clip((cavity + depth) / 6, 0, 1)
    white = np.clip((white - 0.5) * rng.uniform(1.0, 1.6) + 0.5, 0, 1) * inside
    grey = np.minimum(np.clip((grey - 0.5) * rng.uniform(1.1, 1.6) + 0.55, 0, 1), 1 - white)
    return grey * (1 - cut) * inside, white * (1 - 0.5 * cut)


def _outline(head, arrival, tissue, cavity) -> np.ndarray:
    """Return the mask: the front's interior without fluid, as smooth as a hand draws it."""
    mask = np.zeros(head.shape, bool)
    mask[head] = (arrival < 1) & ((tissue > 0.35) | (arrival < 0.6)) & (cavity < -0.5)
    disk = ndimage.generate_binary_structure(2, 1)
    for index in np.flatnonzero(mask.any((1, 2))):
        smooth = ndimage.binary_opening(mask[index], disk, iterations=2)
        smooth = ndimage.binary_closing(smooth, disk, iterations=2)
        parts, count = ndimage.label(smooth)
        sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
        keep = sizes >= 40
        keep[0] = False
        mask[index] = ndimage.binary_fill_holes(keep[parts])
    return mask
