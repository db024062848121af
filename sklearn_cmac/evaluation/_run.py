"""Systems measured on a benchmark: what matched, mAP with intervals, and the protocol in full.

What is computed is kept in a folder, so that a run that was stopped goes on and ends with the
same table.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from scipy.stats import binomtest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac.collection._neighbors import nearest_neighbors
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.networks import get_backbone
from sklearn_cmac.photos import (
    Photo,
    PhotoError,
    Query,
    as_photo,
    check_box_inside,
    digest_source,
    read_source,
)
from sklearn_cmac.pixels import photo_size
from sklearn_cmac.search import (
    Collection,
    DescribedQuery,
    RankedList,
    RerankingStep,
    Retriever,
    describe_collection,
)

Chain = Sequence[tuple[str, RerankingStep]]

_PACKAGES = ("sklearn-cmac", "numpy", "scipy", "scikit-learn", "torch", "torchvision", "timm")
_COLUMNS = (
    "system", "query crop", "steps", "mAP", "95%", "against the first row", "mP@1", "mP@5",
    "mP@10", "s/photo", "s/query", "bytes/photo",
)  # fmt: skip
# What a system computes does not depend on these.
_INDIFFERENT = ("store", "verbose", "n_jobs", "device", "memory")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    system, query_crop, steps : str
        What was measured; `steps` are those behind the first ranking.
    average_precision : list of float
        Of each query.
    mean_precision : dict from str to float
        Precision at 1, 5 and 10.
    low, high : float
        95% interval of mAP.
    difference_low, difference_high : float
        95% interval of the paired difference to the first row.
    seconds_per_photo, seconds_per_query, bytes_per_photo : float
        For describing a photo (from its stored map where there is one), for ranking, and for
        what is kept of a photo, activation maps not counted.
    """

    system: str
    query_crop: str
    steps: str
    average_precision: list[float]
    mean_precision: dict[str, float]
    low: float = 0.0
    high: float = 0.0
    difference_low: float = 0.0
    difference_high: float = 0.0
    seconds_per_photo: float = 0.0
    seconds_per_query: float = 0.0
    bytes_per_photo: float = 0.0

    @property
    def mean_average_precision(self) -> float:
        """mAP in [0, 1]."""
        return float(np.mean(self.average_precision))


