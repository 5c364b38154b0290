import pandas as pd
import pytest

from utils.evidence import attempts, recipes
from utils.evidence.tables import CHOICES
from utils.evidence.training import trial

FIRST, SECOND, *_ = CHOICES


def patients(**dice):
    """Return the table of attempts, one fold and two seeds, from (first choice, second choice)."""
    rows = [
        {"attempt": name, "fold": "0", "seed": seed, "patient": f"P{number}"}
        | dict.fromkeys(CHOICES, 0.0)
        | {FIRST: first, SECOND: second}
        for name, values in dice.items()
        for seed in (0, 1)
        for number, (first, second) in enumerate(values)
    ]
    return pd.DataFrame(rows)


def runs(*names):
    return pd.DataFrame(
        [
            {"attempt": name, "fold": "0", "seed": seed, "recipe": f"as {name}", "auc": 0.9}
            | {"minutes": 4 + 2 * seed}
            for name in names
            for seed in (0, 1)
        ]
    )


def test_each_attempt_stands_with_the_choice_that_suits_it():
    table = patients(a=[(0.9, 0.6), (0.7, 0.6), (0.4, 0.6)], b=[(0.2, 0.8), (0.2, 0.8), (0.2, 0.9)])
    found = attempts.summary(runs("a", "b"), table)
    assert found["attempt"].tolist() == ["b", "a"]
    b, a = found.itertuples()
    assert (a.choice, b.choice) == (FIRST, SECOND)
    assert a.dice_mean == pytest.approx(2.0 / 3)
    assert a.dice_median == pytest.approx(0.7)
    assert (a.under_half, b.under_half) == (1, 0)  # one patient, under each of two seeds
    assert (a.trainings, a.patients, a.minutes) == (2, 3, 5)


def test_a_patient_who_fails_in_several_folds_is_one_patient():
    table = pd.concat([patients(a=[(0.4, 0.3), (0.9, 0.8)]).assign(fold=fold) for fold in "01"])
    (found,) = attempts.summary(runs("a"), table).itertuples()
    assert (found.patients, found.under_half) == (2, 1)


def test_each_training_has_the_mean_of_its_patients():
    table = patients(a=[(0.9, 0), (0.7, 0)], b=[(0, 0.2), (0, 0.6)])
    table.loc[(table["attempt"] == "a") & (table["seed"] == 1), FIRST] = 0.0
    found = attempts.by_training(table)
    assert found["dice"].tolist() == pytest.approx([0.8, 0.0, 0.4, 0.4])
    assert found["attempt"].tolist() == ["a", "a", "b", "b"]
    assert found["seed"].tolist() == [0, 1, 0, 1]


def test_differences_are_in_pairs_over_shared_folds_whatever_the_seeds():
    table = patients(**{attempts.REFERENCE: [(0.5, 0), (0.6, 0)], "b": [(0.6, 0), (0.9, 0)]})
    alone = table[(table["attempt"] != "b") | (table["seed"] == 0)]
    pairs = attempts.difference(alone, attempts.REFERENCE, "b")
    assert pairs["first"].tolist() == [0.5, 0.6]
    assert pairs["second"].tolist() == [0.6, 0.9]
    none, gap = attempts.differences(alone, [attempts.REFERENCE, "b"])
    assert none is None
    assert gap.estimate == pytest.approx(0.2)  # (0.1 + 0.3) / 2


def test_attempts_that_share_no_training_are_not_compared():
    table = patients(**{attempts.REFERENCE: [(0.5, 0)], "b": [(0.6, 0)]})
    table.loc[table["attempt"] == "b", "fold"] = "1"
    assert attempts.differences(table, ["b"]) == [None]


def test_without_the_reference_nothing_is_compared():
    table = patients(a=[(0.5, 0)], b=[(0.6, 0)])
    assert attempts.differences(table, ["a", "b"]) == [None, None]
    assert attempts.worth(table).empty


def test_a_training_that_a_fold_has_already_is_not_repeated(tmp_path):
    trained = {"ours": recipes.OURS, "earlier_patient_split": recipes.EARLIER}

    def found(recipe, seed):
        return trial.reusable(seed, recipe, trained)

    assert found(recipes.OURS, 0) == ("ours", "segmenter")
    assert found(recipes.OURS, 1) is None
    for number, member in enumerate(recipes.OURS.members):
        assert found(member, number) == ("ours", f"segmenter/{number}")
        assert found(member, number + 5) is None
    assert found(recipes.BASELINE, 0) is None


def test_every_attempt_says_what_it_is():
    said = [recipe.description for recipe in recipes.ATTEMPTS.values()]
    assert len(set(said)) == len(said)
    assert all(said)


def gains(table):
    return attempts.worth(table).set_index("part")


def test_what_a_part_was_worth_is_with_it_minus_without_it():
    reference = {attempts.REFERENCE: [(0.5, 0), (0.6, 0)]}
    found = gains(patients(**reference, **{"from scratch": [(0.4, 0), (0.7, 0)]}))
    part = found.loc["encoder from ImageNet"]
    assert part["gain"].estimate == pytest.approx(0.0)  # (0.1 - 0.1) / 2
    assert (part["trainings"], part["patients"], part["better"]) == (4, 2, 1)
    assert "cut to the head" not in found.index  # was not tried


def test_trainings_of_folds_that_only_one_side_has_do_not_count():
    table = patients(**{attempts.REFERENCE: [(0.5, 0)], "192 px": [(0.4, 0)]})
    other = table[table["attempt"] == attempts.REFERENCE].assign(fold="4")
    part = gains(pd.concat([table, other])).loc["128 px, not 192"]
    assert (part["trainings"], part["patients"]) == (4, 1)
    table.loc[table["attempt"] == "192 px", "fold"] = "1"
    assert "128 px, not 192" not in gains(table).index


def test_a_step_after_the_network_is_judged_on_the_same_maps():
    table = patients(ours=[(0.0, 0), (0.0, 0)])
    without, with_it = attempts.STEPS["refinement"]
    table[without], table[with_it] = 0.5, [0.6, 0.4, 0.8, 0.4]  # two patients, two seeds
    part = gains(table).loc["refinement (ours)"]
    assert part["gain"].estimate == pytest.approx(0.05)  # (0.2 - 0.1) / 2
    assert (part["trainings"], part["patients"], part["better"]) == (2, 2, 1)
    assert f"refinement ({attempts.REFERENCE})" not in gains(table).index


def test_another_seed_alone_is_the_yardstick():
    table = patients(**{attempts.REFERENCE: [(0.5, 0), (0.6, 0)]})
    table.loc[table["seed"] == 1, FIRST] = [0.8, 0.5]
    # A fold with one seed says nothing of another.
    single = table[table["seed"] == 0].assign(fold="4")
    part = gains(pd.concat([table, single])).loc[f"another seed, {attempts.REFERENCE}"]
    assert part["gain"].estimate == pytest.approx(0.1)  # (0.3 - 0.1) / 2
    assert (part["trainings"], part["patients"], part["better"]) == (2, 2, 1)
    assert f"another seed, {attempts.REFERENCE}" not in gains(single).index


def test_parts_and_steps_name_what_there_is():
    assert {name for pair in attempts.PARTS.values() for name in pair} <= recipes.ATTEMPTS.keys()
    assert {name for pair in attempts.STEPS.values() for name in pair} <= CHOICES.keys()
