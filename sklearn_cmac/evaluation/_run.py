"""Systems measured on a benchmark: what is described, ranked and scored, and in which order.

What is computed is kept in a folder, so that a run that was stopped goes on and ends with the
same table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

from sklearn_cmac._photo_step import check_photos
from sklearn_cmac._printing import print_lines
from sklearn_cmac.collection import Collection, describe_collection
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.evaluation._guards import (
    check_crops,
    check_failures,
    check_labels_of,
    check_relevance,
    look_at,
    matched,
    warn_of_chance,
    warn_of_overlap,
)
from sklearn_cmac.evaluation._kept import Kept
from sklearn_cmac.evaluation._rankings import N_FIRST, Queries, Rankings, chance_of, cropping
from sklearn_cmac.evaluation._table import Evaluation, Row, with_intervals
from sklearn_cmac.fingerprints import INDIFFERENT, fingerprint, fingerprint_photo
from sklearn_cmac.persistence import versions
from sklearn_cmac.photos import Item, Query, name_of
from sklearn_cmac.reranking import Chain
from sklearn_cmac.reranking._chain import Steps
from sklearn_cmac.shipped_whitening import ShippedWhitener


def evaluate(
    benchmark: Bunch,
    systems: Mapping[str, Any],
    fit_on: Sequence[Item] | None = None,
    *,
    query_crops: Sequence[str] = ("activations",),
    steps: Mapping[str, Chain | Steps] | None = None,
    folder: str | os.PathLike[str] | None = None,
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
    steps : dict from str to Chain or steps, optional
        What happens besides the first ranking, as for `Retriever`. Default: nothing, "plain".
    folder : path, optional
        Where fitted systems, described photos and scores are kept, each under the fingerprint of
        what it depends on. Called again, finished parts are read from there.
    verbose : bool or int, default=False
        Whether to show progress.

    Returns
    -------
    Evaluation

    Raises
    ------
    PhotoError
        If a photo or query of the benchmark cannot be used, a box does not lie in its photo, or
        labels fit the photos better when they are shifted. Distractors that cannot be used are left
        out, and a warning says how many.
    ValueError
        If a query has no positives, or one that is junk, excluded, or none of the photos.

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
    chains = {name: _as_chain(chain) for name, chain in (steps or {"plain": ()}).items()}
    check_relevance(benchmark)
    task = _Task(benchmark, list(benchmark.queries), query_crops, chains)
    counts = matched(benchmark, task.asked)
    fit_contents = None
    if fit_on is not None:
        fit_on = check_photos(fit_on, evaluate)
        fit_contents = [fingerprint_photo(photo) for photo in fit_on]
        overlap = warn_of_overlap(fit_contents, fit_on, benchmark)
        counts["photos to fit on that are ranked too"] = overlap
    if verbose:
        print_lines(benchmark.DESCR, *(f"{what}: {n}" for what, n in counts.items()))
    rows, about, ranked = [], {}, None
    for name, system in systems.items():
        kept = Kept(None if folder is None else Path(folder), system, fit_contents)
        pipeline = kept.fitted(system, fit_on, verbose)
        found, ranked = task.measure(name, pipeline, kept, verbose)
        rows += found
        about[name] = _describe_system(pipeline)
    protocol = {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol,
        "description": benchmark.DESCR,
        "average precision at": benchmark.get("at"),
        "reports recall": benchmark.get("ks") is not None,
        "matched": counts,
        "systems": about,
        "query boxes are cropped in": list(query_crops) if task.boxed else "no boxes",
        "steps": {label: repr(chain) for label, chain in chains.items()},
        "fitted on": fit_contents and _summary(fit_contents),
        "ranked": ranked,
        "versions": versions(),
    }
    names = [f"{i}: {name_of(query)}" for i, query in enumerate(task.queries)]
    rows = with_intervals(rows, benchmark.get("groups"))
    return Evaluation(rows, names, protocol, task.chance)


class _Task:
    """What every system is asked: queries in some crops, and chains behind the first ranking."""

    def __init__(
        self,
        benchmark: Bunch,
        queries: list[Item],
        crops: Sequence[str],
        chains: Mapping[str, Chain],
    ):
        self.benchmark, self.queries = benchmark, queries
        self.crops, self.chains = crops, chains
        self.asked = [look_at(query) for query in queries]
        self.chance = chance_of(benchmark)
        self.needs = set().union(*(chain.needs for chain in chains.values()))

    @property
    def boxed(self) -> bool:
        """Whether some query is a box of its photo."""
        return any(isinstance(query, Query) for query in self.queries)

    def measure(
        self, name: str, pipeline: Any, kept: Kept, verbose: bool | int
    ) -> tuple[list[Row], dict[str, Any]]:
        """The rows of one system, and what was ranked."""
        asking = {crop: self._queries(cropping(pipeline, crop)) for crop in self.crops}

        def witness(content: str, record: Any) -> None:
            for queries in asking.values():
                queries.witness(content, record)

        regions = "regions" in self.needs
        collection = describe_collection(
            pipeline,
            self.benchmark.photos,
            regions=regions,
            folder=kept.collection(regions),
            witness=witness,
            verbose=verbose,
        )
        check_failures(collection, self.benchmark)
        check_labels_of(collection, self.benchmark)
        rows = [
            row
            for crop, queries in asking.items()
            for row in self._rows(name, crop, queries, collection, kept)
        ]
        for row in rows:
            warn_of_chance(name, row.average_precision, self.chance, collection)
        collection.engine.close()
        return rows, _summary(collection.ids)

    def _queries(self, pipeline: Any) -> Queries:
        check_crops(Corridor(pipeline).extractor, self.queries, self.asked)
        return Queries(pipeline, self.queries, self.asked, self.needs)

    def _rows(
        self, name: str, crop: str, queries: Queries, collection: Collection, kept: Kept
    ) -> Iterator[Row]:
        rankings = Rankings(self.benchmark, collection, queries, self.chains.values())
        for label, chain in self.chains.items():
            key = fingerprint(self._question(collection), crop, chain.key, N_FIRST)[:32]
            scores = kept.scores(key)
            if scores is None:
                scores = rankings.measure(chain)
                kept.keep_scores(key, scores)
            yield Row(
                name,
                crop,
                label,
                **scores,
                seconds_per_photo=collection.seconds / max(1, len(collection)),
                bytes_per_photo=collection.bytes_per_photo("regions" in chain.needs),
            )

    def _question(self, collection: Collection) -> tuple[Any, ...]:
        """What is ranked, what is asked, and what is right."""
        # The box of a whole photo is an annotation, and not asked for.
        boxes = [query.box if isinstance(query, Query) else None for query in self.queries]
        right = [(list(r.positives), list(r.junk)) for r in self.benchmark.relevance]
        contents = [look.content for look in self.asked]
        at, subsets = self.benchmark.get("at"), self.benchmark.get("subsets", {})
        parts = {
            name: [r and (list(r.positives), list(r.junk)) for r in relevance]
            for name, relevance in subsets.items()
        }
        ks = self.benchmark.get("ks")
        return collection.ids, contents, boxes, right, self.benchmark.get("exclude"), at, parts, ks


def _as_chain(chain: Chain | Steps) -> Chain:
    """A chain without steps that are left out."""
    chain = chain if isinstance(chain, Chain) else Chain(chain)
    return chain._replace(steps=[(name, step) for name, step in chain.steps if step is not None])


def _summary(contents: Sequence[str]) -> dict[str, Any]:
    return {"photos": len(contents), "sha256": fingerprint(list(contents))}


def _describe_system(pipeline: Any) -> dict[str, Any]:
    steps = getattr(pipeline, "named_steps", {})
    about: dict[str, Any] = {"settings": _settings(pipeline)}
    if "features" in steps:
        features = steps["features"]
        if hasattr(features, "network"):  # local features come from no network
            about["network"] = features.network.name
            about["layer"] = features.network.layer
            about["weights"] = features.network.weights_source
            about["weights sha256"] = features.weights_sha256_
        about["longest side in pixels"] = features.max_size
        about["scales"] = list(getattr(features, "scales", (1.0,)))
    if isinstance(steps.get("whiten"), ShippedWhitener):
        about["whitened with"] = steps["whiten"].provenance_
    # A published whitening does not say what it was fitted on.
    elif hasattr(steps.get("whiten"), "n_photos_"):
        about["whitened with"] = {
            "photos": steps["whiten"].n_photos_,
            "regions": steps["whiten"].n_regions_,
        }
    return about


def _settings(system: Any) -> dict[str, str]:
    """Parameters for people to read; what is kept is bound to fingerprints."""
    return {
        path: type(value).__name__ if hasattr(value, "get_params") else repr(value)
        for path, value in sorted(system.get_params().items())
        if path != "steps" and path.split("__")[-1] not in INDIFFERENT
    }
