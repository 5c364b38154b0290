"""What users bring as a model is read, or one line says what it is and what to do."""

import io
import json
import os
import pickle
import shutil
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given, strategies as st

from utils.config import CourseError
from utils.models import resunet
from utils.models.files import saving
from utils.models.files.checks import (
    check_detector,
    check_kind,
    check_probabilities,
    check_segmenter,
    read_archive,
)

KINDS = {
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "model.weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "weights alone"),
    "h5 by another name.keras": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "old.pt": (pickle.dumps({"layer": [1.0]}), "a Python pickle"),
    "model.onnx": (b"\x08\x07\x12\x07pytorch", "an ONNX file"),
    "model.safetensors": (b"\x08\x00\x00\x00\x00\x00\x00\x00{}", "a safetensors file"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite file"),
    "saved_model.pb": (b"\x08\x01\x12\x02", "a graph of TensorFlow"),
    "weights.npy": (b"\x93NUMPY\x01\x00", "a NumPy array"),
    "model.keras": (b"a text", "not a Keras archive"),
}


def zipped(path, **parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return path


def refused(call, *arguments):
    with pytest.raises(CourseError) as told:
        call(*arguments)
    message = str(told.value)
    assert message.startswith(str(arguments[0] if call in (check_kind, read_archive) else ""))
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    return message


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_of_another_kind_is_named_and_never_to_be_deleted(name, tmp_path):
    content, kind = KINDS[name]
    (tmp_path / name).write_bytes(content)
    told = refused(check_kind, tmp_path / name)
    assert kind in told and "save it with model.save" in told
    assert "delete" not in told


def test_zips_of_other_kinds_are_named(tmp_path):
    torch = zipped(tmp_path / "a.keras", archive__data_dot_pkl=b"", archive__version=b"3")
    assert "a PyTorch file" in refused(check_kind, torch)
    saved = zipped(tmp_path / "b.keras", model__saved_model_dot_pb=b"")
    assert "SavedModel" in refused(check_kind, saved)
    pictures = zipped(tmp_path / "c.keras", picture_dot_tif=b"")
    assert "no Keras archive: it has no config.json" in refused(check_kind, pictures)
    half = zipped(tmp_path / "d.keras", config_dot_json=b"{}")
    assert "it has no model.weights.h5" in refused(check_kind, half)
    within = zipped(tmp_path / "e.zip", model_dot_keras=b"")
    assert "unpack it" in refused(check_kind, within)


def test_what_is_no_file_is_told(tmp_path):
    assert "no such model; train one" in refused(check_kind, tmp_path / "none.keras")
    assert "a folder, not a model" in refused(check_kind, tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    assert "TensorFlow's SavedModel format" in refused(check_kind, tmp_path / "saved")
    (tmp_path / "empty.keras").touch()
    assert "an empty file" in refused(check_kind, tmp_path / "empty.keras")
    assert "the name is longer than this disk allows" in refused(check_kind, tmp_path / ("x" * 300))
    (tmp_path / "circle.keras").symlink_to("circle.keras")
    assert "a link that leads back to itself" in refused(check_kind, tmp_path / "circle.keras")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.keras")
        assert "is a pipe, where a file is expected" in refused(check_kind, tmp_path / "pipe.keras")


def test_a_file_that_may_not_be_read_is_told_as_that(tmp_path, monkeypatch):
    path = zipped(tmp_path / "model.keras", config_dot_json=b"{}")

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "", str(self))

    monkeypatch.setattr(type(path), "open", refuse)  # root may read everything
    assert "may not be read by you" in refused(check_kind, path)


def test_a_small_file_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"")
        with archive.open("config.json", "w") as part:
            for _ in range(40):
                part.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    assert "unpacks to 0.0 GiB, more than any" in refused(check_kind, path)


@pytest.fixture(scope="module")
def segmenter_file(tmp_path_factory):
    model = resunet.resunet(32, filters=(4, 8), seed=0)
    return saving.save_model(model, tmp_path_factory.mktemp("models") / "segmenter.keras")


def edited(source, target, change):
    """Copy a model with its configuration changed in place by `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.infolist():
            data = old.read(part.filename)
            if part.filename == "config.json":
                config = json.loads(data)
                change(config["config"]["layers"])
                data = json.dumps(config).encode()
            new.writestr(part.filename, data)
    return target


def last(layers, kind):
    return [layer for layer in layers if layer["class_name"] == kind][-1]


def custom(layers):
    last(layers, "Activation").update(
        module="my_losses", class_name="TverskyHead", registered_name="my_losses>TverskyHead"
    )


def newer(layers):
    last(layers, "Conv2D")["config"]["keyword_of_a_later_keras"] = None


def code(layers):
    one = last(layers, "Activation")
    function = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    one.update(class_name="Lambda", config={"name": "x", "function": function})


def unknown_class(layers):
    last(layers, "Activation")["class_name"] = "LayerOfALaterKeras"


def unknown_function(layers):
    last(layers, "Activation")["config"]["activation"] = "my_activation"


def wrong_type(layers):
    last(layers, "Conv2D")["config"]["filters"] = "many"


def wider(layers):
    last(layers, "Conv2D")["config"]["filters"] = 2


def no_layers(layers):
    layers.clear()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (custom, "'TverskyHead' of 'my_losses', a class that is not Keras's own"),
        (newer, "keyword_of_a_later_keras"),
        (code, "a Lambda layer, which is code"),
        (unknown_class, "LayerOfALaterKeras"),
        (unknown_function, "my_activation"),
        (wrong_type, "cannot make the network"),
        (wider, "its weights do not fit its network"),
        (no_layers, "cannot make the network"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_line(change, said, segmenter_file, tmp_path):
    path = edited(segmenter_file, tmp_path / "model.keras", change)
    told = refused(saving.load_model, path)
    assert said in told and str(path) in told
    assert "delete" not in told


def test_the_version_that_wrote_a_file_is_told(segmenter_file, tmp_path):
    path = edited(segmenter_file, tmp_path / "old.keras", newer)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["metadata.json"] = b'{"keras_version": "9.1.0"}'
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert "written by Keras 9.1.0" in refused(saving.load_model, path)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = resunet.resunet(32, filters=(4, 8))
    layer = model.get_layer("logit")
    layer.set_weights([np.full_like(each, np.nan) for each in layer.get_weights()])
    path = saving.save_model(model, tmp_path / "model.keras")
    assert "weights of 'logit/kernel' are not finite" in refused(saving.load_model, path)


@given(place=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_a_changed_byte_or_a_missing_end_is_one_line_or_harmless(place, value, cut, segmenter_file):
    data = bytearray(segmenter_file.read_bytes())
    where = min(int(place * len(data)), len(data) - 1)
    data[where] = value
    damaged = segmenter_file.with_name("damaged.keras")
    damaged.write_bytes(data[:where] if cut else data)
    try:
        read_archive(damaged)
    except CourseError as error:
        assert str(damaged) in str(error) and "\n" not in str(error)
    else:
        assert not cut


def network(given_shape, *made):
    """A network that only has shapes: its input, averaged or stretched to each output."""
    picture = keras.Input(given_shape)
    outputs = []
    for shape in made:
        values = keras.layers.Flatten()(picture) if None not in given_shape else picture
        values = keras.layers.Dense(int(np.prod(shape)), use_bias=False)(values)
        outputs.append(keras.layers.Reshape(shape)(values))
    return keras.Model(picture, outputs if len(outputs) > 1 else outputs[0])


SMALL = (16, 16, 3)


@pytest.mark.parametrize(
    ("given_shape", "made", "said"),
    [
        (SMALL, [(1,)], "draws nothing, so it is no segmenter; give a detector as --detector"),
        (SMALL, [(2,)], "gives 2 numbers a picture and draws nothing"),
        ((16, 16, 1), [(16, 16, 1)], "takes an input of 16 x 16 x 1"),
        ((16, 16, 4), [(16, 16, 1)], "takes an input of 16 x 16 x 4"),
        ((16, 32, 3), [(16, 32, 1)], "takes pictures of 16 x 32 x 3; a fixed, square size"),
        ((8, 8, 3), [(8, 8, 1)], "from 16 to 1024 pixels"),
        (SMALL, [(16, 16, 2)], "makes 16 x 16 x 2 of pictures of 16 x 16 x 3"),
        (SMALL, [(8, 8, 1)], "a segmenter makes 16 x 16 x 1"),
        (SMALL, [(16, 16, 1), (1,)], "has 1 inputs and 2 outputs"),
    ],
)
def test_what_is_no_segmenter_is_told(given_shape, made, said):
    assert said in refused(check_segmenter, network(given_shape, *made), "mine.keras")


@pytest.mark.parametrize(
    ("given_shape", "made", "said"),
    [
        (SMALL, [(16, 16, 1)], "so it is no detector; give a segmenter as --segmenter"),
        (SMALL, [(2,)], "gives 2 numbers a picture; a detector gives 1"),
        ((16, 16, 1), [(1,)], "takes an input of 16 x 16 x 1"),
        ((2, 2, 512), [(1,)], "takes an input of 2 x 2 x 512"),
        ((300,), [(1,)], "takes an input of 300"),
    ],
)
def test_what_is_no_detector_is_told(given_shape, made, said):
    assert said in refused(check_detector, network(given_shape, *made), "mine.keras", 1024)


def test_pictures_of_any_size_are_not_enough():
    picture = keras.Input((None, None, 3))
    model = keras.Model(picture, keras.layers.Conv2D(1, 1)(picture))
    told = refused(check_segmenter, model, "mine.keras")
    assert "takes pictures of ? x ? x 3; a fixed, square size is needed" in told


def test_right_networks_pass():
    check_segmenter(network(SMALL, (16, 16, 1)), "a.keras")
    check_detector(network(SMALL, (1,)), "b.keras", 1024)
    check_detector(network((2, 2, 1024), (1,)), "c.keras", 1024)
    check_segmenter(keras.Sequential([keras.Input(SMALL), keras.layers.Conv2D(1, 1)]), "d.keras")


def test_answers_that_are_no_probabilities_are_refused():
    check_probabilities(np.array([0.0, 0.5, 1.0]), "a.keras")
    check_probabilities(np.empty(0), "a.keras")
    assert "from -2 to 3, which are no probabilities; end the network with a sigmoid" in refused(
        check_probabilities, np.array([-2.0, 3.0]), "a.keras"
    )
    assert "not numbers" in refused(check_probabilities, np.array([0.5, np.nan]), "a.keras")


def test_a_model_by_another_name_is_to_be_renamed(segmenter_file, tmp_path):
    path = tmp_path / "model.zip"
    shutil.copy(segmenter_file, path)
    assert "rename it to end in .keras" in refused(check_kind, path)


def test_a_part_with_a_password_is_told(segmenter_file, tmp_path):
    data = bytearray(segmenter_file.read_bytes())
    start = data.rindex(b"PK\x01\x02", 0, data.rindex(b"config.json"))
    data[start + 8] |= 1  # the flag that says so, in the list at the end
    path = tmp_path / "model.keras"
    path.write_bytes(bytes(data))
    assert zipfile.is_zipfile(io.BytesIO(bytes(data)))
    assert "not a whole Keras model" in refused(read_archive, path)
