"""From tissue to three grey pictures: contrast, coil, blur, noise and what goes wrong.

Values are relative to normal white matter (1.0) and were set by eye and by the measured contrasts
of the real cohort (see data/README.md), with a wide spread around them: a network trained on this
cohort should not be able to lean on the exact value of anything.
"""

import numpy as np
from scipy import ndimage

from utils.simulation.head import LABEL, TISSUES
from utils.simulation.phantom import SIZE, Phantom, smooth_noise, to_pixels

CHANNELS = ("pre", "flair", "post")

# Signal of a tissue relative to white matter in each channel.
# fmt: off
SIGNAL = {
    #            pre   FLAIR post
    "grey":     (0.86, 1.15, 0.92),
    "white":    (1.00, 1.00, 1.00),
    "csf":      (0.36, 0.26, 0.39),
    "none":     (0.12, 0.12, 0.12),
    "air":      (0.04, 0.04, 0.04),
    "fat":      (2.10, 2.35, 2.00),
    "muscle":   (0.85, 0.75, 0.95),
    "bone":     (0.15, 0.15, 0.15),
    "marrow":   (1.60, 1.50, 1.60),
    "vitreous": (0.40, 0.25, 0.42),
    "mucosa":   (0.90, 1.40, 1.80),
    "gland":    (1.50, 1.60, 1.70),
    "vein":     (0.60, 0.60, 1.80),
    "flow_void":(0.20, 0.20, 0.50),
    "dura":     (0.60, 0.60, 1.10),
    "choroid":  (0.70, 1.15, 1.70),
    "cord":     (1.00, 1.00, 1.00),
    "skin":     (1.30, 1.10, 1.30),
}
# fmt: on

# Institutions differ in field strength and sequence: grey-white contrast of T1, brightness of fat,
# noise, and the pixel value of the brightest half per cent of the head.
INSTITUTION = {
    "DU": {"grey_t1": 0.88, "fat": 1.05, "noise": 0.055, "brightest": 152},
    "HT": {"grey_t1": 0.84, "fat": 0.95, "noise": 0.042, "brightest": 174},
    "CS": {"grey_t1": 0.88, "fat": 1.05, "noise": 0.042, "brightest": 160},
    "FG": {"grey_t1": 0.78, "fat": 0.85, "noise": 0.042, "brightest": 142},
    "EZ": {"grey_t1": 0.80, "fat": 1.10, "noise": 0.050, "brightest": 170},
}

# A missing sequence is replaced by FLAIR: post-contrast in 10 of 110 real patients, in 6 of them
# pre-contrast as well.
MISSING_POST = 10 / 110
MISSING_PRE_TOO = 6 / 10
# One real pre-contrast series in 80 is a phase image: grey everywhere, edges only.
PHASE = 1 / 80
# Chance that fat is suppressed in a sequence, or that it just shines less.
DULL_FAT = 0.15


def acquire(phantom: Phantom, institution: str, rng: np.random.Generator) -> np.ndarray:
    """Return the pictures of a patient.

    Returns
    -------
    ndarray of uint8, (slices, 256, 256, 3)
    """
    habits = INSTITUTION[institution]
    tumour = _tumour_look(phantom, rng)
    details = _details(phantom, rng)
    noise = _noise_field(phantom.head.shape, rng)
    images = np.zeros((*phantom.head.shape, 3), np.uint8)
    for channel, name in enumerate(CHANNELS):
        signal = _signal(phantom, channel, habits, details, tumour, rng)
        images[..., channel] = _scan(signal, phantom, name, habits, noise, rng)
    if rng.random() < PHASE:
        images[..., 0] = _phase_like(images[..., 0])
    if rng.random() < MISSING_POST:
        images[..., 2] = images[..., 1]
        if rng.random() < MISSING_PRE_TOO:
            images[..., 0] = images[..., 1]
    return images


def _phase_like(pictures: np.ndarray) -> np.ndarray:
    """Return pictures as grey as a phase image, with only their edges left."""
    smooth = ndimage.gaussian_filter(pictures.astype(np.float32), (0, 3, 3), truncate=2)
    return np.clip(105 + 0.25 * (pictures - smooth), 0, 255).astype(np.uint8)


def _details(phantom: Phantom, rng) -> dict[str, np.ndarray]:
    """Fields that all channels share: textures, skull thickness, vessels, bright spots."""
    points = phantom.points
    first, second = smooth_noise(phantom, 14, rng), smooth_noise(phantom, 14, rng)
    vessels = np.clip(1.4 - np.hypot(first, second) / 0.13, 0, 1)
    fluid = 1 - phantom.grey - phantom.white
    return {
        "fine": smooth_noise(phantom, 4, rng),
        "broad": smooth_noise(phantom, 22, rng),
        "regions": _regions(phantom, rng),
        "skull": rng.normal(6.0, 0.8) + 1.2 * smooth_noise(phantom, 30, rng),
        "vessels": vessels * np.clip(fluid, 0.15, 1) * (phantom.cavity_mm < -1),
        "caps": np.exp(-phantom.ventricle_mm / rng.uniform(1.5, 4)) * phantom.white,
        "spots": np.clip(smooth_noise(phantom, 6, rng) - rng.uniform(2.6, 3.6), 0, 0.5)
        * 2
        * phantom.white,
        "flow": np.clip(smooth_noise(phantom, 9, rng), 0, 2) * (points[2] < 5),
    }


