"""The loss lab of notebook 03: the focal Tversky loss with other exponents and weights.

One network, one budget, the same batches; only the loss differs. Every loss is trained three times,
each time on a simulated cohort of its own, so that the held-out patients of the notebook (seed 0)
have no say in which loss is taken.

    python -m utils.course.loss_lab

trains what is missing in runs/losses, a training that was cut off from its last epoch on, and
writes the tables in results/simulated.
"""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from utils import config
from utils.course import segmenter
from utils.course.run import Run, open_run
from utils.evaluation.segmentation import count_pixels, dice_from_counts
from utils.tables import read_table, write_table

SEEDS = (1, 2, 3)
EXPONENTS = (0.75, 1.0, 4 / 3)
WEIGHTS = ((0.5, 0.5), (0.7, 0.3), (0.8, 0.2))
# (weight of the missed, weight of the invented, exponent): every exponent with the course's weights
# and every pair of weights with the course's exponent.
SETTINGS = tuple(
    dict.fromkeys(
        [(0.7, 0.3, exponent) for exponent in EXPONENTS] + [(*pair, 4 / 3) for pair in WEIGHTS]
    )
)
FOLDER = config.RUNS / "losses"
TABLE = config.RESULTS / "simulated" / "losses.csv"
PATIENTS_TABLE = TABLE.with_name("losses_patients.csv")
PROVENANCE = TABLE.with_name("losses_provenance.json")
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scipy")


def losses_table() -> pd.DataFrame:
    """Return the stored table, one row a training.

    Returns
    -------
    pandas.DataFrame
        ``seed, fn_weight, fp_weight, exponent``; of the held-out patients of that seed the mean
        and median ``dice``, the mean ``sensitivity`` and ``precision`` by patient, all at the
        ``threshold`` with the best mean Dice on the validation patients (``dice_validation``);
        ``sensitivity_half, precision_half, dice_half`` at 0.5; ``best_epoch``, ``seconds``.
    """
    return read_table(TABLE)


def patients_table() -> pd.DataFrame:
    """Return the held-out patients of every training: ``patient, dice`` and its settings."""
    return read_table(PATIENTS_TABLE)


def train_one(run: Run, fn_weight: float, fp_weight: float, exponent: float):
    """Train with one loss on one cohort, or read what was trained; return its two tables.

    Parameters
    ----------
    run : Run
    fn_weight, fp_weight, exponent : float
        Of the focal Tversky loss.

    Returns
    -------
    dict
        A row of `losses_table`.
    pandas.DataFrame
        ``patient, dice`` of the held-out patients.
    """
    from utils.models.losses import FocalTversky

    name = f"{fn_weight:g}-{fp_weight:g}-{exponent:.3f}"
    folder = run.folder / f"loss-{name}"
    model, history = segmenter.train_with(run, FocalTversky(fn_weight, fp_weight, exponent), folder)
    rated = {part: rate(model, run.part(part)) for part in ("validation", "test")}
    means = rated["validation"].groupby("threshold")["dice"].mean()
    threshold = float(means.idxmax())
    test = rated["test"].set_index("threshold")
    chosen, half = test.loc[threshold], test.loc[0.5]
    row = {
        "seed": run.seed,
        "fn_weight": fn_weight,
        "fp_weight": fp_weight,
        "exponent": round(exponent, 4),
        "patients": len(chosen),
        "best_epoch": int(history["epoch"][history["val_dice"].idxmax()]),
        "threshold": threshold,
        "dice_validation": means.max(),
        "dice": chosen["dice"].mean(),
        "dice_median": chosen["dice"].median(),
        "sensitivity": chosen["sensitivity"].mean(),
        "precision": chosen["precision"].mean(),
        "dice_half": half["dice"].mean(),
        "sensitivity_half": half["sensitivity"].mean(),
        "precision_half": half["precision"].mean(),
        "seconds": round(history["seconds"].sum()),
    }
    return row, chosen[["patient", "dice"]].reset_index(drop=True)


