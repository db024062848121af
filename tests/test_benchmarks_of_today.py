"""ILIAS, INSTRE, Google Landmarks and Stanford Online Products, on miniatures of their files."""

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from sklearn.base import BaseEstimator
from sklearn.metrics import average_precision_score

from sklearn_cmac import PhotoError, Query
from sklearn_cmac.cli import main
from sklearn_cmac.datasets import (
    add_distractors,
    load_gldv2,
    load_ilias,
    load_instre,
    load_products,
)
from sklearn_cmac.datasets._matlab import read_matlab
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.metrics import average_precision_at_k, evaluate_rankings, recall_at_k
from sklearn_cmac.photos import as_photo, read_source
from sklearn_cmac.pixels import decode


class Colour(BaseEstimator):
    """A pipeline that describes a photo, or the box that is asked for, by its mean colour."""

    def __init__(self):
        self.fitted_ = True

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        rows = []
        for item in map(as_photo, X):
            photo, box = (item.photo, item.box) if isinstance(item, Query) else (item, None)
            pixels, _ = decode(read_source(photo), photo.name, box=box)
            rows.append(pixels.reshape(-1, 3).mean(axis=0))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def paint(file, degrees, size=(96, 64)):
    """A photo between red (0 degrees) and green (90): the cosine of two is that of their angle."""
    file.parent.mkdir(parents=True, exist_ok=True)
    red, green = (255 * f(np.radians(degrees)) for f in (np.cos, np.sin))
    Image.new("RGB", size, (round(red), round(green), 0)).save(file)


# -- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 10, 50])
def test_average_precision_at_k_is_that_of_the_program_of_ilias(rng, k):
    """It takes scikit-learn's average precision of the first k, times their share of min(k, n)."""
    for _ in range(20):
        ranking = rng.permutation(60)
        positives = rng.choice(70, size=rng.integers(1, 20), replace=False)
        found = np.isin(ranking[:k], positives)
        scores = -np.arange(k, dtype=float)
        expected = 0.0
        if found.any():
            expected = average_precision_score(found, scores[: len(found)])
            expected *= found.sum() / min(k, len(positives))
        assert average_precision_at_k(ranking, positives, k) == pytest.approx(expected)


def test_junk_is_taken_out_before_the_first_k_are_counted():
    assert average_precision_at_k([9, 1, 2], [1], k=1, junk=[9]) == 1
    assert recall_at_k([9, 1, 2], [1], k=1, junk=[9]) == 1
    with pytest.raises(ValueError, match="not defined without positives"):
        average_precision_at_k([1], [], 5)


def test_a_benchmark_is_scored_at_a_rank():
    from sklearn_cmac.datasets import Relevance

    relevance = [Relevance([0, 1], []), Relevance([2], [])]
    scores = evaluate_rankings([[0, 2, 1], [0, 1, 2]], relevance, ks=(1, 3), at=2)
    # 1 / min(2, 2) for the first, of whose positives one comes third; nothing for the second.
    assert scores.average_precision.tolist() == [0.5, 0]
    assert scores.mean_recall == {1: 0.5, 3: 1.0}


# -- ILIAS ------------------------------------------------------------------------------------


@pytest.fixture
def ilias(tmp_path):
    """Two objects: a red mug with two positives, and a green toy with one."""
    core = tmp_path / "ilias_core"
    paint(core / "mug_000/query/Q000_00.jpg", 0)
    (core / "mug_000/query/Q000_00_bbox.txt").write_text("8 8 16 16\n40 8 16 32\n")
    paint(core / "mug_000/pos/P000_00.jpg", 10)
    paint(core / "mug_000/pos/P000_01.jpg", 60)
    paint(core / "toy_001/query/Q001_00.jpg", 90)
    (core / "toy_001/query/Q001_00_bbox.txt").write_text("0 0 96 64")
    paint(core / "toy_001/pos/P001_00.jpg", 50)
    ids = tmp_path / "image_ids"
    ids.mkdir()
    (ids / "image_query_ids.txt").write_text(
        "mug_000/query/Q000_00.jpg,0.1\ntoy_001/query/Q001_00.jpg,0.2\n"
    )
    (ids / "positive_ids.txt").write_text(
        "mug_000/pos/P000_00.jpg,0.05,60\nmug_000/pos/P000_01.jpg,0.2,5\n"
        "toy_001/pos/P001_00.jpg,0.5,20\n"
    )
    paint(tmp_path / "yfcc/00000/a.jpg", 30)
    paint(tmp_path / "yfcc/00001/b.jpg", 85)
    return core


