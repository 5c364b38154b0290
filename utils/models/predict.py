"""Predict a cohort that was never seen: slices.csv and a mask a slice."""

import os
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from utils.cohort.layout import LONGEST_NAME, RESULTS_TABLE as TABLE
from utils.cohort.table import cohort_to_predict
from utils.cohort.volumes import CHANNELS, Prepared, View, arrange_channels, flair_of, read_views
from utils.config import RESULTS, RUNS, CourseError, atomic_path, prepare_folder
from utils.models.files.checks import (
    check_detector,
    check_kind,
    check_probabilities,
    check_segmenter,
)
from utils.models.files.onnx_model import OnnxModel, check_onnx
from utils.models.files.settings import Postprocessing, detector_settings, segmenter_settings
from utils.models.inference import predict_together
from utils.models.postprocessing import combine, postprocess, slice_scores, smooth_slices
from utils.models.refinement import refine
from utils.runtime.memory import release
from utils.tables import write_table

# How the model files of each engine end.
SUFFIXES = {"keras": ".keras", "onnx": ".onnx"}
# How many patients are read before their turn, and how many wait to be written: each takes memory.
AHEAD = 2
# After how many slices freed memory is given back to the system, see `predict_table`.
RELEASED_AFTER = 128


@dataclass(frozen=True)
class Networks:
    """What predicts a patient: two networks and what was decided with them.

    Attributes
    ----------
    detector : keras.Model or OnnxModel
    detector_settings : dict
        Its settings file, see `slice_probabilities`.
    segmenter : keras.Model or OnnxModel
    postprocessing : Postprocessing
    channels : str
        The channels that the segmenter takes, see `volumes.arrange_channels`.
    view : View
        How it is shown the slices.
    files : tuple of path-like
        Where the two come from, for messages.
    """

    detector: object
    detector_settings: dict
    segmenter: object
    postprocessing: Postprocessing
    channels: str
    view: View
    files: tuple = ("the detector", "the segmenter")


def default_models(engine: str = "keras") -> tuple[Path, Path]:
    """Return the detector and the segmenter to use when none is named.

    The models trained on the real cohort come first, then those of the default course run; as
    ONNX files, those that `python -m utils.export` made.

    Parameters
    ----------
    engine : {"keras", "onnx"}
        What is to compute them.

    Raises
    ------
    CourseError
        If there are neither.
    """
    folders = (RUNS / "export",) if engine == "onnx" else (RESULTS / "lgg", RUNS / "simulated")
    for folder in folders:
        files = tuple(folder / f"{name}{SUFFIXES[engine]}" for name in ("detector", "segmenter"))
        if all(file.exists() for file in files):
            return files
    if engine == "onnx":
        raise CourseError(
            "no detector.onnx and segmenter.onnx in runs/export: `python -m utils.export`, where "
            "TensorFlow is installed, makes them; or name them with --detector and --segmenter"
        )
    raise CourseError(
        "no trained models in results/lgg or runs/simulated: run `make course` first, "
        "or name them with --detector and --segmenter"
    )


def check_file(file: Path, engine: str = "keras") -> None:
    """Refuse a model file of another kind than an engine computes, before anything is loaded.

    Raises
    ------
    CourseError
    """
    if engine == "onnx":
        check_onnx(file)
    else:
        check_kind(file)


def load_network(file: Path, engine: str = "keras", precision="auto"):
    """Return a network from a file, by whichever engine computes it.

    Parameters
    ----------
    file : path-like
    engine : {"keras", "onnx"}
    precision : str
        In which Keras computes, see `resolve_precision`.

    Returns
    -------
    keras.Model or OnnxModel

    Raises
    ------
    CourseError
        If the file is missing, damaged or of another kind.
    """
    check_file(file, engine)
    if engine == "onnx":
        return OnnxModel(file)
    # Only now, because it takes seconds and a file of another kind should not wait for it; and
    # the other engine does without Keras.
    from utils.models.files.saving import load_model

    return load_model(file, precision)


def load_detector(file: Path, engine: str = "keras", precision="auto"):
    """Return a detector that takes pictures, and the settings that belong to it.

    Where a file holds only the blocks that were fine-tuned, as in results/lgg, what comes before
    them is taken from ImageNet's weights.

    Parameters
    ----------
    file, engine, precision
        See `load_network`.

    Returns
    -------
    keras.Model or OnnxModel
        (batch, size, size, 3), 0..255 -> (batch, 1) probabilities.
    dict

    Raises
    ------
    CourseError
        If a file is missing, damaged or no detector's, or ImageNet's weights are needed and
        cannot be had.
    """
    model = load_network(file, engine, precision)
    if engine == "onnx":
        check_detector(model, file)
        return model, detector_settings(file)
    # As in `load_network`.
    import keras

    from utils.models.resnet50 import TRUNK_FEATURES, fold, folded_trunk

    check_detector(model, file, TRUNK_FEATURES)
    settings = detector_settings(file)
    if model.input_shape[-1] == 3:
        return fold(model), settings
    from utils.models.files.imagenet import imagenet_resnet50

    trunk = folded_trunk(16 * model.input_shape[1], imagenet_resnet50())
    return keras.Model(trunk.input, model(trunk.output), name="whole_detector"), settings


