"""What a segmenter makes of pictures that it should not be believed on.

One patient, spoilt in ways that happen, and pictures of other things. Every model answers all of
them; here the answers are put beside two measures of doubt, agreement and distance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from utils.cohort.statistics import missing_sequences
from utils.cohort.table import true_masks
from utils.cohort.volumes import read_volume, resize_mask
from utils.course.detector import pooled_features
from utils.course.run import Run
from utils.evaluation.agreement import agreement
from utils.evaluation.out_of_distribution import Familiar
from utils.evaluation.segmentation import dice
from utils.models import resnet50
from utils.models.files.settings import Postprocessing
from utils.models.inference import predict_images
from utils.models.test_time_augmentation import VIEWS, Spread, predict_views, spread
from utils.patient import perturbations
from utils.patient.axial import PIXEL_MM
from utils.patient.read import Patient

# Of a volume's slices, every second one is asked about: neighbours are much alike.
EVERY = 2
# Taken for the distance of slices where a patient's files do not state it.
SLICE_MM = 6.0


def example_patient(run: Run) -> str:
    """Return the held-out patient with a tumour of middling size, and no sequence missing."""
    missing = missing_sequences(run.part("test")).set_index("patient")
    whole = missing.index[~(missing["pre_contrast"] | missing["post_contrast"])]
    sizes = run.part("test").table.groupby("patient")["tumour_px"].sum()
    sizes = sizes[whole if len(whole) else sizes.index].sort_values(kind="stable")
    return sizes.index[len(sizes) // 2]


def export_example(run: Run) -> Path:
    """Write `example_patient` as NIfTI into the run folder; return the folder with the files."""
    name = example_patient(run)
    rows = run.table[run.table["patient"] == name]
    folder = run.folder / "own_patient" / name
    return perturbations.write_example(read_volume(rows), true_masks(rows), folder)


def unreliable_inputs(patient: Patient) -> dict[str, Patient]:
    """Return a patient as it is, spoilt in several ways, and pictures of other things."""
    mm = patient.grid.voxel_mm[2] if patient.grid else SLICE_MM
    voxel_mm = (PIXEL_MM, PIXEL_MM, mm)
    return {
        "as it is": patient,
        "mirrored": perturbations.mirrored(patient),
        "only FLAIR": perturbations.without(patient, "pre", "post"),
        "pre and post exchanged": perturbations.exchanged(patient, "pre", "post"),
        "FLAIR and post exchanged": perturbations.exchanged(patient, "flair", "post"),
        "skull-stripped": perturbations.skull_stripped(patient),
        "coronal slices": perturbations.other_plane(patient, "coronal", voxel_mm),
        "sagittal slices": perturbations.other_plane(patient, "sagittal", voxel_mm),
    } | {
        name: perturbations.from_picture(load(), name)
        for name, load in perturbations.FOREIGN.items()
    }


@dataclass(frozen=True)
class Answer:
    """What a segmenter says about some slices of one patient.

    Attributes
    ----------
    pictures : ndarray of uint8, shape (slices, size, size, 3)
        Normalised.
    truth : ndarray of uint8, shape (slices, size, size), or None
    spread : Spread
    """

    pictures: np.ndarray
    truth: np.ndarray | None
    spread: Spread

    @property
    def mask(self) -> np.ndarray:
        """What the segmenter draws on the pictures as they are, (slices, size, size)."""
        return self.spread.masks[0]

    @property
    def dice(self) -> float:
        """Dice of that with the truth; NaN without one."""
        return np.nan if self.truth is None else dice(self.truth, self.mask)


def segment_in_views(
    model,
    patients: Mapping[str, Patient],
    settings: Postprocessing,
) -> dict[str, Answer]:
    """Have every second slice of some patients segmented in the first three views.

    Parameters
    ----------
    model : keras.Model
        A segmenter.
    patients : mapping
    settings : Postprocessing
    """
    size = model.input_shape[1]
    pictures = {name: patient.pictures(size)[::EVERY] for name, patient in patients.items()}
    # All together, so that only one batch has to be filled up.
    maps = predict_views(model, np.concatenate(list(pictures.values())), VIEWS[:3])
    ends = np.cumsum([len(each) for each in pictures.values()])
    answers = {}
    for (name, own), end in zip(pictures.items(), ends, strict=True):
        traced = patients[name].truth
        truth = None
        if traced is not None:
            truth = np.stack([resize_mask(each, (size, size)) for each in traced[::EVERY]])
        answers[name] = Answer(own, truth, spread(maps[:, end - len(own) : end], settings))
    return answers


def agreement_and_dice(run: Run, model, settings: Postprocessing):
    """Return how well the members agree on the validation patients, and how right they are.

    Returns
    -------
    pandas.DataFrame
        ``patient, agreement, dice``.
    ndarray of float16, shape (members, n, size, size)
        What the members say about every second slice of them.
    ndarray of uint8, shape (n, size, size)
        The truth of these slices.
    """
    volumes = run.part("validation")
    table, truths = volumes.table[::EVERY], volumes.masks[::EVERY]
    maps = predict_views(model, volumes.images[::EVERY], VIEWS[:3])
    rows = []
    for patient in volumes.patients:
        own = (table["patient"] == patient).to_numpy()
        members = spread(maps[:, own], settings).masks
        rows.append((patient, agreement(members), dice(truths[own], members[0])))
    return pd.DataFrame(rows, columns=["patient", "agreement", "dice"]), maps, truths


def stored_features(run: Run, model: keras.Model, part: str) -> np.ndarray:
    """Return the detector's `pooled_features` of every second slice of a part, (n, features)."""
    return pooled_features(run, model, np.flatnonzero(run.in_part(part))[::EVERY])


def distances(
    answers: Mapping[str, Answer], model: keras.Model, familiar: Familiar
) -> dict[str, np.ndarray]:
    """Return the distance of each slice to the training slices, by the detector's features."""
    pictures = np.concatenate([answer.pictures for answer in answers.values()])
    found = familiar.distance(predict_images(resnet50.pooled_of(model), pictures))
    ends = np.cumsum([len(answer.pictures) for answer in answers.values()])
    return dict(zip(answers, np.split(found, ends[:-1]), strict=True))


def summary(
    answers: Mapping[str, Answer], far: Mapping[str, np.ndarray], threshold: float
) -> pd.DataFrame:
    """Return one row for each name.

    Returns
    -------
    pandas.DataFrame
        Indexed by name: ``distance`` (median over slices), ``flagged`` (whether more than half of
        the slices lie beyond the threshold), ``agreement`` of the members, ``drawn`` (share of
        the slices with something drawn), ``dice`` (NaN without truth).
    """
    rows = {
        name: {
            "distance": float(np.median(far[name])),
            "flagged": bool((far[name] > threshold).mean() > 0.5),
            "agreement": agreement(answer.spread.masks),
            "drawn": float(answer.mask.any(axis=(1, 2)).mean()),
            "dice": answer.dice,
        }
        for name, answer in answers.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
