"""One of the processes that train the segmenter of a run together; `utils.parallel` starts it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from utils.config import command
from utils.course import segmenter
from utils.course.run import Run, open_run
from utils.models.precision import resolve_precision
from utils.parallel.processes import Place, agree, join, share_files
from utils.runtime.processes import end_with_parent
from utils.runtime.versions import versions

LOSS = "focal_tversky"


def train(parameters: dict, place: Place) -> None:
    """Train the segmenter of a run, choose its postprocessing and keep it, as notebook 03 does.

    Every process calls this; process 0 writes to the run folder.

    Parameters
    ----------
    parameters : dict
        As `open_run` takes them.
    place : Place

    Raises
    ------
    CourseError
        If the processes were not given the same, or the run or a file cannot be read or written.
    """
    join(place)
    run = open_run(**parameters)
    budget = asdict(run.parameters)
    agree(
        run.identity
        | versions(["jax", "keras", "numpy"])
        | {"precision": resolve_precision(), "segmenter_epochs": budget["segmenter_epochs"]}
    )
    with _own_folder(run, place) as own:
        share_files(own.folder / f"segmenter_{LOSS}")
        model, history = segmenter.train(own, LOSS)
        settings = segmenter.choose_and_save(own, model, LOSS)
    if place.number == 0:
        columns = ["epoch", "loss", "val_dice"]
        print(history[columns].to_string(index=False, float_format="{:.4f}".format))
        print(f"wrote {segmenter.segmenter_file(run)} (threshold {settings.threshold})")


@contextmanager
def _own_folder(run: Run, place: Place) -> Iterator[Run]:
    """Yield the run, in processes other than the first with a folder that is removed after it."""
    if place.number == 0:
        yield run
        return
    with TemporaryDirectory(prefix="parallel-") as folder:
        yield replace(run, folder=Path(folder))


def main() -> None:
    """Train with the parameters and the place given as JSON."""
    end_with_parent()
    parameters, place = map(json.loads, sys.argv[1:])
    train(parameters, Place(**place))


if __name__ == "__main__":
    sys.exit(command(main))
