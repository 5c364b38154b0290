"""Measure ratios, keep them in results/bench.csv, and write the README's table of them.

    python -m tools.benchmark [--only NAME ...] [--repeats N]

Every ratio compares two ways that are timed in turns, in one process, so that whatever else the
machine does disturbs both alike. The table gives the median and the range over the repeats.
"""

import argparse
import contextlib
import io
import itertools
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from tools import bench_table
from utils import config
from utils.cluster.connect import connected
from utils.cluster.schedule import on_workers
from utils.cluster.tasks import Task
from utils.cohort.table import read_cohort
from utils.cohort.tiff import read_slice
from utils.export.files import export_models
from utils.models import batches, losses, resnet50, resunet
from utils.models.files import saving
from utils.models.inference import BATCH_SIZE
from utils.models.precision import resolve_precision, set_precision
from utils.models.predict import default_models, load_networks, predict_table
from utils.runtime.machine import cores, processor_name
from utils.simulation.cohort import simulate_cohort

SIZE = 128
STEP_BATCH = 16
STEPS = 16
AUTOTUNE = -1  # tf.data.AUTOTUNE
SINGLE_PICTURES = 32
PATIENTS_OF_COMMAND = 10
TINY_FOLDS = 2
TINY_STEPS = 200
STUDENTS = 12
GRADED = config.ROOT / "notebooks" / "solutions" / "01_explore.ipynb"
PATIENTS = 24  # fewer, and reading the first and writing the last weighs more than in a real cohort

# Runs a command and says what it used. By a process of its own, because what the system keeps as
# the peak of a new process begins with the memory of the one that started it.
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(use.ru_utime + use.ru_stime, use.ru_maxrss)
"""


# The ratios of one measure: what is compared, what is aimed at, the ratio of each repeat.
Ratios = list[tuple[str, str, list[float]]]


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work()` takes, in seconds of the wall clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(first: Callable, second: Callable, repeats: int) -> list[float]:
    """Return seconds(first) / seconds(second) for each repeat, timed in turns.

    Both are called once before, untimed, so that nothing is compiled while the clock runs.
    """
    first()
    second()
    return [seconds(first) / seconds(second) for _ in range(repeats)]


def pictures(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random pictures (count, size, size, 3) and masks (count, size, size), uint8."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    masks[::2, : size // 4, : size // 4] = 1
    return images, masks


def compiled_segmenter(size: int) -> keras.Model:
    """Return a ResUNet ready to train, in the present precision."""
    model = resunet.resunet(size)
    model.compile(keras.optimizers.Adam(1e-3), losses.DiceCrossEntropy(), jit_compile=False)
    return model


def feed(size: int, steps: int):
    """Return the pipeline of a training of that many steps."""
    images, masks = pictures(4 * STEP_BATCH, size)
    plan = batches.BatchPlan(
        epochs=1, batch_size=STEP_BATCH, steps_per_epoch=steps, tumour_share=0.5
    )
    return batches.training_batches(images, masks, plan)[0]


def pipeline_over_bare_step(repeats: int) -> Ratios:
    """Time training steps that are fed by the pipeline against steps on one batch in memory.

    The pipeline is opened once, as in a training; its buffer is full when the clock starts and
    when it stops.
    """
    model = compiled_segmenter(SIZE)
    batches_ahead = iter(feed(SIZE, (2 * repeats + 1) * STEPS))
    batch = next(iter(feed(SIZE, 1)))

    def fed():
        for pair in itertools.islice(batches_ahead, STEPS):
            model.train_on_batch(*pair)

    def bare():
        for _ in range(STEPS):
            model.train_on_batch(*batch)

    name = "training step with the input pipeline / the bare step"
    return [(name, "at most 1.05", compare(fed, bare, 2 * repeats))]


def autotuning_on_over_off(repeats: int) -> Ratios:
    """Time a short `fit` with tf.data's autotuner against the same without it.

    The pipeline gets a buffer whose size is left to tf.data, as Keras's own for NumPy arrays have:
    without any such choice there is nothing to tune and the autotuner does not run. How long a fit
    waits depends on when the autotuner's sleep, which doubles each time, happens to end: so every
    repeat has another length, and together they cover one doubling.
    """
    model = compiled_segmenter(32)

    def fit(autotuned: bool, steps: int):
        dataset = feed(32, steps).prefetch(AUTOTUNE)
        dataset = dataset.with_options(batches.pipeline_options(autotuned))
        model.fit(dataset, steps_per_epoch=steps, verbose=0, shuffle=False)

    shortest = 5 * STEPS
    fit(True, shortest)
    fit(False, shortest)
    ratios = [
        seconds(partial(fit, True, steps)) / seconds(partial(fit, False, steps))
        for steps in map(round, np.geomspace(shortest, 2 * shortest, repeats, endpoint=False))
    ]
    return [("a short `fit` with tf.data's autotuning on / off", "above 1", ratios)]


def float32_over_bfloat16(repeats: int) -> Ratios:
    """Time the training step in float32 against the one in mixed_bfloat16."""
    images, masks = pictures(STEP_BATCH, SIZE)
    steps = []
    for precision in ("float32", "mixed_bfloat16"):
        set_precision(precision)
        model = compiled_segmenter(SIZE)
        steps.append(lambda model=model: model.train_on_batch(images, masks[..., None]))
    return [("training step in float32 / in mixed_bfloat16", "", compare(*steps, 2 * repeats))]


def own_over_fused_normalisation(repeats: int) -> Ratios:
    """Time the training step with Keras's batch normalisation against that in one operation."""
    images, masks = pictures(STEP_BATCH, SIZE)
    fused = keras.layers.BatchNormalization.call
    steps = []
    for call in (fused.unfused, fused):
        keras.layers.BatchNormalization.call = call
        model = compiled_segmenter(SIZE)
        model.train_on_batch(images, masks[..., None])  # traced while this is how it computes
        steps.append(lambda model=model: model.train_on_batch(images, masks[..., None]))
    name = "training step with Keras's batch normalisation / with the fused one"
    return [(name, "above 1", compare(*steps, 2 * repeats))]


