"""The `cmac` command, as its users type it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from sklearn_cmac import (
    ConvFeatureExtractor,
    make_bow_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac._progress import show_progress
from sklearn_cmac.cli import main
from sklearn_cmac.cli._options import SystemOptions
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.persistence import load_pipeline, save_pipeline
from sklearn_cmac.pooling import ClusterMaxPooler
from sklearn_cmac.search import QueryExpansion, Retriever
from sklearn_cmac.tuning import tune, write_tuning

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


@pytest.fixture(scope="module")
def photos(folder):
    return folder / "photos"


@pytest.fixture(scope="module")
def query(photos):
    return photos / "object-01-scene-0.png"


@pytest.fixture(scope="module")
def rmac(photos):
    pipeline = make_rmac_pipeline(whiten__shrinkage=1.0, whiten__n_components=32)
    return pipeline.fit(sorted(photos.iterdir()))


@pytest.fixture
def nothing_is_described(monkeypatch):
    def describe(self, X):
        raise AssertionError("a photo is described")

    monkeypatch.setattr(ConvFeatureExtractor, "iter_transform", describe)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def complaint(capsys):
    """The one line that a command ends with."""
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cmac:")]
    return line


def ranked(out):
    """Names and scores of what `cmac search` prints, which is nothing else; nan of "alike"."""
    form = r" *(\d+)  +(-?\d+\.\d{3}|alike)  (\S+)"
    rows = [re.fullmatch(form, line) for line in out.splitlines()]
    assert [int(row[1]) for row in rows] == list(range(1, len(rows) + 1))
    return [(Path(row[3]).name, float(row[2].replace("alike", "nan"))) for row in rows]


# -- any command ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], ["demo"], ["search"], ["fit"], ["evaluate"], ["tune"]])
def test_help_is_everywhere(command, capsys):
    assert run(*command, "--help") == 0
    assert capsys.readouterr().out.startswith(" ".join(["Usage: cmac", *command]))


def test_the_command_is_installed():
    program = shutil.which("cmac", path=str(Path(sys.executable).parent)) or shutil.which("cmac")
    if program is None:
        pytest.skip("the package is not installed, so there is no cmac command")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("cmac ")


def test_reading_the_command_line_does_not_wait_for_torch():
    code = "import sys, sklearn_cmac.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "Missing command"),
        (["serch"], "No such command 'serch'"),
        (["search", "--colour"], "No such option"),
        (["evaluate"], r"Missing argument 'BENCHMARK'.*folder"),
        (["search", ".", "q.jpg", "--box", "1,2,3"], "a box is X0,Y0,X1,Y1 in pixels, got '1,2,3'"),
        (["search", ".", "q.jpg", "-n", "0"], "0 is not in the range x>=1"),
        (["search", ".", "q.jpg", "-n", "-1"], "-1 is not in the range x>=1"),
        (["search", ".", "q.jpg", "--system", "siamac"], "'siamac' is not one of"),  # wants labels
        (["search", "nowhere", "q.jpg"], "nowhere: is not a folder"),
        (["search", ".", "q.jpg"], r"cannot be read|no image file"),
        (["search", "{photos}", "{photos}/missing.png"], "missing.png: cannot be read"),
        (["search", "{photos}", "{photos}/distractor-00.png", "--box", "900,0,950,40"], "not lie"),
        (["search", "{photos}", "{photos}/distractor-00.png", "--box", "9,9,3,3"], "is empty"),
        (["evaluate", "folder", "--photos", ".", "--system", "rmac,none"], "'none' is none of mac"),
        (
            ["evaluate", "folder", "--photos", ".", "--photo-scale", "nofile.csv:a:b"],
            "'--photo-scale': nofile.csv: cannot be read",
        ),
        (
            ["evaluate", "folder", "--photos", ".", "--photo-scale", "-1"],
            "a scale is a number or FILE.csv:NAME:SCALE",
        ),
        (["evaluate", "folder", "--photos", ".", "--scales", "1,0"], "scales are numbers above 0"),
        (["tune", ".", "--set", "pca__n_components=four"], "an axis is PATH=.*Python literals"),
    ],
)
def test_bad_input_is_one_plain_line_and_status_2(
    photos, arguments, reason, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert run(*(a.format(photos=photos) for a in arguments)) == 2
    assert re.search(reason, complaint(capsys))


def test_an_error_of_many_lines_is_told_in_one(photos, query, capsys, monkeypatch):
    def fails(*_):
        raise ValueError("2 of 3 photos cannot be used:\n  photo 0: a\n  photo 2: b")

    monkeypatch.setattr("sklearn_cmac.cli._making.walk_photos", fails)
    assert run("search", photos, query) == 2
    assert complaint(capsys) == "cmac: 2 of 3 photos cannot be used: photo 0: a photo 2: b"


def test_being_stopped_is_told_in_one_line(photos, query, tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ConvFeatureExtractor, "iter_transform", stop)
    assert run("search", photos, query, "--index", tmp_path / "x.cmac") == 130
    assert complaint(capsys) == "cmac: stopped; the same command goes on where it was"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("cmac ev", ["evaluate"]),
        ("cmac search --rerank loc", ["localization"]),
        ("cmac evaluate folder --system rmac,sp", ["rmac,spoc"]),
    ],
)
def test_the_shell_completes_names(words, offered, capsys, monkeypatch):
    monkeypatch.setenv("_CMAC_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split("\n")[1::3] == offered


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_shown_on_terminals_only(terminal, monkeypatch):
    """A log of a run without a terminal would hold a line for each redraw."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert isinstance(show_progress([], 0, "describing", verbose=1), tqdm) is terminal
    assert show_progress([], 0, "describing", verbose=0).disable


