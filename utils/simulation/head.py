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
from scipy import ndimage

# The grid of everything but grey and white matter, which keep the template's 1 mm.
SPACING = 1.5
ORIGIN = np.array([-106.5, -142.5, -141.0])
SHAPE = (143, 181, 168)

# fmt: off
TISSUES = (
    "none", "air", "fat", "muscle", "bone", "marrow", "vitreous", "mucosa", "gland",
    "vein", "flow_void", "dura", "choroid", "cord", "csf",
)
# fmt: on
LABEL = {name: number for number, name in enumerate(TISSUES)}
TEMPLATE_ORIGIN = np.array([-98.0, -134.0, -72.0])
# Depth in mm of the closing that turns the folded brain into the inside of the skull.
CLOSING_MM = 12.0


def axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coarse grid's x, y and z in mm, shaped to broadcast against each other."""
    lines = (start + SPACING * np.arange(size) for start, size in zip(ORIGIN, SHAPE, strict=True))
    return np.ix_(*(line.astype(np.float32) for line in lines))


def ellipsoid(x, y, z, centre, radii) -> np.ndarray:
    """Return an approximate signed distance in mm to an ellipsoid, mirrored at x = 0."""
    radius = np.sqrt(
        ((np.abs(x) - centre[0]) / radii[0]) ** 2
        + ((y - centre[1]) / radii[1]) ** 2
        + ((z - centre[2]) / radii[2]) ** 2
    )
    return (radius - 1.0) * min(radii)


class _Painter:
    """Writes tissue labels into ellipsoids of the coarse grid, later ones over earlier ones."""

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z
        self.labels = np.zeros(SHAPE, np.uint8)
        random = np.random.default_rng(20).standard_normal(SHAPE, dtype=np.float32)
        cells = ndimage.gaussian_filter(random, 1.6)
        self.cells = cells / cells.std()

    def paint(self, tissue, where):
        np.copyto(self.labels, LABEL[tissue], where=where)

    def ellipsoid(self, tissue, centre, radii, shell=None, shell_mm=1.5):
        box = self._box(centre, max(radii) + shell_mm)
        labels, x, y, z = self.labels[box], self.x, self.y[:, box[1]], self.z[:, :, box[2]]
        distance = ellipsoid(x, y, z, centre, radii)
        if shell is not None:
            labels[distance < shell_mm] = LABEL[shell]
        labels[distance < 0] = LABEL[tissue]

    def _box(self, centre, reach):
        """Return the index of the coarse voxels within `reach` of `centre` along y and z."""
        ranges = [slice(None)]
        for line, middle in ((self.y.ravel(), centre[1]), (self.z.ravel(), centre[2])):
            first, last = np.searchsorted(line, (middle - reach, middle + reach))
            ranges.append(slice(int(first), int(last)))
        return tuple(ranges)

    def air_cells(self, tissue, centre, radii):
        """Air with walls of another tissue: ethmoid, mastoid."""
        inside = ellipsoid(self.x, self.y, self.z, centre, radii) < 0
        self.paint(tissue, inside)
        self.paint("air", inside & (self.cells > -0.4))

    def rod(self, tissue, start, end, radius):
        """A straight tube from `start` to `end`, mirrored at x = 0."""
        start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
        axis = end - start
        box = self._box((start + end) / 2, np.linalg.norm(axis) / 2 + radius)
        y, z = self.y[:, box[1]], self.z[:, :, box[2]]
        offsets = (np.abs(self.x) - start[0], y - start[1], z - start[2])
        along = sum(o * a for o, a in zip(offsets, axis, strict=True)) / (axis @ axis)
        along = np.clip(along, 0, 1)
        squared = sum((o - along * a) ** 2 for o, a in zip(offsets, axis, strict=True))
        self.labels[box][squared < radius**2] = LABEL[tissue]


def paint(x, y, z, cavity, surface) -> np.ndarray:
    """Return the label volume.

    Parameters
    ----------
    x, y, z : ndarray of float32
        The coarse grid, as `axes` returns it.
    cavity, surface : ndarray of float32, `SHAPE`
        Signed distances in mm to the inside of the skull and to the skin.

    Returns
    -------
    ndarray of uint8, `SHAPE`
        Index into `TISSUES`; 0 where brain, skull or scalp are told from the distances alone.
    """
    painter = _Painter(x, y, z)
    _paint_neck(painter, cavity, surface)
    _paint_face(painter, cavity, surface)
    _paint_skull_base(painter, cavity)
    _paint_vessels(painter, cavity)
    painter.labels[(painter.labels != LABEL["none"]) & (surface > -2.0)] = LABEL["none"]
    return painter.labels


def _paint_neck(painter, cavity, surface):
    x, y, z = painter.x, painter.y, painter.z
    deep = (cavity > 6) & (surface < -7) & (z < -22)
    painter.paint("muscle", deep)
    # Fat planes between the muscles: thin sheets where a smooth field crosses zero.
    painter.paint("fat", deep & (np.abs(painter.cells) < 0.22))
    painter.paint("fat", deep & (surface > -12) & (painter.cells > 0.3))
    painter.paint(
        "muscle", (cavity > 5) & (surface < -4) & (z > -50) & (z < 14) & (np.abs(y - 18) < 34)
    )
    below = z < -64
    canal = np.hypot(x, (y + 46) * 1.1)
    painter.paint("bone", below & (canal < 18))
    painter.ellipsoid("marrow", (0, -24, -100), (15, 11, 34), shell="bone")
    painter.ellipsoid("marrow", (30, -40, -88), (12, 9, 9), shell="bone")
    painter.paint("csf", below & (canal < 11))
    painter.paint("cord", below & (canal < 6))
    painter.rod("flow_void", (26, -34, -70), (24, -30, -140), 3)
    painter.rod("flow_void", (28, -8, -66), (30, -12, -140), 3.5)
    painter.rod("vein", (34, -16, -62), (38, -16, -140), 5)


