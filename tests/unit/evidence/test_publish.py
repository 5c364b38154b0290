"""README and model card say what the tables say, also when tables grow."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from utils import config, published
from utils.evaluation import segmentation
from utils.evaluation.bootstrap import Interval
from utils.evaluation.detection import threshold_at_sensitivity
from utils.evaluation.text import marks
from utils.evidence import (
    card as card_module,
    comparisons,
    comparisons as evidence_words,
    recipes,
    statistics as findings,
)
from utils.evidence.attempts import REFERENCE
from utils.evidence.comparisons import Comparison, Pair
from utils.evidence.publish import MARK
from utils.evidence.statistics import FAILED, MOST_FAILED
from utils.evidence.tables import CHOICES, LGG, read_evidence

BEGIN, END = marks(MARK)


@pytest.mark.long
def test_readme_and_card_follow_from_the_tables(capsys):
    assert published.main(["--check"]) == 0, capsys.readouterr().out


@pytest.fixture
def few_draws(monkeypatch):
    """Intervals of few draws, to be fast."""
    for module in (findings, comparisons, evidence_words):
        monkeypatch.setattr(module, "RESAMPLES", 10)


@pytest.fixture
def copy(tmp_path, few_draws):
    """A copy of the tables, and a file with marks."""
    shutil.copytree(LGG, tmp_path / "lgg", ignore=shutil.ignore_patterns("*.keras", "slices_*"))
    readme = tmp_path / "README.md"
    readme.write_text(f"# Ours\n\n{BEGIN}\nold\n{END}\n\nrest\n", encoding="utf-8")
    return tmp_path


def run(folder, *arguments):
    return published.main(
        ["--tables", str(folder / "lgg"), "--readme", str(folder / "README.md"), *arguments]
    )


def test_a_readme_that_cannot_be_read_is_told_in_one_line(tmp_path, monkeypatch):
    # Neither the tables nor what is reckoned from them decides on that.
    monkeypatch.setattr(published, "read_evidence", lambda folder: None)
    monkeypatch.setattr(comparisons, "compare_all", lambda evidence: None)
    readme = tmp_path / "README.md"
    with pytest.raises(config.CourseError, match=r"README\.md: no such file; give the file with"):
        run(tmp_path)
    readme.write_bytes(f"{BEGIN}\n{END}\n".encode("utf-16"))  # begins with ff fe
    with pytest.raises(config.CourseError, match=r"README\.md: not readable as UTF-8"):
        run(tmp_path)
    readme.unlink()
    readme.mkdir()
    with pytest.raises(config.CourseError, match=r"README\.md: is a folder, where a file is exp"):
        run(tmp_path)


def test_what_is_late_is_told_then_written(copy, capsys):
    # An experiment of one fold: a fifth of the slices, every second mask drawn half as well.
    slices = pd.read_csv(copy / "lgg" / "slices.csv")
    some = slices[slices.index % 5 == 0].assign(fold=0, flagged=0, p_tumour=0.4)
    some["overlap_px"] = some["overlap_px"] // 2
    some.to_csv(copy / "lgg" / "slices_ours_random_split.csv", index=False)
    folds = pd.read_csv(copy / "lgg" / "folds.csv", dtype={"fold": str})
    folds = folds[folds["experiment"] == "ours"]
    row = folds.iloc[[0]].assign(experiment="ours_random_split", detection_threshold=0.5)
    pd.concat([folds, row]).to_csv(copy / "lgg" / "folds.csv", index=False)

    assert run(copy, "--check") == 1
    assert "README.md: not what the tables say" in capsys.readouterr().out
    assert "old" in (copy / "README.md").read_text(encoding="utf-8")
    assert run(copy) == 0
    assert run(copy, "--check") == 0
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# Ours\n\n{BEGIN}\n80 real patients")
    assert readme.endswith(f"{END}\n\nrest\n")
    # Without a tumour in these slices a patient has no Dice.
    with_tumour = some.loc[some["tumour_px"] > 0, "patient"].nunique()
    assert with_tumour < 80
    assert f"| {len(some)} slices of 80 patients (Dice: {with_tumour}) |" in readme
    assert "| baseline recipe | not computed yet |" in readme
    card = (copy / "lgg" / "model_card.md").read_text(encoding="utf-8")
    assert "our recipe, random split of slices, 1 of 5 folds" in card
    assert "Not for clinical use" in card and "CC BY-NC-SA 4.0" in card


def test_a_comparison_is_told_in_three_rows_and_a_missing_one_in_one():
    pair = Pair(0.8, 0.85, Interval(0.05, 0.01, 0.09))
    found = Comparison(1000, 80, 70, pair, pair, Pair(0.9, 0.9, Interval(0.0, -0.1, 0.1)))
    rows = comparisons.comparison_rows({"ours": found, "seed": None})
    assert rows[0] == ("ours", "Dice", "70 patients", "0.800", "0.850", "+0.050 (+0.010 to +0.090)")
    assert rows[1][1:3] == ("AUC", "1,000 slices")
    assert rows[2][5] == "+0.000 (-0.100 to +0.100)"
    assert rows[3][:2] == ("seed", "not computed yet")
    assert {len(row) for row in rows} == {6}


def test_a_verdict_follows_from_the_interval_alone():
    up, down, open_ = (
        Pair(0.8, 0.8 + gap, Interval(gap, low, high))
        for gap, low, high in ((0.05, 0.01, 0.09), (-0.05, -0.09, -0.01), (0.05, -0.01, 0.11))
    )
    found = Comparison(1000, 80, 70, dice=up, auc=down, detector_auc=open_)
    assert comparisons.split_verdicts({"ours": found, "seed": None}) == [
        "ours: the random split flatters the Dice, by 0.050",
        "ours: the random split makes the AUC look worse, by 0.050",
        "ours: these patients do not decide whether the AUC of the detector alone is inflated",
        "seed: not computed yet",
    ]


def test_the_card_says_whether_there_are_models(copy):
    settings = {
        "segmenter": {"trained_on": 80, "postprocessing": {"threshold": 0.45}},
        "detector": {"trained_on": 80, "threshold": 0.71},
    }
    for name in settings:
        (copy / "lgg" / f"{name}.json").unlink(missing_ok=True)
    run(copy)
    card = copy / "lgg" / "model_card.md"
    assert "**Shipped models**: not trained yet" in card.read_text(encoding="utf-8")
    for name, values in settings.items():
        config.write_json(copy / "lgg" / f"{name}.json", values)
    run(copy)
    said = card.read_text(encoding="utf-8")
    assert "trained on 80 patients" in said
    assert "0.45" in said and "flagged from 0.71" in said


def test_the_card_describes_the_recipe_that_is_trained(few_draws):
    evidence = read_evidence()
    compared = comparisons.compare_all(evidence)

    def segmenter(recipe):
        card = card_module.card(evidence, compared, recipe)
        return next(line for line in card.splitlines() if line.startswith("- **Segmenter**"))

    published = (LGG / "model_card.md").read_text(encoding="utf-8").splitlines()
    assert segmenter(recipes.OURS) in published
    for member in recipes.OURS.members:
        assert member.description in segmenter(recipes.OURS)
    earlier = (
        "- **Segmenter**: U-Net on ImageNet's ResNet50, FLAIR of three neighbouring slices, 192 px,"
        " Dice + cross-entropy, turned, scaled, shifted and mirrored at random; flips averaged."
    )
    assert segmenter(recipes.EARLIER) == earlier
    assert segmenter(replace(recipes.EARLIER, size=224)) == earlier.replace("192 px", "224 px")
    alone = segmenter(replace(recipes.EARLIER, flips=False))
    assert alone == earlier.replace("; flips averaged", "")
    other = segmenter(replace(recipes.EARLIER, loss=recipes.BASELINE.loss, strength=None))
    assert "192 px, focal Tversky, not augmented;" in other
    shown = segmenter(replace(recipes.EARLIER, frame="head", grey_levels="brain_mode"))
    assert "at random, cut to the head, grey levels by the brain's mode; flips" in shown


def test_what_the_segmenter_sees_is_told_as_its_limit(few_draws, monkeypatch):
    monkeypatch.setattr(card_module, "DETECTOR_SIZE", 96)
    evidence = read_evidence()
    recipe = replace(recipes.EARLIER, channels="sequences")
    card = card_module.card(evidence, comparisons.compare_all(evidence), recipe)
    assert "pre-contrast, FLAIR and post-contrast, 192 px" in card
    assert "segmenter see three sequences" in card and "sees FLAIR only" not in card
    assert "the last three blocks of the fourth fine-tuned, 96 px" in card


def test_attempts_stand_in_the_card_with_their_difference_in_pairs(copy):
    runs, rows = [], []
    for attempt, dice in ((REFERENCE, 0.7), ("smaller", 0.6)):
        key = {"attempt": attempt, "fold": "0", "seed": 0}
        runs.append(key | {"recipe": f"recipe of {attempt}", "auc": 0.9, "minutes": 3})
        rows += [key | {"patient": name} | dict.fromkeys(CHOICES, dice) for name in "AB"]
    rows[-1] |= dict.fromkeys(CHOICES, 0.4)
    pd.DataFrame(runs).to_csv(copy / "lgg" / "attempts.csv", index=False)
    pd.DataFrame(rows).to_csv(copy / "lgg" / "attempts_patients.csv", index=False)
    assert run(copy) == 0
    card = (copy / "lgg" / "model_card.md").read_text(encoding="utf-8").splitlines()
    first, second = (line for line in card if "| recipe of" in line)
    name = f"| {REFERENCE} | recipe of {REFERENCE}"
    assert first == f"{name} | 1 | 2 | 0.700 | 0.700 | 0.0 | – | 0.900 | 3 |"
    # Of two patients, one is 0.1 lower and one 0.3.
    name = "| smaller | recipe of smaller"
    assert second.startswith(f"{name} | 1 | 2 | 0.500 | 0.500 | 1.0 | -0.200 (")


def test_failures_are_counted_beside_their_aim(copy):
    patients = pd.read_csv(copy / "lgg" / "patients.csv")
    count = int((patients["dice"] < FAILED).sum())
    run(copy)
    reached = "reached" if count <= MOST_FAILED else "**not reached**"
    row = f"| Patients with a Dice below 0.5 | {count} of 80 | at most 2, {reached} | – |"
    assert row in (copy / "README.md").read_text(encoding="utf-8").splitlines()
    card = (copy / "lgg" / "model_card.md").read_text(encoding="utf-8")
    assert f"| Patients with a Dice below 0.5 | {count} of 80 |" in card


def test_the_card_names_the_sensitivity_that_thresholds_are_chosen_for(few_draws, monkeypatch):
    evidence = read_evidence()
    compared = comparisons.compare_all(evidence)
    # Of ten scores of tumour slices, the ninth is the highest threshold that finds 90 %.
    scores = np.arange(10, 0, -1)
    assert threshold_at_sensitivity(np.ones(10), scores) == scores[8]
    assert "(aimed at a sensitivity of 0.90)" in card_module.card(evidence, compared)
    monkeypatch.setattr(card_module, "SENSITIVITY", 0.8)
    assert "(aimed at a sensitivity of 0.80)" in card_module.card(evidence, compared)


def test_the_card_tells_under_which_definition_hd95_was_computed(copy):
    # Counted from the rows: slices in which one of the two masks has no pixel.
    rows = pd.read_csv(copy / "lgg" / "slices.csv")
    missed = ((rows["tumour_px"] > 0) & (rows["predicted_px"] == 0)).sum()
    invented = ((rows["tumour_px"] == 0) & (rows["predicted_px"] > 0)).sum()
    counts = (
        f"{missed + invented} of the 2,838 slices have only one mask ({missed} missed, {invented} "
        "invented)"
    )
    card = copy / "lgg" / "model_card.md"

    config.update_json(copy / "lgg" / "provenance.json", {"hd95": segmentation.HD95_BEFORE})
    assert run(copy) == 0
    earlier = card.read_text(encoding="utf-8")
    assert "| HD95 (earlier definition), median (px) |" in earlier
    assert "| HD95 (earlier definition), px |" in earlier
    assert f"{counts}; these are left out" in earlier

    config.update_json(copy / "lgg" / "provenance.json", {"hd95": segmentation.HD95_NOW})
    assert run(copy) == 0
    now = card.read_text(encoding="utf-8")
    assert "| HD95, median (px) |" in now
    assert "earlier definition" not in now
    assert (
        f"counts as the picture's diagonal; the value of a patient is the mean over the slices \
with either mask. Here {counts}."
        in now
    )