def predict_cohort(
    cohort: Path, out: Path, detector_file: Path, segmenter_file: Path, engine: str = "keras"
) -> Path:
    """Predict every slice of a cohort and write table and masks.

    Reading, the models and writing overlap: the next patients are read, and the last ones
    written, while the models run.

    Parameters
    ----------
    cohort : path-like
        Folder or zip in the cohort layout; masks in it are ignored.
    out : path-like
        Folder for ``slices.csv`` and ``masks/``.
    detector_file, segmenter_file : path-like
        ``.keras`` files, or ``.onnx`` files for the engine "onnx", each with its settings in a
        ``.json`` of the same name.
    engine : {"keras", "onnx"}
        What computes them.

    Returns
    -------
    pathlib.Path
        The table that was written, with ``patient, slice, p_tumour, tumour_px``.

    Raises
    ------
    CourseError
        If the cohort or a model cannot be read, or another prediction is written to `out`.
    """
    # Keras takes seconds to import: a wrong path is told before that.
    with cohort_to_predict(cohort, out) as table:
        prepare_out(Path(out), table)
        networks = load_networks(detector_file, segmenter_file, engine)
        return predict_table(table, out, networks)


def prepare_out(out: Path, table: pd.DataFrame) -> None:
    """Make the folder for predictions, and see that all that is to be written can be.

    Raises
    ------
    CourseError
        If something stands in the way, or a name would be too long.
    """
    prepare_folder(out)
    prepare_folder(out / "masks")
    if (out / TABLE).is_dir():
        raise CourseError(f"{out / TABLE}: is a folder where the table goes; choose another")
    for patient, number in zip(table["patient"], table["slice"], strict=True):
        if len(os.fsencode(mask_name(patient, number))) > LONGEST_NAME:
            raise CourseError(
                f"patient {patient}: a name too long for its masks, which are called "
                "<patient>_<n>_mask.png; shorten it to 240 letters at most"
            )


def mask_name(patient: str, number: int) -> str:
    """Return the name of a slice's mask."""
    return f"{patient}_{number}_mask.png"


def load_networks(
    detector_file: Path, segmenter_file: Path, engine: str = "keras", precision="auto"
) -> Networks:
    """Return a detector and a segmenter, ready to predict, with what was decided with them.

    Parameters
    ----------
    detector_file, segmenter_file : path-like
    engine, precision : str
        See `load_network`.

    Raises
    ------
    CourseError
        If a file cannot be read, or is not what it is given as.
    """
    detector_file, segmenter_file = Path(detector_file), Path(segmenter_file)
    check_file(segmenter_file, engine)
    detector, settings = load_detector(detector_file, engine, precision)
    segmenter = load_network(segmenter_file, engine, precision)
    check_segmenter(segmenter, segmenter_file)  # before its settings: it may be a detector
    chosen = segmenter_settings(segmenter_file)
    check_segmenter(segmenter, segmenter_file, [CHANNELS[chosen.channels]])
    view = View(segmenter.input_shape[1], chosen.grey_levels, chosen.frame)
    return Networks(
        detector,
        settings,
        segmenter,
        chosen.postprocessing,
        chosen.channels,
        view,
        (detector_file, segmenter_file),
    )


def predict_table(table: pd.DataFrame, out: Path, networks: Networks) -> Path:
    """Predict the slices of a cohort table and write table and masks, as `predict_cohort` does.

    The memory that it takes does not depend on the number of patients: only a few are in memory at
    a time, and what is freed goes back to the system. What an earlier prediction left in `out` is
    removed: its table at once, since masks of two predictions do not go with it, and at the end its
    masks of other slices.

    Raises
    ------
    CourseError
        If a file cannot be read, a patient's FLAIR is empty, or a network answers with no
        probabilities.
    """
    (Path(out) / TABLE).unlink(missing_ok=True)
    views = [View(networks.detector.input_shape[1]), networks.view]
    channels = ["sequences", networks.channels]
    groups = [rows for _, rows in table.groupby("patient", sort=False)]
    # What is needed to write each patient, in order. Not `itertools.tee` of what is read: it keeps
    # up to 57 patients that both of its readers are done with.
    shown: deque[tuple[Prepared, np.ndarray]] = deque()
    writing: deque[Future] = deque()
    written: list[pd.DataFrame] = []
    kept = 0

    def inputs():
        for prepared, given in _read_ahead(readers, groups, views, channels):
            # A copy: a view would keep the other channels in memory until it is written.
            shown.append((prepared, flair_of(given[1]).copy()))
            yield given

    with (
        ThreadPoolExecutor(max_workers=1) as readers,
        ThreadPoolExecutor(max_workers=1) as writers,
        tqdm(total=len(table), unit="slice", desc="predict", disable=None) as bar,
    ):
        predicted = predict_together([networks.detector, networks.segmenter], inputs())
        for rows, (detected, own) in zip(groups, predicted, strict=True):
            for values, file in zip((detected, own), networks.files, strict=True):
                check_probabilities(values, file)
            detected = slice_probabilities(detected, own, networks.detector_settings)
            prepared, flair = shown.popleft()
            writing.append(
                writers.submit(
                    _write_patient,
                    rows,
                    detected,
                    own,
                    flair,
                    prepared,
                    networks.postprocessing,
                    Path(out),
                )
            )
            if len(writing) > AHEAD:
                written.append(writing.popleft().result())
            kept += len(rows)
            if kept >= RELEASED_AFTER:
                release()
                kept = 0
            bar.update(len(rows))
        slices = pd.concat([*written, *(one.result() for one in writing)], ignore_index=True)
    _remove_others(Path(out) / "masks", slices)
    return write_table(Path(out) / TABLE, slices)


