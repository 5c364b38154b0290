"""Two processes that train together get what one gets, and end together when one fails."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from utils.config import ROOT, CourseError
from utils.models.batches import BatchPlan, planned_batches
from utils.parallel.__main__ import main
from utils.parallel.launch import places, run_together

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX, of the extra `parallel`, is not installed"
)
SCRIPT = ROOT / "tests" / "helpers" / "joined_training.py"


def start(folder, *place):
    """Start a training with JAX on two devices, which the processor stands for."""
    devices = "--xla_force_host_platform_device_count=" + ("1" if place else "2")
    environment = {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": devices,
        "JAX_COORDINATOR_BIND_ADDRESS": place[0]["coordinator"] if place else "",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *map(json.dumps, place)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(*processes):
    """Wait for processes that train together; return what each printed last."""
    try:
        ended = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, err) in zip(processes, ended, strict=True):
        assert process.returncode == 0, err
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What one process and two processes told of a training, and the folder with its weights."""
    folder = tmp_path_factory.mktemp("trained")
    for number, content in enumerate(("of the first", "of the second")):
        own = folder / f"files of {number}"
        own.mkdir()
        (own / "log.csv").write_text(content)
        (own / f"only in {number}").write_text("")
    (alone,) = told(start(folder))
    return folder, alone, told(*(start(folder, place) for place in places(2)))


def weights(folder, name):
    with np.load(folder / name / "weights.npz") as stored:
        return [stored[key] for key in stored.files]


@needs_jax
@pytest.mark.long
def test_two_processes_have_the_losses_of_one(trained):
    _, alone, together = trained
    assert alone["one"]["loss"][2] < alone["one"]["loss"][0]
    for number in (0, 1):
        # A loss is shown with four digits after the point.
        np.testing.assert_allclose(together[number]["loss"], alone["one"]["loss"], atol=5e-6)
        assert together[number]["val_dice"] == pytest.approx(alone["one"]["val_dice"], abs=1e-3)


@needs_jax
@pytest.mark.long
def test_two_processes_end_with_the_weights_of_one(trained):
    folder, _, _ = trained
    first, second, alone = (weights(folder, name) for name in ("0", "1", "one"))
    for one, other, expected in zip(first, second, alone, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, atol=1e-4)


@needs_jax
@pytest.mark.long
def test_two_devices_of_one_process_have_the_losses_and_weights_of_one(trained):
    folder, alone, _ = trained
    np.testing.assert_allclose(alone["devices"]["loss"], alone["one"]["loss"], atol=5e-6)
    for one, expected in zip(weights(folder, "devices"), weights(folder, "one"), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-4)


@needs_jax
@pytest.mark.long
def test_every_process_goes_on_from_the_files_of_the_first(trained):
    _, _, together = trained
    expected = {"log.csv": "of the first", "only in 0": ""}
    assert [one["files"] for one in together] == [expected, expected]


@needs_jax
@pytest.mark.long
def test_what_differs_between_the_processes_is_named_in_all(trained):
    _, _, together = trained
    for one in together:
        assert one["agreed"] == ""
        assert one["refused"].startswith("process 1 has another size than process 0")


def rows_fed(monkeypatch, plan, processes, process):
    """Return what a process feeds of 24 pictures whose values are their numbers."""
    together = SimpleNamespace(
        num_model_replicas=processes, num_processes=processes, data_shard_id=process
    )
    monkeypatch.setattr(keras.distribution, "distribution", lambda: together)
    images = np.arange(24, dtype=np.uint8).repeat(48).reshape(24, 4, 4, 3)
    masks = np.arange(24)[:, None, None] % 2 * np.ones((4, 4), np.uint8)
    return list(planned_batches(images, masks, plan))


def test_the_shares_of_all_processes_make_the_batch(monkeypatch):
    plan = BatchPlan(epochs=2, batch_size=6, seed=1)
    whole = rows_fed(monkeypatch, plan, 1, 0)
    shares = [rows_fed(monkeypatch, plan, 3, process) for process in range(3)]
    assert len(whole) == 8  # 24 / 6 batches in each of two epochs
    for (images, masks, parameters), *parts in zip(whole, *shares, strict=True):
        assert [len(part[0]) for part in parts] == [2, 2, 2]
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), masks)
        for name, values in parameters.items():
            joined = np.concatenate([part[2][name] for part in parts])
            np.testing.assert_array_equal(joined, values)


def test_a_batch_that_cannot_be_shared_out_evenly_is_refused(monkeypatch):
    plan = BatchPlan(epochs=1, batch_size=8)
    with pytest.raises(CourseError, match=r"a batch of 8 slices cannot be .* among 3 devices"):
        rows_fed(monkeypatch, plan, 3, 0)
    assert len(rows_fed(monkeypatch, replace(plan, batch_size=9), 3, 0)) == 2


def test_on_one_machine_all_processes_are_started_and_on_several_one():
    here = places(3)
    assert [place["number"] for place in here] == [0, 1, 2]
    assert {place["count"] for place in here} == {3}
    (address,) = {place["coordinator"] for place in here}
    assert address.startswith("127.0.0.1:")
    there = places(3, "10.0.0.1:29500", 2)
    assert there == [{"number": 2, "count": 3, "coordinator": "10.0.0.1:29500"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--processes", "0"], "--processes 0: must be at least 1"),
        (["--coordinator", "10.0.0.1:29500"], "--coordinator and --process belong together"),
        (["--process", "0"], "--coordinator and --process belong together"),
        (["--coordinator", "somewhere", "--process", "0"], "somewhere: must be host:port"),
        (
            ["--processes", "2", "--coordinator", "10.0.0.1:29500", "--process", "2"],
            "--process 2: must be 0 to 1",
        ),
        (["-p", "sizes", "64"], "no parameter sizes"),
        (["-p", "size", "large"], "parameter size is 'large'"),
        (["-p", "size", "8"], "size=8: must be a whole number of at least 32"),
    ],
)
def test_wrong_arguments_are_told_before_anything_starts(arguments, words):
    with pytest.raises(CourseError) as caught:
        main(arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_when_one_process_fails_the_others_are_ended_and_its_last_line_is_told(monkeypatch):
    monkeypatch.setattr("utils.parallel.launch.GRACE", 0.2)
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    fails = [sys.executable, "-c", "import sys; print('begun'); sys.exit('error: no room\\n')"]
    started = time.monotonic()
    with pytest.raises(CourseError, match=r"process 1 of 3 failed: no room$"):
        run_together([waits, fails, waits], dict(os.environ))
    assert time.monotonic() - started < 300


@pytest.mark.parametrize("ends", ["import os; os.abort()", "import sys; sys.exit('error: alone')"])
def test_a_process_that_goes_down_after_another_is_not_blamed(ends):
    follows = f"import time; time.sleep(1.5); {ends}"
    fails = "import sys; sys.exit('error: no room')"
    commands = [[sys.executable, "-c", code] for code in (follows, fails)]
    with pytest.raises(CourseError, match=r"process 1 of 2 failed: no room$"):
        run_together(commands, dict(os.environ))


def test_what_the_first_process_says_of_its_failure_is_not_said_again(monkeypatch, capfd):
    monkeypatch.setattr("utils.parallel.launch.GRACE", 0.2)
    waits = [sys.executable, "-c", "import time; time.sleep(600)"]
    refuses = "import sys; print('error: no cohort', file=sys.stderr); sys.exit(2)"
    assert run_together([[sys.executable, "-c", refuses], waits], dict(os.environ)) == 2
    assert capfd.readouterr().err == "error: no cohort\n"
