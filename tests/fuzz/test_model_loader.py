"""A short run of the mutated model files; `model_loader.py` itself makes hundreds."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("model_loader.py")


@pytest.fixture(scope="module")
def loader():
    spec = importlib.util.spec_from_file_location("model_loader", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras's, of names in odd configurations
def test_mutated_models_are_read_or_refused_in_one_line(loader, tmp_path):
    file = tmp_path / "model.keras"
    for seed in range(25):
        file.write_bytes(loader.mutated(seed))
        loader.load(file)
