"""Oxford and Paris as their published annotation files describe them."""

import csv
import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from conftest import shared_folder

from sklearn_cmac import PhotoError
from sklearn_cmac.datasets import (
    LOADERS,
    load_oxford5k,
    load_paris6k,
    load_roxford5k,
    load_rparis6k,
)
from sklearn_cmac.datasets._benchmarks import _PARIS_CORRUPT
from sklearn_cmac.datasets._plain_pickle import read_plain_pickle
from sklearn_cmac.metrics import evaluate_rankings

OF_BUILDINGS = ("oxford5k", "paris6k", "roxford5k", "rparis6k")


@pytest.fixture(scope="module")
def gt():
    return shared_folder("data")


@pytest.fixture(scope="module")
def photos(gt, tmp_path_factory):
    """Folders with empty files of all published names, Paris in sub-folders."""
    folders = {}
    for name in ("roxford5k", "rparis6k"):
        with open(gt / f"revisited_gt/gnd_{name}.pkl", "rb") as content:
            truth = pickle.load(content)
        folders[name] = tmp_path_factory.mktemp(name)
        for photo in truth["imlist"] + truth["qimlist"]:
            folder = folders[name] / (photo.split("_")[1] if name == "rparis6k" else "")
            folder.mkdir(exist_ok=True)
            (folder / f"{photo}.jpg").touch()
    return folders


def names(bunch, indices):
    return {bunch.photos[i].name for i in indices}


def test_oxford_has_its_known_counts(gt, photos):
    bunch = load_oxford5k(photos["roxford5k"], gt / "oxford_gt")
    assert (len(bunch.photos), len(bunch.queries)) == (5063, 55)
    # all_souls_1 by its files: 24 good, 54 ok, 33 junk; the query's prefix is taken off.
    query, relevance = bunch.queries[0], bunch.relevance[0]
    assert query.name == "all_souls_000013"
    assert query.box == (136.5, 34.1, 648.5, 955.7)
    lists = {
        kind: (gt / f"oxford_gt/all_souls_1_{kind}.txt").read_text().split()
        for kind in ("good", "ok", "junk")
    }
    assert names(bunch, relevance.positives) == {*lists["good"], *lists["ok"]}
    assert names(bunch, relevance.junk) == set(lists["junk"])
    assert query.name in names(bunch, relevance.positives)


def test_paris_leaves_out_its_damaged_files(gt, photos):
    assert len(_PARIS_CORRUPT) == 20
    for name in _PARIS_CORRUPT:
        assert not list(photos["rparis6k"].rglob(f"{name}.jpg"))
        (photos["rparis6k"] / f"{name}.jpg").touch()
    bunch = load_paris6k(photos["rparis6k"], gt / "paris_gt")
    assert (len(bunch.photos), len(bunch.queries)) == (6392, 55)


@pytest.mark.parametrize(
    ("load", "name", "protocol", "n_photos", "n_queries"),
    [
        (load_roxford5k, "roxford5k", "easy", 4993, 68),
        (load_roxford5k, "roxford5k", "medium", 4993, 70),
        (load_roxford5k, "roxford5k", "hard", 4993, 70),
        (load_rparis6k, "rparis6k", "easy", 6322, 70),
        (load_rparis6k, "rparis6k", "medium", 6322, 70),
        (load_rparis6k, "rparis6k", "hard", 6322, 70),
    ],
)
def test_revisited_benchmarks_have_their_known_counts(
    load, name, protocol, n_photos, n_queries, gt, photos
):
    bunch = load(photos[name], gt / "revisited_gt", protocol=protocol)
    assert (len(bunch.photos), len(bunch.queries)) == (n_photos, n_queries)
    assert not {q.name for q in bunch.queries} & {p.name for p in bunch.photos}
    with open(gt / f"revisited_gt/gnd_{name}.pkl", "rb") as content:
        truth = pickle.load(content)
    entry = truth["gnd"][truth["qimlist"].index(bunch.queries[0].name)]
    kinds = {"easy": (["easy"], ["junk", "hard"]), "medium": (["easy", "hard"], ["junk"])}
    positive, junk = kinds.get(protocol, (["hard"], ["junk", "easy"]))
    for indices, parts in zip(bunch.relevance[0], (positive, junk)):
        assert names(bunch, indices) == {truth["imlist"][i] for k in parts for i in entry[k]}