# -- search -----------------------------------------------------------------------------------


def test_search_finds_the_object_and_prints_nothing_else(tmp_path, capsys):
    scenes = make_object_scenes(n_objects=4, n_scenes=3, n_distractors=4, size=(480, 360))
    (tmp_path / "photos").mkdir()
    for photo in scenes.photos:
        Image.fromarray(photo.source).save(tmp_path / f"photos/{photo.name}.png")
    (tmp_path / "photos/broken.jpg").write_text("no photo")
    query = tmp_path / "photos/object-01-scene-0.png"
    box = ",".join(map(str, scenes.photos[3].box))
    page = tmp_path / "new/folder/page.html"
    asked = ["search", tmp_path / "photos", query, "--box", box, "--system", "paper"]
    assert run(*asked, "-n", 3, "--html", page) == 0
    out, err = capsys.readouterr()
    names = [name for name, _ in ranked(out)]
    assert names[0] == query.name
    assert {n[:9] for n in names} == {"object-01"}
    assert "16 new; 16 described" in err
    assert "1 failed" in err
    assert "broken.jpg: is not an image" in err
    assert f"page: {page}" in err
    html = page.read_text()
    assert html.count("<img") == 2 + 3  # the query, what its box shows, the results
    assert names[1] in html


def test_search_prints_names_that_the_terminal_cannot_show(photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1, as on an old disk
    try:
        (tmp_path / "photos/distractor-00.png").rename(tmp_path / "photos" / name)
    except OSError:
        pytest.skip("this file system has no such names")
    assert run("search", tmp_path / "photos", tmp_path / "photos" / name, "--system", "mac") == 0
    assert ranked(capsys.readouterr().out)[0][0] == r"caf\udce9.png"


def test_search_with_a_fitted_pipeline_and_its_own_store(photos, query, rmac, tmp_path, capsys):
    """What a file says about its store was true where it was written."""
    stored = make_rmac_pipeline().set_params(**{**rmac.get_params(), "features__store": "maps"})
    save_pipeline(stored, tmp_path / "rmac.safetensors")
    store = tmp_path / "store"
    asked = "search", photos, query, "--pipeline", tmp_path / "rmac.safetensors"
    asked = *asked, "--index", tmp_path / "x.cmac"
    before = set(Path.cwd().iterdir())
    assert run(*asked, "--store", store) == 0
    assert ranked(capsys.readouterr().out)[0] == (query.name, 1.0)
    assert set(Path.cwd().iterdir()) == before
    assert len(list(store.rglob("*.npy"))) >= 20


def test_search_with_a_pipeline_without_regions_shows_none(photos, query, tmp_path, capsys):
    pytest.importorskip("skimage")
    pipeline = make_bow_pipeline(encode__n_words=20).fit(sorted(photos.iterdir())[:4])
    save_pipeline(pipeline, tmp_path / "bow.safetensors")
    page = tmp_path / "page.html"
    asked = "search", photos, query, "--pipeline", tmp_path / "bow.safetensors", "--html", page
    asked = *asked, "--index", tmp_path / "x.cmac"
    assert run(*asked, "--rerank", "none", "-n", 2) == 0
    assert page.read_text().count("<img") == 1 + 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("picture", "is damaged, or no file that sklearn_cmac"),
        ("damaged", "is damaged, or no file that sklearn_cmac"),
        (StandardScaler().fit(np.eye(3)), "holds a StandardScaler, not a fitted pipeline"),
        (make_mac_pipeline(), "holds a Pipeline that is not fitted"),
        (Retriever(make_mac_pipeline()), "holds a Retriever that is not fitted"),
        (
            make_pipeline(StandardScaler()).fit(np.eye(3)),
            "holds a Pipeline that begins with StandardScaler, which reads no photos",
        ),
    ],
)
def test_a_file_that_is_no_pipeline_is_told_by_what_it_holds(
    content, reason, photos, query, rmac, tmp_path, capsys, nothing_is_described
):
    file = tmp_path / "given"
    if content == "picture":
        shutil.copy(query, file)
    elif content == "damaged":
        save_pipeline(rmac, file)
        file.write_bytes(file.read_bytes()[:-5000])
    else:
        save_pipeline(content, file)
    assert run("search", photos, query, "--pipeline", file) == 2
    assert complaint(capsys).startswith(f"cmac: {file}: {reason}")