@dataclass
class Evaluation:
    """Systems on one benchmark.

    Parameters
    ----------
    rows : list of Row
    queries : list of str
        Names of the queries, numbered where one photo asks more than once.
    protocol : dict
        Everything that the numbers depend on.
    """

    rows: list[Row]
    queries: list[str]
    protocol: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The table, in Markdown. Scores are in percent."""
        lines = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
        first = self.rows[0]
        for row in self.rows:
            gain = 100 * (row.mean_average_precision - first.mean_average_precision)
            difference = ""
            if row is not first:
                low, high = 100 * row.difference_low, 100 * row.difference_high
                difference = f"{gain:+.1f} ({low:+.1f} to {high:+.1f})"
            precision = [f"{100 * row.mean_precision[str(k)]:.1f}" for k in (1, 5, 10)]
            cells = [
                row.system,
                row.query_crop,
                row.steps,
                f"{100 * row.mean_average_precision:.1f}",
                f"{100 * row.low:.1f} to {100 * row.high:.1f}",
                difference,
                *precision,
                f"{row.seconds_per_photo:.3f}",
                f"{row.seconds_per_query:.2f}",
                f"{row.bytes_per_photo:.0f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write `table.md`, `results.json` and `per_query.csv` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "table.md").write_text(f"{self}\n", encoding="utf-8")
        content = {"protocol": self.protocol, "rows": [_as_json(row) for row in self.rows]}
        (folder / "results.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        with open(folder / "per_query.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            names = [f"{row.system}, {row.query_crop}, {row.steps}" for row in self.rows]
            table.writerow(["query", *names])
            scores = zip(*(row.average_precision for row in self.rows))
            table.writerows([name, *values] for name, values in zip(self.queries, scores))


def _as_json(row: Row) -> dict[str, Any]:
    return {"mean_average_precision": row.mean_average_precision, **row.__dict__}


def evaluate(
    benchmark: Any,
    systems: Mapping[str, Any],
    fit_on: Sequence[Any] | None = None,
    *,
    query_crops: Sequence[str] = ("activations",),
    steps: Mapping[str, Chain] | None = None,
    folder: Path | None = None,
    verbose: bool | int = False,
) -> Evaluation:
    """Measure systems on a benchmark.

    Parameters
    ----------
    benchmark : Bunch
        As the loaders return it, or `as_benchmark`.
    systems : dict from str to Pipeline
        Fitted here on `fit_on`, or before.
    fit_on : sequence of photos, optional
        Other photos, to fit systems on. A warning says how many of them are ranked too.
    query_crops : sequence of {"activations", "image"}, default=("activations",)
        How a query's box is cropped.
    steps : dict from str to steps, optional
        What happens behind the first ranking, as for `Retriever`. Default: nothing, "plain".
    folder : path, optional
        Where fitted systems, described photos and scores are kept. Called again, finished parts
        are read from there.
    verbose : bool or int, default=False
        Whether to show progress.

    Returns
    -------
    Evaluation

    Raises
    ------
    PhotoError
        If a photo of the benchmark cannot be used, a box does not lie in its photo, or labels
        fit the photos better when they are shifted. Distractors that cannot be used are left
        out, and a warning says how many.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import as_benchmark, make_object_scenes
    >>> from sklearn_cmac.evaluation import evaluate
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=3, n_distractors=1, size=(320, 240))
    >>> others = make_object_scenes(2, 3, 1, size=(320, 240), random_state=1)
    >>> rmac = make_rmac_pipeline(whiten__shrinkage=1, whiten__n_components=32)
    >>> evaluation = evaluate(as_benchmark(scenes), {"R-MAC": rmac}, others.photos)
    >>> [row.steps for row in evaluation.rows], len(evaluation.rows[0].average_precision)
    (['plain'], 6)
    """
    chains = {
        name: [(n, step) for n, step in chain if step is not None]
        for name, chain in (steps or {"plain": []}).items()
    }
    needs = set().union(*(step.needs for chain in chains.values() for _, step in chain))
    matched = check_benchmark(benchmark)
    if fit_on is not None:
        matched["photos to fit on that are ranked too"] = _warn_of_overlap(fit_on, benchmark)
    if verbose:
        print(benchmark.DESCR)
        print("\n".join(f"{what}: {n}" for what, n in matched.items()))
    regions = "regions" in needs
    ranked = _describe_photos(benchmark.photos)
    fitted_on = None if fit_on is None else _describe_photos(fit_on)
    task = _describe_task(benchmark, ranked)
    rows, about = [], {}
    for name, system in systems.items():
        place = _Place(folder, system, fitted_on)
        pipeline = place.fitted(system, fit_on)
        described = describe_collection(
            pipeline,
            benchmark.photos,
            regions=regions,
            folder=place.collection(ranked, regions),
            verbose=verbose,
        )
        _check_failures(described, benchmark)
        _check_labels(described, benchmark)
        about[name] = _describe_system(pipeline)
        seconds = described.seconds / max(1, len(described))
        for crop in query_crops:
            rankings = _Rankings(_cropping(pipeline, crop), benchmark, described, chains.values())
            for chain, after in chains.items():
                key = _digest(repr([task, crop, after]))[:16]
                scores = place.scores(key)
                if scores is None:
                    scores = rankings.measure(after)
                    place.keep_scores(key, scores)
                kept = described.bytes_per_photo(any("regions" in s.needs for _, s in after))
                row = Row(name, crop, chain, **scores)
                rows.append(replace(row, seconds_per_photo=seconds, bytes_per_photo=kept))
    boxed = any(isinstance(query, Query) for query in benchmark.queries)
    protocol = {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol,
        "description": benchmark.DESCR,
        "matched": matched,
        "systems": about,
        "query boxes are cropped in": list(query_crops) if boxed else "no boxes",
        "steps": {chain: repr([step for _, step in after]) for chain, after in chains.items()},
        "fitted on": fitted_on,
        "ranked": ranked,
        "versions": _versions(),
    }
    rows = _with_intervals(rows, benchmark.get("groups"))
    return Evaluation(rows, _query_names(benchmark), protocol)


class _Rankings:
    """Rankings by one pipeline; a chain that begins as another did goes on from its end."""

    def __init__(
        self, pipeline: Any, benchmark: Any, collection: Collection, chains: Iterable[Chain]
    ):
        self.pipeline = pipeline
        self.benchmark = benchmark
        self.collection = collection
        self.chains = list(chains)
        self.queries: list[DescribedQuery] | None = None
        self.kept: list[tuple[Chain, list[RankedList], float]] = []

    def measure(self, chain: Chain) -> dict[str, Any]:
        """Scores of the rankings behind a chain of steps."""
        rankings, seconds = self._after(chain)
        scores = evaluate_rankings((ranked.order for ranked in rankings), self.benchmark.relevance)
        return {
            "average_precision": scores.average_precision.tolist(),
            "mean_precision": {str(k): value for k, value in scores.mean_precision.items()},
            "seconds_per_query": seconds / len(rankings),
        }

    def _after(self, chain: Chain) -> tuple[list[RankedList], float]:
        retriever = Retriever(FrozenEstimator(self.pipeline), list(chain)).fit([])
        started = time.perf_counter()
        if self.queries is None:
            needs = set().union(*(step.needs for after in self.chains for _, step in after))
            self.queries = retriever.describe_queries(self.benchmark.queries, needs)
        collection = retriever.prepare(self.collection)
        done, rankings, before = self._longest_start(chain)
        if rankings is None:
            rankings = retriever.first_rankings(
                self.queries, collection, self.benchmark.get("exclude")
            )
        for _, step in chain[done:]:
            rankings = step.rerank(self.queries, rankings, collection, self.pipeline)
        seconds = before + time.perf_counter() - started
        if any(_begins_with(other, chain) for other in self.chains):
            self.kept.append((chain, rankings, seconds))
        return rankings, seconds

    def _longest_start(self, chain: Chain) -> tuple[int, list[RankedList] | None, float]:
        for kept, rankings, seconds in sorted(self.kept, key=lambda start: -len(start[0])):
            if _begins_with(chain, kept):
                return len(kept), rankings, seconds
        return 0, None, 0.0


def _begins_with(chain: Chain, start: Chain) -> bool:
    """Whether rankings behind `start` lie on the way to those behind `chain`."""
    rest = chain[len(start) :]
    # A step that prepares the collection may change what comes before it.
    plain = all(type(step).prepare is RerankingStep.prepare for _, step in rest)
    return bool(rest) and plain and repr(chain[: len(start)]) == repr(start)


def _cropping(pipeline: Any, crop: str) -> Any:
    """The same fitted pipeline with another `query_crop`."""
    if "features" not in getattr(pipeline, "named_steps", {}):
        return pipeline
    features = copy(pipeline["features"]).set_params(query_crop=crop)
    return Pipeline([("features", features), *pipeline.steps[1:]])


def check_benchmark(benchmark: Any) -> dict[str, int]:
    """What of a benchmark matched, before anything is described.

    Parameters
    ----------
    benchmark : Bunch

    Returns
    -------
    dict from str to int

    Raises
    ------
    PhotoError
        If the box of a query does not lie in its photo.
    """
    boxed = [query for query in benchmark.queries if isinstance(query, Query)]
    wrong = []
    for query in boxed:
        try:
            check_box_inside(query.box, photo_size(query.photo), query.name)
        except PhotoError as error:
            wrong.append(str(error))
    if wrong:
        raise PhotoError(f"{len(wrong)} of {len(boxed)} boxes do not fit their photo. {wrong[0]}")
    return {
        "photos": len(benchmark.photos),
        "queries": len(benchmark.queries),
        "boxes that lie in their photo": len(boxed),
        "positives": sum(len(r.positives) for r in benchmark.relevance),
        "junk": sum(len(r.junk) for r in benchmark.relevance),
        "distractors": benchmark.get("n_distractors", 0),
    }


def _warn_of_overlap(fit_on: Sequence[Any], benchmark: Any) -> int:
    """How many photos to fit on are ranked or asked with; only files as large are compared."""
    tested = [*benchmark.photos, *benchmark.queries]
    sizes = {_size_of(photo) for photo in fit_on}
    contents = {_content(photo) for photo in tested if _size_of(photo) in sizes}
    n = sum(_content(photo) in contents for photo in fit_on) if contents else 0
    if n:
        warnings.warn(
            f"{n} of the {len(fit_on)} photos that systems are fitted on are in the benchmark: "
            "scores come out too high. Fit on other photos, as published results are.",
            stacklevel=3,
        )
    return n


def _photo_of(item: Any) -> Photo:
    found = as_photo(item)
    return found.photo if isinstance(found, Query) else found


def _size_of(photo: Any) -> int:
    source = _photo_of(photo).source
    if isinstance(source, (str, Path)):
        return Path(source).stat().st_size if Path(source).is_file() else -1
    return len(source) if isinstance(source, bytes) else 0


def _content(photo: Any) -> str:
    return digest_source(read_source(_photo_of(photo)))


def _check_failures(collection: Collection, benchmark: Any) -> None:
    """Photos of the benchmark itself must all be usable; of distractors some need not."""
    n_own = len(collection) - benchmark.get("n_distractors", 0)
    own = {i: reason for i, reason in collection.failed.items() if i < n_own}
    if own:
        replace(collection, failed=own).raise_failures()
    if collection.failed:
        first = next(iter(collection.failed.values()))
        warnings.warn(
            f"{len(collection.failed)} of {len(collection) - n_own} distractors cannot be used "
            f"and are left out; the first: {first}",
            stacklevel=3,
        )


def check_labels(descriptors: np.ndarray, labels: Sequence[Any], distractor: Any = "") -> None:
    """An error if labels fit photos better when they are shifted along them.

    Parameters
    ----------
    descriptors : ndarray of shape (n, D)
    labels : sequence of n labels
    distractor : object, default=""

    Raises
    ------
    PhotoError
        If significantly more photos share their label with their nearest neighbour when all
        labels are moved by up to three photos (p < 0.0001, paired).
    """
    nearest = nearest_neighbors(descriptors, descriptors, 1, own=True)[0][:, 0]

    def agrees(shift: int) -> np.ndarray:
        moved = np.roll(np.asarray(labels), shift)
        return (moved == moved[nearest]) & (moved != distractor)

    now = agrees(0)
    for shift in (-1, 1, -2, 2, -3, 3):
        then = agrees(shift)
        better, worse = int((then & ~now).sum()), int((now & ~then).sum())
        if better > worse and binomtest(better, better + worse).pvalue < 1e-4:
            raise PhotoError(
                f"labels seem to be shifted by {-shift} against the photos: {now.sum()} of "
                f"{len(now)} photos have their nearest neighbour's label, and {then.sum()} would "
                "if that were undone. Check the table of labels."
            )


def _check_labels(collection: Collection, benchmark: Any) -> None:
    labels = benchmark.get("labels")
    if labels:
        n = min(len(collection) - benchmark.get("n_distractors", 0), 5000)
        check_labels(np.asarray(collection.descriptors[:n]), labels[:n])


class _Place:
    """Where the parts of one system's evaluation are kept, if anywhere."""

    def __init__(self, folder: Path | None, system: Any, fitted_on: dict[str, Any] | None):
        self.folder = None
        if folder is not None:
            fitted = fitted_on or joblib.hash(system)
            parts = [_settings(system), fitted, _versions()["sklearn-cmac"]]
            self.folder = Path(folder) / _digest(repr(parts))[:16]
            self.folder.mkdir(parents=True, exist_ok=True)

    def fitted(self, system: Any, fit_on: Sequence[Any] | None) -> Any:
        if fit_on is None:
            return system
        file = self.folder and self.folder / "pipeline.joblib"
        if file and file.exists():
            return joblib.load(file).set_params(**_indifferent(system))
        pipeline = clone(system).fit(list(fit_on))
        if file:
            part = file.with_suffix(f".{os.getpid()}.part")
            joblib.dump(pipeline, part)
            part.replace(file)
        return pipeline

    def collection(self, ranked: dict[str, Any], regions: bool) -> Path | None:
        if self.folder is None:
            return None
        digest = ranked["sha256"][:16]
        return self.folder / f"{'regions' if regions else 'descriptors'}-{digest}"

    def scores(self, key: str) -> dict[str, Any] | None:
        file = self.folder and self.folder / f"{key}.json"
        return json.loads(file.read_text()) if file and file.exists() else None

    def keep_scores(self, key: str, scores: dict[str, Any]) -> None:
        if self.folder:
            part = self.folder / f"{key}.{os.getpid()}.part"
            part.write_text(json.dumps(scores))
            part.replace(self.folder / f"{key}.json")


