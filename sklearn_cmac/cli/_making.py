"""Systems that commands fit, or read from a file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import click
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._options import FILE, TEXT, SystemOptions
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import FoundPhotos, walk_photos
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.fingerprints import fingerprint_photo
from sklearn_cmac.local import LearnedFeatureExtractor, LocalFeatureExtractor
from sklearn_cmac.networks import WeightsError
from sklearn_cmac.persistence import load_pipeline
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.reranking import USUAL, chain_of_effort, make_chain
from sklearn_cmac.search import Retriever
from sklearn_cmac.store import FullDiskError, free_bytes, in_words

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


class Maps(NamedTuple):
    """Where activation maps are kept.

    Parameters
    ----------
    folder : path
    unasked : bool
        Whether nobody asked for that folder, so that it has to be told.
    """

    folder: str | Path
    unasked: bool

    def make_room(self, features: Any, photos: Sequence[Any], n_photos: int) -> None:
        """Say what maps will take and where, or refuse if there is less room.

        Parameters
        ----------
        features : extractor
        photos : sequence of photos
            One of them is described, to be measured.
        n_photos : int

        Raises
        ------
        FullDiskError
        """
        if not self.unasked:
            return
        place = Path(self.folder)
        n_bytes = n_photos * _measured(features, photos)
        free = free_bytes(place) + _size(place)  # a run that was stopped has left some
        need = f"maps of {n_photos} photos take about {in_words(n_bytes)}"
        room = f"{in_words(free)} are free there"
        if n_bytes > free:
            raise FullDiskError(
                f"{place}: {need}, and {room}; name a folder on another disk with --store"
            )
        print_lines(f"{need} in {place}; {room}", err=True)


def _measured(features: Any, photos: Sequence[Any]) -> int:
    """Bytes that a photo takes in a store: the first of a few that can be used."""
    for photo in some_of(photos, 3):
        with tempfile.TemporaryDirectory() as probe:
            extractor = clone(features).set_params(store=probe, verbose=0, n_jobs=1).fit([])
            if not isinstance(next(extractor.iter_transform([photo])), PhotoError):
                return _size(Path(probe))
    return 0


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.npy"))


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


def look_through(folders: Sequence[Path]) -> FoundPhotos:
    """The photos in folders; what is left out is told at once, before the long work."""
    found = walk_photos(folders)
    if found.paths:  # else that is part of the error
        print_lines(*found.left_out(), err=True)
    return found


def fit_system(
    made: SystemOptions,
    system: str,
    photos: Sequence[str | Path],
    maps: Maps,
    fit: Callable[[Pipeline, list[Any]], Pipeline] = Pipeline.fit,
    n_photos: int | None = None,
) -> tuple[Pipeline, dict[str, Any]]:
    """A system fitted on those photos that can be used, and a note of how.

    Parameters
    ----------
    made : SystemOptions
    system : str
    photos : sequence of paths
    maps : Maps
        Where their activation maps are.
    fit : callable, default=Pipeline.fit
        Fits a pipeline on photos.
    n_photos : int, optional
        Of how many photos there will be maps. Default: of these.
    """
    pipeline = made.make(system, maps.folder).set_params(features__verbose=1)
    maps.make_room(pipeline[0], photos, n_photos or len(photos))
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
    given: Pipeline | Retriever,
    rerank: str | None = None,
    expand: str | None = None,
    effort: str | None = None,
    extractors: Sequence[Any] = (),
) -> Retriever:
    """A fitted pipeline and what follows it: what it was tuned with, unless told otherwise.

    Parameters
    ----------
    given : Pipeline or Retriever
    rerank, expand : str, optional
        As for `make_chain`.
    effort : str, optional
        As for `chain_of_effort`; default: "usual", if neither of the others is given.
    extractors : sequence of LearnedFeatureExtractor
        What finds the local features that are kept.
    """
    if isinstance(given, Retriever) and rerank is expand is effort is None:
        return given
    regions = Corridor(pipeline_of(given)).sums
    if rerank is expand is None:
        chain = chain_of_effort(effort or USUAL, regions, extractors, verbose=True)
    else:
        usual = "matching" if regions else "none"
        chain = make_chain(rerank or usual, expand or "none", verbose=True)
    return Retriever(FrozenEstimator(pipeline_of(given)), *chain).fit([])


def usual_extractors() -> list[LearnedFeatureExtractor]:
    """What finds the local features that a new index keeps, where that is installed."""
    extractor = LearnedFeatureExtractor()
    try:
        return [extractor.fit([])]
    except (ImportError, WeightsError) as error:
        print_lines(f"photos that are found are not verified: {error}", err=True)
        return []


def _usable(features: Any, photos: Sequence[Any]) -> list[Any]:
    """The photos that can be described. Their maps are then in the extractor's store."""
    records = features.iter_transform(photos)
    usable = [p for p, record in zip(photos, records) if not isinstance(record, PhotoError)]
    if not usable:
        raise PhotoError(f"none of {len(photos)} photos can be used")
    return usable
