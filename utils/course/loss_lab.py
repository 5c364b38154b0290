"""The loss lab of notebook 03: the focal Tversky loss with other exponents and weights.

One network, one budget, the same batches; only the loss differs. Every loss is trained three times,
from other first weights and on other batches, on a simulated cohort that the notebook does not use,
so that its held-out patients have no say in which loss is taken.

    python -m utils.course.loss_lab

trains what is missing in runs/losses and writes the tables in results/simulated.
"""

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from utils import config
from utils.course import segmenter
from utils.course.run import Run, open_run
from utils.evaluation.segmentation import count_pixels, dice_from_counts
from utils.runtime.versions import commit, versions
from utils.tables import read_table, write_table

# Of the first weights and the batches.
SEEDS = (1, 2, 3)
COHORT_SEED = 1
EXPONENTS = (0.75, 1.0, 4 / 3)
WEIGHTS = ((0.5, 0.5), (0.7, 0.3), (0.8, 0.2))
# (weight of the missed, weight of the invented, exponent): every exponent with the course's weights
# and every pair of weights with the course's exponent.
SETTINGS = tuple(
    dict.fromkeys(
        [(0.7, 0.3, exponent) for exponent in EXPONENTS] + [(*pair, 4 / 3) for pair in WEIGHTS]
    )
)
# A smaller network than the course's, and smaller images: fifteen trainings in a few minutes.
PATIENTS, SIZE, FILTERS, EPOCHS = 60, 96, (16, 32, 64), 5
# Higher ones than the course tries: a loss that punishes missed pixels draws too much.
THRESHOLDS = (*segmenter.THRESHOLDS, 0.9, 0.95, 0.98, 0.99, 0.995)
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
        ``seed, fn_weight, fp_weight, exponent``; of the held-out patients the mean and median
        ``dice`` and the mean ``sensitivity`` and ``precision``, at the ``threshold`` with the best
        mean Dice on the validation patients (``dice_validation``); ``dice_half,
        sensitivity_half, precision_half`` at 0.5; ``cpu_seconds``.
    """
    return read_table(TABLE)


def patients_table() -> pd.DataFrame:
    """Return the held-out patients of every training: ``patient, dice`` and its settings."""
    return read_table(PATIENTS_TABLE)


def _adjustable_loss():
    """Return a focal Tversky loss whose three numbers are variables.

    With numbers, every loss would have the network compiled anew, which takes as long as half of
    its training.
    """
    import keras

    from utils.models.losses import FocalTversky

    values = [keras.Variable(1.0, trainable=False, dtype="float32") for _ in range(3)]
    return FocalTversky(*values), values


class Trainer:
    """Trains one network again and again, each time from the start and with another loss.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run):
        import keras

        from utils.models import resunet, training
        from utils.models.precision import set_precision

        set_precision()
        self.run = run
        self.model = resunet.resunet(SIZE, FILTERS)
        loss, self.values = _adjustable_loss()
        rate = training.cosine_schedule(segmenter.LEARNING_RATE, EPOCHS * segmenter.STEPS_PER_EPOCH)
        self.model.compile(
            optimizer=keras.optimizers.Adam(rate), loss=loss, jit_compile=training.fastest_jit()
        )
        self.model.optimizer.build(self.model.trainable_variables)

    def train(self, setting: tuple, seed: int, data) -> None:
        """Train from the first weights of a seed.

        Parameters
        ----------
        setting : tuple of float
            Weight of the missed, weight of the false positives, exponent.
        seed : int
        data : tf.data.Dataset
            All batches of the training.
        """
        import keras

        from utils.models import resunet

        self.model.set_weights(resunet.resunet(SIZE, FILTERS, seed=seed).get_weights())
        for variable in self.model.optimizer.variables:
            variable.assign(keras.ops.zeros_like(variable))  # also where one is no number
        for variable, value in zip(self.values, setting, strict=True):
            variable.assign(value)
        self.model.fit(
            data, epochs=EPOCHS, steps_per_epoch=segmenter.STEPS_PER_EPOCH, shuffle=False, verbose=0
        )


def batches_of(run: Run, seed: int):
    """Return all batches of a training with a seed, the same whenever they are gone through."""
    from utils.models.batches import training_batches

    part, plan = run.part("train"), replace(segmenter.batch_plan(run), seed=seed)
    return training_batches(part.images, part.masks, plan)[0]