def _settings(system: Any) -> list[tuple[str, str]]:
    """Parameters that decide what a system computes."""
    return [
        (path, type(value).__name__ if hasattr(value, "get_params") else repr(value))
        for path, value in sorted(system.get_params().items())
        if path != "steps" and path.split("__")[-1] not in _INDIFFERENT
    ]


def _indifferent(system: Any) -> dict[str, Any]:
    """Parameters that a kept pipeline takes over from the one asked for."""
    return {
        path: value
        for path, value in system.get_params().items()
        if path.split("__")[-1] in _INDIFFERENT
    }


def _describe_system(pipeline: Any) -> dict[str, Any]:
    steps = getattr(pipeline, "named_steps", {})
    about: dict[str, Any] = {"settings": dict(_settings(pipeline))}
    if "features" in steps:
        features = steps["features"]
        if hasattr(features, "backbone"):  # local features come from no network
            backbone = get_backbone(features.backbone, features.weights, features.layer)
            about["network"] = backbone.name
            about["layer"] = backbone.layer
            about["weights"] = backbone.weights_source
            about["weights sha256"] = features.weights_sha256_
        about["longest side in pixels"] = features.max_size
    # A published whitening does not say what it was fitted on.
    if hasattr(steps.get("whiten"), "n_photos_"):
        about["whitened with"] = {
            "photos": steps["whiten"].n_photos_,
            "regions": steps["whiten"].n_regions_,
        }
    return about


