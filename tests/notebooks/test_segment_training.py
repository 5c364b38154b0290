"""Notebook 03 trains by itself: cut off, it goes on, and `segmenter.train` takes it for its own."""

import numpy as np
import pandas as pd
import pytest
from cohort_files import write_squares

from utils.course import segmenter
from utils.course.run import open_run
from utils.models import batches, resunet, training
from utils.notebooks.build import SOURCE, read_source

# What the cells of its training begin with or hold, in their order.
CELLS = (
    "def residual_block(",
    "def encoder(",
    "def unet(",
    "network = unet(",
    "network.compile(",
    "resume = training.Resume(",
    "network.fit(",
    "resume.finish()",
)


def cells():
    code = [
        cell.source for cell in read_source(SOURCE / "03_segment.py").cells
        if cell.cell_type == "code"
    ]  # fmt: skip
    found = [[text for text in code if wanted in text] for wanted in CELLS]
    assert [len(each) for each in found] == [1] * len(CELLS)
    return [text for (text,) in found]


class Cut(Exception):
    pass


@pytest.fixture
def run(tmp_path, monkeypatch):
    root = tmp_path / "kaggle_3m"
    write_squares(root, ["DU" if number % 2 else "HT" for number in range(6)])
    monkeypatch.setattr(segmenter, "BATCH_SIZE", 4)
    monkeypatch.setattr(segmenter, "STEPS_PER_EPOCH", 2)
    monkeypatch.setattr("utils.course.workers.start_apart", lambda run, stage: lambda: None)
    return open_run(
        cohort="lgg",
        data=str(root),
        run_folder=str(tmp_path / "run"),
        patients=0,
        size=32,
        segmenter_epochs=2,
    )


def train_as_the_notebook(run, cut=None):
    """Run the cells; `cut(epoch)` is called when an epoch has been told. Return the names."""
    names = {
        "run": run,
        "size": 32,
        "seed": run.seed,
        "segmenter_epochs": 2,
        "train": run.part("train"),
        "plan": segmenter.batch_plan(run),
        "np": np,
        "segmenter": segmenter,
        "training": training,
        "batches": batches,
        "print": lambda *words: cut(words[0]) if cut and words[0].startswith("epoch") else None,
    }
    for text in cells():
        exec(text, names)
    return names


@pytest.mark.long
def test_cut_off_it_goes_on_and_the_course_s_own_training_finds_it(run):
    def cut(text):
        if text.startswith("epoch 2"):
            raise Cut

    with pytest.raises(Cut):
        train_as_the_notebook(run, cut)
    told = []
    trained = train_as_the_notebook(run, told.append)
    assert [text.split(":")[0] for text in told] == ["epoch 2"]
    folder = run.folder / "segmenter_focal_tversky"
    assert {path.name for path in folder.iterdir()} == {
        "configuration.json", "history.csv", "model.keras",
    }  # fmt: skip

    mine = [np.array(weights) for weights in trained["focal"].get_weights()]
    found, history = segmenter.train(run)  # the same training, by its configuration: it is read
    pd.testing.assert_frame_equal(history, trained["focal_history"])
    for one, other in zip(mine, found.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_network_in_one_piece_is_the_one_that_is_built_above_it():
    (text,) = [
        cell.source for cell in read_source(SOURCE / "03_segment.py").cells
        if "The whole network in one piece" in cell.source
    ]  # fmt: skip
    names = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    piece, ours = names["resunet"](size=32), resunet.resunet(32, seed=1)
    piece.set_weights(ours.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(piece(images)), np.asarray(ours(images)), atol=1e-3)