def _regions(phantom: Phantom, rng) -> list[np.ndarray]:
    """Return how lobes and cerebellum deviate from the brain's mean, for FLAIR and for T1.

    Healthy regions that are brighter than others must not be taken for tumours.
    """
    below = np.clip((-18 - phantom.points[2] - 0.35 * phantom.points[1]) / 12, 0, 1)
    return [
        rng.uniform(0.0, 0.04) * smooth_noise(phantom, 40, rng) + rng.normal(0.02, 0.04) * below
        for _ in range(2)
    ]


def _tumour_look(phantom: Phantom, rng) -> list[np.ndarray]:
    """Return by how much the tumour multiplies each channel's signal, less 1."""
    arrival = phantom.arrival
    width = rng.uniform(0.05, 0.18)
    body = np.clip(0.5 + (1 - arrival) / width, 0, 1)
    tissue = np.clip(1.6 * (phantom.grey + phantom.white), 0, 1)
    tissue = np.where(arrival < 0.7, np.maximum(tissue, 0.8), tissue)
    body = body * tissue * (phantom.cavity_mm < 0)
    texture = 1 + rng.uniform(0.08, 0.25) * smooth_noise(phantom, 9, rng)
    core = np.clip((rng.uniform(0.3, 0.75) - arrival) / 0.15, 0, 1)
    flair = np.clip(rng.lognormal(np.log(0.72), 0.32), 0.45, 1.3) * texture
    flair = flair * (1 + rng.uniform(-0.5, 0.3) * core)
    if rng.random() < 0.1:
        cyst = np.clip((rng.uniform(0.2, 0.45) - arrival) / 0.06, 0, 1)
        flair = flair * (1 - cyst) - 0.5 * cyst
    dark = -np.clip(rng.normal(0.17, 0.13), -0.08, 0.5) * texture * (1 + 0.8 * core)
    enhancing = dark + rng.normal(0.0, 0.04)
    if rng.random() < 0.35:
        edge = rng.uniform(0.25, 0.6)
        rim = np.exp(-(((arrival - edge) / 0.07) ** 2)) * (texture > 0.9)
        enhancing = enhancing + rng.uniform(0.3, 1.2) * rim
    return [(body * change).astype(np.float32) for change in (dark, flair, enhancing)]


def _signal(phantom: Phantom, channel, habits, details, tumour, rng) -> np.ndarray:
    """Return the noise-free signal of one channel at the head's voxels."""
    table = {name: values[channel] for name, values in SIGNAL.items()}
    if channel != 1:
        table["grey"] += habits["grey_t1"] - 0.86
    table["fat"] *= habits["fat"] * rng.lognormal(0, 0.22)
    if rng.random() < DULL_FAT:
        table["fat"] *= rng.uniform(0.35, 0.7)
    for name in table:
        if name not in ("white", "air"):
            table[name] *= rng.lognormal(0, 0.05 if name == "grey" else 0.14)
    brain = _brain_signal(phantom, channel, table, details, rng) * (1 + tumour[channel])
    thickness = 0.9 + rng.uniform(1.2, 4.0) * phantom.slope
    inside = np.clip(0.5 - phantom.cavity_mm / thickness, 0, 1)
    signal = brain * inside + _shell_signal(phantom, table, details) * (1 - inside)
    lookup = np.array([table[name] for name in TISSUES], np.float32)
    labelled = phantom.labels > 0
    # A vessel's or a falx's label gives way to the tissue that a deformation or tumour put there.
    labelled &= (phantom.arrival > 1) | (phantom.cavity_mm > 0)
    painted = lookup[phantom.labels] * (1 + 0.12 * details["fine"])
    fatty = np.clip(details["broad"], 0, 2) * (phantom.labels == LABEL["muscle"])
    signal = np.where(labelled, painted * (1 + 0.3 * fatty), signal)
    skin = np.clip(0.5 - phantom.surface_mm / thickness, 0, 1)
    return np.maximum(signal * skin, 0).astype(np.float32)


def _brain_signal(phantom: Phantom, channel, table, details, rng) -> np.ndarray:
    """Signal inside the skull without the tumour."""
    grey, white = phantom.grey, phantom.white
    fluid = np.clip(1 - grey - white, 0, 1)
    signal = grey * table["grey"] + white * table["white"] + fluid * table["csf"]
    region = details["regions"][channel != 1]
    signal = signal * (1 + 0.03 * details["fine"] + 0.03 * details["broad"] + region)
    if channel == 1:
        signal = signal + rng.uniform(0, 0.5) * details["caps"] * table["white"]
        signal = signal + rng.uniform(0.2, 0.7) * details["spots"]
        signal = signal + rng.uniform(0, 0.4) * details["flow"] * fluid
    if channel == 2:
        signal = signal + rng.uniform(0.2, 1.2) * details["vessels"]
    return signal


