"""A training of seconds, by one process or by several: `python joined_training.py FOLDER PLACE...`.

Without a place, one process trains twice: on one device, in FOLDER/one, and on all that it has, in
FOLDER/devices. With the fields of a `Place` as JSON it trains with the others, in FOLDER/<number>.
Keras's backend must be JAX. Prints what the tests look at, as JSON, in the last line.
"""

import json
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np

from utils.config import CourseError
from utils.models import batches, losses, resunet, training, validation
from utils.parallel.processes import Place, agree, join, share_files


def train(folder: Path) -> dict:
    """Train a small ResUNet; return its losses and scores by epoch, and keep its weights."""
    random = np.random.default_rng(0)
    images = random.integers(60, 120, (12, 32, 32, 3)).astype("uint8")
    masks = np.zeros((12, 32, 32), "uint8")
    masks[::2, 8:20, 10:24] = 1
    images[masks > 0] += 60
    plan = batches.BatchPlan(
        epochs=3, batch_size=4, steps_per_epoch=3, tumour_share=0.5, strength=None
    )
    model = resunet.resunet(32, filters=(16,))
    history = training.fit(
        model,
        partial(batches.training_batches, images, masks, plan),
        optimizer=keras.optimizers.Adam(0.01),
        loss=losses.FocalTversky(),
        folder=folder,
        epochs=plan.epochs,
        configuration={},
        validate=validation.validate_segmenter(images[:5], masks[:5], list("aabbb")),
        monitor=None,
    )
    np.savez(folder / "weights.npz", *model.get_weights())
    return {name: history[name].tolist() for name in ("loss", "val_dice")}


def refusal(values: dict) -> str:
    """Return why the processes cannot train together; nothing if they can."""
    try:
        agree(values)
    except CourseError as error:
        return str(error)
    return ""


def main(root: Path, *place: str) -> dict:
    """Train as the module says; return what is to be printed."""
    if not place:
        alone = train(root / "one")
        join(Place())
        return {"one": alone, "devices": train(root / "devices")}
    me = Place(**json.loads(*place))
    join(me)
    shared = root / f"files of {me.number}"
    share_files(shared)
    told = {
        "refused": refusal({"seed": 7, "size": 32 + me.number}),
        "agreed": refusal({"seed": 7, "size": 32}),
        "files": {path.name: path.read_text() for path in sorted(shared.iterdir())},
    }
    return told | train(root / str(me.number))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:])))
