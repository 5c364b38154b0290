"""A short run of the mutated settings files; `settings_loader.py` itself makes thousands."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("settings_loader.py")


@pytest.fixture(scope="module")
def loader():
    spec = importlib.util.spec_from_file_location("settings_loader", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whole_settings_are_read(loader, tmp_path):
    for number, (content, read) in enumerate(
        zip(loader.list_of_seeds(), (loader.segmenter_settings, loader.detector_settings),
            strict=True)
    ):  # fmt: skip
        file = tmp_path / f"{number}.json"
        file.write_bytes(content)
        assert read(file)


def test_mutated_settings_give_values_or_one_line(loader, tmp_path):
    file = tmp_path / "model.json"
    for seed in range(400):
        file.write_bytes(loader.mutated(seed))
        loader.load(file)
