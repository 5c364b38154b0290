"""The leak lab, notebook 06: one model, one budget, and three ways to deal out the slices.

The model is a support vector machine on the features of `utils.course.features`. It is
the same in every split; what changes is only which slices it has seen before it is tested.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.svm import SVC

from utils.cohort.statistics import neighbour_in_training
from utils.config import CourseError
from utils.evaluation.bootstrap import Interval
from utils.evaluation.detection import auc

# Share of the slices that is tested, in every split.
TEST_SHARE = 0.25
# C of the support vector machine: the penalty for a training slice on the wrong side.
PENALTY = 10.0
REPEATS = 20


def faulty_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with a wrong `patient_id`, made by the mistake of a published one.

    The names of the files were sorted by slice number, so that they no longer stand patient by
    patient; the column of ids was made before, and was not moved along.

    Parameters
    ----------
    table : DataFrame
        A cohort table: `patient, slice, image_path`, patient by patient.

    Returns
    -------
    DataFrame
        `patient_id` (as it was published), `image` (the file's name), `patient` (by the file's
        name), `slice` and `row` (the place in `table`).
    """
    order = table["slice"].to_numpy().argsort(kind="stable")
    moved = table.iloc[order]
    return pd.DataFrame(
        {
            "patient_id": table["patient"].to_numpy(),
            "image": [f"{patient}_{number}.tif" for patient, number in
                      zip(moved["patient"], moved["slice"], strict=True)],
            "patient": moved["patient"].to_numpy(),
            "slice": moved["slice"].to_numpy(),
            "row": order,
        }
    )  # fmt: skip


def faulty_patient_ids(table: pd.DataFrame) -> np.ndarray:
    """Return for each slice of a cohort table whose it is by the faulty `patient_id`.

    Parameters
    ----------
    table : DataFrame
        As `faulty_table` takes it.

    Returns
    -------
    ndarray of str, shape (n,)
        One name for each row of `table`.

    Examples
    --------
    Sorted by number, the slices are a 1, b 1, a 2, b 2; the ids beside them are still a, a, b, b.

    >>> import pandas as pd
    >>> from utils.course.leak_lab import faulty_patient_ids
    >>> table = pd.DataFrame({"patient": list("aabb"), "slice": [1, 2, 1, 2]})
    >>> faulty_patient_ids(table).tolist()
    ['a', 'b', 'a', 'b']
    """
    faulty = faulty_table(table)
    believed = np.empty(len(table), dtype=object)
    believed[faulty["row"]] = faulty["patient_id"]
    return believed


def choose_test_slices(
    groups: np.ndarray, random: np.random.Generator, share: float = TEST_SHARE
) -> np.ndarray:
    """Return which slices are tested: whole groups, in random order, until the share is reached.

    Parameters
    ----------
    groups : array, shape (n,)
        What stays together: the patient, what is believed to be the patient, or a number that
        every slice has for itself.
    random : numpy.random.Generator
    share : float
        Of the slices, 0..1.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for tested slices: the fewest whole groups that hold at least the share.

    Examples
    --------
    Of four patients with two slices each, one has the quarter that is tested.

    >>> import numpy as np
    >>> from utils.course.leak_lab import choose_test_slices
    >>> patients = np.array(list("aabbccdd"))
    >>> tested = choose_test_slices(patients, np.random.default_rng(0), share=0.25)
    >>> len(set(patients[tested])), len(set(patients[~tested]))
    (1, 3)
    """
    names, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = random.permutation(len(names))
    needed = np.searchsorted(np.cumsum(counts[order]), share * len(groups)) + 1
    return np.isin(numbers, order[:needed])