def rate(model, part) -> pd.DataFrame:
    """Return Dice, sensitivity and precision of every patient at every threshold.

    Parameters
    ----------
    model : keras.Model
    part : Volumes
        Compared at the size that the network sees.

    Returns
    -------
    pandas.DataFrame
        ``threshold, patient, dice, sensitivity, precision``; Dice is 1 and the others are NaN
        where they would be 0/0.
    """
    from utils.models.inference import predict_images

    probabilities = predict_images(model, part.images)
    tables = []
    for threshold in segmenter.THRESHOLDS:
        counted = count_pixels(part.masks, probabilities > threshold)
        sums = counted.groupby(part.table["patient"].to_numpy()).sum()
        true, drawn, both = (sums[name] for name in ("tumour_px", "predicted_px", "overlap_px"))
        tables.append(
            pd.DataFrame(
                {
                    "threshold": threshold,
                    "patient": sums.index,
                    "dice": dice_from_counts(true, drawn, both, empty=1.0),
                    "sensitivity": (both / true.where(true > 0)).to_numpy(),
                    "precision": (both / drawn.where(drawn > 0)).to_numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def run_all(epochs: int, patients: int) -> None:
    """Do all trainings, seed by seed, and write the tables after each seed is complete."""
    for seed in SEEDS:
        folder = FOLDER / f"seed-{seed}-{patients}-patients-{epochs}-epochs"
        left = [one for one in SETTINGS if not _row_file(folder, one).exists()]
        if not left:
            continue
        run = open_run(
            seed=seed, run_folder=str(folder), patients=patients, segmenter_epochs=epochs
        )
        for setting in left:
            started = time.process_time()
            row, of_patients = train_one(run, *setting)
            write_table(_row_file(folder, setting).with_suffix(".patients.csv"), of_patients)
            write_table(_row_file(folder, setting), pd.DataFrame([row]))
            spent = time.process_time() - started
            print(f"seed {seed}, {setting}: Dice {row['dice']:.3f}, {spent:.0f} CPU s", flush=True)
    collect(epochs, patients)


def _row_file(folder: Path, setting: tuple) -> Path:
    return folder / "rows" / ("-".join(f"{value:.3f}" for value in setting) + ".csv")


def collect(epochs: int, patients: int) -> None:
    """Write the two tables and where they come from."""
    rows, of_patients = [], []
    for seed in SEEDS:
        folder = FOLDER / f"seed-{seed}-{patients}-patients-{epochs}-epochs"
        for setting in SETTINGS:
            path = _row_file(folder, setting)
            rows.append(read_table(path))
            fn_weight, fp_weight, exponent = setting
            of_patients.append(
                read_table(path.with_suffix(".patients.csv")).assign(
                    seed=seed, fn_weight=fn_weight, fp_weight=fp_weight, exponent=round(exponent, 4)
                )
            )
    table = pd.concat(rows, ignore_index=True)
    write_table(TABLE, table.round(4))
    columns = ["seed", "fn_weight", "fp_weight", "exponent", "patient", "dice"]
    write_table(PATIENTS_TABLE, pd.concat(of_patients, ignore_index=True)[columns].round(4))
    config.write_json(PROVENANCE, _provenance(table, epochs, patients))
    print(f"written: {TABLE}")


def _provenance(table: pd.DataFrame, epochs: int, patients: int) -> dict:
    from utils.models.precision import resolve_precision

    return {
        "command": "python -m utils.course.loss_lab",
        "cohorts": "simulated, one of its own for every seed, split by patient",
        "patients_each": patients,
        "epochs": epochs,
        "steps_per_epoch": segmenter.STEPS_PER_EPOCH,
        "batch_size": segmenter.BATCH_SIZE,
        "trainings": len(table),
        "precision": resolve_precision("auto"),
        "seconds": int(table["seconds"].sum()),
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=config.ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def main() -> None:
    """Train what is missing, with the epochs and patients given, or the course's own."""
    epochs, patients = (int(word) for word in (sys.argv[1:] + ["5", "60"][len(sys.argv) - 1 :]))
    run_all(epochs, patients)


if __name__ == "__main__":
    sys.exit(config.command(main))