def test_a_partial_copy_is_an_error_unless_asked_for(gt):
    """279 photos of Paris at three quarters of their size, with the restriction worked out."""
    folder = gt / "paris279/jpg"
    with pytest.raises(PhotoError, match=r"annotated photos are missing, such as 'paris_"):
        load_paris6k(folder, gt / "paris_gt")
    with open(gt / "paris279/files.csv") as table:
        scale = {r["image"]: float(r["scale_in_jpg_768"]) for r in csv.DictReader(table)}
    with pytest.warns(UserWarning, match=r"279 photos, \d+ of 55 queries.*no benchmark results"):
        bunch = load_paris6k(folder, gt / "paris_gt", missing="restrict", photo_scale=scale)
    expected = json.loads((gt / "paris279/gnd_official_partial.json").read_text())["queries"]
    expected = {q["query"]: q for q in expected if q["present"] and q["good"] + q["ok"]}
    assert len(bunch.photos) == 279
    assert len(bunch.queries) == len(expected)
    for query, relevance, (_, entry) in zip(
        bunch.queries, bunch.relevance, sorted(expected.items())
    ):
        assert query.name == entry["image"]
        assert query.box == pytest.approx([v * scale[query.name] for v in entry["box"]])
        assert names(bunch, relevance.positives) == {*entry["good"], *entry["ok"]}
        assert names(bunch, relevance.junk) == set(entry["junk"])


def test_a_query_without_a_scale_is_named(gt):
    with pytest.raises(PhotoError, match=r"^paris_\w+: its query needs a scale"):
        load_paris6k(gt / "paris279/jpg", gt / "paris_gt", missing="restrict", photo_scale={})


def test_the_folder_of_another_benchmark_is_noticed(gt, photos):
    for missing in ("error", "restrict"):
        with pytest.raises(PhotoError, match=r"none of the \d+ annotated photos .*another bench"):
            load_oxford5k(photos["rparis6k"], gt / "oxford_gt", missing=missing)


def test_annotations_that_are_not_there_or_damaged_are_named(gt, photos, tmp_path):
    folder = photos["roxford5k"]
    with pytest.raises(PhotoError, match=r"has no \*_query.txt"):
        load_oxford5k(folder)
    with pytest.raises(PhotoError, match=r"gnd_roxford5k.pkl: cannot be read"):
        load_roxford5k(folder)
    (tmp_path / "a_query.txt").write_text("oxc1_a 1 2 3")
    with pytest.raises(PhotoError, match="a_query.txt: expected a name and four numbers"):
        load_oxford5k(folder, tmp_path)
    (tmp_path / "a_query.txt").write_text("oxc1_a 1 2 3 4")
    with pytest.raises(PhotoError, match="a_good.txt: is missing beside a_query.txt"):
        load_oxford5k(folder, tmp_path)
    with pytest.raises(ValueError, match="protocol is one of"):
        load_roxford5k(folder, gt / "revisited_gt", protocol="middle")
    (tmp_path / "gnd_roxford5k.pkl").write_bytes(b"not a pickle")
    with pytest.raises(PhotoError, match="not a ground truth of plain containers"):
        load_roxford5k(folder, tmp_path)


