"""Evaluation and tuning: what is caught, what is kept, and what is written."""

import csv
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import shared_folder
from PIL import Image
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from sklearn_cmac import (
    ConvFeatureExtractor,
    FullyConnected,
    Photo,
    PhotoError,
    Query,
    RetrievalScorer,
    make_rmac_pipeline,
)
from sklearn_cmac.datasets import (
    add_distractors,
    as_benchmark,
    load_oxford5k,
    load_photo_folder,
    make_object_scenes,
)
from sklearn_cmac.evaluation import check_benchmark, check_labels, evaluate
from sklearn_cmac.metrics import evaluate_rankings
from sklearn_cmac.search import (
    Chain,
    DatabaseAugmentation,
    Diffusion,
    QueryExpansion,
    RegionMatching,
    Retriever,
    augment_database,
)
from sklearn_cmac.tuning import tune

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


def rmac(**params):
    return make_rmac_pipeline(whiten__shrinkage=1.0, whiten__n_components=32, **params)


# -- planted mistakes -------------------------------------------------------------------------


def test_boxes_that_hold_width_and_height_are_caught(scenes):
    """Somewhere a width is smaller than x0, or a box ends outside its photo."""
    boxes = [(p, *p.box) for p in scenes.photos if p.box]
    with pytest.raises(PhotoError, match="holds x, y, width and height, pass"):
        [Query(p, (x0, y0, x1 - x0, y1 - y0)) for p, x0, y0, x1, y1 in boxes]
    wide = [Query(photo, (0, 0, 2000, 200)) for photo in scenes.photos[:3]]
    benchmark = as_benchmark(scenes)
    benchmark.queries[:3] = wide
    with pytest.raises(PhotoError, match=r"3 of 16 boxes do not fit their photo. object-00-sce"):
        check_benchmark(benchmark)


def test_the_real_annotation_read_as_width_and_height_is_caught(tmp_path):
    gt = shared_folder("data/oxford_gt")
    for file in gt.glob("*_*.txt"):
        text = file.read_text()
        if file.name.endswith("_query.txt"):
            name, *box = text.split()
            x0, y0, x1, y1 = map(float, box)
            text = f"{name} {x0} {y0} {x1 - x0} {y1 - y0}"
            (tmp_path / f"{name.removeprefix('oxc1_')}.jpg").touch()
        (tmp_path / file.name).write_text(text)
    with pytest.raises(PhotoError, match="If it holds x, y, width and height"):
        load_oxford5k(tmp_path, missing="restrict")


def test_labels_shifted_against_photos_are_caught(scenes, others):
    check_labels(rmac().fit(others.photos).transform(scenes.photos), scenes.target)
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((20, 16))
    labels = [str(k) for k in rng.permutation(np.repeat(np.arange(20), 5))]
    clear = centres[[int(k) for k in labels]] + 0.1 * rng.standard_normal((100, 16))
    check_labels(clear, labels)
    for n in (1, 2, -3):
        with pytest.raises(PhotoError, match=rf"labels seem to be shifted by {n} against"):
            check_labels(clear, np.roll(labels, n).tolist())


def test_labels_of_real_photos_shifted_by_a_row_are_caught(tmp_path, landmarks):
    """The table's sizes tell, even before anything is described."""
    with open(landmarks / "labels.csv", newline="") as table:
        header, *rows = csv.reader(table)
    names = [row[0] for row in rows]
    with open(tmp_path / "labels.csv", "w", newline="") as table:
        shifted = [[name, *row[1:]] for name, row in zip(names[1:] + names[:1], rows)]
        csv.writer(table).writerows([header, *shifted])
    with pytest.raises(PhotoError, match=r"photos are of another size than their row says; \S+ ha"):
        load_photo_folder(landmarks / "images", labels=tmp_path / "labels.csv")


def test_fitting_on_photos_that_are_ranked_is_warned_of(folder, scenes, tmp_path):
    benchmark = as_benchmark(load_photo_folder(folder, folder / "labels.csv", folder / "boxes.csv"))
    with pytest.warns(UserWarning, match="3 of the 3 photos that systems are fitted on are in the"):
        evaluate(benchmark, {"R-MAC": rmac()}, [p.source for p in benchmark.photos[:3]])


# -- benchmarks made of labelled photos -------------------------------------------------------