def _paint_face(painter, cavity, surface):
    x, y, z = painter.x, painter.y, painter.z
    outside = cavity > 2
    painter.ellipsoid("fat", (47, 60, -72), (20, 22, 32))
    painter.ellipsoid("gland", (60, -2, -82), (13, 18, 24))
    painter.ellipsoid("muscle", (57, 30, -86), (9, 20, 30))
    painter.ellipsoid("marrow", (47, 24, -88), (3, 13, 34), shell="bone")
    painter.ellipsoid("muscle", (34, 24, -76), (10, 18, 20))
    painter.ellipsoid("muscle", (0, 44, -112), (24, 30, 18))
    painter.paint(
        "bone",
        (np.abs(np.hypot(x / 26, (y - 46) / 38) - 1) < 0.16) & (y > 40) & (np.abs(z + 100) < 9),
    )
    painter.ellipsoid("air", (26, 54, -70), (14, 18, 16), shell="mucosa", shell_mm=2.5)
    nasal = ellipsoid(x, y, z, (0, 60, -66), (13, 42, 26)) < 0
    painter.paint("mucosa", nasal)
    painter.paint("air", nasal & (np.sin(np.abs(x) * 1.1 + 0.35 * painter.cells + 0.05 * y) > 0.1))
    painter.paint("bone", nasal & (np.abs(x) < 1.0))
    painter.ellipsoid("air", (0, 14, -92), (12, 8, 24), shell="mucosa", shell_mm=2.5)
    painter.paint("fat", outside & (ellipsoid(x, y, z, (32, 50, -37), (19, 30, 17)) < 0))
    painter.paint(
        "bone",
        outside & (np.abs(ellipsoid(x, y, z, (32, 50, -37), (20, 32, 19))) < 1.5) & (y < 72),
    )
    painter.air_cells("mucosa", (0, 54, -38), (11, 22, 12))
    painter.rod("muscle", (32, 58, -37), (14, 28, -34), 2.6)
    painter.rod("muscle", (45, 66, -37), (17, 28, -35), 2.2)
    painter.rod("muscle", (20, 66, -37), (13, 30, -35), 2.2)
    painter.ellipsoid("vitreous", (32, 68, -38), (12, 12, 12), shell="muscle", shell_mm=1.6)
    painter.ellipsoid("muscle", (32, 78, -38), (4.5, 2.2, 4.5))
    painter.paint("air", (ellipsoid(x, y, z, (9, 74, -10), (10, 5, 12)) < 0) & (cavity > 1.5))


def _paint_skull_base(painter, cavity):
    outside = cavity > -9
    painter.ellipsoid("air", (6, 22, -42), (9, 12, 10), shell="mucosa", shell_mm=2.0)
    x, y, z = painter.x, painter.y, painter.z
    painter.paint("marrow", ellipsoid(x, y - 0.5 * (z + 45), z, (0, -8, -47), (13, 6, 18)) < 0)
    painter.paint(
        "bone",
        outside & (ellipsoid(x, y + 0.5 * (np.abs(x) - 30), z, (34, -24, -42), (24, 8, 8)) < 0),
    )
    painter.paint("marrow", outside & (ellipsoid(x, y, z, (24, -14, -42), (7, 4, 4)) < 0))
    mastoid = ellipsoid(x, y, z, (54, -34, -52), (13, 18, 18))
    painter.paint("bone", (mastoid < 0) & (cavity > 0))
    painter.paint("air", (mastoid < -1) & (cavity > 1) & (painter.cells > -0.5))
    painter.ellipsoid("air", (66, -18, -48), (12, 3.5, 3.5))


def _paint_vessels(painter, cavity):
    x, y, z = painter.x, painter.y, painter.z
    rim = (cavity > -6.5) & (cavity < 0.5)
    painter.paint(
        "dura", (np.abs(x) < 0.8) & (cavity < -1) & (z > 12) & ((y < -50) | (y > 35) | (z > 38))
    )
    painter.paint("vein", rim & (np.abs(x) < 4.0) & (y < 66) & ((z > 30) | ((y < -60) & (z > -8))))
    transverse = rim & (y < -48) & (np.abs(z + 17 + 0.1 * np.abs(x)) < 4.5) & (np.abs(x) < 62)
    painter.paint("vein", transverse)
    sigmoid = rim & (np.abs(np.abs(x) - 52) < 9) & (y > -62) & (y < -34) & (z > -54) & (z < -17)
    painter.paint("vein", sigmoid & (cavity > -5))
    painter.rod("vein", (0, -42, 6), (0, -84, -6), 2.4)
    painter.rod("flow_void", (13, 2, -36), (12, 4, -26), 2.6)
    painter.rod("flow_void", (0, -14, -52), (0, -10, -24), 2.0)
    painter.rod("vein", (16, 4, -22), (44, 8, -12), 1.5)
    painter.rod("vein", (2, 14, -18), (1.5, 40, 4), 1.3)
    painter.ellipsoid("choroid", (23, -38, 10), (3.5, 6, 4.5))
    painter.rod("choroid", (4, -12, 12), (18, -32, 12), 1.6)


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
    # Only here: every notebook imports this module, most find the cohort there, and nilearn takes
    # a second.
    from nilearn import datasets

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