def test_a_hostile_pickle_runs_nothing(photos, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trap"),)

    content = {"imlist": [], "qimlist": [], "gnd": Hostile()}
    (tmp_path / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(PhotoError, match=r"it asks for posix.mkdir.*nothing of it was run"):
        load_roxford5k(photos["roxford5k"], tmp_path)
    assert not (tmp_path / "trap").exists()


# -- small benchmarks of made names -----------------------------------------------------------

NAMES = ["a", "b", "c", "d"]
LISTS = {"query": "oxc1_a 1 2 30 40", "good": "b", "ok": "c", "junk": "d"}
TRUTH = {
    "imlist": NAMES[1:],
    "qimlist": ["a"],
    "gnd": [{"bbx": [1, 2, 30, 40], "easy": [0], "hard": [1], "junk": [2]}],
}


@pytest.fixture
def small(tmp_path):
    """Four empty photos, beside the folder of their annotation."""
    for folder in ("photos", "photos/old", "gt", "gt/old"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / f"photos/{name}.jpg").touch()
    write_lists(tmp_path / "gt")
    write_pickle(tmp_path / "gt")
    return tmp_path


def write_lists(folder, **other):
    for kind, text in {**LISTS, **other}.items():
        (folder / f"tower_1_{kind}.txt").write_text(text)


def write_pickle(folder, truth=TRUTH):
    for name in ("roxford5k", "rparis6k"):
        (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(truth))


@pytest.mark.parametrize("name", OF_BUILDINGS)
def test_every_loader_goes_by_its_name(small, name):
    bunch = LOADERS[name](small / "photos", small / "gt")
    assert bunch.name.lower() == name
    (query,), (relevance,) = bunch.queries, bunch.relevance
    assert (query.name, query.box) == ("a", (1, 2, 30, 40))
    assert (names(bunch, relevance.positives), names(bunch, relevance.junk)) == ({"b", "c"}, {"d"})


@pytest.mark.parametrize("name", OF_BUILDINGS)
@pytest.mark.parametrize("photo", ["a", "b"])
def test_two_files_of_an_annotated_photo_are_an_error(small, name, photo):
    (small / f"photos/old/{photo}.png").touch()
    with pytest.raises(
        PhotoError, match=rf"such as '{photo}': .*/{photo}.jpg and .*old/{photo}.png"
    ):
        LOADERS[name](small / "photos", small / "gt")


def test_two_files_of_a_photo_matter_only_where_it_is_ranked(small):
    """The official benchmarks rank all that is there, the revisited ones what they list."""
    for file in ("photos/z.jpg", "photos/old/z.jpg"):
        (small / file).touch()
    assert len(load_roxford5k(small / "photos", small / "gt").photos) == 3
    with pytest.raises(PhotoError, match=r"1 photos .* 'z': .*Move thumbnails, backups and"):
        load_oxford5k(small / "photos", small / "gt")


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("query", "oxc1_a ten 2 30 40", r"tower_1_query.txt: a box is four numbers .*'ten'"),
        ("query", "oxc1_a nan 2 30 40", r"tower_1_query.txt: the box .* is empty"),
        ("query", "oxc1_a 30 2 1 40", r"tower_1_query.txt: the box .* is empty"),
        ("junk", "d b", r"tower_1_query.txt: 'b' is both a positive and junk"),
        ("junk", "c", r"tower_1_query.txt: 'c' is both a positive and junk"),
    ],
)
def test_lists_that_contradict_each_other_or_hold_no_numbers_are_named(small, kind, text, reason):
    write_lists(small / "gt", **{kind: text})
    with pytest.raises(PhotoError, match=reason):
        load_oxford5k(small / "photos", small / "gt")


def test_an_annotation_that_is_there_twice_is_an_error(small):
    write_lists(small / "gt/old")
    with pytest.raises(PhotoError, match=r"has .*tower_1_query.txt beside .*one annotation alone"):
        load_oxford5k(small / "photos", small / "gt")


def test_lists_in_another_encoding_are_named(small):
    (small / "gt/tower_1_ok.txt").write_bytes("clé".encode("latin-1"))
    with pytest.raises(PhotoError, match="tower_1_ok.txt: is not UTF-8"):
        load_oxford5k(small / "photos", small / "gt")


def with_entry(**changed):
    return {**TRUTH, "gnd": [{**TRUTH["gnd"][0], **changed}]}


