"""Steps behind the first ranking ask engines for lists only, so they work on any of them."""

import itertools

import numpy as np
import pytest
from light import make_light

from sklearn_cmac.collection import open_store
from sklearn_cmac.search import (
    CandidateNeighbors,
    DatabaseAugmentation,
    Diffusion,
    QueryExpansion,
    ReciprocalNeighbors,
    RegionMatching,
    RerankingStep,
    Retriever,
    VerifiedExpansion,
)


class Alike(RerankingStep):
    """Takes the place of verification: counts pixels that are nearly the same."""

    needs = frozenset({"photos"})
    _parameter_constraints: dict = {}
    depth = 6

    def rerank(self, queries, rankings, collection, prepared):
        found = []
        for query, ranked in zip(queries, rankings):
            far = [np.abs(query.photo - 1.0 * collection.photo(id_)) for id_ in ranked.ids]
            counts = np.array([(each < 100).all(axis=2).sum() for each in far])
            found.append(ranked.resorted(np.where(counts > 400, counts, 0)))
        return found


TABLES = itertools.count()
CHAINS = {
    "matching": ([("match", RegionMatching(12))], None),
    "expansion": ([("match", RegionMatching(12)), ("expand", QueryExpansion(3))], None),
    "augmentation": ([], DatabaseAugmentation(3)),
    "reciprocal": ([("neighbors", ReciprocalNeighbors(5, 2))], None),
    "diffusion": ([("diffuse", Diffusion(5))], None),
    "verified": ([("match", RegionMatching(12)), ("expand", VerifiedExpansion(Alike()))], None),
    "candidates": ([("neighbors", CandidateNeighbors())], None),
}


@pytest.fixture(scope="module")
def photos():
    """Two dozen pictures, of which three and three are alike."""
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 255, (8, 24, 32, 3))
    alike = np.repeat(plain, 3, axis=0) + rng.integers(-60, 60, (24, 24, 32, 3))
    return list(alike.clip(0, 255).astype(np.uint8))


def engine_in(folder, engine, request):
    if engine == "postgresql":
        uri = request.getfixturevalue("postgresql")
        return f"{uri}{'&' if '?' in uri else '?'}table=steps_{next(TABLES)}"
    if engine == "qdrant":
        pytest.importorskip("qdrant_edge", reason="needs qdrant-edge-py")
        return f"qdrant:{folder}"
    return lambda stamp, _: open_store(folder, stamp)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("engine", ["folder", "qdrant", "postgresql"])
def test_each_step_ranks_alike_on_each_engine(engine, chain, photos, tmp_path, request):
    steps, augmentation = CHAINS[chain]
    pipeline = make_light().pipeline
    rankings = [
        Retriever(pipeline, steps, augmentation, engine=each).fit([]).rank(photos[::3], photos)
        for each in ("exact", engine_in(tmp_path / "vectors", engine, request))
    ]
    for one, other in zip(*rankings):
        np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)
        assert (one.order == other.order).mean() > 0.9  # half precision may exchange near ties
        assert one.order[0] == other.order[0]
