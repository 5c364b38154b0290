"""Growth of one simulated glioma through the template brain.

A diffuse glioma spreads along white matter, slower through grey matter, and hardly across fluid,
the falx or the skull. The time at which a front that starts at one point arrives elsewhere
therefore gives irregular, fingered shapes that respect the anatomy (the idea of Swanson et al.,
Cell Proliferation 33, 2000, with a geodesic distance in the place of reaction and diffusion).
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from utils.simulation.head import LABEL, ORIGIN, SPACING, TEMPLATE_ORIGIN, Head, sample

GRID_MM = 2.5

# Where lower-grade gliomas sit: centre in mm (mirrored at random), spread in mm, relative weight.
# Frontal, insular and temporal lobes first (Duffau & Capelle, Cancer 100, 2004).
SITES = (
    ((28, 34, 18), 11, 5),
    ((20, 14, 46), 10, 4),
    ((46, -8, -18), 9, 4),
    ((38, 4, 4), 7, 4),
    ((32, -44, 40), 11, 3),
    ((26, -70, 12), 10, 1),
    ((12, -18, 8), 5, 0.5),
    ((26, -60, -38), 8, 0.4),
)


class Tumour(NamedTuple):
    """A tumour in template space.

    Attributes
    ----------
    arrival : ndarray of float32
        Arrival time of the front on a grid of `GRID_MM`: 0 at the seed, 1 at the border.
    origin : ndarray, (3,)
        Position in mm of the grid's first voxel.
    centre : ndarray, (3,)
        Centre of mass in mm.
    radius_mm : float
        Radius of the sphere with the tumour's volume.
    """

    arrival: np.ndarray
    origin: np.ndarray
    centre: np.ndarray
    radius_mm: float


def grow(head: Head, volume_ml: float, rng: np.random.Generator) -> Tumour:
    """Grow a tumour of a given volume from a random place.

    Parameters
    ----------
    head : Head
    volume_ml : float
        Volume in millilitres, larger than 0.
    rng : numpy.random.Generator
    """
    # Only here, as nilearn in `head_model`: most notebooks find the cohort there.
    from skimage.graph import MCP_Geometric

    seed = _seed_point(head, rng)
    radius = (volume_ml * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    half = 2.2 * radius + 12
    lines = [np.arange(c - half, c + half, GRID_MM, dtype=np.float32) for c in seed]
    grid = np.stack(np.meshgrid(*lines, indexing="ij"))
    speed = _speed(head, grid.reshape(3, -1), rng).reshape(grid.shape[1:])
    start = tuple(np.array(speed.shape) // 2)
    costs, _ = MCP_Geometric(1 / speed).find_costs([start])
    costs = costs.astype(np.float32)
    # The border is the front at the moment when it has swept the volume asked for.
    rank = min(int(volume_ml * 1000 / GRID_MM**3), costs.size - 1)
    border = np.partition(costs, rank, axis=None)[rank]
    arrival = ndimage.gaussian_filter(np.minimum(costs / border, 3), 0.6)
    inside = arrival < 1
    centre = grid[:, inside].mean(1) if inside.any() else seed
    return Tumour(arrival, grid[:, 0, 0, 0], centre.astype(np.float32), float(radius))


def arrival_at(tumour: Tumour, points: np.ndarray) -> np.ndarray:
    """Return the arrival time at points in template space, (3, n); 3 outside the grid."""
    last = tumour.origin + GRID_MM * (np.array(tumour.arrival.shape) - 1)
    near = ((points > tumour.origin[:, None]) & (points < last[:, None])).all(0)
    times = np.full(points.shape[1], 3, np.float32)
    times[near] = sample(tumour.arrival, points[:, near], tumour.origin, GRID_MM)
    return times


def _seed_point(head: Head, rng: np.random.Generator) -> np.ndarray:
    """Return a point in tissue, in mm, near one of the usual sites."""
    weights = np.array([weight for _, _, weight in SITES])
    centre, spread, _ = SITES[rng.choice(len(SITES), p=weights / weights.sum())]
    side = np.array([rng.choice([-1, 1]), 1, 1])
    points = (np.array(centre) * side)[:, None] + spread * rng.standard_normal((3, 64))
    points = points.astype(np.float32)
    tissue = sample(head.white, points, TEMPLATE_ORIGIN, 1.0) + 0.5 * sample(
        head.grey, points, TEMPLATE_ORIGIN, 1.0
    )
    # The most likely tissue among the first few candidates keeps the spread of the site.
    return points[:, np.argmax(tissue[:12])].astype(np.float64)


def _speed(head: Head, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the front's speed at points of a cubic grid, relative to white matter."""
    white = sample(head.white, points, TEMPLATE_ORIGIN, 1.0)
    grey = sample(head.grey, points, TEMPLATE_ORIGIN, 1.0)
    cavity = sample(head.cavity_mm, points, ORIGIN, SPACING)
    labels = sample(head.labels, points, ORIGIN, SPACING, order=0)
    speed = white + rng.uniform(0.35, 0.9) * grey
    size = round(points.shape[1] ** (1 / 3))
    noise = ndimage.gaussian_filter(rng.standard_normal((size,) * 3, dtype=np.float32), 1.8)
    noise = noise / noise.std()
    speed = speed * np.exp(rng.uniform(0.2, 0.6) * noise.reshape(-1))
    speed[(white + grey) < 0.4] = 0.04
    speed[(labels == LABEL["dura"]) | (cavity > -1)] = 0.01
    return np.maximum(speed, 0.01).astype(np.float64)
