"""Groups of photos of one object: which links join, and what a whole index is found to hold."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from light import TRUST, make_light
from PIL import Image

from sklearn_cmac import LearnedFeatureExtractor, Photo
from sklearn_cmac.cli import main
from sklearn_cmac.collection import ExactEngine, Stamp
from sklearn_cmac.search import RetrievalIndex, SpatialVerification, find_groups, join_links
from sklearn_cmac.search._groups import near_pairs, width_of

TRIANGLES = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
WEAK, STRONG = 0.8, 0.99


def joined(weak=(), strong=(), n=6, **how):
    links = np.array([*weak, *strong], int).reshape(-1, 2)
    weights = np.repeat([WEAK, STRONG], [len(weak), len(strong)])
    return join_links(links, weights, n, **how).tolist()


# -- which links join, by hand ----------------------------------------------------------------


def test_a_weak_link_joins_no_two_triangles():
    assert joined([*TRIANGLES, (2, 3)]) == [0, 0, 0, 1, 1, 1]


def test_two_weak_links_of_different_photos_do():
    assert joined([*TRIANGLES, (2, 3), (1, 4)]) == [0] * 6
    assert joined([(2, 3), (1, 4)], TRIANGLES) == [0] * 6


def test_two_weak_links_of_one_photo_are_one_opinion():
    assert joined([(2, 3), (2, 4)], TRIANGLES) == [0, 0, 0, 1, 1, 1]


def test_a_strong_link_stands_alone():
    assert joined([], [(0, 1)], 3) == [0, 0, 1]
    assert joined([], [(0, 1), (1, 2), (2, 3)], 4) == [0] * 4  # a chain
    assert joined([], [(0, 1), (0, 2), (0, 3)], 4) == [0] * 4  # a star
    assert joined(TRIANGLES, [(2, 3)]) == [0, 0, 0, 0, 0, 0]


def test_weak_links_that_nothing_agrees_with_join_nothing():
    assert joined([(0, 1)], n=2) == [0, 1]
    assert joined([(0, 1), (1, 2), (2, 3)], n=4) == [0, 1, 2, 3]
    assert joined([(0, 1), (0, 2), (0, 3)], n=4) == [0, 1, 2, 3]


def test_a_photo_joins_a_group_that_two_of_its_photos_link_to():
    assert joined([(3, 0), (3, 1)], [(0, 1), (1, 2)], 4) == [0] * 4
    assert joined([(3, 0)], [(0, 1), (1, 2)], 4) == [0, 0, 0, 1]


def test_large_groups_need_links_of_a_share_of_their_photos():
    """Two stars of ten photos, linked by three pairs of photos and by two."""
    stars = [(0, i) for i in range(1, 10)] + [(10, i) for i in range(11, 20)]
    between = [(1, 11), (2, 12), (3, 13)]
    assert joined(between, stars, 20) == [0] * 20
    assert joined(between[:2], stars, 20) == [0] * 10 + [1] * 10
    assert joined(between[:2], stars, 20, share=0.2) == [0] * 20


def test_the_strongest_links_come_first():
    """A photo of two objects stays with the one that it shows best, and joins them not."""
    links = np.array([(0, 1), (0, 2), (0, 3), (4, 5), (4, 6), (4, 7), (3, 4)])
    weights = np.array([0.999, 0.999, 0.999, 0.995, 0.995, 0.995, 0.99])
    assert join_links(links, weights, 8).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_nothing_and_one_photo():
    assert joined(n=0) == []
    assert joined(n=1) == [0]


@settings(max_examples=40)
@given(st.data())
def test_the_order_of_photos_and_links_changes_nothing(data):
    n = data.draw(st.integers(2, 9))
    pairs = [(a, b) for a in range(n) for b in range(a)]
    of_pairs = st.sampled_from([0, 0.8, 0.9, 0.99])
    weights = np.array(data.draw(st.lists(of_pairs, min_size=len(pairs), max_size=len(pairs))))
    links, weights = np.array(pairs)[weights > 0], weights[weights > 0]
    found = join_links(links, weights, n)
    place = np.array(data.draw(st.permutations(range(n))))
    order = np.array(data.draw(st.permutations(range(len(links)))), int)
    moved = join_links(place[links[order]][:, ::-1], weights[order], n)[place]
    np.testing.assert_array_equal(moved[:, None] == moved, found[:, None] == found)


def test_the_width_of_points_is_their_spread_across_the_longer_direction():
    square = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    assert width_of(square, (100, 50)) == pytest.approx(0.05)
    assert width_of(square * (1, 0.1), (100, 50)) == pytest.approx(0.005)
    slanted = np.array([[0.0, 0], [5, 5], [9, 9]])
    assert width_of(slanted, (100, 50)) == pytest.approx(0, abs=1e-6)
    assert width_of(square[:2], (100, 50)) == 0


def test_near_pairs_are_each_there_once_and_without_what_does_not_count():
    engine = ExactEngine(Stamp("of a test", 2))
    angles = np.radians([0, 10, 25, 90])
    engine.upsert(list("dcba"), np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("f4"))
    # Nearest to d is c, to c d, to b c, to a b.
    assert near_pairs(engine, list("abcd"), 1).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert near_pairs(engine, list("acd"), 1).tolist() == [[1, 2]]
    assert len(near_pairs(engine, list("abcd"), 9)) == 6
    assert near_pairs(engine, [], 1).shape == (0, 2)


# -- an index ---------------------------------------------------------------------------------


def texture(rng, width, height, contrast=1.0):
    """Blots of all sizes, of which no two pictures have the same."""
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 255, (n * 3, n * 4, 3), np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            float,
        )
        for n in (2, 5, 12)
    ]
    return 128 + contrast * (np.mean(layers, axis=0) - 128)


def scene(rng, shown, place, size):
    """A picture of its own with another one in it."""
    picture = Image.fromarray(texture(rng, 320, 240, 0.5).astype(np.uint8))
    if shown is not None:
        picture.paste(Image.fromarray(shown.astype(np.uint8)).resize(size), place)
    return picture


@pytest.fixture(scope="module")
def extractor():
    pytest.importorskip("kornia", reason="kornia is not installed: no learned features")
    return LearnedFeatureExtractor(max_features=400)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three scenes of each of two objects, two of none, a copy, and one of one colour."""
    folder = tmp_path_factory.mktemp("groups") / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        shown = texture(rng, 160, 120)
        for i, (place, size) in enumerate(
            [((10, 20), (160, 120)), ((120, 90), (180, 135)), ((60, 5), (150, 112))]
        ):
            scene(rng, shown, place, size).save(folder / f"{name}{i}.png")
    for i in range(2):
        scene(rng, None, None, None).save(folder / f"none{i}.png")
    shutil.copy(folder / "a1.png", folder / "a1-copy.png")
    Image.new("RGB", (320, 240), "navy").save(folder / "sky.png")
    return folder