def test_ilias_asks_for_the_box_around_all_boxes(ilias):
    bunch = load_ilias(ilias)
    assert [query.box for query in bunch.queries] == [(8, 8, 56, 40), (0, 0, 96, 64)]
    assert [photo.name for photo in bunch.photos] == [
        "mug_000/pos/P000_00.jpg", "mug_000/pos/P000_01.jpg", "toy_001/pos/P001_00.jpg",
    ]  # fmt: skip
    assert [r.positives.tolist() for r in bunch.relevance] == [[0, 1], [2]]
    assert (bunch.at, bunch.groups) == (1000, ["mug_000", "toy_001"])


def test_ilias_is_scored_as_worked_out_by_hand(ilias, tmp_path):
    bunch = load_ilias(ilias, tmp_path / "image_ids")
    for shard in ("00000", "00001"):
        bunch = add_distractors(bunch, tmp_path / "yfcc" / shard)
    row = evaluate(bunch, {"colour": Colour()}).rows[0]
    # From 0 degrees: mug 10, other 30, toy 50, mug 60, other 85. From 90: other, mug, toy, ….
    assert row.average_precision == pytest.approx([(1 / 1 + 2 / 4) / 2, 1 / 3])
    expected = {
        "scale 0–0.0688": 1, "scale 0.0688–0.135": None,
        # Without the other mug: other 30, toy 50, mug 60. It is third of them.
        "scale 0.135–0.273": 1 / 3, "scale from 0.273": 1 / 3,
        "clutter 0–18": 1 / 3, "clutter 18–33": 1 / 3, "clutter 33–53": None,
        "clutter from 53": 1,
    }  # fmt: skip
    assert row.subsets == {name: value and pytest.approx(value) for name, value in expected.items()}


def test_what_is_missing_of_ilias_is_named(ilias, tmp_path):
    (ilias / "mug_000/pos/P000_01.jpg").unlink()
    with pytest.raises(PhotoError, match=r"1 of 5 annotated .* 'mug_000/pos/P000_01.jpg'"):
        load_ilias(ilias)
    with pytest.warns(UserWarning, match="no benchmark results"):
        assert len(load_ilias(ilias, missing="restrict").photos) == 2
    (tmp_path / "image_ids/positive_ids.txt").write_text("mug_000/pos/P000_00.jpg,small,1\n")
    with pytest.raises(
        PhotoError, match=r"positive_ids.txt, line 1: expected a path, scale and clutter"
    ):
        load_ilias(ilias, missing="restrict")


# -- INSTRE -----------------------------------------------------------------------------------


@pytest.fixture
def instre(tmp_path):
    names = ["INSTRE-S1/01a_cup/001.jpg", "INSTRE-S1/01a_cup/002.jpg", "INSTRE-S2/x/001.jpg"]
    asked = ["INSTRE-S1/01a_cup/000.jpg"]
    for name, degrees in zip([*names, *asked], (20, 70, 40, 0)):
        paint(tmp_path / name, degrees)
    write_instre(tmp_path, imlist=names, qimlist=asked)
    return tmp_path


