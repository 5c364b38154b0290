"""What is varied is read and checked, and every combination comes once."""

import pytest

from utils.config import CourseError
from utils.sweep.grid import combinations, label, read_grid


def test_values_come_from_a_file_and_from_words_which_count_more(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("rate: [1e-3, 3e-4]\nepochs: 5\n")
    assert read_grid("segmenter", [], path) == {"rate": [1e-3, 3e-4], "epochs": [5]}
    assert read_grid("segmenter", ["epochs=2,3,2"], path)["epochs"] == [2, 3]


@pytest.mark.parametrize(
    ("network", "words", "said"),
    [
        ("segmenter", [], "nothing to vary: give NAME=VALUE,VALUE or --grid FILE; of the segm"),
        ("segmenter", ["rate"], "rate: write NAME=VALUE,VALUE, such as rate=3e-4,1e-3"),
        ("segmenter", ["penalty=1"], "penalty: no hyper-parameter of the segmenter; choose among"),
        ("detector", ["rate=fast"], "rate=fast: must be between 0 and 1"),
        ("detector", ["rate=nan"], "rate=nan: must be between 0 and 1"),
        ("detector", ["epochs=2.5"], "epochs=2.5: must be a whole number of at least 1"),
        ("segmenter", ["loss=dice"], "loss=dice: must be focal_tversky or dice_cross_entropy"),
        ("segmenter", ["fn_weight=1"], "fn_weight=1: must be between 0 and 1"),
    ],
)
def test_what_cannot_be_varied_is_told_in_one_line(network, words, said):
    with pytest.raises(CourseError) as told:
        read_grid(network, words, None)
    assert str(told.value).startswith(said)


def test_a_list_without_values_is_told(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("rate: []\n")
    with pytest.raises(CourseError, match="rate: no value; give at least one"):
        read_grid("segmenter", [], path)


def test_combinations_are_named_alike_in_whatever_order_they_are_given():
    """Or a sweep that goes on would train all again."""
    one, other = (
        [label(each) for each in combinations(read_grid("detector", words, None))]
        for words in (["rate=1e-3", "epochs=2"], ["epochs=2", "rate=1e-3"])
    )
    assert one == other == ["rate-0.001_epochs-2"]


def test_weights_of_tversky_are_not_varied_for_another_loss():
    grid = read_grid(
        "segmenter", ["loss=focal_tversky,dice_cross_entropy", "fn_weight=0.5,0.7"], None
    )
    found = combinations(grid)
    # Two of Tversky's loss, and one of the other.
    assert [label(one) for one in found] == [
        "loss-focal_tversky_fn_weight-0.5",
        "loss-focal_tversky_fn_weight-0.7",
        "loss-dice_cross_entropy",
    ]


def test_each_combination_has_a_name_of_its_own():
    found = combinations(read_grid("segmenter", ["rate=1e-3,3e-4", "epochs=2,3"], None))
    assert len({label(one) for one in found}) == len(found) == 4