@pytest.fixture(scope="module")
def kept(photos, extractor):
    """Their index, which keeps local features."""
    path = photos.with_name("kept.cmac")
    with RetrievalIndex.create(path, make_light(), features=[extractor]) as index:
        index.update(photos)
    return path


@pytest.fixture
def bare(photos, tmp_path):
    """A copy of the photos with an index that keeps no local features."""
    shutil.copytree(photos, tmp_path / "photos")
    with RetrievalIndex.create(tmp_path / "bare.cmac", make_light()) as index:
        index.update(tmp_path / "photos")
    return tmp_path / "bare.cmac"


def opened(path):
    return RetrievalIndex.open(path, read_only=True, trust=TRUST)


def shown(groups):
    return [sorted(Path(name).stem for name in group.names) for group in groups]


FOUND = [["a0", "a1", "a1-copy", "a2"], ["b0", "b1", "b2"]]


def test_photos_of_one_object_are_one_group_and_copies_belong_to_it(kept):
    with opened(kept) as index:
        first, second = groups = find_groups(index)
    assert shown(groups) == FOUND
    assert first.size == 4
    assert first.names == first.paths
    place = [Path(name).stem for name in first.names]
    assert abs(place.index("a1") - place.index("a1-copy")) == 1
    assert all(link.probability >= 0.75 for group in groups for link in group.links)
    assert {name for link in second.links for name in link.names} == set(second.names)


def test_photos_are_not_looked_at_where_features_are_kept(kept, monkeypatch):
    def look(self, X):
        raise AssertionError("a photo is looked at")

    monkeypatch.setattr(LearnedFeatureExtractor, "transform", look)
    with opened(kept) as index:
        assert shown(find_groups(index, min_size=4)) == FOUND[:1]


def test_the_order_in_which_photos_were_added_does_not_matter(photos, extractor):
    found = []
    for order in (1, -1):
        index = RetrievalIndex(make_light(), features=[extractor])
        index.add([Photo(path, name=path.stem) for path in sorted(photos.iterdir())[::order]])
        found.append(find_groups(index, n_jobs=2))
    assert found[0] == found[1]
    assert [group.paths for group in found[0]] == [group.paths for group in found[1]]


