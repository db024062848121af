"""What follows the first ranking of a search, by how long somebody may wait for it."""

import pytest

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac.search import chain_of_effort

XFEAT, ALIKED = LearnedFeatureExtractor(), LearnedFeatureExtractor("aliked-n16")


def names(*args):
    return [name for name, _ in chain_of_effort(*args).steps]


def test_a_fast_search_compares_regions_only():
    assert names("fast", True, [XFEAT]) == ["match"]
    assert names("fast", False, [XFEAT]) == []


@pytest.mark.parametrize("effort", ["usual", "best"])
def test_without_local_features_the_neighbors_have_the_last_word(effort):
    assert names(effort, True) == ["match", "neighbors"]
    assert names(effort, False) == []


@pytest.mark.parametrize("regions", [True, False])
@pytest.mark.parametrize("effort", ["usual", "best"])
def test_what_is_verified_comes_first_and_searches_again(effort, regions):
    (*before, (name, expand)) = chain_of_effort(effort, regions, [XFEAT]).steps
    assert name == "expand"
    # Behind it, the walk would sort what is verified as it does all others.
    assert [name for name, _ in before] == ["match"] * regions
    assert [name for name, _ in expand.steps] == ["match", "neighbors"][: 2 * regions]


def test_the_best_search_takes_two_rounds_and_verifies_more_photos_by_features_that_tell_more():
    kept = [XFEAT, ALIKED]
    usual, best = (dict(chain_of_effort(e, True, kept).steps)["expand"] for e in ("usual", "best"))
    assert (usual.n_rounds, best.n_rounds) == (1, 2)
    assert (usual.verifier.extractor, best.verifier.extractor) == (XFEAT, ALIKED)
    assert (usual.verifier.n_candidates, best.verifier.n_candidates) == (20, 50)


def test_the_best_search_by_xfeat_alone_verifies_no_more_photos_than_the_usual_one():
    (_, (_, expand)) = chain_of_effort("best", True, [XFEAT]).steps
    assert (expand.verifier.n_candidates, expand.verifier.min_inliers) == (20, 15)
