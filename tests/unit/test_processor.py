import platform

import pytest

from utils import processor

TWO_CORES = """\
processor\t: 0
model name\t: One: 2.5 GHz
model\t\t: 85
flags\t\t: fpu avx2

processor\t: 1
model name\t: One: 2.5 GHz
model\t\t: 85
flags\t\t: fpu avx2
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_a_field_has_a_value_for_each_core(file):
    file.write_text(TWO_CORES)
    assert processor.cpuinfo("flags") == ["fpu avx2"] * 2
    assert processor.cpuinfo("model") == ["85"] * 2
    assert processor.cpuinfo("other") == []
    assert processor.processor_name() == "One: 2.5 GHz"


def test_without_the_file_the_processor_is_called_by_its_architecture(file, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert processor.cpuinfo("flags") == []
    assert processor.processor_name() == "arm64"