@pytest.mark.parametrize(
    ("truth", "reason"),
    [
        (with_entry(bbx=None), "query a, bbx: expected a list of numbers, got None"),
        (with_entry(bbx=["x", 2, 30, 40]), "query a: bbx is four numbers, got .*'x'"),
        (with_entry(bbx=[True, 2, 30, 40]), "query a: bbx is four numbers, got .*True"),
        (with_entry(bbx=[1, 2, 30]), "query a: bbx is four numbers"),
        (with_entry(bbx=[1, 2, 30, 10**5000]), "query a: bbx is four numbers"),
        (with_entry(bbx=[30, 2, 1, 40]), "query a: the box .* is empty"),
        (with_entry(hard=[3]), "query a, hard: 3 is no position in imlist, which has 3"),
        (with_entry(easy=[-1]), "query a, easy: -1 is no position in imlist"),
        (with_entry(easy=[True]), "query a, easy: True is no position in imlist"),
        (with_entry(easy=[0.0]), "query a, easy: 0.0 is no position in imlist"),
        (with_entry(easy=[10**5000]), "query a, easy: a int is no position in imlist"),
        (with_entry(easy=np.array([[0], [1]])), "query a, easy: expected a list of numbers, got"),
        (with_entry(easy=np.array([0.0])), "query a, easy: 0.0 is no position in imlist"),
        (with_entry(easy=np.array([False])), "query a, easy: False is no position in imlist"),
        (with_entry(junk=["d"]), "query a, junk: 'd' is no position in imlist"),
        (with_entry(junk=None), "query a, junk: expected a list of numbers, got None"),
        (with_entry(junk=[1, 2]), "query a: 'c' is both a positive and junk"),
        (
            {**TRUTH, "gnd": [{"bbx": [1, 2, 30, 40], "ok": [0, 1], "junk": [2]}]},
            r"has ok and junk of each query: it is official ground truth, for load_oxford5k",
        ),
        ({**TRUTH, "gnd": [None]}, "query a: expected bbx, easy, hard, junk, got None"),
        ({**TRUTH, "gnd": [{"bbx": 1}]}, r"query a: expected bbx, easy, .* got \[\"'bbx'\"\]"),
        (
            {**TRUTH, "imlist": ["b", "../../etc/passwd", "d"]},
            "imlist: '../../etc/passwd' is no ph",
        ),
        ({**TRUTH, "qimlist": [r"C:\\a"]}, "qimlist: .* is no photo of the folder"),
        ({**TRUTH, "gnd": TRUTH["gnd"] * 2}, "gnd is no list with an entry for each name of qimli"),
        (
            {**TRUTH, "gnd": [], "qimlist": []},
            "gnd is no list with an entry for each name of qimli",
        ),
        ({**TRUTH, "imlist": [1, 2, 3]}, "imlist: is no list of names"),
        ({**TRUTH, "imlist": ["b", "c", "d", "c"]}, "imlist has 'c' 2 times"),
        (["imlist", "qimlist", "gnd"], "lacks imlist, qimlist or gnd"),
        (7, "lacks imlist, qimlist or gnd"),
    ],
)
def test_ground_truth_of_another_make_is_named(small, truth, reason):
    write_pickle(small / "gt", truth)
    with pytest.raises(PhotoError, match=f"gnd_roxford5k.pkl.*{reason}") as raised:
        load_roxford5k(small / "photos", small / "gt")
    assert len(str(raised.value)) < 600


# -- cirtorch's files for the official protocol -------------------------------------------------

OFFICIAL = {
    "imlist": NAMES,
    "qimlist": ["a"],
    "gnd": [{"bbx": [1.0, 2, 30, 40], "ok": [0, 1, 2], "junk": [3]}],
}