def _shell_signal(phantom: Phantom, table, details) -> np.ndarray:
    """Signal of skull, marrow, scalp and skin, from the two distances."""
    cavity, surface = phantom.cavity_mm, phantom.surface_mm
    thickness = 0.8 + 2.0 * phantom.slope
    scalp = np.clip(0.5 + (cavity - details["skull"]) / thickness, 0, 1)
    middle = np.exp(-(((cavity - 0.5 * details["skull"]) / 1.3) ** 2))
    bone = table["bone"] + (table["marrow"] - table["bone"]) * 0.6 * middle
    skin = np.clip(0.5 + (surface + 1.6) / 0.8, 0, 1)
    soft = table["fat"] * (1 + 0.08 * details["fine"] + 0.1 * details["broad"])
    soft = soft * (1 - skin) + table["skin"] * skin
    return bone * (1 - scalp) + soft * scalp


def _noise_field(shape, rng) -> np.ndarray:
    """Complex noise, (2, slices, 256, 256), correlated as after an interpolation, SD 1."""
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    width = rng.uniform(0.3, 0.75)
    noise = ndimage.gaussian_filter(noise, (0, 0, width, width), mode="wrap", truncate=3)
    return noise / noise.std()


def _scan(signal, phantom: Phantom, name, habits, noise, rng) -> np.ndarray:
    """Blur, shade, ghost, add Rician noise, cut the field of view; return uint8 pictures."""
    picture = np.zeros(phantom.head.shape, np.float32)
    picture[phantom.head] = signal
    picture *= to_pixels(_coil(phantom, rng))
    widths = rng.uniform(0.45, 1.0, 2)
    picture = ndimage.gaussian_filter(picture, (0, *widths), truncate=3)
    if rng.random() < 0.3:
        shift = int(rng.integers(20, 110))
        picture = picture + rng.uniform(0.003, 0.02) * np.roll(picture, shift, axis=1)
    brightest = np.clip(habits["brightest"] * rng.lognormal(0, 0.15), 90, 225)
    level = np.float32(brightest / np.percentile(picture[phantom.head], 99.5))
    sigma = habits["noise"] * rng.lognormal(0, 0.3) * (1.4 if name == "flair" else 1.0)
    shifts = tuple(rng.integers(0, SIZE, 2))
    real, imaginary = np.roll(noise, shifts, axis=(2, 3)) * np.float32(sigma)
    picture = np.hypot(picture + real, imaginary)
    # What the scanner's software makes of the background: cut off, or lifted to a grey pedestal.
    picture = picture + np.float32(rng.uniform(-0.9, 0.6) * sigma)
    picture[_outside_field(phantom, name, rng)] = 0
    return np.clip(picture * level, 0, 255).astype(np.uint8)


def _coil(phantom: Phantom, rng) -> np.ndarray:
    """Smooth receive sensitivity on the coarse grid, around 1."""
    x, y, z = phantom.plane
    centre = rng.normal([0, -10, 10], [12, 15, 15])
    curvature = rng.normal([0.06, 0.06, 0.04], [0.06, 0.06, 0.04])
    gradient = rng.normal(0, 0.045, 3)
    field = np.ones_like(x)
    for line, middle, bend, slope in zip((x, y, z), centre, curvature, gradient, strict=True):
        scaled = (line - middle) / 80
        field = field + bend * (scaled**2 - 0.3) + slope * scaled
    return np.clip(field, 0.35, 1.9).astype(np.float32)


def _outside_field(phantom: Phantom, name, rng) -> np.ndarray:
    """Pixels that a turned acquisition did not cover, (slices, 256, 256) bool.

    FLAIR and post-contrast were resampled to the pre-contrast slices: where their own stack ends,
    black wedges are left.
    """
    if name == "pre" or rng.random() < 0.4:
        return np.zeros(phantom.head.shape, bool)
    x, y, z = phantom.plane
    tilt = rng.normal(0, 0.08, 2)
    height = z + tilt[0] * x + tilt[1] * y
    bottom = z.min() + rng.uniform(-6, 8)
    top = z.max() - rng.uniform(-6, 8)
    depth = np.minimum(height - bottom, top - height)
    turn = rng.normal(0, 0.05)
    width = x[0, 0, -1] - x[0, 0, 0]
    for across in (x - turn * y, y + turn * x):
        middle = across.mean() + rng.normal(0, 3)
        depth = np.minimum(depth, rng.uniform(0.46, 0.53) * width - np.abs(across - middle))
    return to_pixels(depth) < 0