def measure(model, run: Run, setting: tuple, seed: int) -> tuple[dict, pd.DataFrame]:
    """Return a row of `losses_table` and the rows of `patients_table` for a trained network."""
    rated = {part: rate(model, run.part(part)) for part in ("validation", "test")}
    means = rated["validation"].groupby("threshold")["dice"].mean()
    threshold = float(means.idxmax())
    test = rated["test"].set_index("threshold")
    chosen, half = test.loc[threshold], test.loc[0.5]
    fn_weight, fp_weight, exponent = setting
    which = {"seed": seed, "fn_weight": fn_weight, "fp_weight": fp_weight}
    which["exponent"] = round(exponent, 4)
    row = which | {
        "patients": len(chosen),
        "threshold": threshold,
        "dice_validation": means.max(),
        "dice": chosen["dice"].mean(),
        "dice_median": chosen["dice"].median(),
        "sensitivity": chosen["sensitivity"].mean(),
        "precision": chosen["precision"].mean(),
        "dice_half": half["dice"].mean(),
        "sensitivity_half": half["sensitivity"].mean(),
        "precision_half": half["precision"].mean(),
    }
    return row, chosen[["patient", "dice"]].reset_index(drop=True).assign(**which)


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

    patients = part.table["patient"].to_numpy()
    probabilities = predict_images(model, part.images)
    tables = []
    for threshold in THRESHOLDS:
        sums = count_pixels(part.masks, probabilities >= threshold).groupby(patients).sum()
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


def run_all() -> None:
    """Do all trainings that are missing, seed by seed, then write the tables.

    Each leaves its row in a folder that is named after what decides all of them: a row of another
    cohort, network or length is not taken for one of these.
    """
    run = open_run(
        seed=COHORT_SEED,
        run_folder=str(FOLDER),
        patients=PATIENTS,
        size=SIZE,
        segmenter_epochs=EPOCHS,
    )
    decided_by = json.dumps(run.identity | _training(), sort_keys=True)
    rows = FOLDER / f"rows-{hashlib.sha256(decided_by.encode()).hexdigest()[:12]}"
    trainer = None
    for seed in SEEDS:
        left = [setting for setting in SETTINGS if not _row_file(rows, seed, setting).exists()]
        if not left:
            continue
        trainer, data = trainer or Trainer(run), batches_of(run, seed)
        for setting in left:
            started = time.process_time()
            trainer.train(setting, seed, data)
            row, of_patients = measure(trainer.model, run, setting, seed)
            row["cpu_seconds"] = round(time.process_time() - started)
            path = _row_file(rows, seed, setting)
            write_table(path.with_suffix(".patients.csv"), of_patients)
            write_table(path, pd.DataFrame([row]))
            words = f"Dice {row['dice']:.3f}, {row['cpu_seconds']} CPU s"
            print(f"seed {seed}, {setting}: {words}", flush=True)
    _collect(rows)


def _training() -> dict:
    """Return what is the same in all trainings, but for cohort and split."""
    from utils.models.precision import resolve_precision

    return {
        "network": "utils.models.resunet",
        "filters": FILTERS,
        "size": SIZE,
        "epochs": EPOCHS,
        "steps_per_epoch": segmenter.STEPS_PER_EPOCH,
        "batch_size": segmenter.BATCH_SIZE,
        "learning_rate": segmenter.LEARNING_RATE,
        "tumour_share": segmenter.TUMOUR_SHARE,
        "precision": resolve_precision("auto"),
    }


def _row_file(rows: Path, seed: int, setting: tuple) -> Path:
    name = "-".join(f"{value:.3f}" for value in setting)
    return rows / f"seed-{seed}-{name}.csv"


def _collect(rows: Path) -> None:
    """Write the two tables and where they come from."""
    files = [_row_file(rows, seed, setting) for seed in SEEDS for setting in SETTINGS]
    table = pd.concat([read_table(path) for path in files], ignore_index=True)
    of_patients = [read_table(path.with_suffix(".patients.csv")) for path in files]
    write_table(TABLE, table.round(4))
    columns = ["seed", "fn_weight", "fp_weight", "exponent", "patient", "dice"]
    write_table(PATIENTS_TABLE, pd.concat(of_patients, ignore_index=True)[columns].round(4))
    config.write_json(PROVENANCE, _provenance(table))
    print(f"written: {TABLE}")


def _provenance(table: pd.DataFrame) -> dict:
    return {
        "command": "python -m utils.course.loss_lab",
        "cohort": f"simulated, {PATIENTS} patients, seed {COHORT_SEED}, split by patient",
        "seeds": "of the first weights and the batches",
        **_training(),
        "trainings": len(table),
        "cpu_seconds": int(table["cpu_seconds"].sum()),
        "commit": commit(),
        "versions": versions(PACKAGES),
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(config.command(run_all))