@pytest.mark.parametrize("load", [load_oxford5k, load_paris6k])
def test_official_pickles_say_what_the_text_files_say(small, load):
    write_lists(small / "gt", good="a b")
    for at in ("gnd.pkl", "pickled/gnd_oxford5k.pkl", "pickled/gnd_paris6k.pkl"):
        (small / at).parent.mkdir(exist_ok=True)
        (small / at).write_bytes(pickle.dumps(OFFICIAL))
    text, *pickles = (load(small / "photos", small / at) for at in ("gt", "gnd.pkl", "pickled"))
    for bunch in pickles:
        assert [photo.name for photo in bunch.photos] == [photo.name for photo in text.photos]
        assert [query.box for query in bunch.queries] == [query.box for query in text.queries]
        assert names(bunch, bunch.relevance[0].positives) == {"a", "b", "c"}
        assert names(bunch, bunch.relevance[0].junk) == {"d"}
        assert bunch.DESCR == text.DESCR


def test_a_query_counts_among_the_ranked_as_it_does_for_cirtorch(small):
    """Ranked a, c, d, b with d as junk: trapezoids of 1, 1 and 1, whatever asks for a."""
    (small / "gnd.pkl").write_bytes(pickle.dumps(OFFICIAL))
    bunch = load_oxford5k(small / "photos", small / "gnd.pkl")
    scores = evaluate_rankings([[0, 2, 3, 1]], bunch.relevance)
    assert scores.average_precision.tolist() == [1.0]
    # Ranked d, b, a, c: junk is taken out, so as before; ranked b last behind 3 others: not.
    without = {**OFFICIAL, "gnd": [{**OFFICIAL["gnd"][0], "ok": [0, 1]}]}
    (small / "gnd.pkl").write_bytes(pickle.dumps(without))
    bunch = load_oxford5k(small / "photos", small / "gnd.pkl")
    scores = evaluate_rankings([[0, 2, 3, 1]], bunch.relevance)
    # cirtorch's compute_map: positions 0 and 2 without junk: ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2.
    assert scores.average_precision == pytest.approx([(1 + (1 / 2 + 2 / 3) / 2) / 2])


def test_an_official_loader_says_who_reads_a_revisited_pickle(small):
    with pytest.raises(
        PhotoError, match=r"gnd_roxford5k.pkl: .*revisited ground truth, for load_ro"
    ):
        load_oxford5k(small / "photos", small / "gt/gnd_roxford5k.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["list", "tuple", "int64", "uint8", "big-endian", "scalars"])
def test_resaved_pickles_are_read_whatever_their_numbers_are_kept_in(small, protocol, kind):
    def kept(values):
        if kind in ("list", "tuple"):
            return {"list": list, "tuple": tuple}[kind](values)
        if kind == "scalars":
            return [np.int32(value) for value in values]
        return np.array(values, {"big-endian": ">i4"}.get(kind, kind))

    entry = {key: kept(values) for key, values in TRUTH["gnd"][0].items()}
    content = pickle.dumps({**TRUTH, "gnd": [entry]}, protocol)
    (small / "gt/gnd_roxford5k.pkl").write_bytes(content)
    bunch = load_roxford5k(small / "photos", small / "gt")
    assert bunch.queries[0].box == (1, 2, 30, 40)
    assert bunch.relevance[0].positives.tolist() == [0, 1]
    assert bunch.relevance[0].junk.tolist() == [2]


def test_the_published_pickles_are_read_as_pickle_reads_them(gt):
    for name in ("roxford5k", "rparis6k"):
        file = gt / f"revisited_gt/gnd_{name}.pkl"
        assert read_plain_pickle(file) == pickle.loads(file.read_bytes())


DEEP = b"\x80\x04" + b")" + b"\x85" * 100_000  # a tuple in a tuple, and so on


def laughs(n=40):
    """Tuples of two of the one before: 2 ** n when they are walked through."""
    steps = [b"\x80\x02)q\0"]
    steps += [b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(n)]
    return b"".join(steps)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.", ""),
        (b"\x80\x04X\xff\xff\xff\xff.", ""),
        (b"\x80\x04\x8b\xff\xff\xff\x7f.", ""),
        (b"\x80\x04B\xf0\xff\xff\xff.", ""),
        (b"\x80\x02)r\xff\xff\xff\xff.", "lacks imlist"),
        (DEEP + b".", "lacks imlist"),
        (b"\x80\x04}" + DEEP[2:] + b"K\x01s.", "dict whose keys are no texts"),
        (b"\x80\x04}X\3\0\0\0gnd" + DEEP[2:] + b"s.", "lacks imlist"),
        (laughs() + b".", "leaves 41 values"),
        (b"\x80\x02}" + laughs()[2:] + b"K\1s.", "dict whose keys are no texts"),
        (b")" * 600_000 + b".", "more than 500000 steps"),
        (b"]q\0h\0a.", "lacks imlist"),
        (b"cos\nsystem\n(X\4\0\0\0true" + b"tR.", "it asks for os.system"),
        (b"cnumpy\nndarray\n)R.", "lacks imlist"),
        (b"cnumpy\ndtype\n" + laughs()[2:] + b"\x85R.", "no data|no numbers"),
        (b"(" * 100 + b"t.", ""),
        (b"a.", ""),
        (b"", ""),
        (b"\x80\x04N", ""),
    ],
)
def test_pickles_that_ask_for_the_impossible_are_refused_at_once(small, content, reason):
    """The first ask for memory; deep ones end a process that hashes, prints or compares them."""
    file = small / "gt/gnd_roxford5k.pkl"
    file.write_bytes(content)
    if len(content) < 100:
        tracemalloc.start()
    with pytest.raises(PhotoError, match=f"gnd_roxford5k.pkl: .*{reason}") as raised:
        load_roxford5k(small / "photos", file)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("key", ["imlist", "qimlist", "gnd", "bbx", "easy", "hard", "junk"])
