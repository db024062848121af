"""Steps behind the first ranking, against brute force and calculations by hand."""

import contextlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA, KernelPCA
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from sklearn_cmac import (
    ActivationMap,
    ClusterMaxPooler,
    GridRegions,
    L2Aggregator,
    PhotoError,
    RegionVectors,
    RegionWhitener,
    RetrievalScorer,
    WholeRegion,
)
from sklearn_cmac._steps import RecordStep
from sklearn_cmac.collection import ExactEngine, RegionTable, Stamp, _row_engine
from sklearn_cmac.reranking._diffusion import diffuse, diffusion_matrix
from sklearn_cmac.reranking._graph import neighbors_of_all
from sklearn_cmac.reranking._localization import IntegralMap, locate, start_windows
from sklearn_cmac.search import (
    CandidateNeighbors,
    Collection,
    DatabaseAugmentation,
    DescribedQuery,
    Diffusion,
    Localization,
    QueryExpansion,
    RankedList,
    ReciprocalNeighbors,
    RegionMatching,
    RetrievalIndex,
    Retriever,
    describe_collection,
    embed_distances,
    expand_queries,
    match_regions,
    similarities_among,
)

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


class Described(RecordStep, BaseEstimator):
    """Takes the place of the extractor: photos are activation maps already."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        for photo in X:
            if photo.name == "broken":
                raise PhotoError(
                    "broken: is damaged", [(list(X).index(photo), "broken", "damaged")]
                )
        return list(X)


def make(regions, n_components=None):
    return Pipeline(
        [
            ("features", Described()),
            ("regions", regions),
            ("pool", ClusterMaxPooler()),
            ("whiten", RegionWhitener(n_components, shrinkage=1.0)),
            ("aggregate", L2Aggregator()),
        ]
    )


def unit(rng, *shape):
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def collection(descriptors):
    ids = [f"photo {i}" for i in range(len(descriptors))]
    engine = ExactEngine(Stamp("none", descriptors.shape[1]))
    engine.upsert(ids, descriptors)
    return Collection(ids, ids, ids, engine)


def scores_by_photo(ranked):
    scores = np.empty(len(ranked.order))
    scores[ranked.order] = ranked.scores
    return scores


@pytest.fixture
def photos(records):
    return records


class Table(BaseEstimator):
    """A pipeline whose photos are their descriptors."""

    def __init__(self):
        self.fitted_ = True

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.asarray(X)


def rank(steps, queries, database, augmentation=None, **kwargs):
    retriever = Retriever(FrozenEstimator(Table()), steps, augmentation).fit([])
    return retriever.rank(list(queries), collection(database), **kwargs)


# -- the estimator ----------------------------------------------------------------------------


def test_paths_reach_pipeline_and_steps_and_clones_are_equal(photos):
    retriever = Retriever(make(GridRegions()), [("match", RegionMatching()), ("qe", None)])
    retriever.set_params(
        pipeline__regions__n_levels=2, match__n_candidates=7, qe=QueryExpansion(), qe__alpha=2.0
    )
    params = clone(retriever).get_params()
    assert params["pipeline__regions__n_levels"] == 2
    assert (params["match__n_candidates"], params["qe__alpha"]) == (7, 2.0)


def test_wrong_steps_are_refused_before_anything_is_fitted(photos):
    with pytest.raises(TypeError, match="step 'x' is a GridRegions, which reranks nothing"):
        Retriever(make(GridRegions()), [("x", GridRegions())]).fit(photos)
    with pytest.raises(ValueError, match="n_candidates"):
        Retriever(make(GridRegions()), [("m", RegionMatching(n_candidates=0))]).fit(photos)


def test_a_grid_search_reaches_the_whole_chain(photos):
    retriever = Retriever(make(GridRegions()), [("expand", QueryExpansion(1)), ("match", None)])
    search = GridSearchCV(
        retriever,
        {
            "pipeline__regions__n_levels": [1, 2],
            "expand__n_neighbors": [1, 2],
            "match": [None, RegionMatching()],
        },
        scoring=RetrievalScorer(),
        cv=GroupKFold(2),
        error_score="raise",
    )
    labels = list("aabbab")
    search.fit(photos, labels, groups=list("uuvvuv"))
    assert len(search.cv_results_["params"]) == 8
    assert 0 < search.best_score_ <= 1


def test_a_scored_query_never_finds_or_expands_with_itself(rng):
    """With its own photo out, query 0 can only be averaged with photo 1."""
    x = np.array([[1, 0.0], [0.8, 0.6], [0, 1]])
    ranked = rank([("qe", QueryExpansion(1))], x[:1], x, exclude=[0])[0]
    assert 0 not in ranked.order
    np.testing.assert_allclose(ranked.query, np.array([1.8, 0.6]) / np.hypot(1.8, 0.6))
    scorer = RetrievalScorer(distractor="")
    plain = Retriever(FrozenEstimator(Table())).fit([])
    labels = ["a", "a", ""]
    assert scorer.per_query(plain, x, labels) == scorer.per_query(Table(), x, labels)


def test_photos_that_fail_are_in_no_ranking_or_named(photos, rng):
    broken = ActivationMap.from_arrays(rng.random((3, 3, 16)), name="broken")
    mixed = [*photos[:2], broken, *photos[2:]]
    retriever = Retriever(make(GridRegions()), [("m", RegionMatching())]).fit(photos)
    with pytest.raises(PhotoError, match=r"1 of 7 photos cannot be used:\n  photo 2: damaged"):
        retriever.rank(photos[:1], mixed)
    ranked = retriever.rank(photos[:1], retriever.describe(mixed))[0]
    assert sorted(ranked.order) == [0, 1, 3, 4, 5, 6]


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_described_folder_is_continued_where_it_was_torn(
    photos, tmp_path, batch_size, rng, monkeypatch
):
    broken = ActivationMap.from_arrays(rng.random((3, 3, 16)), name="broken")
    photos = [broken, *photos]
    pipeline = make(GridRegions(), 8).fit(photos[1:])
    whole = describe_collection(pipeline, photos, regions=True, batch_size=batch_size)
    transform, calls = ClusterMaxPooler.transform, []

    def dies(self, X):
        calls.append(len(X))
        if len(calls) > 3:
            raise KeyboardInterrupt
        return transform(self, X)

    options = {"regions": True, "folder": tmp_path / "described", "batch_size": batch_size}
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(ClusterMaxPooler, "transform", dies)
        describe_collection(pipeline, photos, **options)
    again = describe_collection(pipeline, photos, **options)
    assert again.ids == whole.ids
    assert again.failed == whole.failed == {0: "damaged"}
    np.testing.assert_array_equal(again.descriptors()[1], whole.descriptors()[1])
    mine, other = (c.engine.get_regions(c.ids[1:]) for c in (again, whole))
    np.testing.assert_array_equal(mine.vectors, other.vectors)
    np.testing.assert_array_equal(mine.indptr, other.indptr)
    # Photos are known by their content: three of them are three of those.
    some = describe_collection(pipeline, photos[3:0:-1], **options)
    assert some.ids == whole.ids[3:0:-1]


# -- neighbours and expansion -----------------------------------------------------------------


def test_nearest_neighbours_are_those_of_a_full_sort(rng):
    x = unit(rng, 40, 5)
    similarity = x @ x.T
    np.fill_diagonal(similarity, -np.inf)
    _, neighbors, values = neighbors_of_all(collection(x).engine, 7)
    np.testing.assert_array_equal(neighbors, np.argsort(-similarity, axis=1)[:, :7])
    np.testing.assert_allclose(values, np.sort(similarity, axis=1)[:, ::-1][:, :7], rtol=1e-6)


def test_average_expansion_is_alpha_zero(rng):
    x = unit(rng, 30, 6)
    queries = unit(rng, 3, 6)
    average = rank([("qe", QueryExpansion(5))], queries, x)
    weighted = rank([("qe", QueryExpansion(5, alpha=0.0))], queries, x)
    for one, other in zip(average, weighted):
        np.testing.assert_array_equal(one.order, other.order)
    expected = expand_queries(queries, x, 5) @ x.T
    for ranked, scores in zip(average, expected):
        np.testing.assert_allclose(scores_by_photo(ranked), scores, rtol=1e-5)


def test_augmenting_copies_of_one_photo_changes_nothing(rng):
    x = np.repeat(unit(rng, 1, 6), 5, axis=0)
    before = collection(x)
    augmented = DatabaseAugmentation(3).augment(before.engine)
    np.testing.assert_allclose(augmented.get(before.ids), x, rtol=1e-6)


# -- region matching --------------------------------------------------------------------------


def test_matching_by_hand():
    query = RegionVectors(np.eye(3), np.array([1.0, 2, 1]))
    photo = RegionVectors(np.array([[0.6, 0.8, 0], [0, 0, 1.0]]))
    match = match_regions(query, photo)
    assert match.regions.tolist() == [0, 0, 1]
    np.testing.assert_allclose(match.similarities, [0.6, 0.8, 1])
    np.testing.assert_allclose(match.shares, [0.25, 0.5, 0.25])
    assert match.score == pytest.approx(0.15 + 0.4 + 0.25)


def test_matching_with_one_region_each_is_the_global_score(photos):
    """But for the half precision in which region vectors are kept."""
    plain = Retriever(make(WholeRegion())).fit(photos)
    matched = Retriever(make(WholeRegion()), [("m", RegionMatching())]).fit(photos)
    for one, other in zip(plain.rank(photos, photos), matched.rank(photos, photos)):
        np.testing.assert_allclose(scores_by_photo(other), scores_by_photo(one), atol=1e-3)


@given(st.data())
def test_scores_of_many_photos_are_those_of_pairs(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    counts = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12))
    vectors = unit(rng, max(1, sum(counts)), 4)[: sum(counts)].astype(np.float16)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    table = RegionTable(vectors, np.ones(len(vectors), np.float32), indptr)
    ids = [f"photo {i}" for i in range(len(counts))]
    engine = ExactEngine(Stamp("none", 4, regions=True))
    engine.upsert(ids, np.zeros((len(ids), 4)), table)
    queries = [RegionVectors(unit(rng, 3, 4), rng.random(3) + 0.1) for _ in range(2)]
    asked = [rng.permutation(len(counts))[: data.draw(st.integers(0, len(counts)))] for _ in "qr"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_row_engine, "_PHOTOS", 5)
        candidates = [[ids[i] for i in photos] for photos in asked]
        found = engine.match(queries, len(ids), candidates)
    for query, photos, (hits, scores) in zip(queries, asked, found):
        expected = {ids[i]: match_regions(query, table[i]).score for i in photos if counts[i]}
        assert set(hits) == set(expected)
        np.testing.assert_allclose(scores, [expected[hit] for hit in hits], rtol=1e-5, atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_only_the_candidates_are_sorted_anew(photos):
    plain = Retriever(make(GridRegions())).fit(photos)
    steps = [("m", RegionMatching(n_candidates=2))]
    matched = Retriever(FrozenEstimator(plain.pipeline_), steps).fit([])
    for one, other in zip(plain.rank(photos, photos), matched.rank(photos, photos)):
        assert set(one.order[:2]) == set(other.order[:2])
        np.testing.assert_array_equal(one.order[2:], other.order[2:])


def test_a_first_ranking_by_regions_matches_all_photos(photos):
    pipeline = FrozenEstimator(make(GridRegions()).fit(photos))
    first = Retriever(pipeline, first="regions").fit([])
    matched = Retriever(pipeline, [("m", RegionMatching(n_candidates=None))]).fit([])
    exclude = list(range(len(photos)))
    rankings = (each.rank(photos, photos, exclude) for each in (first, matched))
    for one, other in zip(*rankings):
        np.testing.assert_array_equal(one.order, other.order)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)
    assert len(first.rank(photos[:1], photos, k=2)[0]) == 2


def test_an_index_matches_regions_and_says_which(photos, tmp_path):
    steps = [("match", RegionMatching())]
    retriever = Retriever(make(GridRegions(), 8), steps).fit(photos)
    index = RetrievalIndex(retriever)
    index.add(photos)
    (ranked,) = retriever.rank([photos[3]], photos)
    index.save(tmp_path / "index")
    for same in (index, RetrievalIndex.open(tmp_path / "index", retriever)):
        results = same.search(photos[3], 6)
        np.testing.assert_allclose([r.score for r in results], ranked.scores, rtol=1e-5)
        match = same.match(photos[3], results[1].name)
        assert match.score == pytest.approx(results[1].score, abs=1e-3)
    index.remove([index.names[0]])
    assert len(index.search(photos[3], 9)) == 5


def test_an_index_without_region_vectors_says_how_to_have_them(photos):
    index = RetrievalIndex(make(GridRegions()).fit(photos))
    index.add(photos)
    with pytest.raises(ValueError, match="build it with a Retriever that has a RegionMatching"):
        index.match(photos[0], index.names[0])


# -- localisation -----------------------------------------------------------------------------


def test_integral_images_give_the_direct_sum(rng):
    activations = np.maximum(rng.standard_normal((9, 13, 20)), 0) * 7
    integral = IntegralMap.of(activations)
    target = rng.random(20)
    for window in ([0, 0, 9, 13], [2, 3, 7, 11]):
        top, left, bottom, right = window
        inside = activations[top:bottom, left:right].reshape(-1, 20)
        direct = (inside**10).sum(axis=0) ** 0.1
        expected = direct @ target / np.linalg.norm(direct) / np.linalg.norm(target)
        score = integral.scores(np.array([window]), target)[0]
        assert score == pytest.approx(expected, abs=1e-6)


def test_first_windows_are_those_of_the_grid_with_like_proportions():
    windows = {tuple(w) for w in start_windows(7, 8, aspect=1.5).tolist()}
    rows, cols = [0, 3, 6, 7], [0, 3, 6, 8]
    expected = {
        (a, b, c, d)
        for a in rows
        for c in rows
        for b in cols
        for d in cols
        if c > a and d > b and 1 / 1.1 <= (d - b) / (c - a) / 1.5 <= 1.1
    }
    assert windows == expected
    assert start_windows(4, 4, aspect=9.0).tolist() == [[0, 0, 4, 4]]


def plant(rng, shape=(24, 32), size=(9, 12), channels=64):
    """A map with weak clutter, an object with its own channels in it, and where it is."""
    half = channels // 2
    scene = np.zeros((*shape, channels), np.float32)
    clutter = rng.random((*shape, half)) * (rng.random((*shape, half)) < 0.1)
    scene[..., half:] = clutter
    place = rng.random((*size, half)) * (rng.random((*size, half)) < 0.2)
    top, left = rng.integers(0, shape[0] - size[0]), rng.integers(0, shape[1] - size[1])
    window = (int(top), int(left), int(top) + size[0], int(left) + size[1])
    scene[window[0] : window[2], window[1] : window[3], :half] = place
    scene[window[0] : window[2], window[1] : window[3], half:] = 0
    return scene, window


def overlap(one, other):
    rows = min(one[2], other[2]) - max(one[0], other[0])
    cols = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0, rows) * max(0, cols)
    areas = [(w[2] - w[0]) * (w[3] - w[1]) for w in (one, other)]
    return both / (sum(areas) - both)


@pytest.mark.parametrize("seed", range(8))
def test_a_planted_object_is_located(seed):
    rng = np.random.default_rng(seed)
    scene, window = plant(rng)
    cut = scene[window[0] : window[2], window[1] : window[3]]
    found, score = locate(IntegralMap.of(scene), cut.max(axis=(0, 1)), 12 / 9)
    assert overlap(found, window) > 0.7
    assert score > 0.9


def test_localisation_ranks_by_the_window_and_expands_with_windows(rng):
    scenes = [plant(np.random.default_rng(seed)) for seed in range(6)]
    photos = [
        ActivationMap.from_arrays(scene, name=f"scene {i}") for i, (scene, _) in enumerate(scenes)
    ]
    pipeline = make(GridRegions(), 16).fit(photos)
    window = scenes[2][1]
    query = photos[2].crop(photos[2].box_of(*window))
    steps = [("r", Localization()), ("qe", QueryExpansion(2))]
    localized = Retriever(FrozenEstimator(pipeline), steps[:1]).fit([]).rank([query], photos)[0]
    assert localized.order[0] == 2
    np.testing.assert_allclose(localized.windows @ localized.query, localized.scores, rtol=1e-5)
    # The photo's window is nearly the query, so its descriptor is too.
    assert localized.scores[0] > 0.9
    both = Retriever(FrozenEstimator(pipeline), steps).fit([]).rank([query], photos)[0]
    mean = localized.query + localized.windows[:2].sum(axis=0)
    np.testing.assert_allclose(both.query, mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(
        np.sort(localized.windows @ both.query)[::-1], both.scores, rtol=1e-5
    )


# -- graphs -----------------------------------------------------------------------------------


def test_diffusion_is_the_dense_solution(rng):
    x = np.abs(unit(rng, 25, 4))
    _, neighbors, values = neighbors_of_all(collection(x).engine, 6)
    affinity = np.zeros((25, 25))
    for i in range(25):
        for j, value in zip(neighbors[i], values[i]):
            if i in neighbors[j]:
                affinity[i, j] = float(value) ** 3
    root = np.sqrt(np.where(affinity.sum(axis=1) > 0, affinity.sum(axis=1), 1))
    seeds = rng.random(25)
    expected = np.linalg.solve(np.eye(25) - 0.9 * affinity / root / root[:, None], seeds)
    found = diffuse(diffusion_matrix(neighbors, values), seeds, alpha=0.9)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_diffusion_walks_along_a_chain():
    """Photos on an arc: the far end is unlike the query, but connected with it."""
    angle = np.linspace(0, 2.4, 13)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    other = np.array([[np.cos(-1.2), np.sin(-1.2)], [np.cos(-1.3), np.sin(-1.3)]])
    x = np.concatenate([arc, other])
    plain = rank([], arc[:1], x)[0].order
    walked = rank([("d", Diffusion(n_neighbors=2, n_seeds=1))], arc[:1], x)[0].order
    assert list(plain).index(13) < list(plain).index(12)
    assert list(walked).index(13) > list(walked).index(12)


def encode_by_sets(near, half, query_near, similarity_to):
    """Members of k-reciprocal neighbourhoods, written with sets as the paper has them."""
    members = set(query_near)
    for j in query_near:
        around = {m for m in half[j] if j in half[m]}
        if len(around & set(query_near)) > 2 / 3 * len(around):
            members |= around
    weights = {m: np.exp(-(2 - 2 * similarity_to(m))) for m in members}
    total = sum(weights.values())
    return {m: w / total for m, w in weights.items()}


def test_reciprocal_neighbours_are_those_of_sets(rng):
    n, k1, k2 = 30, 6, 3
    x = unit(rng, n, 5).astype(np.float64)
    query = unit(rng, 5).astype(np.float64)
    similarity = x @ x.T
    by_likeness = [[i, *[j for j in np.argsort(-similarity[i]) if j != i]] for i in range(n)]
    near = [set(order[: k1 + 1]) for order in by_likeness]
    half = [set(order[: k1 // 2 + 1]) for order in by_likeness]
    rows = [
        encode_by_sets(
            near, half, [j for j in near[i] if i in near[j]], lambda m, i=i: similarity[i, m]
        )
        for i in range(n)
    ]

    def mean(parts):
        return {m: sum(p.get(m, 0) for p in parts) / len(parts) for m in set().union(*parts)}

    averaged = [mean([rows[j] for j in by_likeness[i][:k2]]) for i in range(n)]
    order = np.argsort(-(x @ query))
    limits = [similarity[j][by_likeness[j][k1]] for j in range(n)]
    mutual = [j for j in order[:k1] if x[j] @ query >= limits[j]]
    own = encode_by_sets(near, half, mutual, lambda m: x[m] @ query) if mutual else {}
    mine = mean([own, *[rows[j] for j in order[: k2 - 1]]])
    shared = [sum(min(w, a.get(m, 0)) for m, w in mine.items()) for a in averaged]
    total = sum(mine.values())
    jaccard = np.array([s / (total + 1 - s) for s in shared])
    step = ReciprocalNeighbors(k1, k2, similarity_weight=0.3)
    ranked = rank([("r", step)], query[None], x)[0]
    expected = 0.7 * jaccard + 0.3 * (x @ query)
    np.testing.assert_allclose(scores_by_photo(ranked), expected, atol=1e-6)


def test_steps_work_on_fewer_photos_than_they_ask_for(rng):
    x = unit(rng, 3, 4)
    for step in (Diffusion(), ReciprocalNeighbors(), QueryExpansion(), None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (ranked,) = rank([("step", step)], x[:1], x, DatabaseAugmentation())
        assert sorted(ranked.order) == [0, 1, 2]


# -- neighbours among the candidates ----------------------------------------------------------


def regions_of(rng, counts, dimension=6):
    return [
        RegionVectors(unit(rng, n, dimension), rng.random(n).astype(np.float32) + 0.1)
        for n in counts
    ]


@pytest.mark.parametrize("at_once", [1, 7, 512])
def test_similarities_among_photos_are_those_of_matching_both_ways(rng, monkeypatch, at_once):
    monkeypatch.setattr("sklearn_cmac.reranking._candidates._REGIONS", at_once)
    photos = regions_of(rng, [3, 1, 5, 2, 4])
    found = similarities_among(RegionTable.of(photos, 6))
    expected = [
        [(match_regions(a, b).score + match_regions(b, a).score) / 2 for b in photos]
        for a in photos
    ]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # regions are kept in half precision
    np.testing.assert_array_equal(found, found.T)


def test_photos_are_compared_in_their_first_components(rng):
    photos = regions_of(rng, [2, 3])
    short = [
        replace(p, vectors=p.vectors[:, :3] / np.linalg.norm(p.vectors[:, :3], axis=1)[:, None])
        for p in photos
    ]
    found = similarities_among(RegionTable.of(photos, 6), 3)
    np.testing.assert_allclose(found, similarities_among(RegionTable.of(short, 3)), atol=2e-3)


def with_one_region(descriptors):
    """A collection of photos that have their descriptor as their one region."""
    ids = [f"photo {i}" for i in range(len(descriptors))]
    engine = ExactEngine(Stamp("none", descriptors.shape[1], regions=True))
    table = RegionTable.of([RegionVectors(d[None]) for d in descriptors], descriptors.shape[1])
    engine.upsert(ids, descriptors, table)
    return Collection(ids, ids, ids, engine)


def on_an_arc():
    """Thirteen photos from the query on, each like the next, and two on the other side."""
    angle = np.concatenate([np.linspace(0, 2.4, 13), [-1.2, -1.3]])
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def rerank_among(step, x):
    scores = x @ x[0]
    order = np.argsort(-scores)
    query = DescribedQuery("query", x[0], RegionVectors(x[:1]))
    photos = with_one_region(x)
    first = RankedList(np.array(photos.ids, object)[order], scores[order], x[0])
    (ranked,) = step.rerank([query], [first], photos, None)
    return [photos.ids.index(id_) for id_ in ranked.ids], [photos.ids.index(i) for i in first.ids]


def test_a_walk_among_the_candidates_reaches_the_far_end_of_a_chain():
    step = CandidateNeighbors(n_candidates=15, n_neighbors=2, n_seeds=1, n_components=None)
    walked, plain = rerank_among(step, on_an_arc())
    assert plain.index(13) < plain.index(12)
    assert walked.index(13) > walked.index(12)


def test_with_one_region_a_photo_it_is_diffusion_on_the_candidates(rng):
    x = np.abs(unit(rng, 20, 5)).astype(np.float16).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    step = CandidateNeighbors(
        n_candidates=20, n_neighbors=4, n_seeds=3, alpha=0.99, n_components=None
    )
    walked, _ = rerank_among(step, x)
    _, neighbors, values = neighbors_of_all(collection(x).engine, 4)
    seeds = np.zeros(20)
    best = np.argsort(-(x @ x[0]))[:3]
    seeds[best] = (x[best] @ x[0]) ** 3
    state = diffuse(diffusion_matrix(neighbors, values), seeds)
    assert walked[: np.count_nonzero(state)] == list(np.argsort(-state)[: np.count_nonzero(state)])


def test_reciprocal_neighbours_among_the_candidates_are_those_of_the_collection(rng):
    x = unit(rng, 25, 5)
    among, _ = rerank_among(
        CandidateNeighbors("reciprocal", 25, n_neighbors=6, n_averaged=3, n_components=None), x
    )
    whole = rank([("r", ReciprocalNeighbors(6, 3))], x[:1], x)[0].order
    assert among[:10] == list(whole[:10])


@pytest.mark.parametrize("n_dimensions", [2, 4])
def test_candidates_are_embedded_with_the_query_which_is_expanded_twice(rng, n_dimensions):
    x = unit(rng, 20, 5).astype(np.float16).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    step = CandidateNeighbors(
        "embeddings", 20, n_neighbors=4, n_dimensions=n_dimensions, n_components=None
    )
    ranked, _ = rerank_among(step, x)
    # Scaling is kernel PCA of -1/2 times squared distances.
    asked = np.concatenate([x[:1], x])
    peer = KernelPCA(n_dimensions, kernel="precomputed")
    query, *photos = normalize(peer.fit_transform(-((1 - asked @ asked.T) ** 2) / 2))
    photos = np.stack(photos)
    once = expand_queries(query[None], photos, 4, alpha=1)[0]
    nearest = np.argsort(-(photos @ once))[:4]
    twice = query + (photos @ once)[nearest] @ photos[nearest]
    assert ranked == list(np.argsort(-(photos @ twice)))


def test_photos_behind_the_candidates_stay_where_they_are(rng):
    x = unit(rng, 12, 4)
    for method in ("diffusion", "reciprocal", "embeddings"):
        ranked, plain = rerank_among(CandidateNeighbors(method, n_candidates=5), x)
        assert ranked[5:] == plain[5:]
        assert sorted(ranked[:5]) == sorted(plain[:5])
        assert rerank_among(CandidateNeighbors(method, n_candidates=1), x)[0] == plain


@pytest.mark.parametrize("n_dimensions", [None, 2])
def test_distances_of_points_give_them_back_along_their_principal_axes(rng, n_dimensions):
    x = rng.standard_normal((8, 3))
    points = embed_distances(squareform(pdist(x)), n_dimensions)
    assert points.shape == (8, n_dimensions or 3)
    np.testing.assert_allclose(np.abs(points), np.abs(PCA(n_dimensions).fit_transform(x)))
    if n_dimensions is None:
        np.testing.assert_allclose(pdist(points), pdist(x))


def test_an_equilateral_triangle_has_two_dimensions():
    points = embed_distances(1 - np.eye(3))
    assert points.shape == (3, 2)
    np.testing.assert_allclose(pdist(points), 1)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 3**-0.5)


def test_what_no_points_can_have_is_left_out_of_an_embedding():
    # No triangle: the eigenvalues are 4.5, along (1, 0, -1), and -5/6.
    points = embed_distances(np.array([[0, 1, 3], [1, 0, 1], [3, 1, 0]]))
    assert points.shape == (3, 1)
    np.testing.assert_allclose(np.abs(points[:, 0]), [1.5, 0, 1.5], atol=1e-12)
    assert points[0, 0] * points[2, 0] < 0


def test_neighbours_need_regions(rng):
    with pytest.raises(ValueError, match="needs the photos' region vectors"):
        CandidateNeighbors().rerank([], [], collection(unit(rng, 3, 4)), None)