def _describe_task(benchmark: Any, ranked: dict[str, Any]) -> str:
    """A digest of what is asked, what is ranked, and what is right."""
    asked = [(query.name, getattr(query, "box", None)) for query in benchmark.queries]
    right = [(list(r.positives), list(r.junk)) for r in benchmark.relevance]
    return _digest(repr([asked, right, ranked, benchmark.get("exclude")]))


def _describe_photos(photos: Sequence[Any]) -> dict[str, Any]:
    """How many photos, and a digest of their names and sizes in bytes."""
    pairs = [f"{as_photo(photo).name} {_size_of(photo)}" for photo in photos]
    return {"photos": len(pairs), "sha256": _digest("\n".join(pairs))}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        found[package] = version(package)
    if find_spec("skimage"):  # which finds local features, where it is installed
        found["scikit-image"] = version("scikit-image")
    return found


def _with_intervals(rows: Iterable[Row], groups: Sequence[Any] | None) -> list[Row]:
    rows = list(rows)
    first = rows[0].average_precision
    finished = []
    for row in rows:
        low, high = bootstrap_interval(row.average_precision, groups=groups)
        below, above = bootstrap_interval(row.average_precision, first, groups=groups)
        finished.append(
            replace(row, low=low, high=high, difference_low=below, difference_high=above)
        )
    return finished


def _query_names(benchmark: Any) -> list[str]:
    return [f"{i}: {query.name}" for i, query in enumerate(benchmark.queries)]