def test_a_page_that_cannot_be_written_is_refused_at_once(
    photos, query, tmp_path, capsys, nothing_is_described
):
    assert run("search", photos, query, "--html", tmp_path) == 2
    assert "is a directory" in complaint(capsys)


# -- demo -------------------------------------------------------------------------------------


def table_of(text):
    """Rows of a printed table by their names; the header's cells are text."""
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0]] == [
        "mAP in %", "whole photos", "boxed, crop X", "boxed, crop I"
    ]  # fmt: skip
    return {cells[0].strip(): [float(cell) for cell in cells[1:]] for cells in lines[2:]}


def golden_table():
    """What README.md says that the demo prints."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    return table_of(readme.partition("<!-- golden -->\n")[2].partition("\n\n")[0])


def test_the_demo_prints_the_table_of_the_readme_and_writes_a_page(tmp_path, capsys):
    assert run("demo", "--out", tmp_path) == 0
    table = table_of(capsys.readouterr().out)
    assert list(table) == list(golden_table())
    for system, figures in golden_table().items():
        # Another engine or processor rounds otherwise, and a few photos change their places.
        assert table[system] == pytest.approx(figures, abs=1.0)
    html = (tmp_path / "index.html").read_text()
    assert html.count("<h2>") == 6
    assert 'class="right"' in html
    assert "://" not in html


# -- evaluate ---------------------------------------------------------------------------------


def command(folder, fit_folder, out, *more):
    return [
        "evaluate", "folder", "--photos", folder, "--labels", folder / "labels.csv",
        "--boxes", folder / "boxes.csv", "--fit-on", fit_folder, "--out", out, *more,
    ]  # fmt: skip


def numbers(folder):
    """The table without its timings."""
    results = json.loads((folder / "results.json").read_text())
    for row in results["rows"]:
        for name in [name for name in row if name.startswith("seconds")]:
            del row[name]
    return results


SEVERAL = ["--system", "mac,rmac", "--rerank", "none,matching", "--expand", "none,qe"]


@pytest.fixture(scope="module")
def whole(folder, fit_folder, tmp_path_factory):
    """The results of an evaluation that nobody stopped."""
    out = tmp_path_factory.mktemp("evaluation")
    assert run(*command(folder, fit_folder, out, *SEVERAL)) == 0
    return out


@pytest.mark.parametrize("passes", [1, 2, 4])
def test_a_stopped_evaluation_goes_on_and_gives_the_same_table(
    passes, whole, folder, fit_folder, tmp_path, capsys, monkeypatch
):
    asked = command(folder, fit_folder, tmp_path, *SEVERAL)
    calls = []
    transform = ClusterMaxPooler.transform

    def dies(self, X):
        calls.append(len(X))
        if len(calls) > passes:
            raise KeyboardInterrupt
        return transform(self, X)

    with monkeypatch.context() as patch:
        patch.setattr(ClusterMaxPooler, "transform", dies)
        assert run(*asked) == 130
    assert not (tmp_path / "results.json").exists()
    assert run(*asked) == 0
    assert numbers(tmp_path) == numbers(whole)
    # Once more, nothing is described or ranked.
    calls.clear()
    with monkeypatch.context() as patch:
        patch.setattr(ClusterMaxPooler, "transform", dies)
        assert run(*asked) == 0
    assert calls == []


def test_results_hold_the_protocol_in_full(folder, fit_folder, tmp_path, capsys):
    more = ["--system", "rmac", "--query-crop", "activations,image"]
    assert run(*command(folder, fit_folder, tmp_path, *more)) == 0
    printed = capsys.readouterr().out
    assert "boxes that lie in their photo: 16" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    protocol = results["protocol"]
    system = protocol["systems"]["R-MAC"]
    assert system["network"] == "efficientnet_lite0"
    assert system["layer"] == "head"
    assert len(system["weights sha256"]) == 64
    assert system["longest side in pixels"] == 1024
    assert protocol["fitted on"]["photos"] == 14
    assert protocol["query boxes are cropped in"] == ["activations", "image"]
    assert {"numpy", "torch", "sklearn-cmac", "python"} <= set(protocol["versions"])
    with open(tmp_path / "per_query.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 16
    column = [float(row["R-MAC, image, plain"]) for row in table]
    assert np.mean(column) == pytest.approx(results["rows"][1]["mean_average_precision"])
    assert "Rankings in random order have a mAP of" in printed
    check_rankings(tmp_path, n_queries=16, n_systems=2)


def check_rankings(folder, n_queries, n_systems):
    """What queries found, the worst first, as a table and as a page."""
    with open(folder / "rankings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["system"], row["query"]) for row in rows}) == n_queries * n_systems
    assert {row["answer"] for row in rows} <= {"right", "wrong", "missed"}
    for system in {row["system"] for row in rows}:
        scores = [float(row["average precision"]) for row in rows if row["system"] == system]
        assert scores == sorted(scores)
    page = (folder / "rankings.html").read_text()
    assert "Rankings in random order" in page
    assert "✗ wrong" in page


# -- tune -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(folder, tmp_path_factory):
    """The folder of results of a grid search with a store of its own beside it."""
    place, before = tmp_path_factory.mktemp("tuning"), Path.cwd()
    os.chdir(place)
    try:
        status = run(
            "tune", folder, "--labels", folder / "labels.csv", "--system", "rmac",
            "--set", "regions__n_levels=[1, 3]", "--set", "whiten__shrinkage=[0.5, 2.0]",
            "--set", "rerank__n_candidates=[5, None]", "--rerank", "matching",
            "--folds", 2, "--store", "maps", "--out", "results",
        )  # fmt: skip
    finally:
        os.chdir(before)
    assert status == 0
    return place / "results"


def test_tuning_writes_what_it_found(tuned):
    with open(tuned / "settings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    scores = [float(row["mAP"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    check_rankings(tuned, n_queries=16, n_systems=1)
    best = load_pipeline(tuned / "best.safetensors")
    assert best["rerank"].n_candidates in (5, None)
    assert str(best["rerank"].n_candidates) == (rows[0]["rerank__n_candidates"] or "None")
    with Image.open(tuned / "scores.png") as picture:
        assert min(picture.size) > 100


def test_search_ranks_with_a_tuned_pipeline_and_its_steps(
    tuned, photos, query, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    asked = "search", photos, query, "--pipeline", tuned / "best.safetensors", "-n", 20
    assert run(*asked, "--index", tmp_path / "x.cmac") == 0
    best = load_pipeline(tuned / "best.safetensors")
    paths = sorted(photos.iterdir())
    (expected,) = best.rank([query], paths)
    found = ranked(capsys.readouterr().out)
    assert [name for name, _ in found] == [paths[i].name for i in expected.order]
    assert [score for _, score in found] == pytest.approx(expected.scores, abs=6e-4)
    # The store that it was tuned with is not made again.
    assert [file.name for file in tmp_path.iterdir()] == ["x.cmac"]


def test_steps_of_the_command_line_take_the_place_of_tuned_ones(
    tuned, photos, query, tmp_path, capsys
):
    asked = "search", photos, query, "--pipeline", tuned / "best.safetensors", "-n", 20
    asked = *asked, "--index", tmp_path / "x.cmac"
    pipeline = load_pipeline(tuned / "best.safetensors").pipeline_
    paths = sorted(photos.iterdir())
    assert run(*asked, "--rerank", "none") == 0
    scores = pipeline.transform(paths) @ pipeline.transform([query])[0]
    printed = dict(ranked(capsys.readouterr().out))
    assert [printed[path.name] for path in paths] == pytest.approx(scores, abs=6e-4)
    assert run(*asked, "--rerank", "none", "--expand", "qe") == 0
    retriever = Retriever(FrozenEstimator(pipeline), [("expand", QueryExpansion())]).fit([])
    (expected,) = retriever.rank([query], paths)
    names = [name for name, _ in ranked(capsys.readouterr().out)]
    assert names == [paths[i].name for i in expected.order]


def test_weights_of_a_file_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.pth").touch()
    made = SystemOptions(weights="net.pth").make("rmac", store=None)
    assert made["features"].weights == str(tmp_path / "net.pth")
    assert SystemOptions().make("rmac", store=None)["features"].weights == "default"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--set", "whiten__shrinkag=[1]"], "no parameter 'whiten__shrinkag'; did you mean 'whit"),
        (["--set", "expand__alpha=[1]"], "no parameter 'expand__alpha'"),
        (["--set", "whiten__shrinkage=[1, -1]"], "'shrinkage' parameter of RegionWhitener must be"),
        (["--set", "whiten__shrinkage=[]"], "non-empty sequence"),
        (["--set", "whiten__shrinkage=[1]", "--folds", "5"], "4 labelled objects cannot be spread"),
        (["--set", "whiten__shrinkage=[1]", "--out", "{file}"], "is a file"),
        (["--set", "whiten__shrinkage=[1]", "--out", "{file}/tuning"], "Not a directory"),
    ],
)
def test_what_tuning_cannot_do_is_refused_before_a_photo_is_described(
    folder, more, reason, capsys, nothing_is_described
):
    file = folder / "labels.csv"
    assert run("tune", folder, "--labels", file, *(m.format(file=file) for m in more)) == 2
    assert re.search(reason, complaint(capsys))


def test_without_matplotlib_tuning_leaves_out_the_picture_only(scenes, tmp_path, monkeypatch):
    search = tune(make_mac_pipeline(whiten__shrinkage=1), {"whiten__shrinkage": [1]}, scenes)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match=r"scores.png is left out: .*sklearn-cmac\[plot\]"):
        files = write_tuning(search, tmp_path)
    assert [file.name for file in files] == ["best.safetensors", "settings.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "settings.csv"]
