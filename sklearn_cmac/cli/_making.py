"""Systems that commands fit, or read from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac.cli._options import FILE, TEXT, SystemOptions
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.fingerprints import fingerprint_photo
from sklearn_cmac.local import LocalFeatureExtractor
from sklearn_cmac.persistence import load_pipeline
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.reranking import make_chain
from sklearn_cmac.search import Retriever

# Of more photos, so many are fitted on: more change little, and each takes a second.
FITTED_ON = 1000

pipeline_option = click.option(
    "--pipeline",
    "file",
    type=FILE,
    help="A fitted pipeline, of cmac fit or the best of cmac tune. Default: a system fitted on the "
    "photos.",
)
trust_option = click.option(
    "--trust",
    type=TEXT,
    multiple=True,
    metavar="MODULE.CLASS",
    help="An estimator of another package that a file may name; once for each.",
)


def read_pipeline(file: Path, trust: Sequence[str]) -> Pipeline | Retriever:
    """A fitted pipeline of photos from a file, perhaps with the steps that follow it."""
    found = load_pipeline(file, trust)
    what = f"{file}: holds a {type(found).__name__}"
    if not isinstance(found, (Pipeline, Retriever)):
        raise ValueError(f"{what}, not a fitted pipeline")
    try:
        check_is_fitted(found)
    except NotFittedError:
        raise ValueError(f"{what} that is not fitted") from None
    first = pipeline_of(found)[0]
    if not isinstance(first, (ConvFeatureExtractor, LocalFeatureExtractor)):
        raise ValueError(f"{what} that begins with {type(first).__name__}, which reads no photos")
    return found


def fit_system(
    made: SystemOptions,
    system: str,
    photos: Sequence[str | Path],
    store: str | Path,
    fit: Callable[[Pipeline, list[Any]], Pipeline] = Pipeline.fit,
) -> tuple[Pipeline, dict[str, Any]]:
    """A system fitted on those photos that can be used, and a note of how.

    Parameters
    ----------
    made : SystemOptions
    system : str
    photos : sequence of paths
    store : path
        Of their activation maps.
    fit : callable, default=Pipeline.fit
        Fits a pipeline on photos.
    """
    pipeline = made.make(system, store).set_params(features__verbose=1)
    usable = _usable(pipeline[0], photos)
    pipeline[0].set_params(verbose=0)
    fit(pipeline, usable)
    contents = sorted(fingerprint_photo(photo) for photo in usable)
    return pipeline, {
        "system": system,
        "fitted on photos": len(usable),
        "photos that could not be used": len(photos) - len(usable),
        "sha256 of their sorted digests": hashlib.sha256("\n".join(contents).encode()).hexdigest(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def some_of(photos: Sequence[Any], n: int = FITTED_ON) -> list[Any]:
    """So many photos at most, evenly spread."""
    if len(photos) <= n:
        return list(photos)
    return [photos[i * len(photos) // n] for i in range(n)]


def pipeline_of(given: Pipeline | Retriever) -> Pipeline:
    """The fitted pipeline, without what follows it."""
    return given.pipeline_ if isinstance(given, Retriever) else given


def with_steps(
    given: Pipeline | Retriever, rerank: str | None = None, expand: str | None = None
) -> Retriever:
    """A fitted pipeline and what follows it: what it was tuned with, unless told otherwise."""
    if isinstance(given, Retriever) and rerank is None and expand is None:
        return given
    usual = "matching" if Corridor(pipeline_of(given)).sums else "none"
    chain = make_chain(rerank or usual, expand or "none", verbose=True)
    return Retriever(FrozenEstimator(pipeline_of(given)), *chain).fit([])


def _usable(features: Any, photos: Sequence[Any]) -> list[Any]:
    """The photos that can be described. Their maps are then in the extractor's store."""
    records = features.iter_transform(photos)
    usable = [p for p, record in zip(photos, records) if not isinstance(record, PhotoError)]
    if not usable:
        raise PhotoError(f"none of {len(photos)} photos can be used")
    return usable