def tiny_fold() -> None:
    """Train a network on tiny pictures, as the task of a worker."""
    model = compiled_segmenter(32)
    model.fit(feed(32, TINY_STEPS), steps_per_epoch=TINY_STEPS, verbose=0, shuffle=False)


def one_worker_over_two(repeats: int) -> Ratios:
    """Time tiny folds on one worker against the same on two, which run before the clock does.

    Each worker computes with one thread, and each fold is a process of its own, as always.
    """

    def on(client, shared: Path) -> None:
        tasks = [
            Task(f"fold {number}", "tools.benchmark:tiny_fold", (), shared / str(number), "wait")
            for number in range(TINY_FOLDS)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            on_workers(client, tasks, 1, shared, lambda task: None)

    with (
        tempfile.TemporaryDirectory() as name,
        connected("local", 1, 1, Path(name)) as one,
        connected("local", 2, 1, Path(name)) as two,
    ):
        works = [partial(on, client, Path(name)) for client in (one, two)]
        name = f"{TINY_FOLDS} tiny folds on one worker / on two, a thread each"
        return [(name, "above 1.5", compare(*works, repeats))]


def prediction(repeats: int) -> Ratios:
    """Time `utils.models.predict` against the bare forward passes and against one picture a call.

    Both of its networks are at work, loaded and compiled before the clock runs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _untrained_models(folder)
        cohort = simulate_cohort(folder / "cohort", patients=PATIENTS, seed=0)
        table = read_cohort(cohort)
        networks = load_networks(*files)
        singles = [saving.load_model(file) for file in files]
        paths = table["image_path"].iloc[:: len(table) // SINGLE_PICTURES]
        images, _ = pictures(BATCH_SIZE, SIZE)
        batches_needed = -(-len(table) // BATCH_SIZE)

        def ours():
            predict_table(read_cohort(cohort, masks="absent"), folder / "out", networks)

        def forward():
            for _ in range(batches_needed):
                networks.detector.predict_on_batch(images)
                networks.segmenter.predict_on_batch(images)

        def one_by_one():
            for path in paths:
                _predict_alone(path, *singles, folder / "mask.png")

        against_forward, against_singly = [], []
        for work in (ours, forward, one_by_one):
            work()
        for _ in range(repeats):
            # In turns, ours in the middle: a machine that slows down affects all three.
            bare = seconds(forward) / (batches_needed * BATCH_SIZE)
            own = seconds(ours) / len(table)
            single = seconds(one_by_one) / len(paths)
            against_forward.append(bare / own)
            against_singly.append(single / own)
    return [
        ("rate of `utils.predict` / of the bare forward passes", "at least 0.85", against_forward),
        (
            "rate of `utils.predict` / of one picture a `model.predict` call",
            "at least 10",
            against_singly,
        ),
    ]


def engines(repeats: int) -> Ratios:
    """Compare `utils.predict` by onnxruntime and by Keras: whole commands, in turns.

    In seconds of the processor, which other programs disturb less than those of the clock, and in
    the peak of the resident memory.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cohort = simulate_cohort(folder / "cohort", patients=PATIENTS_OF_COMMAND, seed=0)
        detector, segmenter = default_models()
        files = {"keras": (segmenter, detector)}
        files["onnx"] = tuple(export_models(segmenter, detector, folder / "export"))
        processor, memory = [], []
        for _ in range(repeats):
            used = {
                engine: _command_use(
                    "utils.predict", cohort, "--out", folder / engine, "--engine", engine,
                    "--segmenter", files[engine][0], "--detector", files[engine][1],
                )
                for engine in ("onnx", "keras")
            }  # fmt: skip
            processor.append(used["onnx"][0] / used["keras"][0])
            memory.append(used["onnx"][1] / used["keras"][1])
    return [
        ("processor time of `utils.predict`, onnxruntime / Keras", "at most 1", processor),
        ("peak memory of `utils.predict`, onnxruntime / Keras", "at most 0.33", memory),
    ]


def grader_jobs(repeats: int) -> Ratios:
    """Time `utils.grade` with one job and with two: whole commands, on small submissions.

    Each student hands in the solutions of a notebook whose answers need no Keras; what the command
    does before and after the marking is the same for any number of jobs.

    Raises
    ------
    CourseError
        If the marks are not the same.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for student in range(STUDENTS):
            notebook = folder / "in" / f"student-{student}" / GRADED.name
            notebook.parent.mkdir(parents=True)
            shutil.copy(GRADED, notebook)
        tables = {jobs: folder / f"marks-{jobs}.csv" for jobs in (1, 2)}

        def grade(jobs: int):
            for left in folder.glob(f"{tables[jobs].name}*"):
                left.unlink()
            _command_use("utils.grade", folder / "in", "--out", tables[jobs], "--jobs", jobs)

        ratios = compare(partial(grade, 1), partial(grade, 2), repeats)
        if tables[1].read_bytes() != tables[2].read_bytes():
            raise config.CourseError("the marks of one job and of two are not the same")
    return [("time of `utils.grade`, one job / two", "at least 1.3", ratios)]


def _command_use(module: str, *arguments) -> tuple[float, int]:
    """Run a command of ours; return its seconds of the processor and its peak memory."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *command],
        cwd=config.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    processor, memory = done.stdout.split()
    return float(processor), int(memory)


def _predict_alone(path: str, detector, segmenter, mask_file: Path) -> None:
    """Predict one slice and write its mask as is often done: by itself, with `model.predict`."""
    slice_ = read_slice(path)
    picture = np.asarray(Image.fromarray(slice_).resize((SIZE, SIZE)))[None]
    detector.predict(picture, verbose=0)
    mask = segmenter.predict(picture, verbose=0)[0, ..., 0] >= 0.5
    whole = Image.fromarray(mask.astype(np.uint8) * 255).resize(slice_.shape[1::-1])
    whole.save(mask_file)


def _untrained_models(folder: Path) -> tuple[Path, Path]:
    """Write a detector and a segmenter with random weights and their settings."""
    settings = {
        "detector": {"threshold": 0.5},
        "segmenter": {"postprocessing": {"threshold": 0.5, "minimum_px": 0}},
    }
    networks = {
        "detector": resnet50.calibrated(resnet50.detector(SIZE)),
        "segmenter": resunet.resunet(),
    }
    for name, network in networks.items():
        saving.save_model(network, folder / f"{name}.keras")
        config.write_json(folder / f"{name}.json", settings[name])
    return folder / "detector.keras", folder / "segmenter.keras"


def machine() -> str:
    """Return the processor, the cores that may be used, and the versions, in one line."""
    import tensorflow

    return (
        f"{processor_name()}, {len(cores())} cores, Python {platform.python_version()}, "
        f"Keras {keras.__version__}, TensorFlow {tensorflow.__version__}, "
        f"precision {resolve_precision()}"
    )


# In the order of the table. Prediction comes first: as a command it has a process to itself, in
# which nothing was trained.
MEASURES: dict[str, Callable[[int], Ratios]] = {
    "prediction": prediction,
    "engines": engines,
    "pipeline": pipeline_over_bare_step,
    "autotuning": autotuning_on_over_off,
    "precision": float32_over_bfloat16,
    "fused": own_over_fused_normalisation,
    "workers": one_worker_over_two,
    "grader": grader_jobs,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, keep each ratio as soon as it is measured, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmark", description=main.__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of each comparison (default 5)")
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, help="measure these; the others stay as they are"
    )
    options = parser.parse_args(argv)
    if options.repeats < 1:
        raise config.CourseError(f"--repeats {options.repeats}: must be at least 1")
    rows = bench_table.read_rows()
    for name, measure in MEASURES.items():
        if options.only and name not in options.only:
            continue
        set_precision()
        where = machine()
        new = [bench_table.row(name, *one, where) for one in measure(options.repeats)]
        print(bench_table.readme_part(new), end="\n\n", flush=True)
        rows = bench_table.with_new(rows, new, list(MEASURES))
        bench_table.write_rows(rows)
        bench_table.write_readme(rows)


if __name__ == "__main__":
    sys.exit(config.command(main))
