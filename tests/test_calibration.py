"""From inliers to probabilities: curves by hand, and pairs drawn from a known one."""

import numpy as np
import pytest

from sklearn_cmac.reranking import CALIBRATIONS
from sklearn_cmac.search import fit_calibration, same_object_probability


def test_probabilities_by_hand():
    """Log-odds of 0 where log(1 + 7) slope is the intercept, and of log 9 at odds of 9."""
    curve = (-np.log(8), 1.0)
    np.testing.assert_allclose(same_object_probability([7, 0, 71], curve), [0.5, 1 / 9, 0.9])
    assert same_object_probability(7, curve).shape == ()


@pytest.mark.parametrize("curve", CALIBRATIONS)
def test_more_inliers_are_always_more_probable(curve):
    """So that probabilities sort as inliers do, where there are thousands too."""
    found = same_object_probability(np.arange(1500), curve)
    assert np.all(np.diff(found) > 0)
    assert found[0] < 0.01
    assert found[100] > 0.99


def test_a_curve_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"'SURF'; there are 'SIFT, ratio', 'XFeat, nearest'"):
        same_object_probability(3, "SURF")


def drawn(rng, n, curve):
    counts = rng.geometric(0.1, n)
    return counts, rng.random(n) < same_object_probability(counts, curve)


def test_the_curve_that_pairs_were_drawn_from_is_found_again(rng):
    counts, same = drawn(rng, 20_000, (-6.0, 2.5))
    np.testing.assert_allclose(fit_calibration(counts, same), (-6.0, 2.5), rtol=0.05)


def test_pairs_in_which_nothing_agrees_move_no_slope(rng):
    """Views of two sides of an object have none; a curve through them would be flat."""
    counts, same = drawn(rng, 2000, (-6.0, 2.5))
    plain = fit_calibration(counts, same)
    more = np.append(counts, np.zeros(5000)), np.append(same, np.ones(5000, bool))
    assert fit_calibration(*more) == pytest.approx(plain)


def test_a_prior_counts_as_if_pairs_had_been_drawn_so(rng):
    counts, same = drawn(rng, 40_000, (-6.0, 2.5))
    kept = same | (rng.random(len(same)) < 0.2)  # of five others, four are thrown away
    intercept, slope = fit_calibration(counts[kept], same[kept], prior=same.mean())
    np.testing.assert_allclose((intercept, slope), (-6.0, 2.5), rtol=0.05)


def test_a_number_that_separates_the_pairs_gives_a_steep_curve_and_no_infinite_one():
    intercept, slope = fit_calibration([3, 4, 5, 30, 40, 50], [0, 0, 0, 1, 1, 1])
    assert np.isfinite(intercept)
    assert 2 < slope < 100


@pytest.mark.parametrize(
    ("counts", "same"), [([3, 9], [1, 1]), ([3, 9], [0, 0]), ([0, 9], [0, 1]), ([], [])]
)
def test_pairs_of_one_kind_are_refused(counts, same):
    with pytest.raises(ValueError, match="needs pairs that show the same object"):
        fit_calibration(counts, same)