def _remove_others(masks: Path, slices: pd.DataFrame) -> None:
    """Remove the masks of slices that are not in a table, and the folders that are empty then.

    What a prediction does not write stays: files of other names, and what links lead to.
    """
    named = zip(slices["patient"], slices["slice"], strict=True)
    kept = {masks / patient / mask_name(patient, number) for patient, number in named}
    folders = [one for one in masks.iterdir() if one.is_dir() and not one.is_symlink()]
    for folder in folders:
        is_mask = re.compile(re.escape(folder.name) + r"_[0-9]+_mask\.png").fullmatch
        others = [file for file in folder.iterdir() if is_mask(file.name) and file not in kept]
        for file in others:
            file.unlink()
        if others and not any(folder.iterdir()):
            folder.rmdir()


def slice_probabilities(p_detector, maps, settings: dict) -> np.ndarray:
    """Return the probability of tumour in each slice of a patient, by a detector's settings.

    With ``combination`` in the settings, it is made from detector and segmenter together, see
    `combine`; otherwise it is the detector's alone.

    Parameters
    ----------
    p_detector : ndarray of float, shape (slices,), 0..1
        Calibrated.
    maps : ndarray of float, shape (slices, height, width), 0..1
        What the segmenter says about all slices of the patient, in order.
    settings : dict
        The detector's settings file; with ``combination``, ``neighbours`` as well, see
        `smooth_slices`.

    Returns
    -------
    ndarray of float, shape (slices,), 0..1

    Examples
    --------
    >>> import numpy as np
    >>> from utils.models.predict import slice_probabilities
    >>> slice_probabilities(np.array([0.25]), maps=np.array([[[0.75]]]), settings={}).tolist()
    [0.25]
    >>> weights = {"detector": 0, "segmenter": 1, "intercept": 0}
    >>> settings = {"combination": weights, "neighbours": 0}
    >>> slice_probabilities(np.array([0.25]), np.array([[[0.75]]]), settings).round(3).tolist()
    [0.75]
    """
    if "combination" not in settings:
        return p_detector
    scores = slice_scores(smooth_slices(maps, settings["neighbours"]))
    return combine(p_detector, scores, settings["combination"])


def _read_ahead(readers: ThreadPoolExecutor, groups: list, views: list, channels: list):
    """Yield what `_read_patient` returns for each group, having started the next ones."""
    waiting: list[Future] = []
    for rows in groups:
        waiting.append(readers.submit(_read_patient, rows, views, channels))
        if len(waiting) > AHEAD:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _read_patient(
    rows: pd.DataFrame, views: list[View], channels: list[str]
) -> tuple[Prepared, list[np.ndarray]]:
    """Return what the last view shows of a patient, and for each model the pictures it takes."""
    prepared = read_views(rows, views)
    if all(np.ptp(prepared[view].images[..., 1]) == 0 for view in views):
        raise CourseError(
            f"patient {rows['patient'].iloc[0]}: FLAIR is empty, the same grey throughout the "
            "head; export it again"
        )
    inputs = [
        arrange_channels(prepared[view].images, name)
        for view, name in zip(views, channels, strict=True)
    ]
    return replace(prepared[views[-1]], images=None), inputs


def _write_patient(rows, p_tumour, probabilities, flair, prepared, settings, out) -> pd.DataFrame:
    """Write the masks of one patient; return its rows of the table."""
    refined = refine(probabilities, flair, settings.refinement)
    masks = postprocess(refined, settings, prepared.shape, prepared.square)
    for row, mask in zip(rows.itertuples(), masks, strict=True):
        name = mask_name(row.patient, row.slice)
        # In memory first: Pillow takes three times as long to write to a file.
        encoded = BytesIO()
        Image.fromarray(mask * np.uint8(255)).save(encoded, "PNG", compress_level=1)
        with atomic_path(out / "masks" / row.patient / name) as temporary:
            temporary.write_bytes(encoded.getbuffer())
    table = rows[["patient", "slice"]].copy()
    table["p_tumour"] = np.round(p_tumour, 6)
    table["tumour_px"] = masks.sum(axis=(1, 2), dtype=int)
    return table
