"""Who trains, who validates, who tests: always whole patients, never single slices."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from utils.config import CourseError

PARTS = ("train", "validation", "test")


def _dealing_order(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the patients ordered so that dealing them out in turn balances the parts.

    Patients are sorted by institution, then by tumour volume, with ties broken by chance; those
    dealt one after another are therefore alike.
    """
    patients = table.groupby("patient", as_index=False).agg(
        institution=("institution", "first"), tumour_px=("tumour_px", "sum")
    )
    # Sorted by name first: the order must not depend on how the table happened to be read.
    patients = patients.sort_values("patient", ignore_index=True)
    patients["chance"] = np.random.default_rng(seed).permutation(len(patients))
    return patients.sort_values(["institution", "tumour_px", "chance"], ignore_index=True)


def choose_patients(table: pd.DataFrame, number: int, seed: int = 0) -> list[str]:
    """Return the names of `number` patients that stand for the cohort, sorted.

    They are evenly spaced along the patients sorted by institution and tumour volume.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table with masks.
    number : int
        How many; 0 for all.
    seed : int
        Decides which of several equally good choices is taken.

    Raises
    ------
    CourseError
        If the cohort has fewer patients.
    """
    patients = _dealing_order(table, seed)["patient"]
    if number == 0:
        return sorted(patients)
    if number > len(patients):
        raise CourseError(
            f"patients={number}: the cohort has {len(patients)}; use at most that, or 0 for all"
        )
    places = (np.arange(number) * len(patients) + len(patients) // 2) // number
    return sorted(patients.iloc[places])


def split_patients(
    table: pd.DataFrame, seed: int = 0, shares: Sequence[float] = (0.6, 0.17, 0.23)
) -> pd.DataFrame:
    """Split the patients into training, validation and test.

    The parts are balanced by institution and by tumour volume: patients sorted by both are cut
    into runs of neighbours, and each run is dealt to the parts by chance.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table with masks; needs `patient, institution, tumour_px`.
    seed : int
        The same seed and the same patients give the same split.
    shares : sequence of 3 floats
        Share of the patients in training, validation and test. The last two are rounded, to at
        least one patient each; training has the rest.

    Returns
    -------
    pandas.DataFrame
        One row a patient, sorted by name: ``patient, institution, part``.

    Raises
    ------
    CourseError
        If there are too few patients for each part to have one, by these shares.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.splits import split_patients
    >>> table = pd.DataFrame({"patient": list("abcdefghij"), "institution": "CS", "tumour_px": 9})
    >>> parts = split_patients(table)["part"].value_counts()
    >>> parts[["train", "validation", "test"]].to_dict()
    {'train': 6, 'validation': 2, 'test': 2}
    """
    patients = _dealing_order(table, seed)
    counts = _part_sizes(len(patients), shares)
    rng = np.random.default_rng([seed, 1])
    # Each part gets evenly spaced places along the sorted patients, from a random start.
    places = np.concatenate(
        [(np.arange(count) + rng.random()) / count for count in counts if count]
    )
    names = np.repeat(PARTS, counts)
    patients["part"] = names[np.argsort(places, kind="stable")]
    split = patients.sort_values("patient", ignore_index=True)[["patient", "institution", "part"]]
    assert_no_leak(split)
    return split


def _part_sizes(patients: int, shares: Sequence[float]) -> list[int]:
    if patients < len(PARTS):
        raise CourseError(
            f"{patients} patients cannot be split into training, validation and test; "
            "use at least 3"
        )
    validation, test = (max(1, round(patients * share)) for share in shares[1:])
    train = patients - validation - test
    if train < 1:
        raise CourseError(
            f"of {patients} patients {validation} would validate and {test} be tested, which "
            "leaves none to train on; use smaller shares for these two, or more patients"
        )
    return [train, validation, test]


def patient_folds(table: pd.DataFrame, folds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Deal the patients into folds for cross-validation, balanced by institution.

    Parameters
    ----------
    table : pandas.DataFrame
        A cohort table with masks; needs `patient, institution, tumour_px`.
    folds : int
        At least 2.
    seed : int
        The same seed and the same patients give the same folds.

    Returns
    -------
    pandas.DataFrame
        One row a patient, sorted by name: ``patient, institution, fold`` with folds 0..folds-1.

    Raises
    ------
    CourseError
        If there are fewer patients than folds.
    ValueError
        If fewer than two folds are asked for.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.splits import patient_folds
    >>> table = pd.DataFrame({"patient": list("abcdef"), "institution": "CS", "tumour_px": 9})
    >>> sorted(patient_folds(table, folds=3)["fold"].tolist())
    [0, 0, 1, 1, 2, 2]
    """
    patients = _dealing_order(table, seed)
    if folds < 2:
        raise ValueError(f"folds={folds}: cross-validation needs at least 2 folds")
    if len(patients) < folds:
        raise CourseError(
            f"{len(patients)} patients cannot fill {folds} folds; use at most "
            f"{len(patients)} folds or more patients"
        )
    rng = np.random.default_rng([seed, 2])
    rounds = -(-len(patients) // folds)
    patients["fold"] = np.concatenate([rng.permutation(folds) for _ in range(rounds)])[
        : len(patients)
    ]
    return patients.sort_values("patient", ignore_index=True)[["patient", "institution", "fold"]]


def assert_no_leak(split: pd.DataFrame, part: str = "part") -> None:
    """Check that no patient stands on two sides.

    Parameters
    ----------
    split : pandas.DataFrame
        Any table with a column ``patient`` and one that names the side, a row a patient or a
        row a slice.
    part : str
        The column that names the side, such as ``part`` or ``fold``.

    Raises
    ------
    CourseError
        Naming the patients that are on more than one side.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.splits import assert_no_leak
    >>> slices = pd.DataFrame({"patient": ["a", "a", "b"], "part": ["train", "train", "test"]})
    >>> assert_no_leak(slices)
    >>> assert_no_leak(slices.assign(part=["train", "test", "test"]))
    Traceback (most recent call last):
    CourseError: leak: 1 of 2 patients are in more than one part (a); split by patient, not by slice
    """
    sides = split.groupby("patient")[part].nunique(dropna=False)
    leaked = sorted(sides.index[sides > 1])
    if leaked:
        shown = ", ".join(leaked[:3]) + (f" and {len(leaked) - 3} more" if len(leaked) > 3 else "")
        raise CourseError(
            f"leak: {len(leaked)} of {len(sides)} patients are in more than one {part} "
            f"({shown}); split by patient, not by slice"
        )


def patients_of(split: pd.DataFrame, part: str) -> list[str]:
    """Return the names of the patients in one part, sorted."""
    return sorted(split.loc[split["part"] == part, "patient"])


def split_sha256(split: pd.DataFrame) -> str:
    """Return the SHA-256 of who is where: equal for equal splits, whatever the row order.

    Parameters
    ----------
    split : pandas.DataFrame
        One row a patient: `patient`, and `part` or else `fold`.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.cohort.splits import split_sha256
    >>> split = pd.DataFrame({"patient": ["a", "b"], "part": ["train", "test"]})
    >>> split_sha256(split) == split_sha256(split.iloc[::-1])
    True
    >>> split_sha256(split) == split_sha256(split.assign(part=["test", "train"]))
    False
    """
    part = "part" if "part" in split else "fold"
    lines = sorted(
        f"{patient},{side}" for patient, side in zip(split["patient"], split[part], strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