@pytest.mark.parametrize("queries", ["all", "boxed"])
def test_an_evaluation_of_labelled_photos_is_the_scorers(queries, scenes, others):
    pipeline = rmac().fit(others.photos)
    evaluation = evaluate(as_benchmark(scenes, queries), {"R-MAC": pipeline})
    expected = RetrievalScorer(queries, distractor="")(pipeline, scenes.photos, scenes.target)
    assert evaluation.rows[0].mean_average_precision == pytest.approx(expected, abs=1e-9)


def test_distractors_are_ranked_and_answer_nothing(scenes, others, fit_folder, tmp_path):
    benchmark = add_distractors(as_benchmark(scenes), fit_folder)
    assert len(benchmark.photos) == len(scenes.photos) + len(others.photos)
    pipeline = rmac().fit(others.photos)
    plain = evaluate(as_benchmark(scenes), {"R-MAC": pipeline}).rows[0]
    more = evaluate(benchmark, {"R-MAC": pipeline}).rows[0]
    assert all(np.less_equal(more.average_precision, plain.average_precision))
    (tmp_path / "object-00-scene-1.png").write_bytes(b"")
    with pytest.raises(PhotoError, match="1 of 1 distractors have the name of a photo"):
        add_distractors(benchmark, tmp_path)


def test_broken_distractors_are_left_out_and_broken_photos_are_an_error(scenes, others, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    benchmark = add_distractors(as_benchmark(scenes), tmp_path)
    pipeline = rmac().fit(others.photos)
    with pytest.warns(UserWarning, match="1 of 1 distractors cannot be used"):
        found = evaluate(benchmark, {"R-MAC": pipeline}).rows[0]
    assert found.average_precision == evaluate(
        as_benchmark(scenes), {"R-MAC": pipeline}
    ).rows[0].average_precision  # fmt: skip
    benchmark.photos[-2] = Photo(tmp_path / "broken.jpg")
    with pytest.raises(PhotoError, match=r"1 of 21 photos cannot be used:\n  photo 19: .*broken"):
        evaluate(benchmark, {"R-MAC": pipeline})


def test_distractors_of_several_folders_all_count(scenes, others, tmp_path):
    """A broken one of the first folder is left out too, and folders may share names."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "broken.jpg").write_bytes(b"no photo")
    once = add_distractors(as_benchmark(scenes), tmp_path / "a")
    benchmark = add_distractors(once, tmp_path / "b")
    assert (once.n_distractors, benchmark.n_distractors) == (1, 2)
    assert benchmark.labels == [*scenes.target, "", ""]
    assert check_benchmark(benchmark)["distractors"] == 4 + 2  # its own, and those added
    with pytest.warns(UserWarning, match="2 of 2 distractors cannot be used"):
        evaluate(benchmark, {"R-MAC": rmac().fit(others.photos)})
    with pytest.raises(PhotoError, match="1 of 1 distractors were added before.*each folder once"):
        add_distractors(benchmark, tmp_path / "b" / ".." / "a")
    (tmp_path / "b" / "object-00-scene-1.png").touch()
    with pytest.raises(PhotoError, match="1 of 2 distractors have the name of a photo"):
        add_distractors(once, tmp_path / "b")


# -- what is kept -----------------------------------------------------------------------------


def test_a_chain_goes_on_from_its_beginning_and_ends_the_same(scenes, others):
    pipeline = rmac().fit(others.photos)
    match, expand = ("m", RegionMatching()), ("q", QueryExpansion(2))
    together = evaluate(
        as_benchmark(scenes), {"R-MAC": pipeline}, steps={"m": [match], "m + q": [match, expand]}
    )
    alone = evaluate(as_benchmark(scenes), {"R-MAC": pipeline}, steps={"m + q": [match, expand]})
    assert together.rows[1].average_precision == alone.rows[0].average_precision


# -- tuning -----------------------------------------------------------------------------------


def test_photos_of_an_object_are_in_one_fold(scenes, others):
    seen = []

    class Watching(BaseEstimator):
        def fit(self, X, y=None):
            seen.append({photo.name.split("-scene")[0] for photo in X})
            return self

        def transform(self, X):
            return np.ones((len(X), 1))

    tune(Watching(), {}, scenes, n_folds=2)
    objects = [{name for name in fold if name.startswith("object")} for fold in seen[:2]]
    assert not objects[0] & objects[1]
    assert len(objects[0] | objects[1]) == 4


def test_more_folds_than_objects_is_an_error(scenes):
    with pytest.raises(ValueError, match="4 labelled objects cannot be spread over 5 folds"):
        tune(rmac(), {"regions__n_levels": [1]}, scenes, n_folds=5)


# -- what was kept answers only the question that it was computed for ---------------------------


def score(benchmark, system, fit_on, folder, **options):
    found = evaluate(benchmark, {"": system}, fit_on, folder=folder, **options)
    return found.rows[0].average_precision


@pytest.mark.parametrize("change", ["photos", "edited", "fit_on", "array", "query", "relevance"])
def test_kept_results_are_those_of_the_same_question(change, scenes, others, tmp_path, folder):
    """Names, sizes in bytes and `repr` stood for photos and parameters."""
    place = tmp_path / "work"
    system, fit_on, tested = rmac(), others.photos, scenes
    if change == "array":
        layer = np.eye(80, 1280, dtype=np.float32)
        system = rmac().set_params(whiten=FullyConnected(layer))
    if change == "edited":
        tested = as_files(scenes, tmp_path / "photos")
    benchmark = as_benchmark(tested, "all")
    before = score(benchmark, system, fit_on, place)
    assert score(benchmark, system, fit_on, place) == before
    if change == "photos":
        renamed = make_object_scenes(4, 4, 4, size=(320, 240), random_state=5)
        benchmark = as_benchmark(renamed, "all")
    elif change == "edited":
        for photo in tested.photos:
            with Image.open(photo.source) as image:
                pixels = np.asarray(image)
            size, times = photo.source.stat().st_size, photo.source.stat()
            Image.fromarray(pixels[::-1] // 3).save(photo.source)
            os.utime(photo.source, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert photo.source.stat().st_size == size
    elif change == "fit_on":
        fit_on = others.photos[:7]
    elif change == "array":
        layer = layer.copy()
        layer[10:70] *= 3
        assert repr(layer) == repr(np.eye(80, 1280, dtype=np.float32))
        system = rmac().set_params(whiten=FullyConnected(layer))
    elif change == "query":
        benchmark = as_benchmark(tested, "boxed")
    elif change == "relevance":
        benchmark.relevance = benchmark.relevance[::-1]
    after = score(benchmark, system, fit_on, place)
    assert after == score(benchmark, system, fit_on, None)
    assert after != before


def as_files(scenes, folder):
    """The scenes as uncompressed files, which have one size."""
    folder.mkdir()
    photos = []
    for photo in scenes.photos:
        path = folder / f"{photo.name}.bmp"
        Image.fromarray(photo.source).save(path)
        photos.append(Photo(path, box=photo.box))
    return Bunch(photos=photos, target=scenes.target, DESCR="")


def test_renamed_photos_keep_their_descriptions(scenes, others, tmp_path, monkeypatch):
    """Identity is content: a folder that moved is not described again."""
    system = rmac().fit(others.photos)
    evaluate(as_benchmark(as_files(scenes, tmp_path / "a")), {"": system}, folder=tmp_path / "w")
    moved = as_files(scenes, tmp_path / "b")
    with monkeypatch.context() as patch:
        patch.setattr(ConvFeatureExtractor, "_compute", None)
        evaluate(as_benchmark(moved), {"": system}, folder=tmp_path / "w")


def test_torn_files_of_an_evaluation_are_made_again(scenes, others, tmp_path):
    before = score(as_benchmark(scenes), rmac(), others.photos, tmp_path)
    for file in tmp_path.rglob("*"):
        if file.suffix in (".json", ".safetensors"):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert score(as_benchmark(scenes), rmac(), others.photos, tmp_path) == before
    for file in tmp_path.rglob("*.json"):
        file.write_bytes(b"")
    assert score(as_benchmark(scenes), rmac(), others.photos, tmp_path) == before
    for file in tmp_path.rglob("*.json"):
        file.write_text(re.sub(r"0\.\d", "0.9", file.read_text()))
    assert score(as_benchmark(scenes), rmac(), others.photos, tmp_path) == before


# -- what is computed once, and how it is timed ------------------------------------------------


@pytest.mark.parametrize("crop", ["activations", "image"])
def test_the_network_runs_once_on_a_photo_that_is_ranked_and_asked_with(
    scenes, others, crop, monkeypatch
):
    """10 photos and 9 queries were 19 passes; only crop I describes other pixels."""
    system, calls = rmac().fit(others.photos), []
    compute = ConvFeatureExtractor._compute

    def counting(self, content, cut, view):
        calls.append(cut)
        return compute(self, content, cut, view)

    some = Bunch(photos=scenes.photos[:10], target=["a"] * 3 + ["b"] * 6 + [""], DESCR="")
    monkeypatch.setattr(ConvFeatureExtractor, "_compute", counting)
    found = evaluate(as_benchmark(some), {"": system}, query_crops=[crop])
    assert len(calls) == (10 if crop == "activations" else 19)
    monkeypatch.undo()
    expected = RetrievalScorer("boxed", distractor="")
    system.set_params(features__query_crop=crop)
    scores = expected(system, some.photos, some.target)
    assert found.rows[0].mean_average_precision == pytest.approx(scores, abs=1e-6)


def test_a_querys_file_is_opened_to_know_it_and_to_describe_it(
    scenes, others, tmp_path, monkeypatch
):
    import builtins

    files = as_files(scenes, tmp_path / "photos")
    system, opened, real = rmac().fit(others.photos), [], builtins.open

    def counting(file, *args, **kwargs):
        opened.append(str(file))
        return real(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", counting)
    evaluate(as_benchmark(files), {"": system})
    assert {opened.count(str(photo.source)) for photo in files.photos if photo.box} == {2}
    assert {opened.count(str(photo.source)) for photo in files.photos if not photo.box} == {1}


def test_describing_is_no_part_of_ranking(scenes, others, monkeypatch):
    """Whichever row is measured first: the clock stands still but where queries are described."""
    from sklearn_cmac.evaluation import _rankings

    now = [0.0]
    monkeypatch.setattr(_rankings.time, "perf_counter", lambda: now[0])
    for name in ("describe_queries", "describe_records"):
        real = getattr(Retriever, name)

        def slow(*args, real=real, **kwargs):
            now[0] += 1000
            return real(*args, **kwargs)

        monkeypatch.setattr(Retriever, name, slow)
    steps = {"plain": [], "qe": [("qe", QueryExpansion(2))]}
    for row in evaluate(as_benchmark(scenes), {"": rmac().fit(others.photos)}, steps=steps).rows:
        assert (row.seconds_per_query, row.seconds_to_prepare) == (0, 0)


def test_each_step_has_a_state_of_its_own_and_augmentation_comes_first(scenes, others):
    """Two steps of a kind shared the last one's graph, made before the augmentation."""
    system = rmac().fit(others.photos)
    near, far = Diffusion(n_neighbors=2, n_seeds=1), Diffusion(n_neighbors=15, n_seeds=4)
    augmentation = DatabaseAugmentation(3)
    steps = {
        "near, far": Chain([("a", near), ("b", far)]),
        "near": Chain([("a", near)]),
        "dba": Chain([], augmentation),
        "dba, near": Chain([("a", near)], augmentation),
    }
    rows = evaluate(as_benchmark(scenes), {"": system}, steps=steps).rows
    together = {row.steps: row.average_precision for row in rows}
    for name, chain in steps.items():
        retriever = Retriever(FrozenEstimator(system), *chain).fit([])
        benchmark = as_benchmark(scenes)
        ranked = retriever.rank(benchmark.queries, scenes.photos, benchmark.exclude)
        alone = evaluate_rankings([r.order for r in ranked], benchmark.relevance)
        np.testing.assert_allclose(together[name], alone.average_precision)
    # By hand: the graph that the step walks on is that of augmented descriptors.
    collection = Retriever(FrozenEstimator(system)).fit([]).describe(scenes.photos)
    walked = augmentation.augment(collection.engine)
    ids, graph = near.prepare(replace(collection, engine=walked), system)
    rows = augment_database(collection.engine.get(ids), 3)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -1)
    linked = {(i, j) for i in range(len(rows)) for j in np.argsort(-likeness[i])[:2]}
    expected = {(i, j) for i, j in linked if (j, i) in linked and likeness[i, j] > 0}
    assert set(zip(*graph.nonzero())) == expected


# -- what ends early, and what does not --------------------------------------------------------


def test_a_query_that_is_too_small_is_named_before_anything_is_described(
    scenes, others, monkeypatch
):
    system = rmac().fit(others.photos)
    benchmark = as_benchmark(scenes)
    benchmark.queries[3] = Query(scenes.photos[3], (10, 10, 20, 20))
    monkeypatch.setattr(ConvFeatureExtractor, "_compute", None)
    with pytest.raises(PhotoError, match=r"1 of 16 queries cannot .* object-00-scene-3: "):
        evaluate(benchmark, {"": system}, query_crops=["image"])


def test_results_are_written_where_a_text_says(scenes, others, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate(as_benchmark(scenes), {"R-MAC": rmac().fit(others.photos)}).write("deep/results")
    assert "R-MAC" in (tmp_path / "deep/results/table.md").read_text()
