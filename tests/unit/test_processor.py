import platform

import pytest

from utils.runtime import machine

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
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def test_a_field_has_a_value_for_each_core(file):
    file.write_text(TWO_CORES)
    assert machine.cpuinfo("flags") == ["fpu avx2"] * 2
    assert machine.cpuinfo("model") == ["85"] * 2
    assert machine.cpuinfo("other") == []
    assert machine.processor_name() == "One: 2.5 GHz"


def test_without_the_file_the_processor_is_called_by_its_architecture(file, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.cpuinfo("flags") == []
    assert machine.processor_name() == "arm64"
