"""The scripts of the paper's tables, run on a few made photos."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_checkpoints import dir_file, siamac_file

from sklearn_cmac import ActivationMap, GridRegions
from sklearn_cmac.datasets import as_benchmark, load_photo_folder, make_object_scenes

PAPER = Path(__file__).parents[1] / "benchmarks/paper"


@pytest.fixture(autouse=True)
def in_torch(monkeypatch):
    """Large networks with random weights need not be converted."""
    monkeypatch.setattr("sklearn_cmac.networks._engines.installed_engines", list)


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
def test_all_systems_have_a_row_on_each_network(task, settings):
    from all_systems import table

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
def test_all_steps_have_a_row_for_each_chain(task, settings):
    from all_systems import table
    from systems import STEPS

    text = table({"scenes": task}, settings, ["vgg16"], ["siamac"], tuple(STEPS), ("X",))
    header, _, *rows = cells_of(text)
    assert header == ["network", "system", "steps", "scenes X", "s/photo"]
    assert [row[2] for row in rows] == ["plain", "R", "QE", "R + QE"]
    assert all(re.fullmatch(r"\d+\.\d \(\d+–\d+\)", row[3]) for row in rows)


def test_fine_tuned_networks_that_are_not_there_say_so(settings):
    from fine_tuned import FINE_TUNED, table

    tasks = dict.fromkeys(("Oxford5k", "Paris106k"))
    text = table(tasks, settings, ["vgg16"], ["rmac"], ["plain"], "X", {}, compare=tuple(tasks))
    _, _, *rows = cells_of(text.partition("\n\n")[0])
    assert len(rows) == 1 + len(FINE_TUNED)
    assert {row[4] for row in rows} == {row[6] for row in rows} == {"not available"}
    by_name = {(row[0], row[1]): row for row in rows}
    assert by_name["R-MAC", "VGG16 (random weights)"][3] == "70.3 (a)"
    assert by_name["DIR, fine-tuned", "ResNet101"][5] == "90.6 (d)"
    assert by_name["siaMAC, fine-tuned", "VGG16"][3] == "not found"


# -- The paper's own tables, as they are printed there ------------------------------------------

PRINTED = {
    "Table 1": """
        method | Oxf5k | Par6k | Oxf105k | Par106k
        R-MAC, crop I | 66.9 | 83.0 | 61.6 | 75.7
        clusters, crop I | 70.3 | 83.6 | 65.0 | 76.2
        R-MAC, crop X (the authors' own implementation) | 70.3 | 84.3 | 65.1 | 77.6
        clusters, crop X | 73.8 | 83.9 | 69.7 | 76.4
        R-MAC, crop I + R + QE | 77.3 | 86.5 | 73.2 | 79.8
        clusters, crop I + R + QE | 81.4 | 87.5 | 79.0 | 81.2
        R-MAC, crop X + R + QE (own implementation) | 79.5 | 86.7 | 75.7 | 81.1
        clusters, crop X + R + QE | 82.5 | 86.8 | 80.0 | 80.5
    """,
    "Table 2": """
        method | Oxf5k | Par6k | Oxf105k | Par106k
        siaMAC, crop I | 76.3 | 84.5 | 68.5 | 77.1
        clusters, crop I | 80.9 | 86.7 | 76.4 | 80.0
        siaMAC, crop X + L_w | 80.1 | 85.0 | 74.1 | 77.9
        clusters, crop X + PCA_w | 81.4 | 87.6 | 78.2 | 81.4
        siaMAC, crop X + L_w + R + QE | 84.5 | 86.4 | 80.4 | 79.7
        clusters, crop I + PCA_w + R + QE | 85.5 | 88.9 | 84.2 | 83.6
        clusters, crop X + PCA_w + R + QE | 85.5 | 88.9 | 83.9 | 84.3
    """,
    "Table 3": """
        method | Oxf5k | Par6k
        clusters, crop I + PCA_w (layer res5c after ReLU of DIR's network) | 82.7 | 93.8
        DIR-grid (its own shift and fully connected layer) | 84.1 | 93.6
        DIR-RPN | 85.2 | 94.0
    """,
    "Table 3, in the text": """
        method | Oxf5k | Par6k
        DIR-grid with PCA whitening | 81.7 | 92.7
    """,
}


def without_notes(cell):
    return re.sub(r" \[[a-z, ]+\]$", "", cell)


@pytest.mark.parametrize("name", PRINTED)
def test_a_table_has_the_rows_and_columns_that_the_paper_prints(name, settings):
    from paper_tables import fill
    from published import PAPER_TABLES

    table = PAPER_TABLES[name]
    filled = fill(table, dict.fromkeys(table.columns), settings, table.network)
    header, _, *rows = cells_of(str(filled).partition("\n\n")[0])
    expected = [
        [cell.strip() for cell in line.split("|")] for line in PRINTED[name].strip().splitlines()
    ]
    assert header == expected[0]
    found = [[without_notes(cell) for cell in row] for row in rows]
    # Nothing is given, so that each cell has its published number and none that is measured.
    assert found == [[row[0], *(f"{value} / –" for value in row[1:])] for row in expected[1:]]
    needs = " ".join(filled.footnotes)
    assert "--oxford and --paris" in needs
    assert ("--distractors" in needs) == ("Oxf105k" in header)


def test_no_table_of_the_paper_is_left_out(scripts):
    from published import PAPER_TABLES

    assert list(PAPER_TABLES) == list(PRINTED)


@pytest.mark.filterwarnings("ignore:whitening")
@pytest.mark.parametrize("name", ["Table 2", "Table 3"])
def test_random_weights_fill_each_row_and_mark_it(name, task, settings):
    from paper_tables import RANDOM, fill
    from published import PAPER_TABLES

    settings.weights = {"siamac": None, "dir": None}
    table = PAPER_TABLES[name]
    filled = fill(table, {"Oxf5k": task}, settings, table.network)
    mark = chr(ord("a") + filled.notes.index(RANDOM))
    for row in filled.rows:
        published, notes = re.fullmatch(r"([\d.]+) / [\d.]+ \(\d+–\d+\) \[(.*)\]", row[1]).groups()
        assert float(published) > 70
        assert mark in notes.split(", ")


def test_a_cell_says_which_option_would_fill_it(task, settings):
    from paper_tables import fill
    from published import PAPER_TABLES

    settings.weights = {}
    filled = fill(PAPER_TABLES["Table 2"], {"Oxf5k": task, "Oxf105k": None}, settings, "siamac")
    notes = {note[1]: note for note in filled.footnotes}
    small, large = (notes[cell.rpartition("[")[2].strip("]")] for cell in filled.rows[0][1:])
    assert small.endswith(
        "needs --weights siamac=FILE, a VGG16 with MAC that cnnimageretrieval-pytorch published."
    )
    assert "needs --distractors, 100,000 photos of Flickr; and --weights siamac" in large


def test_dir_rpn_takes_its_boxes_from_a_file(task, settings, tmp_path):
    from proposals import boxes_of

    name = task.benchmark.photos[0].name
    (tmp_path / "boxes.csv").write_text(f"photo,x0,y0,x1,y1\n{name},0,0,64,48\n{name},8,8,96,96\n")
    settings.boxes = tmp_path / "boxes.csv"
    boxes, remark = boxes_of(task, settings, "dir")
    assert boxes[name].tolist() == [[0, 0, 64, 48], [8, 8, 96, 96]]
    assert remark == ""
    assert {len(found) for other, found in boxes.items() if other != name} == {0}


def test_dir_rpn_without_boxes_says_what_it_needs(task, settings):
    from proposals import NotGiven, boxes_of

    settings.weights = {"dir": "a file"}
    with pytest.raises(NotGiven, match="--boxes FILE or --detector NAME=FILE"):
        boxes_of(task, settings, "dir")


def test_a_detector_has_the_weights_of_its_file(scripts, tmp_path):
    import torch
    from proposals import RANDOM_DETECTOR, load_detector

    trained = load_detector(RANDOM_DETECTOR)
    torch.nn.init.constant_(trained.rpn.head.cls_logits.bias, 0.5)
    torch.save(trained.state_dict(), tmp_path / "detector.pth")
    name = RANDOM_DETECTOR.partition("=")[0]
    loaded = load_detector(f"{name}={tmp_path / 'detector.pth'}")
    assert loaded.rpn.head.cls_logits.bias.eq(0.5).all()
    assert not loaded.training
    with pytest.raises(SystemExit, match="write NAME=FILE; names are .*fasterrcnn"):
        load_detector("yolo=weights.pth")


def test_siamac_has_the_whitening_of_its_file(task, settings, tmp_path):
    import torchvision
    from paper_tables import build

    network = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:-1]
    for pooling, remarks in (("mac", 0), ("gem", 1)):
        whitening = siamac_file(tmp_path / "net.pth", network, pooling)
        settings.weights = {"siamac": str(tmp_path / "net.pth")}
        built = build("siamac", "siamac", task, settings)
        assert built.task.fit_on is None
        np.testing.assert_allclose(built.pipeline["whiten"].mean_, whitening["m"].ravel())
        assert len(built.remarks) == remarks


def test_dir_grid_has_the_layer_of_its_file(task, settings, tmp_path):
    import torch
    import torchvision
    from paper_tables import NO_LAYER, build
    from sklearn.decomposition import PCA

    layer = torch.nn.Linear(2048, 16)
    pca = PCA(4, whiten=True).fit(np.random.default_rng(0).standard_normal((20, 16)))
    dir_file(tmp_path / "net.pt", torchvision.models.resnet101(weights=None), layer, pca)
    settings.weights = {"dir": str(tmp_path / "net.pt")}
    built = build("dir", "dir", task, settings)
    assert list(built.pipeline.named_steps)[2:] == ["pool", "project", "aggregate"]
    assert built.remarks == ()
    # In the text of the paper, PCA whitening takes its place.
    assert "whiten" in build("dir-pca", "dir", task, settings).pipeline.named_steps
    settings.weights = {"dir": None}
    assert build("dir", "dir", task, settings).remarks == (NO_LAYER,)


def test_comparisons_are_counted_by_hand(scripts):
    from paper_tables import compared
    from published import PAPER_TABLES

    # Clusters less DIR-grid: +1.0 and -0.5; DIR-RPN has no rival.
    clusters, grid, rpn = (method.label for method in PAPER_TABLES["Table 3"].methods)
    scores = {
        (clusters, "Oxf5k"): 81.0, (grid, "Oxf5k"): 80.0, (rpn, "Oxf5k"): 99.0,
        (clusters, "Par6k"): 90.0, (grid, "Par6k"): 90.5,
    }  # fmt: skip
    text = compared(PAPER_TABLES["Table 3"], scores)
    assert text == "clusters are ahead in 1 of 2 comparisons, by +0.2 points in the mean"


def test_the_page_has_all_tables_and_figures_in_their_order(scripts, tmp_path, monkeypatch):
    import page
    from paper_tables import Filled
    from pictures import Drawing, plt

    def draw(tasks, settings, network):
        return Drawing(plt.figure(figsize=(1, 1)), "one picture.")

    for figure in page.FIGURES.values():
        monkeypatch.setattr(figure, "draw", draw)
    empty = Filled(["method", "Oxf5k"], [["clusters", "70.3 / <-"]])
    monkeypatch.setattr(page, "tables_of", lambda name, *_: [(f"title of {name}", empty)])
    monkeypatch.setattr(page, "headline", lambda *_: page.Part("Headline", ["0.15 s"]))
    monkeypatch.setattr(sys, "argv", ["paper", "--out", str(tmp_path / "out")])
    page.main()
    html = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    names = [f"Table {n}" for n in (1, 2, 3)] + [f"Figure {n}" for n in range(1, 8)]
    assert re.findall(r"<h2 [^>]*>(.*)</h2>", html) == [*names, "Headline"]
    assert "title of Table 3, in the text" in html
    assert "70.3 / &lt;-" in html
    assert "Published: clusters are ahead in 13 of 16 comparisons, by +2.1 points" in html
    for picture in re.findall(r'(?:href|src)="(figure[^"]*)"', html):
        assert (tmp_path / "out" / picture).is_file()


def test_neighbouring_cells_of_a_ramp_are_alike_and_of_a_checkerboard_opposite(scripts):
    from figure5 import likeness

    rows, cols = np.indices((4, 6))
    assert likeness([cols.astype(float)]) == pytest.approx(1)
    assert likeness([(rows + cols) % 2.0]) == pytest.approx(-1)


def test_figures_are_of_photos_of_all_tasks_and_leave_distractors_out(scripts, task, monkeypatch):
    import pictures

    tasks = {"Oxford5k": task, "Oxford105k": task, "Paris6k": task}
    monkeypatch.setattr(pictures, "given_tasks", lambda args: tasks)
    kept = pictures.photos_at_hand(None)
    assert list(kept) == ["Oxford5k", "Paris6k"]
    queries, fit_on = pictures.shown(kept, 4)
    assert [query.name for query in queries] == 2 * [
        task.benchmark.queries[i].name for i in (0, len(task.benchmark.queries) - 1)
    ]
    assert len(fit_on) == len(task.fit_on)


def test_every_published_number_has_a_source(scripts):
    from published import _FOUND, SOURCES

    assert {source for _, source in _FOUND.values()} == set(SOURCES)
    assert all(0 < value <= 100 for value, _ in _FOUND.values())


def test_weights_are_told_by_network(scripts):
    from systems import NETWORKS, parse_weights

    every = list(NETWORKS)
    lite0 = {"efficientnet_lite0": "default"}
    assert parse_weights([], every) == lite0
    assert parse_weights(["none"], every) == lite0 | dict.fromkeys(every[1:])
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
    from all_regions import precisions, shares_above

    # A 4x4 map of 4x4 pixels: one square of level 1 is all of it, the box its left half.
    record = ActivationMap.from_arrays(np.ones((4, 4, 2)))
    record = GridRegions(n_levels=1).transform([record])[0]
    values, share = precisions(record, (0, 0, 2, 4))
    assert values.tolist() == [0.5]
    assert share == 0.5
    values = np.array([0.0, 0.5, 0.5, 1.0])
    assert shares_above(values, [0, 0.5, 0.7, 1]).tolist() == [1, 0.75, 0.25, 0.25]


def test_a_fine_tuned_network_is_measured(task, settings, tmp_path):
    import torchvision
    from fine_tuned import FINE_TUNED, table

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