@pytest.mark.parametrize(
    "part", [DEEP[2:], laughs()[2:], b"]q\0h\0a"], ids=["deep", "wide", "round"]
)
def test_parts_that_have_no_end_are_refused_wherever_they_are(small, key, part):
    place = 987654321
    found = {**TRUTH, key: place} if key in TRUTH else with_entry(**{key: place})
    content = pickle.dumps(found, 2).replace(b"J" + place.to_bytes(4, "little"), part)
    (small / "gt/gnd_roxford5k.pkl").write_bytes(content)
    with pytest.raises(PhotoError, match="gnd_roxford5k.pkl") as raised:
        load_roxford5k(small / "photos", small / "gt")
    assert len(str(raised.value)) < 600


def test_shared_lists_are_counted_each_time(small):
    """A list of 1,000 positions that 3,000 queries share: small in the file only."""
    names = [f"p{i}" for i in range(1000)]
    entry = {"bbx": [1, 2, 30, 40], "easy": list(range(1000)), "hard": [], "junk": []}
    truth = {"imlist": names, "qimlist": ["a"] * 3_000, "gnd": [entry] * 3_000}
    write_pickle(small / "gt", truth)
    with pytest.raises(PhotoError, match="more than 2000000 positions"):
        load_roxford5k(small / "photos", small / "gt")


def test_a_part_without_any_query_is_an_error(small):
    (small / "photos/a.jpg").unlink()
    with pytest.raises(
        PhotoError, match="of each of 1 queries the photo or all positives are miss"
    ):
        load_oxford5k(small / "photos", small / "gt", missing="restrict")


@pytest.mark.parametrize("kind", ["query", "good", "ok", "junk"])
@pytest.mark.parametrize("name", ["/etc/passwd", "../../b", r"..\b", r"C:\b"])
def test_names_in_lists_stay_in_the_folder(small, kind, name):
    write_lists(small / "gt", **{kind: f"{name} 1 2 30 40" if kind == "query" else f"b {name}"})
    with pytest.raises(PhotoError, match=rf"tower_1_{kind}.txt.* is no photo of the folder"):
        load_oxford5k(small / "photos", small / "gt", missing="restrict")
