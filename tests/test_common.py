"""Every public estimator keeps scikit-learn's contract."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklearn_cmac
from sklearn_cmac import (
    VLAD,
    ActivationPCA,
    BagOfWords,
    BoxRegions,
    ClustererRegions,
    ClusterMaxPooler,
    ConvFeatureExtractor,
    CroWPooler,
    FisherVector,
    FullyConnected,
    GeMPooler,
    GridRegions,
    L2Aggregator,
    LocalFeatureExtractor,
    NCutClusterer,
    RegionUnion,
    RegionWhitener,
    SPoCPooler,
    TreeRegions,
    WholeRegion,
)

ESTIMATORS = [
    ActivationPCA, BagOfWords, BoxRegions, ClusterMaxPooler, ClustererRegions,
    ConvFeatureExtractor, CroWPooler, FisherVector, FullyConnected, GeMPooler, GridRegions,
    L2Aggregator, LocalFeatureExtractor, NCutClusterer, RegionWhitener, SPoCPooler,
    TreeRegions, VLAD, WholeRegion,
]  # fmt: skip


def expected_failures(estimator):
    if not isinstance(estimator, NCutClusterer):
        return {}
    return {
        "check_methods_sample_order_invariance": "clusters have no order, so the columns of the "
        "membership table may come in another one",
    }


@parametrize_with_checks(
    [
        ActivationPCA(),
        ActivationPCA(normalize=True, weighting="whiten"),
        RegionWhitener(),
        RegionWhitener(n_components=2, shrinkage=1.0),
        RegionWhitener(method="learned"),
        FullyConnected(),
        L2Aggregator(),
        NCutClusterer(n_clusters=3),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_every_public_estimator_is_tested():
    public = [getattr(sklearn_cmac, name) for name in sklearn_cmac.__all__]
    estimators = {c for c in public if inspect.isclass(c) and hasattr(c, "fit")}
    assert estimators - {RegionUnion} == set(ESTIMATORS)  # it is made of other steps


pytestmark = pytest.mark.filterwarnings("ignore:.* was asked for")  # few, small inputs


@pytest.fixture(params=ESTIMATORS, ids=lambda c: c.__name__)
def step(request):
    seeded = "random_state" in inspect.signature(request.param).parameters
    return request.param(**{"random_state": 0} if seeded else {})


@pytest.fixture
def inputs(pixels, records, rng):
    """What each step takes, as the step before it makes it."""
    features = [rng.random((n, 8)) for n in (40, 50, 60)]
    embedded = ActivationPCA(3).fit_transform(records)
    proposed = GridRegions().fit_transform(embedded)
    pooled = ClusterMaxPooler().fit_transform(proposed)
    return {
        ConvFeatureExtractor: [pixels, pixels[::-1]],
        ActivationPCA: records,
        NCutClusterer: embedded,
        ClustererRegions: embedded,
        GridRegions: records,
        BoxRegions: records,
        WholeRegion: records,
        TreeRegions: embedded,
        ClusterMaxPooler: proposed,
        GeMPooler: proposed,
        SPoCPooler: proposed,
        CroWPooler: proposed,
        RegionWhitener: pooled,
        FullyConnected: pooled,
        L2Aggregator: pooled,
        LocalFeatureExtractor: [pixels, pixels[::-1]],
        BagOfWords: features,
        VLAD: features,
        FisherVector: features,
    }


def same(a, b):
    """Whether two outputs hold equal arrays."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    names = ("activations", "embedding", "vectors", "positions", "descriptors")
    arrays = [[getattr(item, n) for n in names if hasattr(item, n)] for item in (*a, *b)]
    half = len(arrays) // 2
    return all(
        np.array_equal(x, y)
        for row, other in zip(arrays[:half], arrays[half:])
        for x, y in zip(row, other)
        if x is not None
    )


def test_init_only_assigns_and_params_round_trip(step):
    params = step.get_params()
    assert set(params) == set(inspect.signature(type(step)).parameters)
    assert all(getattr(step, k) is v for k, v in params.items())
    assert vars(step).keys() == params.keys()
    copy = clone(step).set_params(**params)
    assert copy.get_params() == params
    assert type(step).__name__ in repr(step)
    assert set(step._parameter_constraints) == set(params)


def test_wrong_parameters_are_refused_by_fit(step, inputs):
    for name in step.get_params():
        broken = clone(step).set_params(**{name: object()})
        with pytest.raises(ValueError, match=name):
            broken.fit(inputs[type(step)])


@pytest.mark.filterwarnings("ignore:whitening")
def test_fitting_returns_self_changes_no_parameter_and_ends_names_in_an_underscore(step, inputs):
    params = step.get_params()
    assert step.fit(inputs[type(step)]) is step
    assert step.get_params() == params
    for name in vars(step).keys() - params.keys():
        assert name.endswith("_") or name.startswith("_")


@pytest.mark.filterwarnings("ignore:whitening")
def test_fit_transform_is_fit_then_transform_and_survives_pickling(step, inputs):
    X = inputs[type(step)]
    first = clone(step).fit_transform(X)
    step.fit(X)
    assert len(first) == len(X)
    assert same(first, step.transform(X))
    assert same(first, pickle.loads(pickle.dumps(step)).transform(X))


def test_unfitted_steps_that_need_fitting_say_so(step, inputs):
    if step.__sklearn_tags__().requires_fit:
        with pytest.raises(NotFittedError):
            step.transform(inputs[type(step)])
    else:
        assert len(step.transform(inputs[type(step)])) == len(inputs[type(step)])


@pytest.mark.parametrize("X", [[], [3, 4], "photos"])
def test_what_is_no_input_is_refused(step, X):
    with pytest.raises((ValueError, TypeError)):
        step.fit(X).transform(X)


@pytest.mark.filterwarnings("ignore:whitening")
def test_set_output_reaches_the_end_of_the_whole_pipeline(records):
    pytest.importorskip("pandas")
    pipeline = make_pipeline(
        ActivationPCA(3),
        NCutClusterer((2, 3)),
        ClusterMaxPooler(),
        RegionWhitener(),
        L2Aggregator(),
    )
    plain = pipeline.fit_transform(records)
    pipeline.set_output(transform="pandas")
    frame = pipeline.transform(records)
    assert list(frame.columns) == list(pipeline[-1].get_feature_names_out())
    assert frame.columns[0] == "l2aggregator0"
    np.testing.assert_array_equal(frame.to_numpy(), plain)
    clone(pipeline).fit(records).transform(records)


def test_tables_have_named_columns():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(np.random.default_rng(0).random((30, 4)), columns=list("abcd"))
    for step in (ActivationPCA(2), RegionWhitener(), L2Aggregator()):
        frame = step.set_output(transform="pandas").fit_transform(table)
        assert list(frame.columns) == list(step.get_feature_names_out())