def write_instre(folder, compressed=False, **lists):
    """With SciPy, which is another program."""

    def cells(values):
        found = np.empty((1, len(values)), object)
        found[0, :] = values
        return found

    lists = {"imlist": ["a", "b"], "qimlist": ["INSTRE-S1/01a_cup/000.jpg"], **lists}
    entry = np.zeros((1, len(lists["qimlist"])), [("ok", object), ("bbx", object)])
    for i in range(entry.size):
        entry[0, i] = (np.array([[1, 2]]), np.array([[4, 6, 60, 50]]))
    savemat(
        folder / "gnd_instre.mat",
        {**{key: cells(names) for key, names in lists.items()}, "gnd": entry},
        do_compression=compressed,
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
def test_matlab_files_are_read_as_scipy_reads_them(tmp_path, compressed, dtype):
    lists = {"imlist": ["a/b.jpg", "tour d'été/東京.jpg", "c"], "qimlist": ["q", "qq"]}
    entry = np.zeros((1, 2), [("ok", object), ("bbx", object)])
    entry[0, 0] = (np.array([[1, 2]], dtype), np.array([[4.5, 6, 60, 50]]))
    entry[0, 1] = (np.zeros((0, 0), dtype), np.array([[1, 2, 3, 4]], dtype))
    file = tmp_path / "truth.mat"
    cells = {key: np.array([*names, None], object)[None, :-1] for key, names in lists.items()}
    savemat(file, {**cells, "gnd": entry}, do_compression=compressed)
    found, expected = read_matlab(file), loadmat(file)
    for key in lists:
        assert found[key] == [str(name[0]) for name in expected[key].ravel()] == lists[key]
    for ours, theirs in zip(found["gnd"], expected["gnd"].ravel(), strict=True):
        assert list(ours) == list(theirs.dtype.names)
        for key, values in ours.items():
            assert values.tolist() == theirs[key].ravel().tolist()


def test_instre_counts_positions_from_one(instre):
    bunch = load_instre(instre)
    assert bunch.queries[0].box == (4, 6, 60, 50)
    assert [bunch.photos[i].name for i in bunch.relevance[0].positives] == [
        "INSTRE-S1/01a_cup/001.jpg", "INSTRE-S1/01a_cup/002.jpg",
    ]  # fmt: skip
    row = evaluate(bunch, {"colour": Colour()}).rows[0]
    # Right, wrong, right: the trapezoid between 1/2 and 2/3 beside that of 1.
    assert row.average_precision == pytest.approx([(1 + (1 / 2 + 2 / 3) / 2) / 2])


def test_a_damaged_ground_truth_of_instre_is_an_error_that_names_it(instre):
    file = instre / "gnd_instre.mat"
    whole = file.read_bytes()
    for damaged in (whole[:200], b"", b"\0" * 300, whole[:150] + b"\xff" * 40 + whole[190:]):
        file.write_bytes(damaged)
        with pytest.raises(PhotoError, match=r"gnd_instre\.mat"):
            load_instre(instre)


# -- Google Landmarks -------------------------------------------------------------------------


@pytest.fixture
def landmarks_v2(tmp_path):
    for name, degrees in {"aa": 5, "bb": 30, "cc": 60}.items():
        paint(tmp_path / "index" / name[0] / f"{name}.jpg", degrees)
    for name, degrees in {"q1": 0, "q2": 90, "q3": 45}.items():
        paint(tmp_path / "test" / name[0] / f"{name}.jpg", degrees)
    (tmp_path / "retrieval_solution_v2.1.csv").write_text(
        "id,images,Usage\nq1,aa cc,Private\nq2,bb,Public\nq3,None,Ignored\n"
    )
    return tmp_path


def test_google_landmarks_has_the_queries_of_its_usage(landmarks_v2):
    bunch = load_gldv2(landmarks_v2)
    assert [photo.name for photo in bunch.queries] == ["q1"]
    row = evaluate(bunch, {"colour": Colour()}).rows[0]
    assert row.average_precision == pytest.approx([(1 + 2 / 3) / 2])
    public = evaluate(load_gldv2(landmarks_v2, usage="Public"), {"colour": Colour()})
    assert public.rows[0].average_precision == [0.5]
    assert "mAP@100" in str(public)


# -- Products ---------------------------------------------------------------------------------


@pytest.fixture
def products(tmp_path):
    lines = ["image_id class_id super_class_id path"]
    for i, (product, degrees) in enumerate([(7, 0), (7, 20), (8, 30), (8, 90), (9, 50)], 1):
        path = f"mug_final/{product}_{i}.jpg"
        paint(tmp_path / path, degrees)
        lines.append(f"{i} {product} 1 {path}")
    (tmp_path / "Ebay_test.txt").write_text("\n".join(lines))
    return tmp_path


def test_each_photo_of_a_product_asks_for_the_others(products):
    bunch = load_products(products)
    assert len(bunch.queries) == 4  # product 9 has a single photo
    evaluation = evaluate(bunch, {"colour": Colour()})
    # 0: 20 | 20: 30, 0 | 30: 20, 50, 0, 90 | 90: 50, 30: at 1 the first alone is right.
    assert evaluation.rows[0].mean_recall == {"1": 0.25, "10": 1, "100": 1, "1000": 1}
    assert evaluation.rows[0].average_precision == pytest.approx([1, 1 / 2, 1 / 4, 1 / 2])
    assert "R@1" in str(evaluation)


def test_a_list_of_products_in_another_form_is_refused(products):
    (products / "Ebay_test.txt").write_text("path class\nmug 1\n")
    with pytest.raises(PhotoError, match="expected lines of image_id class_id"):
        load_products(products)


# -- what strangers write into lists ------------------------------------------------------------


OUTSIDE = ["/etc/passwd", "../x.jpg", "mug_000/../../x.jpg", r"..\\x.jpg", r"C:\\x.jpg"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_in_lists_stay_in_the_folder(ilias, instre, landmarks_v2, products, name):
    root = products
    for file, line, load, folder in (
        ("image_ids/positive_ids.txt", f"{name},0.05,60\n", load_ilias, ilias),
        ("image_ids/image_query_ids.txt", f"{name},0.05\n", load_ilias, ilias),
        ("Ebay_test.txt", f"\n9 9 1 {name}\n", load_products, root),
        ("retrieval_solution_v2.1.csv", f"q1,aa {name},Private\n", load_gldv2, root),
        ("retrieval_solution_v2.1.csv", f"{name},aa,Private\n", load_gldv2, root),
    ):
        whole = (root / file).read_text()
        (root / file).write_text(whole + line)
        with pytest.raises(PhotoError, match=rf"{file}, line \d: .* is no photo of the folder"):
            load(folder, missing="restrict")
        (root / file).write_text(whole)
    for key in ("imlist", "qimlist"):
        write_instre(instre, **{key: [name, "INSTRE-S2/x/001.jpg"]})
        with pytest.raises(PhotoError, match=r"gnd_instre.mat: .* is no photo of the folder"):
            load_instre(instre, missing="restrict")


def test_what_is_said_twice_is_said_the_same(ilias, landmarks_v2, products):
    root = products
    for file, again, load, folder in (
        ("image_ids/positive_ids.txt", "mug_000/pos/P000_00.jpg,0.9,6\n", load_ilias, ilias),
        ("Ebay_test.txt", "\n9 8 1 mug_final/7_1.jpg\n", load_products, root),
        ("retrieval_solution_v2.1.csv", "q1,bb,Private\n", load_gldv2, root),
    ):
        (root / file).write_text((root / file).read_text() + again)
        with pytest.raises(PhotoError, match=rf"{file}, line \d: "):
            load(folder)
    (root / "retrieval_solution_v2.1.csv").write_text("id,images,Usage\nq1,aa cc aa,Private\n")
    assert load_gldv2(root).relevance[0].positives.tolist() == [0, 2]
    paint(root / "index/c/aa.jpg", 9)
    with pytest.raises(PhotoError, match=r"two files of one photo, .*/a/aa.jpg and .*/c/aa.jpg"):
        load_gldv2(root)


def test_cells_nested_in_cells_do_not_end_the_process(instre):
    """As deep as this, a reader that calls itself for each runs out of stack."""
    cell = struct.pack("<IIIIII", 14, 0x7FFFFFF0, 6, 8, 1, 0)
    cell += struct.pack("<IIiiII", 5, 8, 1, 1, 1, 0)
    top = struct.pack("<II", 14, len(cell) * 100_000 + 56) + cell[8:-8]
    top += struct.pack("<II", 1, 6) + b"imlist\0\0"
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (instre / "gnd_instre.mat").write_bytes(head + top + cell * 100_000)
    with pytest.raises(PhotoError, match=r"gnd_instre\.mat: is no ground truth"):
        load_instre(instre)


def test_a_ground_truth_of_instre_that_inflates_is_refused(instre):
    """A gigabyte of zeros in a megabyte."""
    packer = zlib.compressobj()
    packed = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    content = head + struct.pack("<II", 15, len(packed)) + packed
    (instre / "gnd_instre.mat").write_bytes(content)
    with pytest.raises(PhotoError, match=r"gnd_instre\.mat: .*when it is decompressed"):
        load_instre(instre)


# -- the command line -------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:whitening", "ignore:.* of .* photos to fit on")
@pytest.mark.parametrize("name", ["ilias", "instre", "gldv2", "products"])
def test_cmac_evaluates_each_by_its_name(name, request, tmp_path, capsys):
    folder = request.getfixturevalue({"gldv2": "landmarks_v2"}.get(name, name))
    arguments = ["evaluate", name, "--photos", folder, "--system", "rmac"]
    arguments += ["--max-size", "96", "--scales", "1,0.7"]
    assert main([*map(str, arguments), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "| R-MAC" in printed
    assert ("clutter from 53" in printed) == (name == "ilias")


STREAM = """
import sys
import zlib
import numpy as np
from sklearn_cmac.collection import FlatEngine, Stamp
rng = np.random.default_rng(0)
engine = FlatEngine(sys.argv[1], Stamp("made", 1280))
for start in range(0, 100_000, 2_000):
    rows = rng.standard_normal((2_000, 1280), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    engine.upsert([str(start + i) for i in range(2_000)], rows)
ids, _ = engine.kneighbors(engine.get(["77777"]), 1000)
assert ids.shape == (1, 1000) and ids[0, 0] == "77777", ids[0, :3]
# What belongs to the process alone: pages of files are the system's to take back.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["RssAnon"].split()[0]) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hundred_thousand_distractors_are_ranked_within_a_gigabyte(tmp_path):
    """Descriptors of 1280 numbers that arrive in batches; 512 MB of them are on the disk."""
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 1024
