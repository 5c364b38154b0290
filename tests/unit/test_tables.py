import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from utils.config import ROOT, CourseError
from utils.tables import TEXT, read_table, write_table

# Every letter that the name of a folder may have here: no control characters, no half letters.
names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1)
ODD = [
    "NA",
    "001",
    "1e5",
    "True",
    "nan",
    "None",
    "-",
    " a ",
    'x "y", z',
    "Zürich 中文",
    "=1+1",
    "'",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patients=st.lists(names, min_size=1, max_size=5), where=names)
@example(patients=ODD, where="NULL")
@example(patients=["1", "2"], where="1.0")
def test_names_come_back_as_they_were_whatever_they_look_like(tmp_path, patients, where):
    table = pd.DataFrame(
        {
            "patient": patients,
            "institution": where,
            "slice": range(len(patients)),
            "hd95_px": [np.nan, *[1.5] * (len(patients) - 1)],
        }
    )
    read = read_table(write_table(tmp_path / "table.csv", table))
    assert read["patient"].tolist() == patients
    assert read["institution"].tolist() == [where] * len(patients)
    assert read["slice"].tolist() == list(range(len(patients)))
    np.testing.assert_array_equal(read["hd95_px"], table["hd95_px"])


def test_numbers_stay_numbers_and_only_they_can_be_missing(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("fold,patient,dice,largest_only\n01,NA,,True\nHT,7,0.5,False\n")
    table = read_table(path)
    assert table["fold"].tolist() == ["01", "HT"]
    assert table["patient"].tolist() == ["NA", "7"]
    assert np.isnan(table["dice"][0]) and table["dice"][1] == 0.5
    assert table["largest_only"].dtype == bool
    assert set(TEXT) >= {"patient", "institution", "fold"}


@pytest.mark.parametrize("row", ["7,0.5,3", "7,0.5,"])
def test_rows_longer_than_the_header_are_told_instead_of_shifted(tmp_path, row):
    # pandas would read patient 0.5 and dice 3, as a table that a spreadsheet saved may have it.
    (tmp_path / "table.csv").write_text(f"patient,dice\n{row}\n")
    with pytest.raises(CourseError, match="more fields than its header has names; make it anew"):
        read_table(tmp_path / "table.csv")


def test_no_table_in_utils_is_read_or_written_elsewhere():
    others = [
        path.name
        for path in (ROOT / "utils").rglob("*.py")
        if path.name != "tables.py" and any(
            word in path.read_text(encoding="utf-8") for word in ("pd.read_csv(", ".to_csv(")
        )
    ]  # fmt: skip
    assert others == []


@pytest.mark.parametrize("content", [b"", b"\n", b"a,b\n1,2,3\n4\n5,6,7,8\n", b"\xff\xfe\x00"])
def test_what_is_no_table_is_told_with_its_remedy(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"table\.csv: not readable as a table; run notebook 04$"):
        read_table(path, "run notebook 04")


def test_a_missing_table_is_told_by_its_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "gone.csv")
