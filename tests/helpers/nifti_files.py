"""A made-up head, and NIfTI files that hold it in the ways in which files come."""

import gzip

import nibabel
import numpy as np

from utils.patient.axial import PIXEL_MM

MM = (PIXEL_MM, PIXEL_MM, 6.0)


def head(slices=6, side=128, noise=2.0, seed=0):
    """Return a head as float, (slices, side, side, 3), and a mask of the tumour.

    It is 0.58 wide and 0.72 high, with a tumour at the left front of the picture, and fills
    every slice; around it is noise above 0.
    """
    y, x = np.mgrid[:side, :side] / side - 0.5
    rng = np.random.default_rng(seed)
    r = np.hypot(x / 0.29, y / 0.36)
    brain, skin = r < 0.86, (r < 1) & (r > 0.93)
    ventricle = np.hypot((np.abs(x) - 0.035) / 0.023, y / 0.09) < 1
    tumour = np.hypot((x + 0.13) / 0.066, (y + 0.13) / 0.082) < 1
    images = np.abs(rng.normal(0, noise, (slices, side, side, 3)))
    for channel, (tissue, fluid, fat, lump) in enumerate(
        [(60, 30, 120, 45), (50, 15, 110, 115), (65, 30, 130, 50)]
    ):
        grey = tissue * brain + fat * skin
        grey[ventricle] = fluid
        grey[tumour & brain] = lump
        images[..., channel] += grey
    masks = np.zeros((slices, side, side), np.uint8)
    masks[1:-1] = tumour & brain
    return images, masks


def around(side=128):
    """Return where there is air around the made-up head, (side, side)."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    return np.hypot(x / 0.29, y / 0.36) >= 1


def affine_of(codes="LPS", mm=MM):
    """Return an affine whose axes point as the letters say, with these mm along each of them."""
    affine = np.zeros((4, 4))
    for axis, (target, sign) in enumerate(nibabel.orientations.axcodes2ornt(codes)):
        affine[int(target), axis] = sign * mm[axis]
    affine[3, 3] = 1
    return affine


def save(path, values, affine=None, unit="mm", **fields):
    """Write a volume (x, y, z); `fields` are set in the header as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    for name, value in fields.items():
        image.header[name] = value
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def write_head(folder, images=None, masks=None, affine=None, kinds=("pre", "flair", "post")):
    """Write the sequences of a head, one file each, as LPS without interpolation."""
    if images is None:
        images, masks = head()
    affine = affine_of() if affine is None else affine
    for channel, kind in enumerate(("pre", "flair", "post")):
        if kind in kinds:
            save(folder / f"{kind}.nii.gz", images[..., channel].T.astype(np.float32), affine)
    if masks is not None:
        save(folder / "seg.nii.gz", masks.T, affine)
    return folder
