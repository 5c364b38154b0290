import numpy as np

from utils.models.refinement import SURE, refine


def patient(tumour=200, brain=100):
    """Return maps and FLAIR of a tumour of 12 x 12 pixels of which the network found 10 x 10."""
    rng = np.random.default_rng(0)
    flair = rng.normal(brain, 4, (2, 48, 48))
    flair[:, 18:30, 18:30] = rng.normal(tumour, 4, (2, 12, 12))
    maps = np.full(flair.shape, 0.01)
    maps[:, 16:32, 16:32] = 0.4
    maps[:, 19:29, 19:29] = 0.95
    return maps.astype("float32"), flair.clip(1, 255).astype(np.uint8)


def test_unsure_pixels_follow_the_grey_levels_of_the_tumour_and_of_its_surroundings():
    maps, flair = patient()
    refined = refine(maps, flair, 1.0)
    truth = np.zeros(maps.shape, bool)
    truth[:, 18:30, 18:30] = True
    assert refined.dtype == np.float32
    np.testing.assert_array_equal(refined > 0.5, truth)


def test_a_tumour_darker_than_the_brain_is_refined_too():
    maps, flair = patient(tumour=60)
    assert (refine(maps, flair, 1.0)[:, 18, 18] > 0.5).all()
    assert (refine(maps, flair, 1.0)[:, 16, 16] < 0.1).all()


def test_a_tumour_as_bright_as_the_brain_changes_little():
    maps, flair = patient(tumour=100)
    assert np.abs(refine(maps, flair, 1.0) - maps).max() < 0.3


def test_the_strength_multiplies_what_is_added_to_the_logit():
    maps, flair = patient()

    def added(strength):
        probabilities = refine(maps, flair, strength)[0, 18, 24].astype(float)
        return np.log(probabilities / (1 - probabilities)) - np.log(0.4 / 0.6)

    np.testing.assert_allclose(added(1.0), 2 * added(0.5), rtol=1e-3)
    # A grey level of the tumour that never occurs around it speaks as loud as any may.
    np.testing.assert_allclose(added(1.0), 3.0, atol=1e-3)


def test_nothing_is_refined_where_nothing_is_surely_tumour():
    maps, flair = patient()
    unsure = np.minimum(maps, SURE)
    assert refine(unsure, flair, 1.0) is unsure
    assert refine(maps, flair, 0.0) is maps


def test_what_is_surely_no_tumour_stays_as_it_is():
    maps, flair = patient()
    refined = refine(maps, flair, 2.0)
    np.testing.assert_array_equal(refined[maps < 0.05], maps[maps < 0.05])


def test_only_the_largest_sure_piece_speaks():
    maps, flair = patient()
    maps[:, 2:6, 2:6] = 0.95  # a false alarm in the brain: 16 pixels of 100 in each slice
    without, _ = patient()
    changed = refine(maps, flair, 1.0)[:, 10:40, 10:40]
    np.testing.assert_allclose(changed, refine(without, flair, 1.0)[:, 10:40, 10:40], atol=0.02)
