"""The scripts of the paper's tables, run on a few made photos."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_checkpoints import siamac_file

from sklearn_cmac import ActivationMap, GridRegions
from sklearn_cmac.datasets import as_benchmark, load_photo_folder, make_object_scenes

PAPER = Path(__file__).parents[1] / "benchmarks/paper"


@pytest.fixture(scope="module")
def scripts():
    """The folder of the scripts, from which they import each other."""
    sys.path.insert(0, str(PAPER))
    yield
    sys.path.remove(str(PAPER))


def write_folder(folder, random_state):
    """A labelled folder of small scenes with its table of boxes."""
    scenes = make_object_scenes(2, 2, 1, size=(240, 192), random_state=random_state)
    lines = ["filename,x0,y0,x1,y1"]
    for photo, label in zip(scenes.photos, scenes.target):
        file = Path(label or "_others", f"{photo.name}.png")
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo.source).save(folder / file)
        if photo.box is not None:
            lines.append(",".join([str(file), *map(str, photo.box)]))
    (folder / "boxes.csv").write_text("\n".join(lines))
    return load_photo_folder(folder, boxes=folder / "boxes.csv")


@pytest.fixture(scope="module")
def task(scripts, tmp_path_factory):
    from systems import Task

    tested, others = (write_folder(tmp_path_factory.mktemp("scenes"), seed) for seed in (0, 1))
    return Task("scenes", as_benchmark(tested), others.photos, others.target)


@pytest.fixture
def settings(scripts, tmp_path):
    from systems import Settings

    weights = {"vgg16": None, "resnet101": None}
    return Settings(weights, 192, str(tmp_path / "maps"), 1.0, tmp_path / "out")


def cells_of(table):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]


@pytest.mark.filterwarnings("ignore:whitening")
def test_table_1_has_a_row_for_each_network_and_system(task, settings):
    from table1 import table

    networks = ["efficientnet_lite0", "vgg16", "resnet101"]
    systems = ["dir", "paper"]
    tasks = {"Oxford5k": None, "scenes": task}
    text, _, notes = table(tasks, settings, networks, systems, compare=True).partition("\n\n")
    header, _, *rows = cells_of(text)
    assert header == [
        "network", "system", "Oxford5k X, published", "Oxford5k X", "Oxford5k I, published",
        "Oxford5k I", "scenes X, published", "scenes X", "scenes I, published", "scenes I",
        "s/photo",
    ]  # fmt: skip
    labels = ["EfficientNet-Lite0", "VGG16 (random weights)", "ResNet101 (random weights)"]
    names = ["DIR-grid", "clusters, paper"]
    assert [row[:2] for row in rows] == [[label, name] for label in labels for name in names]
    assert {len(row) for row in rows} == {11}
    for row in rows:
        # There are no photos of Oxford5k, and no weights were given for the first network.
        assert row[3] == row[5] == "not available"
        for cell in (row[7], row[9]):
            if row[0] == "EfficientNet-Lite0":
                assert cell == "not available"
            else:
                assert re.fullmatch(r"\d+\.\d \(\d+–\d+\)", cell)
    # A random VGG16 does not keep the published number from standing beside it.
    published = {tuple(row[:2]): row[2] for row in rows}
    assert published["VGG16 (random weights)", "clusters, paper"] == "73.8 (a)"
    assert published["ResNet101 (random weights)", "clusters, paper"] == "not found"
    assert notes.startswith("(a) Chen, Kuang, Zhang, Wong 2017")


@pytest.mark.filterwarnings("ignore:whitening")
def test_table_2_has_a_row_for_each_chain_of_steps(task, settings):
    from systems import STEPS
    from table1 import table

    text = table({"scenes": task}, settings, ["vgg16"], ["siamac"], tuple(STEPS), ("X",))
    header, _, *rows = cells_of(text)
    assert header == ["network", "system", "steps", "scenes X", "s/photo"]
    assert [row[2] for row in rows] == ["plain", "R", "QE", "R + QE"]
    assert all(re.fullmatch(r"\d+\.\d \(\d+–\d+\)", row[3]) for row in rows)


def test_table_3_leaves_out_what_is_not_there(settings):
    from table3 import FINE_TUNED, table

    tasks = dict.fromkeys(("Oxford5k", "Paris106k"))
    text = table(tasks, settings, ["vgg16"], ["rmac"], ["plain"], "X", {}, compare=tuple(tasks))
    _, _, *rows = cells_of(text.partition("\n\n")[0])
    assert len(rows) == 1 + len(FINE_TUNED)
    assert {row[4] for row in rows} == {row[6] for row in rows} == {"not available"}
    by_name = {(row[0], row[1]): row for row in rows}
    assert by_name["R-MAC", "VGG16 (random weights)"][3] == "70.3 (a)"
    assert by_name["DIR, fine-tuned", "ResNet101"][5] == "90.6 (d)"
    assert by_name["siaMAC, fine-tuned", "VGG16"][3] == "not found"


def test_every_published_number_has_a_source(scripts):
    from published import _FOUND, SOURCES

    assert {source for _, source in _FOUND.values()} == set(SOURCES)
    assert all(0 < value <= 100 for value, _ in _FOUND.values())


def test_weights_are_told_by_network(scripts):
    from systems import NETWORKS, parse_weights

    every = list(NETWORKS)
    lite0 = {"efficientnet_lite0": "default"}
    assert parse_weights([], every) == lite0
    assert parse_weights(["none"], every) == {**lite0, "vgg16": None, "resnet101": None}
    assert parse_weights(["vgg16=a.pth"], every) == {**lite0, "vgg16": "a.pth"}
    assert parse_weights(["a.pth"], ["vgg16"]) == {"vgg16": "a.pth"}
    with pytest.raises(SystemExit, match="of which network"):
        parse_weights(["a.pth"], every)


def test_queries_with_a_common_answer_make_one_label(scripts):
    from systems import labels_of

    scenes = make_object_scenes(2, 3, 2, size=(160, 128))
    labels = labels_of(as_benchmark(scenes))
    assert labels[6:] == ["", ""]
    assert len(set(labels[:3])) == len(set(labels[3:6])) == 1
    assert labels[0] != labels[3]


def test_precision_of_squares_by_hand(scripts):
    from figure4 import precisions, shares_above

    # A 4x4 map of 4x4 pixels: one square of level 1 is all of it, the box its left half.
    record = ActivationMap.from_arrays(np.ones((4, 4, 2)))
    record = GridRegions(n_levels=1).transform([record])[0]
    values, share = precisions(record, (0, 0, 2, 4))
    assert values.tolist() == [0.5]
    assert share == 0.5
    values = np.array([0.0, 0.5, 0.5, 1.0])
    assert shares_above(values, [0, 0.5, 0.7, 1]).tolist() == [1, 0.75, 0.25, 0.25]


def test_table_3_measures_a_checkpoint(task, settings, tmp_path):
    import torchvision
    from table3 import FINE_TUNED, table

    network = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:-1]
    siamac_file(tmp_path / "net.pth", network, "mac")
    files = {"siaMAC, fine-tuned, VGG16": str(tmp_path / "net.pth")}
    text = table({"scenes": task}, settings, [], [], ["plain", "QE"], "X", files)
    _, _, *rows = cells_of(text)
    assert len(rows) == 2 * len(FINE_TUNED)
    assert [row[2] for row in rows[:2]] == ["plain", "QE"]
    assert all(re.fullmatch(r"\d+\.\d \(\d+–\d+\)", row[3]) for row in rows[:2])
    assert {row[3] for row in rows[2:]} == {"not available"}


def test_oxford_and_paris_are_fitted_on_each_other(scripts, pixels, tmp_path):
    from systems import make_parser, published_tasks

    for city, names in (("oxford", "abcd"), ("paris", "efg"), ("others", "hi")):
        (tmp_path / city).mkdir()
        for name in names:
            Image.fromarray(pixels).save(tmp_path / city / f"{name}.png")
        lists = {"query": f"{names[0]} 0 0 64 64", "good": names[:2], "ok": "", "junk": names[2:3]}
        for kind, content in lists.items():
            words = content if kind == "query" else "\n".join(content)
            (tmp_path / city / f"tower_1_{kind}.txt").write_text(words)
    given = [f"--{city}={tmp_path / city}" for city in ("oxford", "paris")]
    tasks = published_tasks(make_parser("a table").parse_args(given))
    assert tasks["Oxford105k"] is tasks["Paris106k"] is None
    assert [photo.name for photo in tasks["Oxford5k"].fit_on] == ["e", "f", "g"]
    assert tasks["Oxford5k"].fit_labels == ["e", "e", ""]
    assert [photo.name for photo in tasks["Paris6k"].fit_on] == ["a", "b", "c", "d"]
    more = [*given, f"--distractors={tmp_path / 'others'}"]
    tasks = published_tasks(make_parser("a table").parse_args(more))
    assert [len(task.benchmark.photos) for task in tasks.values()] == [4, 6, 3, 5]
    with pytest.raises(SystemExit, match="pass --oxford and --paris"):
        published_tasks(make_parser("a table").parse_args(given[:1]))