def three_splits(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return by the name of a split what it keeps together; see `choose_test_slices`."""
    return {
        "random slices": np.arange(len(table)),
        "faulty patient_id": faulty_patient_ids(table),
        "patients": table["patient"].to_numpy(),
    }


def kernel(features: np.ndarray) -> np.ndarray:
    """Return how alike slices are by their features: a Gaussian of their distance.

    Features are brought to length 1 by slice, so that nothing flows from one slice to another.
    The width of the Gaussian is the median squared distance.

    Parameters
    ----------
    features : ndarray of float, shape (n, features)
        No row may be all zeros.

    Returns
    -------
    ndarray of float, shape (n, n)
        0..1; 1 for slices whose features differ by a factor at most.

    Examples
    --------
    The squared distances are 0, 2 and 4, their median is 2: exp(-0), exp(-1), exp(-2).

    >>> import numpy as np
    >>> from utils.course.leak_lab import kernel
    >>> kernel(np.array([[1, 0], [0, 1], [-1, 0]])).round(2)
    array([[1.  , 0.37, 0.14],
           [0.37, 1.  , 0.37],
           [0.14, 0.37, 1.  ]])
    """
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = np.maximum(0, 2 - 2 * units.astype(float) @ units.T.astype(float))
    return np.exp(-distance / np.median(distance))


def scores_by_penalty(
    likeness: np.ndarray, labels: np.ndarray, test: np.ndarray, penalties: Sequence[float]
) -> list[float]:
    """Return the AUC on the tested slices of machines trained on the others, one a penalty.

    Parameters
    ----------
    likeness : ndarray (n, n)
        From `kernel`.
    labels : ndarray of bool, shape (n,)
        Whether the slice has a tumour.
    test : ndarray of bool, shape (n,)
    penalties : sequence of float
        C, the penalty for a training slice on the wrong side, which is also the most that a single
        training slice may weigh; the higher, the more the machine bends to remember single slices.
    """
    known, asked = likeness[np.ix_(~test, ~test)], likeness[np.ix_(test, ~test)]
    machines = (
        SVC(C=penalty, kernel="precomputed").fit(known, labels[~test]) for penalty in penalties
    )
    return [auc(labels[test], machine.decision_function(asked)) for machine in machines]


def _deals(table: pd.DataFrame, repeats: int, seed: int) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield name of the split, number of the repeat, and which slices are tested."""
    for split, groups in three_splits(table).items():
        for repeat in range(repeats):
            yield split, repeat, choose_test_slices(groups, np.random.default_rng([seed, repeat]))


def compare_splits(
    table: pd.DataFrame,
    likeness: np.ndarray,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> pd.DataFrame:
    """Train and test the same machine, with `PENALTY`, under the three splits, several times each.

    Parameters
    ----------
    table : DataFrame
        `patient, slice, has_tumour`, one row per slice.
    likeness : ndarray (n, n)
        From `kernel`, in the order of `table`.
    repeats, seed : int
        Each repeat deals anew.

    Returns
    -------
    DataFrame
        `split, repeat, auc, test_slices, leaked` (patients on both sides), `neighbours` (share of
        the tested slices whose neighbour was trained on).
    """
    labels = table["has_tumour"].to_numpy(dtype=bool)
    rows = []
    for split, repeat, test in _deals(table, repeats, seed):
        dealt = table[["patient", "slice"]].assign(part=np.where(test, "test", "train"))
        sides = dealt.drop_duplicates(["patient", "part"])["patient"]
        rows.append(
            {
                "split": split,
                "repeat": repeat,
                "auc": scores_by_penalty(likeness, labels, test, [PENALTY])[0],
                "test_slices": int(test.sum()),
                "leaked": int(sides.duplicated().sum()),
                "neighbours": float(neighbour_in_training(dealt)[test].mean()),
            }
        )
    return pd.DataFrame(rows)


def gap(scores: pd.DataFrame, split: str) -> Interval:
    """Return by how much the AUC of a split exceeds that by patients, with its 95 % interval.

    The repeats share most of their training slices, so they are not independent; the corrected
    resampled t interval of Nadeau & Bengio (2003, doi:10.1023/A:1024068626366) allows for that.

    Parameters
    ----------
    scores : DataFrame
        From `compare_splits`; needs `split, repeat, auc`.
    split : str
        In its column `split`.

    Returns
    -------
    Interval
        Above 0 where the split flatters.

    Raises
    ------
    CourseError
        With fewer than two repeats.

    Examples
    --------
    >>> import pandas as pd
    >>> from utils.course.leak_lab import gap
    >>> scores = pd.DataFrame({"repeat": [0, 1, 0, 1], "auc": [0.9, 0.8, 0.7, 0.6]})
    >>> scores["split"] = ["random slices", "random slices", "patients", "patients"]
    >>> print(gap(scores, "random slices"))
    0.20 (95 % CI 0.20 to 0.20)
    """
    by_repeat = scores.pivot_table(index="repeat", columns="split", values="auc")
    differences = (by_repeat[split] - by_repeat["patients"]).to_numpy()
    count = len(differences)
    if count < 2:
        raise CourseError(f"{count} repeat of the split: an interval needs at least 2")
    spread = differences.std(ddof=1) * np.sqrt(1 / count + TEST_SHARE / (1 - TEST_SHARE))
    reach = stats.t.ppf(0.975, count - 1) * spread
    mean = float(differences.mean())
    return Interval(mean, float(mean - reach), float(mean + reach))


def auc_by_penalty(
    table: pd.DataFrame,
    likeness: np.ndarray,
    penalties: Sequence[float],
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the mean AUC by penalty C (rows) and split (columns).

    The slices are dealt as in `compare_splits`: with the same repeats and seed, the row of its
    penalty holds its means.
    """
    labels = table["has_tumour"].to_numpy(dtype=bool)
    scores = {
        (split, repeat): scores_by_penalty(likeness, labels, test, penalties)
        for split, repeat, test in _deals(table, repeats, seed)
    }
    by_repeat = pd.DataFrame(scores, index=pd.Index(penalties, name="C"))
    return by_repeat.T.groupby(level=0, sort=False).mean().T
