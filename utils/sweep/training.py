"""One training of a sweep, judged by the validation patients alone; and the table of all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from utils import config
from utils.cluster.provenance import made_with
from utils.cluster.tasks import Task
from utils.course.features import trunk_features
from utils.course.run import Run, open_run
from utils.runtime.memory import release
from utils.sweep.grid import LOSSES, OF_TVERSKY, combinations, label
from utils.tables import write_table

RESULT = "result.json"
# What the epochs of each network are chosen by, as its training does, and whether more is better.
CHOSEN_BY = {"segmenter": ("val_dice", True), "detector": ("val_loss", False)}
SCORES = {"segmenter": ("val_dice",), "detector": ("val_loss", "val_auc")}
_HERE = "utils.sweep.training"
_DESCRIBING = "detector: what its frozen part makes of each slice"


def folder_of(run: Run, network: str) -> Path:
    """Return the folder with the trainings of a network's sweep; the table lies beside it."""
    return run.folder / "sweep" / network


def planned(run: Run, network: str, grid: Mapping, parameters: dict) -> list[Task]:
    """Return a task for each combination that is not done.

    Parameters
    ----------
    run : Run
    network : {"segmenter", "detector"}
    grid : mapping
        From `read_grid`.
    parameters : dict
        Those of `open_run`, with absolute paths: each task opens the run anew.
    """
    folder = folder_of(run, network)
    tasks = [
        Task(
            f"{network}: {', '.join(f'{name} {value}' for name, value in values.items())}",
            f"{_HERE}:train",
            (parameters, network, values),
            folder / label(values),
            "try other values",
            after=(_DESCRIBING,),
        )
        for values in combinations(grid)
        if not _is_done(run, network, folder / label(values))
    ]
    if tasks and network == "detector":
        # Computed once, and read by each training.
        function = f"{_HERE}:describe_slices"
        tasks.insert(0, Task(_DESCRIBING, function, (parameters,), folder, "wait until it is done"))
    return tasks


def _decided_by(run: Run, network: str) -> dict:
    """Return what decides a training beside its values: where they leave the epochs, those too."""
    epochs = getattr(run.parameters, f"{network}_epochs")
    return run.identity | {"epochs": epochs}


def _is_done(run: Run, network: str, folder: Path) -> bool:
    return config.read_json(folder / RESULT).get("run") == _decided_by(run, network)


def describe_slices(parameters: dict) -> None:
    """Compute what the frozen part of the detector makes of each slice, once for the run."""
    trunk_features(open_run(**parameters))


def train(parameters: dict, network: str, values: dict) -> None:
    """Train a network with one combination, and write how it does on the validation patients.

    A training that diverges has no scores.

    Parameters
    ----------
    parameters : dict
        Of `open_run`.
    network : {"segmenter", "detector"}
    values : dict
        One of `combinations`.
    """
    run, note = open_run(**parameters), made_with()
    folder = folder_of(run, network) / label(values)
    decided_by = _decided_by(run, network)
    if _is_done(run, network, folder):
        return
    if "epochs" in values:
        epochs = {f"{network}_epochs": values["epochs"]}
        run = replace(run, parameters=replace(run.parameters, **epochs))
    # Only here: it loads TensorFlow.
    from utils.models.training import Diverged

    training = _segmenter if network == "segmenter" else _detector
    try:
        result = _best(training(run, values, folder / "training"), network)
    except Diverged as error:
        print(f"{label(values)}: {error}", flush=True)
        result = dict.fromkeys(("epoch", *SCORES[network], "seconds"))
    kept = {"values": values, **result, "run": decided_by, "made_with": note}
    config.write_json(folder / RESULT, kept)
    release()


def _best(history: pd.DataFrame, network: str) -> dict:
    """Return the best epoch and its scores, and the seconds of all."""
    column, more_is_better = CHOSEN_BY[network]
    best = history[column].idxmax() if more_is_better else history[column].idxmin()
    return {
        "epoch": int(history["epoch"][best]),
        **{name: round(float(history[name][best]), 6) for name in SCORES[network]},
        "seconds": round(float(history["seconds"].sum())),
    }


def _segmenter(run: Run, values: dict, folder: Path) -> pd.DataFrame:
    # Here and below: it loads TensorFlow.
    from utils.course import segmenter

    loss = segmenter.LOSSES[values.get("loss", LOSSES[0])]
    of_loss = {name: values[name] for name in OF_TVERSKY if name in values}
    if "fn_weight" in of_loss:
        of_loss["fp_weight"] = 1 - of_loss["fn_weight"]
    others = {name: values[name] for name in ("rate", "tumour_share") if name in values}
    return segmenter.train_with(run, loss(**of_loss), folder, **others)[1]


def _detector(run: Run, values: dict, folder: Path) -> pd.DataFrame:
    from utils.course import detector

    others = {name: values[name] for name in ("rate", "penalty") if name in values}
    name = folder.relative_to(run.folder).as_posix()
    return detector.fine_tune(run, **others, name=name)[1]


def collect(run: Run, network: str) -> pd.DataFrame:
    """Write and return the table of all trainings of a network's sweep that are done.

    Returns
    -------
    pandas.DataFrame
        One row a training, best first: its hyper-parameters, ``epoch`` (the best), its scores on
        the validation patients, ``seconds``, ``threads``, and ``chosen``, 1 for the best. A value
        that was left as the notebooks have it is missing, and so are the scores of a training that
        diverged.
    """
    folder = folder_of(run, network)
    found = [config.read_json(file) for file in sorted(folder.glob(f"*/{RESULT}"))]
    found = [each for each in found if each.get("run") == _decided_by(run, network)]
    if not found:
        return pd.DataFrame()
    rows = [
        {
            **each["values"],
            **{name: each[name] for name in ("epoch", *SCORES[network], "seconds")},
            "threads": each["made_with"]["threads"],
        }
        for each in found
    ]
    scores = ["epoch", *SCORES[network], "seconds", "threads"]
    table = pd.DataFrame(rows).astype({"epoch": "Int64", "seconds": "Int64"})
    table = table.astype(dict.fromkeys(SCORES[network], float))
    column, more_is_better = CHOSEN_BY[network]
    varied = [name for name in table if name not in scores]
    table = table[varied + scores].sort_values(
        column, ascending=not more_is_better, kind="stable", ignore_index=True
    )
    table["chosen"] = ((table.index == 0) & table[column].notna()).astype(int)
    write_table(folder.with_suffix(".csv"), table)
    return table
