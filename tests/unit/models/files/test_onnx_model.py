"""ONNX files that users bring: read, or refused in one line."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from utils.config import CourseError
from utils.models.files.onnx_model import AT_ONCE, OnnxModel

pytest.importorskip("onnxruntime")


def save(path, shape=("batch", 4, 4, 3), kind=TensorProto.FLOAT, operation="Neg"):
    """Write a network of one node."""
    graph = helper.make_graph(
        [helper.make_node(operation, ["picture"], ["made"])],
        "network",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info("made", kind, shape)],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def refused(path):
    with pytest.raises(CourseError) as told:
        OnnxModel(path)
    assert str(told.value).startswith(str(path)) and len(str(told.value).splitlines()) == 1
    return str(told.value)


@pytest.mark.parametrize("length", [1, AT_ONCE, 2 * AT_ONCE + 1])
def test_a_batch_of_any_length_is_answered_in_order(length, tmp_path):
    model = OnnxModel(save(tmp_path / "a.onnx"))
    batch = np.arange(length * 48).reshape(length, 4, 4, 3).astype(np.uint8)
    np.testing.assert_array_equal(model.predict_on_batch(batch), -batch.astype(np.float32))
    assert model.input_shape == model.outputs[0].shape == (None, 4, 4, 3)


def test_what_is_no_onnx_file_is_told(tmp_path):
    assert "`python -m utils.export`" in refused(tmp_path / "a.keras")
    assert "no such model" in refused(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    assert "cannot read it" in refused(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "cannot read it" in refused(tmp_path / "empty.onnx")
    whole = save(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    assert "cannot read it" in refused(tmp_path / "half.onnx")
    assert "cannot read it" in refused(save(tmp_path / "odd.onnx", operation="NoSuchOperation"))


def test_a_network_of_other_batches_is_told(tmp_path):
    assert "in batches of 1" in refused(save(tmp_path / "one.onnx", shape=(1, 4, 4, 3)))
    whole = save(tmp_path / "whole.onnx", kind=TensorProto.INT32)
    assert "takes tensor(int32)" in refused(whole)


def test_without_onnxruntime_it_is_told_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "requirements-predict.lock" in refused(save(tmp_path / "a.onnx"))
