"""What is remembered of marks changes no result: an index that has seen none is the reference."""

import numpy as np
import pytest
from PIL import Image

from sklearn_cmac import Photo, make_rmac_pipeline
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.search import (
    RegionMatching,
    RetrievalIndex,
    Retriever,
    SpatialMatch,
    search_with_marks,
)

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Photos in files: three of each of two objects."""
    folder = tmp_path_factory.mktemp("scenes")
    photos = []
    for photo in make_object_scenes(2, 3, 0, size=(160, 120), random_state=5).photos:
        path = folder / f"{photo.name}.png"
        Image.fromarray(photo.source).save(path)
        photos.append(Photo(path, name=photo.name, box=photo.box))
    return photos


@pytest.fixture(scope="module", params=["descriptors", "regions"])
def new_index(request, scenes):
    """Makes an index that has seen no mark, by descriptors alone or with regions."""
    steps = [("match", RegionMatching())] if request.param == "regions" else []
    pipeline = make_rmac_pipeline(whiten__shrinkage=1, features__layer="blocks.4")
    retriever = Retriever(pipeline, steps).fit(scenes)
    first = RetrievalIndex(retriever)
    first.add(scenes)

    def make():
        index = RetrievalIndex(retriever)
        engine, entries = first.engine, list(first._catalogue.entries())
        index._attach(engine)
        index._catalogue.note(entries)
        return index

    return make


@pytest.fixture(autouse=True)
def located(monkeypatch):
    """In each photo that is found the object is located, in its left half."""
    search = RetrievalIndex.search
    outline = np.array([[0.0, 0], [80, 0], [80, 120], [0, 120]])
    sure = SpatialMatch(40, None, np.empty((40, 2, 2)), outline, 0.97)

    def explained(self, query, n_results, **how):
        return [r.changed(spatial=sure) for r in search(self, query, n_results, **how)]

    monkeypatch.setattr(RetrievalIndex, "search", explained)


@pytest.fixture
def described(monkeypatch):
    """Names of the marks that are described."""
    names = []
    describe = Retriever.describe_queries

    def told(self, queries, needs=None):
        if needs is not None:  # of a query, what all steps need is described
            names.extend(query.name for query in queries)
        return describe(self, queries, needs)

    monkeypatch.setattr(Retriever, "describe_queries", told)
    return names


def ask(index, scenes, right, wrong=()):
    found = search_with_marks(index, [scenes[0].as_query()], 6, right=right, wrong=wrong)
    return [(result.name, result.score) for result in found]


def test_marks_one_after_the_other_rank_as_all_at_once(new_index, scenes, described):
    index, names = new_index(), [photo.name for photo in scenes]
    for n in (1, 2, 3):
        found = ask(index, scenes, names[1 : 1 + n], names[5:])
        before = len(described)
        assert found == ask(new_index(), scenes, names[1 : 1 + n], names[5:])
        del described[before:]
    assert described == names[1:4]  # each once


def test_a_photo_that_is_gone_counts_as_the_index_keeps_it(new_index, scenes):
    index, path = new_index(), scenes[1].source
    ask(index, scenes, [scenes[1].name])
    content = path.read_bytes()
    path.unlink()
    try:
        assert ask(index, scenes, [scenes[1].name]) == ask(new_index(), scenes, [scenes[1].name])
    finally:
        path.write_bytes(content)


def test_another_crop_is_another_mark(new_index, scenes):
    index = new_index()
    before = ask(index, scenes, [scenes[1].name])
    features = index.pipeline.pipeline_["features"]
    features.set_params(query_crop="image")
    try:
        after = ask(index, scenes, [scenes[1].name])
        assert after == ask(new_index(), scenes, [scenes[1].name])
    finally:
        features.set_params(query_crop="activations")
    assert after != before


def test_what_is_changed_between_marks_counts(new_index, scenes):
    index, right = new_index(), [scenes[1].name]
    ask(index, scenes, right)
    index.remove([scenes[2].name])
    found = ask(index, scenes, right)
    assert scenes[2].name not in dict(found)
    index.add(scenes[2:3])
    assert dict(ask(index, scenes, right)).keys() == {photo.name for photo in scenes}


def test_what_others_write_between_marks_counts(new_index, scenes, tmp_path):
    new_index().save(tmp_path / "scenes.cmac")
    with RetrievalIndex.open(tmp_path / "scenes.cmac", read_only=True) as index:
        before = ask(index, scenes, [scenes[1].name])
        with RetrievalIndex.open(tmp_path / "scenes.cmac") as other:
            other.remove([scenes[2].name])
        found = ask(index, scenes, [scenes[1].name])
    assert dict(before).keys() - dict(found).keys() == {scenes[2].name}


def test_few_marks_are_remembered(new_index, scenes, monkeypatch, described):
    monkeypatch.setattr("sklearn_cmac.search._feedback._REMEMBERED", 1)
    index = new_index()
    for name in (scenes[1].name, scenes[2].name, scenes[1].name):
        ask(index, scenes, [name])
    assert described == [scenes[1].name, scenes[2].name, scenes[1].name]