def test_what_was_verified_is_kept_and_only_new_photos_are_compared(
    bare, extractor, tmp_path, monkeypatch
):
    verifier = SpatialVerification(extractor)
    compared = []

    def compare(self, id_, others, collection):
        compared.append(len(others))
        return COMPARE(self, id_, others, collection)

    COMPARE = SpatialVerification.compare_kept
    monkeypatch.setattr(SpatialVerification, "compare_kept", compare)
    with opened(bare) as index:
        store = tmp_path / "store"
        first = find_groups(index, verifier=verifier, store=store)
        assert sum(compared) == 9 * 8 / 2  # contents: copies are one
        again = find_groups(index, verifier=verifier, store=store)
        assert sum(compared) == 36
        other = SpatialVerification(extractor, tolerance=0.01)
        find_groups(index, verifier=other, store=store)
        assert sum(compared) == 72
    assert shown(first) == FOUND
    assert first == again


def test_a_photo_that_is_gone_is_told_once_and_is_in_no_group(bare, extractor):
    for name in ("b0", "b1"):
        (bare.parent / "photos" / f"{name}.png").unlink()
    verifier = SpatialVerification(extractor)
    with opened(bare) as index, pytest.warns(UserWarning, match="not there any more") as told:
        groups = find_groups(index, verifier=verifier)
    assert shown(groups) == FOUND[:1]
    assert [str(each.message).split(" could")[0] for each in told] == ["2 photos"]


def test_a_strip_that_photos_share_links_none(extractor):
    """A line of 30 pixels in photos of 640 has a standard deviation of 1.2% of the long side."""
    rng = np.random.default_rng(1)
    line = rng.integers(0, 255, (15, 300, 3), np.uint8)
    line = Image.fromarray(line).resize((600, 30), Image.Resampling.BICUBIC)
    photos = []
    for place in ((5, 5), (24, 200), (16, 400)):
        photo = Image.fromarray(texture(rng, 640, 480, 0.15).astype(np.uint8))
        photo.paste(line, place)
        photos.append(Photo(np.asarray(photo), name=f"line at {place}"))
    index = RetrievalIndex(make_light(), features=[extractor])
    index.add(photos)
    assert find_groups(index) == []
    (group,) = find_groups(index, min_width=0)
    assert group.size == 3


def test_an_index_without_photos_has_no_groups(tmp_path):
    with RetrievalIndex.create(tmp_path / "empty.cmac", make_light()) as index:
        assert find_groups(index) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_neighbors", 0),
        ("min_size", 0),
        ("min_probability", 0),
        ("strong_probability", 1.1),
        ("min_width", float("nan")),
    ],
)
def test_numbers_out_of_range_are_refused(kept, name, value):
    with opened(kept) as index, pytest.raises(ValueError, match=f"{name} is"):
        find_groups(index, **{name: value})


# -- on the command line ----------------------------------------------------------------------


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_the_command_prints_groups_json_and_a_page(kept, tmp_path, capsys):
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    assert run("groups", kept) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("photos")] == ["4 photos", "3 photos"]
    assert sorted(Path(line.strip()).stem for line in lines[1:5]) == FOUND[0]
    page = tmp_path / "page.html"
    assert run("groups", kept, "--min-size", 4, "--json", "--html", page) == 0
    (group,) = json.loads(capsys.readouterr().out)
    assert (group["size"], len(group["photos"])) == (4, 4)
    assert all(set(link["photos"]) <= set(group["photos"]) for link in group["links"])
    assert page.read_text().count("<img") == 4
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before


def test_the_command_looks_at_photos_once_where_no_features_are_kept(
    bare, extractor, tmp_path, capsys
):
    page = tmp_path / "page.html"
    asked = "groups", bare, "--store", tmp_path / "store", "--html", page
    assert run(*asked) == 0
    before = capsys.readouterr().out
    assert before.count(" photos\n") == 2
    assert page.read_text().count("<img") == 7
    shutil.rmtree(bare.parent / "photos")
    assert run(*asked) == 0
    assert capsys.readouterr().out == before
    assert "<img" not in page.read_text()


def test_the_command_refuses_what_it_cannot_use(kept, tmp_path, capsys):
    assert run("groups", kept, "--careful") == 2
    assert "keeps no features of ALIKED" in capsys.readouterr().err
    assert run("groups", tmp_path / "nowhere.cmac") == 2
    assert run("groups", tmp_path) == 2
    assert "is no index" in capsys.readouterr().err
